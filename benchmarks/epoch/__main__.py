"""``python -m benchmarks.epoch``: start :mod:`benchmarks.epoch.command`."""

from support.command_line import start

if __name__ == "__main__":
    start("benchmarks.epoch.command")
