"""Start the command: see :mod:`gateware.build.explore.command`."""

from support.start import start

if __name__ == "__main__":
    start("gateware.build.explore.command")
