"""The driver in C, for a microcontroller beside the FPGA or any other computer; ``docs/c-driver.md`` is its manual.

``sterna.h`` and ``sterna.c`` are the driver, in freestanding C99; :mod:`firmware.c.header` generates the constants of
the protocol, ``sterna_link.h``, from :mod:`arch.link`, and ``python -m firmware.c`` writes them.
"""
