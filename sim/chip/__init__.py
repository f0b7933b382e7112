"""A whole chip simulated, behind the pins of its board: what the tools have made of the circuit, cell by cell."""
