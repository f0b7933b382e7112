"""The accelerator as one Verilog file for systems on chips: ``python -m gateware.verilog``.

``command`` reads the command line; ``plan`` chooses a circuit for the network; ``emit`` writes Verilog that simulators,
linters and synthesisers take without a warning; ``page`` writes the page for whoever instantiates it, and ``c_header``
the registers for C; ``synthesis`` counts what the circuit takes on families of FPGAs; ``report`` defines every key of
``report.json``.
"""
