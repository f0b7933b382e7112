"""Energy: what a build is estimated to take from its supply, block by block, with the uncertainty.

docs/energy.md has the method, its sources, and how far it is off a measured design.
"""
