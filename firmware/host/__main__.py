"""``python -m firmware.host``: see :mod:`firmware.host.command`."""

from support.command_line import start

if __name__ == "__main__":
    start("firmware.host.command")
