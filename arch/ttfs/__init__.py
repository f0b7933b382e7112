"""Networks with times to first spike: code, network and file format."""
