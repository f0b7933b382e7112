import random

import cocotb
from cocotb.triggers import FallingEdge

from arch.flash.stream import pack_stream
from gateware.engine.configuration import EngineConfig
from gateware.flash.loader import StreamLoader
from tests.flash_models import circuit_of, random_section
from tests.rtl.benches.clocking import settle, start
from tests.twins.stream import EntryWrite, StreamTwin, row_write_of

CONFIG = EngineConfig(lanes=4, width=8, weight_rows=16, channel_groups=8, layers=4)
CIRCUIT = circuit_of(4, 8, ring_rows=16)
SEED = 0x10AD


def block():
    return StreamLoader(CONFIG)


def stream():
    rng = random.Random(SEED)
    return pack_stream([random_section(rng, CIRCUIT, 2, 3), random_section(rng, CIRCUIT, 1, 2)], CIRCUIT)


def write_of(dut):
    """The write of this clock, if there is one."""
    byte, place = dut.byte.value.to_unsigned(), dut.entry_mask.value.to_unsigned().bit_length() - 1
    if dut.program_write.value == 1:
        return EntryWrite("program", dut.program_address.value.to_unsigned(), place, byte)
    if dut.constants_write.value == 1:
        entry = dut.constants_group.value.to_unsigned() * CONFIG.lanes + dut.constants_lane.value.to_unsigned()
        return EntryWrite("constants", entry, place, byte)
    if dut.row_banks.value == 0:
        return None
    return row_write_of(*(getattr(dut, name).value.to_unsigned()
                          for name in ("row", "row_banks", "row_mask", "row_weights")))


async def send(dut, data, rng):
    """Send bytes; return the writes and the strobes that they cause."""
    writes, strobes = [], []
    dut.start.value = 1
    await FallingEdge(dut.clk)
    dut.start.value = 0
    for byte in [*data, None, None, None]:
        dut.valid.value = int(byte is not None)
        dut.byte.value = byte or 0
        for clock in range(rng.randrange(2, 5)):
            await settle()
            writes += [write_of(dut)] if clock == 0 and write_of(dut) else []
            now = [name for name in ("layer", "row") if getattr(dut, f"{name}_written").value == 1]
            now += ["complete"] if dut.complete.value == 1 else []
            strobes += now
            # What is written is given back at once; a group with its last row would be too, but nothing fills here.
            dut.release_layer.value = int("layer" in now)
            dut.release_row.value = int("row" in now)
            await FallingEdge(dut.clk)
            dut.valid.value = 0
    return writes, strobes


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def every_byte_goes_where_the_twin_says(dut):
    await start(dut, start=0, header=0, valid=0, byte=0, release_layer=0, release_group=0, release_row=0)
    data = stream()
    writes, strobes = await send(dut, data, random.Random(SEED))
    events = list(StreamTwin(CIRCUIT).read(data))
    assert writes == [event for event in events if not isinstance(event, str)]
    assert [name for name in strobes if name != "complete"] == [event for event in events if event in ("layer", "row")]
    assert strobes.count("complete") == 1
    assert dut.damaged.value == 0


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def a_damaged_stream_is_told(dut):
    await start(dut, start=0, header=0, valid=0, byte=0, release_layer=0, release_group=0, release_row=0)
    data = bytearray(stream())
    data[40] ^= 0x20
    _, strobes = await send(dut, data, random.Random(SEED))
    assert strobes.count("complete") == 1
    assert strobes.count("row") == 2 * 3 - 1 + 2 - 1
    assert dut.damaged.value == 1
