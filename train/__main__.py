"""``python -m train``: see :mod:`train.command`."""

from support.start import start

if __name__ == "__main__":
    start("train.command")
