# amaranth: UnusedElaboratable=no
"""The top level: every board's pins, clock and held outputs are in what its tools are given."""

import re

import numpy as np
import pytest

from arch.network import Convolution, Encoding, Input, Network, Neurons, Readout
from boards import BOARDS, BoardError
from gateware.mapper.choice import choose_config, map_network
from gateware.mapper.info import info_of
from gateware.source import Baked
from gateware.top import Top


@pytest.fixture(scope="module")
def plan():
    """A network on the smallest array, which is elaborated in a second."""
    one = np.ones(2, dtype=np.int64)
    layer = Convolution(weights=np.ones((2, 1, 3, 3), dtype=np.int8),
                        neurons=Neurons(threshold=one, bias=0 * one, initial=0 * one))
    network = Network(input=Input(encoding=Encoding.PIXELS, channels=1, height=4, width=4), timesteps=4,
                      layers=(layer, Readout(weights=np.ones((2, 8), dtype=np.int8))))
    return map_network(network, choose_config(network, lanes=1, width=4, timesteps=4, spike_words=256, weight_rows=64))


def source_of(plan):
    return Baked(contents=plan.contents, info=info_of(plan, clock_hz=48e6))


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_pins_of_the_board_are_constrained(plan, board):
    platform = board.platform()
    clock_hz = board.default_clock_hz
    design = Top(plan.config, source_of(plan), board=board, clock_hz=clock_hz, baud=board.default_bauds(clock_hz)[0])
    files = board.fpga.design_files(platform, design)
    text = "\n".join(content.decode() for name, content in files.items() if not name.endswith(".il"))
    fields = [(board.oscillator, platform.lookup(board.oscillator, 0).ios[0]),
              *((f"uart_0__{field.name}", field.ios[0]) for field in platform.lookup("uart", 0).ios
                if field.name in ("rx", "tx")),
              *((name, platform.lookup(name, 0).ios[0]) for name in (board.led, *board.inactive))]
    for name, pins in fields:
        assert re.search(rf"\b{name}\w* {pins.names[0]}\b", text), f"{name} must be pin {pins.names[0]}"
    assert len(re.findall(r"^set_io ", text, re.MULTILINE)) in (0, len(fields))


def test_a_clock_or_rate_that_the_board_has_not_is_refused(plan):
    with pytest.raises(BoardError, match=r"^clock must be one that the PLL makes of 12 MHz, not 47 MHz$"):
        Top(plan.config, source_of(plan), board=BOARDS["icebreaker"], clock_hz=47e6, baud=1_000_000)
    with pytest.raises(BoardError, match=r"^baud 12000000 must divide the clock of 24 MHz at least four times$"):
        Top(plan.config, source_of(plan), board=BOARDS["icebreaker"], clock_hz=24e6, baud=12_000_000)
