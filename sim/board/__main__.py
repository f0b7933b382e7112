"""``python -m sim.board``: see :mod:`sim.board.command`."""

from support.start import start

if __name__ == "__main__":
    start("sim.board.command")
