"""``python -m benchmarks.host``: see :mod:`benchmarks.host.command`."""

from support.start import start

if __name__ == "__main__":
    start("benchmarks.host.command")
