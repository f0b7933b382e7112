"""Makes the tables of the networks that ship: ``models/README.md``, and a block of ``README.md``."""
