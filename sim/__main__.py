"""``python -m sim``: see :mod:`sim.command`."""

from support.command_line import start

if __name__ == "__main__":
    start("sim.command")
