"""``python -m train.images``: see :mod:`train.images.command`."""

from support.start import start

if __name__ == "__main__":
    start("train.images.command")
