"""The commands of ``python -m firmware.host``, a module each: what it adds to the command line, and what it does."""
