"""From the checkpoint of a network with spike times to the integer network: ``python -m export.ttfs``."""
