"""``python -m export``: see :mod:`export.command`."""

from support.command_line import start

if __name__ == "__main__":
    start("export.command")
