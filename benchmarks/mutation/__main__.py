"""``python -m benchmarks.mutation``: see :mod:`benchmarks.mutation.command`."""

from support.start import start

if __name__ == "__main__":
    start("benchmarks.mutation.command")
