"""``python -m export.ttfs``: see :mod:`export.ttfs.command`."""

from support.start import start

if __name__ == "__main__":
    start("export.ttfs.command")
