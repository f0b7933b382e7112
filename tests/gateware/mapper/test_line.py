"""Whether the engine keeps up with the line: the rule, and the circuit at both sides of it."""

import numpy as np
import pytest

from arch.network import Encoding, OrPool
from boards import BOARDS
from firmware.host.link import Link
from gateware.engine.accelerator import PIXEL_FIFO_DEPTH
from gateware.engine.configuration import EngineConfig
from gateware.mapper.choice import map_network, plan_for_board
from gateware.mapper.line import keeps_up, loading_cycles
from reference.network import Reference
from sim.rtl import DIVISOR, SLOW_DIVISOR, RtlEngine, RtlError
from sim.verilated import SimulationTransport
from tests.gateware.mapper.networks import conv, network
from tests.link_board import CACHE


def plan_of(side, kernel, *, channels=1, stride=1):
    """Plan for the iCEBreaker of a network that sees images of ``side`` x ``side``."""
    first = conv(1, channels, kernel, stride=stride, padding=0)
    return plan_for_board(network(first, OrPool(size=7), shape=(channels, side, side)), BOARDS["icebreaker"])


@pytest.mark.parametrize(("side", "kernel", "divisor", "alone", "expected"), [
    # 2 + 2 * 16 = 34 clocks and one for each 8 of them, 39, for a pixel every 40.
    (60, 4, 4, False, True),
    # 2 + 2 * 25 = 52 clocks and 7: of every 59 pixels, 19 are left waiting, in half of the FIFO.
    (28, 5, 4, False, True), (29, 5, 4, False, False),
    # 52 clocks, and the whole FIFO: of every 52 pixels, 12 are left waiting.
    (47, 5, 4, True, True), (48, 5, 4, True, False), (48, 5, 4, False, False),
    # 2 + 2 * 49 = 100 clocks and 13, for a pixel every 160, or 80: of every 113 pixels, 33 are left waiting.
    (40, 7, 16, False, True), (29, 7, 8, False, True), (30, 7, 8, False, False),
])
def test_pixels_that_wait_must_have_room(side, kernel, divisor, alone, expected):
    plan = plan_of(side, kernel)
    assert keeps_up(plan, divisor, alone=alone) == expected


def test_a_stride_takes_less_and_a_whole_map_least():
    assert keeps_up(plan_of(60, 7, stride=3), 4)
    assert keeps_up(plan_of(60, 7, stride=2), 4)
    assert not keeps_up(plan_of(40, 7), 4)
    whole = network(encoding=Encoding.EVENTS, shape=(1, 60, 60))
    assert keeps_up(map_network(whole, EngineConfig(lanes=2, width=4, pixels=False, weight_rows=1024)), 4)


def test_an_image_is_loaded_at_the_pace_of_the_slower():
    assert loading_cycles(plan_of(28, 5), 4) == 784 * 52
    assert loading_cycles(plan_of(28, 5), 16) == 784 * 160


class CountingLine(SimulationTransport):
    """Counts the frames that a host sends."""

    frames = 0

    def write(self, data):
        self.frames += 1
        super().write(data)


@pytest.mark.rtl
@pytest.mark.parametrize(("kernel", "channels", "refused"), [(4, 64, False), (5, 64, True)])
def test_images_follow_each_other_at_four_clocks_a_bit(kernel, channels, refused):
    """No pixel is lost where the rule just allows it; an image is refused if the line is faster than the writer."""
    rng = np.random.default_rng(kernel)
    side, count = 28, 6
    assert keeps_up(plan_of(side, kernel), DIVISOR)
    net = network(conv(8, 1, kernel, padding=0), OrPool(size=2), conv(channels, 8), OrPool(size=4),
                  shape=(1, side, side))
    images = rng.integers(0, 256, (count, 1, side, side), dtype=np.uint8)
    with RtlEngine(net, divisor=DIVISOR) as engine:
        line = CountingLine(engine.simulation)
        link = Link(line, alone=True, silence=0.001)
        link.info()
        results = list(link.classify_all(image.tobytes() for image in images))
        sent = line.frames
        link.info()
    assert [list(result.scores) for result in results] == Reference(net).run(images).scores.tolist()
    assert link.counters.overruns == 0
    assert any(result.stalls for result in results), "the engine must compute while pixels press"
    assert (sent > count + 1) == refused


@pytest.mark.rtl
@pytest.mark.long
def test_the_circuit_loses_pixels_where_the_rule_says_so():
    """32 x 32 colour images and a kernel of 5: 3,072 bytes at 52 clocks each."""
    assert PIXEL_FIFO_DEPTH < 3072 * (52 - 40) // 52
    config = EngineConfig(lanes=1, width=4, spike_words=1 << 16, max_row_words=2048)
    net = network(conv(1, 3, 5, padding=0), OrPool(size=7), shape=(3, 32, 32))
    image = np.random.default_rng(1).integers(0, 256, (1, 3, 32, 32), dtype=np.uint8)
    with RtlEngine(net, config=config, divisor=DIVISOR, cache=CACHE) as engine:
        with pytest.raises(RtlError, match=r"^image 0: the circuit must answer with its result, not with the error "
                                           r"OVERRUN \(5\): its first layer takes pixels more slowly than the line "
                                           r"brings them, so give RtlEngine a larger divisor$"):
            engine.classify(image)
        # The error is seen when it comes, not when the longest inference is over.
        assert engine.simulation.clocks < 400_000
    # What is not told a rate chooses one that works.
    with RtlEngine(net, config=config, cache=CACHE) as engine:
        assert engine.simulation.divisor == SLOW_DIVISOR
        np.testing.assert_array_equal(engine.classify(image).scores, Reference(net).run(image).scores)
