"""Start the command: see :mod:`gateware.build.command`."""

from support.command_line import start

if __name__ == "__main__":
    start("gateware.build.command")
