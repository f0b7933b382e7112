"""``python -m benchmarks.methods``: see :mod:`benchmarks.methods.command`."""

from support.start import start

if __name__ == "__main__":
    start("benchmarks.methods.command")
