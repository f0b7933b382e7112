"""A simulated board: a circuit in Verilator behind a pseudo-terminal; ``python -m sim.board``."""
