"""From a checkpoint to the integer network, its certificate and its weight images: ``python -m export``."""
