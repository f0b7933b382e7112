# amaranth: UnusedElaboratable=no
import random

import pytest

from gateware.engine.masked_ram import EntryRing, MaskedRam
from tests import streams


def test_a_write_takes_the_bits_of_its_mask():
    dut = MaskedRam(width=12, depth=32)
    rng = random.Random(1)
    words = [0] * 32

    async def testbench(ctx):
        ctx.set(dut.write, 1)
        held = 0
        for _ in range(300):
            read = rng.random() < 0.7
            ctx.set(dut.read, read)
            address, mask, value = rng.randrange(32), rng.getrandbits(12), rng.getrandbits(12)
            write = rng.getrandbits(1)
            reading = rng.choice([other for other in range(32) if other != address])
            ctx.set(dut.write, write)
            ctx.set(dut.write_address, address)
            ctx.set(dut.mask, mask)
            ctx.set(dut.write_data, value)
            ctx.set(dut.read_address, reading)
            await ctx.tick()
            held = words[reading] if read else held
            assert ctx.get(dut.read_data) == held
            if write:
                words[address] = words[address] & ~mask | value & mask

    streams.run(dut, testbench)


@pytest.mark.parametrize("width", [64, 60, 48, 17, 3])
def test_entries_are_written_byte_by_byte(width):
    dut = EntryRing(width=width, depth=8)
    rng = random.Random(2)
    entries = [0] * 8

    async def testbench(ctx):
        order = [(entry, place) for entry in range(8) for place in range(8)]
        for _ in range(3):
            rng.shuffle(order)
            for entry, place in order:
                value = rng.getrandbits(8)
                ctx.set(dut.write, 1)
                ctx.set(dut.write_address, entry)
                ctx.set(dut.write_mask, 1 << place)
                ctx.set(dut.write_data, value)
                await ctx.tick()
                # What comes without a write is not taken.
                ctx.set(dut.write, 0)
                ctx.set(dut.write_data, rng.getrandbits(8))
                ctx.set(dut.read, 1)
                ctx.set(dut.read_address, entry)
                await ctx.tick()
                entries[entry] = entries[entry] & ~(255 << 8 * place) | value << 8 * place
                assert ctx.get(dut.read_data) == entries[entry] % (1 << width)
                # What was read stays until the next read.
                ctx.set(dut.read, 0)
                ctx.set(dut.read_address, rng.randrange(8))
            ctx.set(dut.read, 1)
            for entry in range(8):
                ctx.set(dut.read_address, entry)
                await ctx.tick()
                assert ctx.get(dut.read_data) == entries[entry] % (1 << width)

    streams.run(dut, testbench)


def test_an_entry_has_at_most_64_bits():
    with pytest.raises(ValueError, match=r"^width of an entry must be at most 64 bits, not 65$"):
        EntryRing(width=65, depth=8)
