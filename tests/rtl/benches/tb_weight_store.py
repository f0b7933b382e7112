import random

import cocotb

from gateware.engine.configuration import EngineConfig
from gateware.engine.weight_store import WeightStore
from tests.rtl.benches.clocking import start, stream_through

CONFIG = EngineConfig(lanes=2, width=4, weight_rows=16)
ROWS = [[random.Random(lane).getrandbits(8) for _ in range(16)] for lane in range(2)]


def block():
    return WeightStore(CONFIG, init=ROWS)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def weights_follow_the_row(dut):
    await start(dut, row=0)
    rng = random.Random(5)
    rows = [rng.randrange(16) for _ in range(60)]

    def drive(row):
        dut.row.value = row

    out = await stream_through(dut, rows, 1, drive, lambda: dut.weights.value.to_unsigned())
    assert out == [ROWS[0][row] | ROWS[1][row] << 8 for row in rows]
