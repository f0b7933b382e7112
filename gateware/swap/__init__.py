"""A placed design whose memories are filled afterwards: one place and route for every network on a circuit.

``marks`` has what the memories hold while the design is placed, ``base`` the file of a placed design, ``filling`` makes
a bitstream of it, and ``matching`` lays a network out for its circuit (docs/decisions/0019-model-swap.md).
"""
