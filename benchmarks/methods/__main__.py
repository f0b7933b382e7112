"""``python -m benchmarks.methods``: see :mod:`benchmarks.methods.command`."""

from support.command_line import start

if __name__ == "__main__":
    start("benchmarks.methods.command")
