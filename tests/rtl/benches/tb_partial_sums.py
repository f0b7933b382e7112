import random

import cocotb
from cocotb.triggers import FallingEdge

from gateware.engine.neuron_array import ending_layout
from gateware.engine.partial_sums import PartialSums
from tests.circuits import streamed_circuit
from tests.rtl.benches.clocking import start
from tests.twins.streamed_blocks import Segment, partial_sums

CONFIG = streamed_circuit(lanes=4, width=8, timesteps=4, accumulator_width=8, partial_width=18)
LANES, STEPS = CONFIG.lanes, CONFIG.timesteps


def block():
    return PartialSums(CONFIG)


def make_segments(rng):
    """Make the sums of three slots, each opened, continued and closed in a part of its own, twice."""
    for part in (0, 1, 2, 0, 1, 2):
        for slot in range(3):
            yield Segment([[rng.randrange(256) for _ in range(STEPS)] for _ in range(LANES)],
                          {"opens": part == 0, "closes": part == 2, "sum_end": 1, "part_end": slot == 2,
                           "scaled": rng.getrandbits(1), "group_last": rng.getrandbits(1)})


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(planes=[0, 1])
async def sums_like_the_twin(dut, planes):
    await start(dut, load=0, ending=0, segment=0, planes=planes)
    rng = random.Random(1)
    segments = list(make_segments(rng))
    expected = [summed.sums for summed in partial_sums(CONFIG, segments, planes=bool(planes))]
    layout, sums, loads = ending_layout(CONFIG), [], []
    starts = {CONFIG.cooldown_cycles * index: segment for index, segment in enumerate(segments)}
    values = {clock + 1 + lane: segment.sums[lane] for clock, segment in starts.items() for lane in range(LANES)}
    for clock in range(max(values) + 4):
        # What is read here was left by the rising edge before: the same clock as what is driven now.
        sums.append(dut.sums.value)
        if dut.o_load.value == 1:
            loads.append(clock)
        dut.load.value = clock in starts
        dut.ending.value = layout.const(starts[clock].ending).as_value().value if clock in starts else 0
        dut.segment.value = sum(value << 8 * step for step, value in enumerate(values.get(clock, ())))
        await FallingEdge(dut.clk)
    assert [sums[load + 2 + lane].to_unsigned() for load in loads for lane in range(LANES)] == [
        sum(value << CONFIG.partial_width * step for step, value in enumerate(neuron)) for neuron in expected]
