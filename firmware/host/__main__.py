"""``python -m firmware.host``: see :mod:`firmware.host.command`."""

from support.start import start

if __name__ == "__main__":
    start("firmware.host.command")
