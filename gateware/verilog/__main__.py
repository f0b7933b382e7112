"""Start the command: see :mod:`gateware.verilog.command`."""

from support.start import start

if __name__ == "__main__":
    start("gateware.verilog.command")
