"""The numbers of the iCE40's primitives: sizes of its memories and multipliers, and what its PLL makes of a clock."""

import dataclasses
from collections.abc import Iterator

__all__ = ["BRAM_WIDTH", "BRAM_WORDS", "MAC_WIDTH", "SPRAM_GRAIN", "SPRAM_WIDTH", "SPRAM_WORDS", "PllSettings",
           "clocks_of", "pll_settings"]

#: Limits of SB_PLL40 (FPGA-TN-02052), in Hz.
PFD_MIN, PFD_MAX = 10e6, 133e6
VCO_MIN, VCO_MAX = 533e6, 1066e6
PLL_MIN, PLL_MAX = 16e6, 275e6

#: Geometry of SB_SPRAM256KA (FPGA-TN-02022): words, bits, and bits that one bit of the write mask covers.
SPRAM_WORDS, SPRAM_WIDTH, SPRAM_GRAIN = 16384, 16, 4

#: Geometry of SB_RAM40_4K (FPGA-TN-02002) with a write mask, which it has at its full width only.
BRAM_WORDS, BRAM_WIDTH = 256, 16

#: Bits of each of the two adders of SB_MAC16 (FPGA-TN-02007).
MAC_WIDTH = 16


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PllSettings:
    """Dividers of SB_PLL40 with simple feedback: ``f = reference * (divf + 1) / (2 ** divq * (divr + 1))``."""

    divr: int
    divf: int
    divq: int
    filter_range: int


def _all_settings(reference_hz: float) -> Iterator[tuple[float, PllSettings]]:
    """Yield every frequency that the PLL makes of a reference, with its dividers; the best settings come first.

    A smaller ``divr`` compares at a higher frequency, which the loop follows with less jitter.
    """
    for divr in range(16):
        compared = reference_hz / (divr + 1)
        if not PFD_MIN <= compared <= PFD_MAX:
            continue
        # Filter range by the frequency compared, as icepll chooses it.
        filter_range = 1 + sum(compared >= limit for limit in (17e6, 26e6, 44e6, 66e6, 101e6))
        for divq in range(1, 7):
            for divf in range(128):
                vco = compared * (divf + 1)
                if VCO_MIN <= vco <= VCO_MAX and PLL_MIN <= vco / 2 ** divq <= PLL_MAX:
                    yield vco / 2 ** divq, PllSettings(divr=divr, divf=divf, divq=divq, filter_range=filter_range)


def pll_settings(reference_hz: float, clock_hz: float) -> PllSettings | None:
    """Find the dividers for exactly ``clock_hz``, one of :meth:`boards.families.ice40.Ice40.clocks`.

    None if it is the reference itself.
    """
    if clock_hz == reference_hz:
        return None
    return next(settings for made_hz, settings in _all_settings(reference_hz) if made_hz == clock_hz)


def clocks_of(reference_hz: float) -> Iterator[float]:
    """Yield the reference and every frequency that the PLL makes of it, in Hz, rising, each once."""
    yield from sorted({reference_hz, *(made_hz for made_hz, _ in _all_settings(reference_hz))})
