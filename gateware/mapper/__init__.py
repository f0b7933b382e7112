"""Fits an integer network to a circuit: plan, memory contents, and the choice between circuits."""
