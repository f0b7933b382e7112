import random

import cocotb

from gateware.engine.configuration import EngineConfig
from gateware.engine.weight_store import ConstantStore
from tests.rtl.benches.clocking import start, stream_through

CONFIG = EngineConfig(lanes=2, width=4, membrane_width=12, channel_groups=4)
ROWS = [random.Random(row).getrandbits(36) for row in range(8)]


def block():
    return ConstantStore(CONFIG, init=ROWS)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def constants_follow_the_address(dut):
    await start(dut, group=0, lane=0)
    rng = random.Random(6)
    rows = [rng.randrange(8) for _ in range(60)]

    def drive(row):
        dut.group.value, dut.lane.value = row >> 1, row & 1

    out = await stream_through(dut, rows, 1, drive, lambda: dut.constants.value.to_unsigned())
    assert out == [ROWS[row] for row in rows]
