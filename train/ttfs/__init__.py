"""Training of networks with times to first spike: activation, weights, network."""
