"""``python -m export``: see :mod:`export.command`."""

from support.start import start

if __name__ == "__main__":
    start("export.command")
