"""The accelerator as a block of a system on a chip: streams and buses in the place of the host link.

From the accelerator outwards:

* :mod:`gateware.embedded.image_gate`: packets of bytes become images; one of a wrong length is refused.
* :mod:`gateware.embedded.result_gate`: results, and what comes in place of the result of a refused image.
* :mod:`gateware.embedded.core`: both gates and the accelerator: images in, results out.
* :mod:`gateware.embedded.registers`: state, last result and counters as words at addresses.
* :mod:`gateware.embedded.axi_lite`, :mod:`gateware.embedded.wishbone`: buses that reach the registers.
* :mod:`gateware.embedded.interfaces`: the top modules, one for each interface.

``python -m gateware.verilog`` writes them as Verilog.
"""
