"""The module behind Wishbone registers, through the master of cocotbext-wishbone."""

import cocotb
from cocotb.triggers import ClockCycles
from cocotbext.wishbone.driver import WBOp, WishboneMaster

from arch.link import Info
from arch.registers import CONTROL_BITS, REGISTERS, SCORES_OFFSET, STATUS_BITS
from gateware.mapper.info import info_of
from tests.embedded_networks import expected, images, plan
from tests.rtl.benches.clocking import start

WORD = {register.name: register.offset // 4 for register in REGISTERS}
STATUS = {bit.name: bit.mask for bit in STATUS_BITS}
CONTROL = {bit.name: bit.mask for bit in CONTROL_BITS}
ENDED = STATUS["RESULT"] | STATUS["LENGTH"] | STATUS["EARLY"]
#: Clock that the test's module tells, in Hz.
CLOCK_HZ = 25e6
#: How an access ends.
ACK, ERR = 1, 2
#: Clocks in which every access must end: four bytes of pixels that wait for the memory included.
PATIENCE = 500


class Bus:
    """Accesses of a processor, one after the other."""

    def __init__(self, dut):
        self.master = WishboneMaster(
            dut, "wb", dut.clk, width=32, timeout=PATIENCE,
            signals_dict={"cyc": "cyc", "stb": "stb", "we": "we", "adr": "adr", "sel": "sel", "datwr": "dat_w",
                          "datrd": "dat_r", "ack": "ack", "err": "err"})

    async def access(self, word, value=None, sel=0xF):
        """Read a word, or write it; return what was read, and how it ended."""
        (result,) = await self.master.send_cycle([WBOp(adr=word, dat=value, sel=sel, acktimeout=PATIENCE)])
        return result.datrd.to_unsigned() if value is None else None, result.ack

    async def read(self, word):
        value, ended = await self.access(word)
        assert ended == ACK
        return value

    async def write(self, word, value):
        assert (await self.access(word, value))[1] == ACK

    async def status(self):
        return await self.read(WORD["STATUS"])

    async def until(self, mask):
        while not (value := await self.status()) & mask:
            pass
        return value

    async def send(self, data, words=None):
        """Write an image, or ``words`` words of it."""
        parts = [data[byte:byte + 4].ljust(4, b"\0") for byte in range(0, len(data), 4)][:words]
        for index, part in enumerate(parts):
            last = index == len(parts) - 1
            await self.write(WORD["PIXELS_LAST" if last else "PIXELS"], int.from_bytes(part, "little"))

    async def result(self):
        """Words of the result, as the streams have them."""
        header = [await self.read(WORD[name]) for name in ("CLASS", "CYCLES", "STALLS")]
        scores = [await self.read(SCORES_OFFSET // 4 + index) for index in range(plan().network.classes)]
        return [*header, 0, *(score - (score >> 31 << 32) for score in scores)]


async def connect(dut):
    """Reset the module; return its bus, ready for an image."""
    await start(dut, wb_cyc=0, wb_stb=0, wb_we=0, wb_adr=0, wb_dat_w=0)
    # Behind that: the master deposits the same values, which in Icarus do not reach the modules below.
    bus = Bus(dut)
    await bus.until(STATUS["READY"])
    return bus


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def an_image_is_classified_by_the_steps_of_the_page(dut):
    bus = await connect(dut)
    for index, (data, wanted) in enumerate(zip(images(), expected(), strict=True)):
        assert (await bus.status(), dut.irq.value) == (STATUS["READY"], 0)
        await bus.send(data)
        assert await bus.until(ENDED) & ENDED == STATUS["RESULT"]
        assert dut.irq.value == 1
        assert await bus.result() == wanted
        assert [await bus.read(WORD["IMAGES"]), await bus.read(WORD["REFUSED"])] == [index + 1, 0]
        await bus.write(WORD["CONTROL"], CONTROL["TAKE"])


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def results_wait_until_they_are_taken(dut):
    bus = await connect(dut)
    sent = 0
    for wanted in expected():
        # As many images as there is room for: one is computed, or its result waits, and one is stored.
        while sent < 4 and await bus.status() & STATUS["READY"]:
            await bus.send(images()[sent])
            await ClockCycles(dut.clk, 400)
            sent += 1
        await bus.until(STATUS["RESULT"])
        await ClockCycles(dut.clk, 2000)
        words = await bus.result()
        assert (words[0], words[3:]) == (wanted[0], wanted[3:])
        await bus.write(WORD["CONTROL"], CONTROL["TAKE"])
        assert not await bus.status() & STATUS["RESULT"]
    assert await bus.read(WORD["IMAGES"]) == sent == 4


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def an_image_of_another_length_is_refused(dut):
    bus = await connect(dut)
    data = images()
    refused = 0
    # Words count: that bytes of the last one are not there cannot be seen.
    for wrong in (data[0][:1], data[0][:-4], data[0] + bytes(4), data[0] * 2):
        await bus.send(wrong)
        assert await bus.until(ENDED) & ENDED == STATUS["LENGTH"]
        refused += 1
        await bus.write(WORD["CONTROL"], CONTROL["CLEAR"])
        await bus.until(STATUS["READY"])
        assert [await bus.read(WORD["IMAGES"]), await bus.read(WORD["REFUSED"])] == [refused - 1, refused]
        await bus.send(data[refused % 4])
        await bus.until(STATUS["RESULT"])
        assert await bus.result() == expected()[refused % 4]
        await bus.write(WORD["CONTROL"], CONTROL["TAKE"])


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def an_image_too_early_is_refused_and_the_bus_never_hangs(dut):
    bus = await connect(dut)
    data = images()
    sent = 0
    while await bus.status() & STATUS["READY"]:
        await bus.send(data[sent])
        await ClockCycles(dut.clk, 2500)
        sent += 1
    # One result is shown, one waits behind it, and each of the two buffers has an image.
    assert sent == 4
    assert await bus.status() == STATUS["RESULT"]
    await bus.send(data[0])
    assert await bus.until(STATUS["EARLY"]) == STATUS["RESULT"] | STATUS["EARLY"]
    await bus.write(WORD["CONTROL"], CONTROL["CLEAR"])
    for wanted in expected():
        await bus.until(STATUS["RESULT"])
        assert await bus.result() == wanted
        await bus.write(WORD["CONTROL"], CONTROL["TAKE"])
    assert [await bus.read(WORD["IMAGES"]), await bus.read(WORD["REFUSED"])] == [4, 1]


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def the_module_says_what_it_is(dut):
    bus = await connect(dut)
    block = b"".join([(await bus.read(word)).to_bytes(4, "little") for word in range(16)])
    assert Info.from_bytes(block) == info_of(plan(), clock_hz=CLOCK_HZ)


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def a_write_that_has_no_place_ends_with_an_error(dut):
    bus = await connect(dut)
    for word in (0, WORD["STATUS"], SCORES_OFFSET // 4):
        assert (await bus.access(word, 0))[1] == ERR, word
    for word in (WORD["PIXELS"], WORD["PIXELS_LAST"]):
        assert (await bus.access(word, 0, sel=0x7))[1] == ERR, word
    assert (await bus.access(WORD["CONTROL"], 0, sel=0x2))[1] == ERR
    assert (await bus.access(WORD["CONTROL"], 0, sel=0x1))[1] == ACK
    assert await bus.status() == STATUS["READY"]
