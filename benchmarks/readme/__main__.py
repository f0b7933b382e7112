"""``python -m benchmarks.readme``: see :mod:`benchmarks.readme.command`."""

from support.start import start

if __name__ == "__main__":
    start("benchmarks.readme.command")
