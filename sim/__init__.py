"""The circuits simulated: RTL in Verilator as an engine, and ``python -m sim``."""
