"""``python -m export.ttfs``: see :mod:`export.ttfs.command`."""

from support.command_line import start

if __name__ == "__main__":
    start("export.ttfs.command")
