"""The reference of networks with times to first spike."""
