"""``python -m benchmarks.models``: see :mod:`benchmarks.models.command`."""

from support.start import start

if __name__ == "__main__":
    start("benchmarks.models.command")
