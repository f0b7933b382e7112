"""Families of FPGAs, one file each: everything that is true of a chip and not of the board that carries it."""
