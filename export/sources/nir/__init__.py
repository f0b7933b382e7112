"""Graphs of NIR, the Neuromorphic Intermediate Representation: HDF5 files that several packages write and read."""
