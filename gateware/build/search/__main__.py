"""Start the command: see :mod:`gateware.build.search.command`."""

from support.start import start

if __name__ == "__main__":
    start("gateware.build.search.command")
