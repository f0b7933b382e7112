"""Engines of the accelerator: the array, what feeds it, and what reads it out."""
