"""Explores networks, geometries, clocks and sources of weights: ``python -m gateware.build.explore``.

``configuration`` says what is tried, ``measure`` plans a configuration without a tool, ``place`` builds it; ``records``
keeps the results, ``engines`` spreads the work; ``front`` chooses the best, ``text`` and ``plot`` show them.
"""
