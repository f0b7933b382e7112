"""The image of models in the flash of a board: how weights are packed, and where a circuit finds what.

``docs/overlay.md`` shows the format byte by byte. :mod:`arch.flash.trits` packs weights, :mod:`arch.flash.stream` is
what the circuit reads of one model, :mod:`arch.flash.header` describes a model in the directory, and
:mod:`arch.flash.image` is the whole.
"""
