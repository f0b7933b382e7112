"""The flow from a network to a bitstream: ``python -m gateware.build``."""
