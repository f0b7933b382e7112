"""Start the command: see :mod:`gateware.build.energy.command`."""

from support.start import start

if __name__ == "__main__":
    start("gateware.build.energy.command")
