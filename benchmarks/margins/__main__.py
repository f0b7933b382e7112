"""``python -m benchmarks.margins``: see :mod:`benchmarks.margins.command`."""

from support.start import start

if __name__ == "__main__":
    start("benchmarks.margins.command")
