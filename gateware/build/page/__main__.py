"""``python -m gateware.build.page``: see :mod:`gateware.build.page.command`."""

from support.start import start

if __name__ == "__main__":
    start("gateware.build.page.command")
