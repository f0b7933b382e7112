"""``python -m firmware.demo``: see :mod:`firmware.demo.command`."""

from support.start import start

if __name__ == "__main__":
    start("firmware.demo.command")
