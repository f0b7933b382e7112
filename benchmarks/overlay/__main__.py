"""``python -m benchmarks.overlay``: see :mod:`benchmarks.overlay.command`."""

from support.start import start

if __name__ == "__main__":
    start("benchmarks.overlay.command")
