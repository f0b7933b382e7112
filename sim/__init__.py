"""The bit-exact reference, the engines that must agree with it, and ``python -m sim``."""
