# amaranth: UnusedElaboratable=no
"""Both buses, with a model of the registers: every access reaches the right word, in the clocks of the data sheets."""

import random

import pytest
from amaranth.sim import Simulator

from arch.registers import aperture_bytes
from gateware.embedded.axi_lite import OKAY, SLVERR, AxiLite
from gateware.embedded.wishbone import Wishbone

CLASSES = 10
WORDS = aperture_bytes(CLASSES) // 4


class Registers:
    """Words in a memory. A write waits for ``stall`` clocks, and is refused if its address ends in binary 11."""

    def __init__(self, rng, stall):
        self.words = [rng.getrandbits(32) for _ in range(WORDS)]
        self.stall = stall
        self.written = []

    async def __call__(self, ctx, bus):
        waited, before = 0, 0
        while True:
            await ctx.delay(1e-9)
            address = ctx.get(bus.address)
            done = ctx.get(bus.write) and waited >= self.stall
            ctx.set(bus.done, done)
            ctx.set(bus.refused, address % 4 == 3)
            write = (address, ctx.get(bus.strobe), ctx.get(bus.write_data))
            waited = waited + 1 if ctx.get(bus.write) and not done else 0
            if done and address % 4 != 3:
                self.written.append(write)
            await ctx.tick()
            ctx.set(bus.read_data, self.words[before])
            before = address


#: Clocks within which every bus answers.
DEADLINE = 1000


async def cycles_until(ctx, signal):
    """Clocks until a signal is high, that one counted."""
    for count in range(1, DEADLINE + 1):
        if ctx.get(signal):
            return count
        await ctx.tick()
        await ctx.delay(2e-9)
    raise AssertionError(f"the signal must be high within {DEADLINE} clocks, and is not")


async def axi_write(ctx, bus, address, strobe, value):
    ctx.set(bus.awaddr, address * 4)
    ctx.set(bus.wdata, value)
    ctx.set(bus.wstrb, strobe)
    ctx.set(bus.awvalid, 1)
    ctx.set(bus.wvalid, 1)
    await ctx.delay(2e-9)
    count = await cycles_until(ctx, bus.awready)
    assert ctx.get(bus.wready)
    await ctx.tick()
    ctx.set(bus.awvalid, 0)
    ctx.set(bus.wvalid, 0)
    await ctx.delay(2e-9)
    count += await cycles_until(ctx, bus.bvalid)
    response = ctx.get(bus.bresp)
    ctx.set(bus.bready, 1)
    await ctx.tick()
    ctx.set(bus.bready, 0)
    assert response in (OKAY, SLVERR)
    return response == OKAY, count


async def axi_read(ctx, bus, address):
    # The lower two bits of an address are ignored.
    ctx.set(bus.araddr, address * 4 + address % 4)
    ctx.set(bus.arvalid, 1)
    await ctx.delay(2e-9)
    count = await cycles_until(ctx, bus.arready)
    await ctx.tick()
    ctx.set(bus.arvalid, 0)
    await ctx.delay(2e-9)
    count += await cycles_until(ctx, bus.rvalid)
    assert ctx.get(bus.rresp) == OKAY
    value = ctx.get(bus.rdata)
    ctx.set(bus.rready, 1)
    await ctx.tick()
    ctx.set(bus.rready, 0)
    return value, count


async def wishbone_access(ctx, bus, address, strobe=15, value=None):
    ctx.set(bus.adr, address)
    ctx.set(bus.sel, strobe)
    ctx.set(bus.we, value is not None)
    ctx.set(bus.dat_w, value or 0)
    ctx.set(bus.cyc, 1)
    ctx.set(bus.stb, 1)
    await ctx.delay(2e-9)
    count = 1
    while not (ctx.get(bus.ack) or ctx.get(bus.err)):
        await ctx.tick()
        await ctx.delay(2e-9)
        count += 1
    assert ctx.get(bus.ack) != ctx.get(bus.err)
    good, read = ctx.get(bus.ack), ctx.get(bus.dat_r)
    await ctx.tick()
    ctx.set(bus.cyc, 0)
    ctx.set(bus.stb, 0)
    return bool(good), read, count


async def wishbone_write(ctx, bus, address, strobe, value):
    good, _, count = await wishbone_access(ctx, bus, address, strobe, value)
    return good, count


async def wishbone_read(ctx, bus, address):
    good, value, count = await wishbone_access(ctx, bus, address)
    assert good
    return value, count


BUSES = {
    "axi": (AxiLite, lambda dut: dut.axi, axi_write, axi_read, 3, 5),
    "wishbone": (Wishbone, lambda dut: dut.wishbone, wishbone_write, wishbone_read, 2, 4),
}


@pytest.mark.parametrize("stall", [0, 3])
@pytest.mark.parametrize("name", BUSES)
def test_accesses_reach_their_words(name, stall):
    component, bus_of, write, read, write_cycles, read_cycles = BUSES[name]
    dut = component(CLASSES)
    rng = random.Random(f"{name} {stall}")
    registers = Registers(rng, stall)
    wanted = []

    async def master(ctx):
        for _ in range(300):
            address = rng.randrange(WORDS)
            if rng.random() < 0.5:
                strobe, value = rng.getrandbits(4), rng.getrandbits(32)
                good, count = await write(ctx, bus_of(dut), address, strobe, value)
                assert good == (address % 4 != 3)
                assert count == write_cycles + stall
                if good:
                    wanted.append((address, strobe, value))
            else:
                value, count = await read(ctx, bus_of(dut), address)
                assert value == registers.words[address]
                assert count == read_cycles
            for _ in range(rng.choice((0, 0, 1, 2))):
                await ctx.tick()

    async def slave(ctx):
        await registers(ctx, dut.registers)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(master)
    simulator.add_testbench(slave, background=True)
    simulator.run()
    assert registers.written == wanted


def test_addresses_have_the_bits_of_the_aperture():
    axi, wishbone = AxiLite(CLASSES).axi, Wishbone(CLASSES).wishbone
    assert 1 << len(axi.awaddr) == 1 << len(axi.araddr) == aperture_bytes(CLASSES)
    assert 1 << len(wishbone.adr) == WORDS
