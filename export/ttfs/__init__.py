"""From a training with times to first spike to the integer network: ``python -m export.ttfs``."""
