"""``python -m firmware.c``: see :mod:`firmware.c.command`."""

from support.start import start

if __name__ == "__main__":
    start("firmware.c.command")
