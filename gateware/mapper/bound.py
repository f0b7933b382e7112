"""What decides how many clocks a layer takes: the one rule, for what is checked and for what is reported."""

import enum

__all__ = ["Bound", "bound_of"]


class Bound(enum.Enum):
    """What most clocks of a layer are spent on."""

    #: The engine waits for weights from the flash.
    WEIGHTS = "weights"
    #: The array takes a word of spikes in each clock.
    SPIKES = "spikes"
    #: The array takes a word of pixels in each clock.
    PIXELS = "pixels"
    #: Neither: sums of fewer words than the array has lanes wait for it, spikes are written, a layer begins and ends.
    CLOCKS = "clocks"


def bound_of(*, clocks: int, words: int, stalls: int = 0, pixels: bool) -> Bound:
    """Say what most clocks of a layer are spent on; where two are equal, it is what the array does.

    Parameters
    ----------
    clocks : :class:`int`
        All clocks of the layer.
    words : :class:`int`
        Clocks in which the array takes a word.
    stalls : :class:`int`
        Clocks in which the engine waits for weights from the flash.
    pixels : :class:`bool`
        Whether the words are of pixels, not of spikes.
    """
    shares = {Bound.PIXELS if pixels else Bound.SPIKES: words, Bound.WEIGHTS: stalls,
              Bound.CLOCKS: clocks - words - stalls}
    return max(shares, key=lambda bound: shares[bound])
