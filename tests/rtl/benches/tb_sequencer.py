import random

import cocotb
from cocotb.triggers import FallingEdge

from gateware.engine.feed import drain_cycles
from gateware.engine.sequencer import Sequencer
from tests.random_networks import SMALL, draw
from tests.rtl.benches.clocking import settle, start
from tests.twins.blocks import Ending, issues

PLAN, _ = draw(SMALL, 9, max_side=4, max_channels=5, layers=2)


def block():
    return Sequencer(SMALL, drain_cycles=drain_cycles(SMALL), init=PLAN.contents.program)


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(rate=[1.0, 0.5])
async def issues_the_twins_words(dut, rate):
    await start(dut, start=0, buffer=1, grant=0)
    rng = random.Random(9)
    dut.start.value = 1
    await FallingEdge(dut.clk)
    dut.start.value = 0
    issued, address, starting = [], None, False
    while dut.done.value == 0:
        starting = starting or dut.layer_start.value == 1
        beat = dut.beat.value.to_unsigned()
        if starting and address is not None:
            # The step to the first word of a layer.
            assert not beat & 1
            address, starting = None, False
        assert (beat & 1) == (address is not None)
        if address is not None:
            flags = dut.ending.value.to_unsigned()
            ending = Ending(*(bool(flags >> bit & 1) for bit in range(3))) if beat >> 2 else None
            issued.append((address, dut.row.value.to_unsigned(), dut.zero.value == 1, beat >> 1 & 1, beat >> 2, ending))
        granted = rng.random() < rate
        dut.grant.value = int(granted)
        await settle()
        address = dut.address.value.to_unsigned() if granted and dut.request.value == 1 else None
        await FallingEdge(dut.clk)
    expected = [(actual[0] if issue.zero else issue.address, issue.row, issue.zero, issue.first, issue.last,
                 issue.ending)
                for issue, actual in zip(issues(PLAN, 1), issued, strict=True)]
    assert issued == expected
