"""``python -m benchmarks.epoch``: see :mod:`benchmarks.epoch.command`."""

from support.start import start

if __name__ == "__main__":
    start("benchmarks.epoch.command")
