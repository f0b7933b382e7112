import random

import cocotb
from cocotb.triggers import FallingEdge

from gateware.engine.configuration import EngineConfig
from gateware.flash.selector import ModelSelector
from tests.flash_models import SMALL, header_of
from tests.rtl.benches.clocking import settle, start
from tests.twins.stream import choose

CONFIG = EngineConfig(lanes=2, width=4, weight_rows=16, channel_groups=8, layers=4)
BASE = 1 << 20
SEED = 0x5E1


def block():
    return ModelSelector(CONFIG, SMALL, base=BASE)


async def select(dut, number, header):
    """Choose a model; return the addresses of the reads, the info block, and the status."""
    dut.select.value, dut.number.value = 1, number
    await FallingEdge(dut.clk)
    dut.select.value = 0
    await settle()
    reads, info = [dut.address.value.to_unsigned()] if dut.start.value == 1 else [], bytearray(64)
    await FallingEdge(dut.clk)
    for place, byte in enumerate(header[:252]):
        # The place is that of the next byte from the byte before on.
        dut.place.value = place
        await FallingEdge(dut.clk)
        dut.header_write.value, dut.byte.value = 1, byte
        await settle()
        if dut.info_write.value == 1:
            info[dut.info_address.value.to_unsigned()] = byte
        await FallingEdge(dut.clk)
        dut.header_write.value = 0
    await settle()
    reads += [dut.address.value.to_unsigned()] if dut.start.value == 1 else []
    await FallingEdge(dut.clk)
    # What the loader makes of the CRC.
    dut.complete.value, dut.damaged.value = 1, int(choose(SMALL, 0, SMALL.to_bytes() + header[16:]) == 8)
    await FallingEdge(dut.clk)
    dut.complete.value = 0
    await FallingEdge(dut.clk)
    await settle()
    if dut.start.value == 1:
        reads.append(dut.address.value.to_unsigned())
    assert dut.header.value == 0
    status = dut.status.value.to_unsigned()
    await FallingEdge(dut.clk)
    return reads, bytes(info), status


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def headers_are_judged_as_by_the_twin(dut):
    await start(dut, select=0, number=0, restart=0, failed=0, byte=0, header_write=0, place=0, complete=0, damaged=0)
    assert dut.status.value.to_unsigned() == 6
    rng = random.Random(SEED)
    header = header_of(SMALL).to_bytes()
    for _ in range(40):
        number, changed = rng.randrange(20), bytearray(header)
        if rng.random() < 0.7:
            changed[rng.randrange(rng.choice([16, 256]))] ^= rng.randrange(1, 256)
        status = choose(SMALL, number, bytes(changed))
        reads, info, found = await select(dut, number, bytes(changed))
        expected = [BASE + number % 16 * 256, changed[247] << 16] + ([0x110100] if status == 0 else [])
        assert (reads, info, found) == (expected, bytes(changed[16:80]), status)
