import random

import cocotb
from cocotb.triggers import FallingEdge

from gateware.engine.weight_ring import WeightRing
from tests.circuits import streamed_circuit
from tests.rtl.benches.clocking import start
from tests.twins.blocks import pack_weights
from tests.twins.streamed_blocks import row_weights, row_writes

#: Seven banks would be one set and two beyond it; eight are one and three.
CONFIG = streamed_circuit(lanes=4, width=16, timesteps=4)
CODES = {0: 0, 1: 1, -1: 3}


def block():
    return WeightRing(CONFIG)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def rows_are_read_as_they_were_written(dut):
    await start(dut, row=0, write_row=0, banks=0, mask=0, write_weights=0)
    rng = random.Random(3)
    rows = [[rng.choice((-1, 0, 1)) for _ in range(64)] for _ in range(CONFIG.weight_rows)]
    for row, weights in enumerate(rows):
        for write in row_writes(CONFIG, row, weights):
            dut.write_row.value = write.row
            dut.banks.value = sum(1 << bank for bank in write.weights)
            dut.mask.value = sum(mask << 8 * bank for bank, mask in write.mask.items())
            dut.write_weights.value = sum(CODES[weight] << 16 * bank + 2 * place
                                          for bank, values in write.weights.items()
                                          for place, weight in enumerate(values))
            await FallingEdge(dut.clk)
    dut.banks.value = 0
    for row, weights in enumerate(rows):
        dut.row.value = row
        await FallingEdge(dut.clk)
        assert dut.weights.value.to_unsigned() == sum(pack_weights(values) << 32 * lane for lane, values
                                                      in enumerate(row_weights(CONFIG, weights)))
