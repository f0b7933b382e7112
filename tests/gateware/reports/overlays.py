"""A report of an overlay that no build has made, for tests."""

import dataclasses

from boards import BOARDS
from gateware.build.request import OverlayRequest
from gateware.build.steps.report import planned_overlay
from gateware.flash.reader import FlashMode
from gateware.mapper.streamed.choice import streamed_config

__all__ = ["made_report"]


def made_report(board="icebreaker", **changed):
    """Two seeds at 45 MHz."""
    there = BOARDS[board]
    request = OverlayRequest(name="overlay", board=there, clock_hz=45e6, baud=3_000_000, seed_seconds=1,
                             config=streamed_config(there), mode=FlashMode.QUAD)
    return dataclasses.replace(planned_overlay(request), **{
        "lc": 4203, "ebr": 30, "spram": 4, "dsp": 7, "fmax_mhz": [45.5, 46.25], "fmax_median_mhz": 45.88,
        "seeds": [1, 2], "seed": 1, "bitstream_sha256": "0" * 64, "design_sha256": "1" * 64, "bitstream_bytes": 104090,
        **changed})
