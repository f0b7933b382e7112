"""The bit-exact reference in software, and what every engine that computes a network must agree with."""
