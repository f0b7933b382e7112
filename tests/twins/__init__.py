"""Software twins of the gateware's blocks, which tests compare with ``==``."""
