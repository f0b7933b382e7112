"""``python -m sim``: see :mod:`sim.command`."""

from support.start import start

if __name__ == "__main__":
    start("sim.command")
