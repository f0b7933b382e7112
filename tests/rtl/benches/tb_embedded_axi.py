"""The module with streams and AXI4-Lite registers, through the models of cocotbext-axi."""

import struct

import cocotb
from cocotb.triggers import ClockCycles
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiResp, AxiStreamFrame

from arch.link import Info
from arch.registers import CONTROL_BITS, REGISTERS, SCORES_OFFSET, STATUS_BITS, aperture_bytes
from gateware.mapper.info import info_of
from tests.embedded_networks import expected, images, plan
from tests.rtl.benches.tb_embedded_stream import REFUSED, answer, connect, pauses

OFFSET = {register.name: register.offset for register in REGISTERS}
STATUS = {bit.name: bit.mask for bit in STATUS_BITS}
CONTROL = {bit.name: bit.mask for bit in CONTROL_BITS}
#: Clock that the test's module tells, in Hz.
CLOCK_HZ = 25e6


async def connect_all(dut, share=0.0):
    """Reset the module, and return the models at its streams and its bus."""
    master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk, dut.rst)
    write, read = master.write_if, master.read_if
    for seed, channel in enumerate((write.aw_channel, write.w_channel, write.b_channel, read.ar_channel,
                                    read.r_channel)):
        channel.set_pause_generator(pauses(10 + seed, share))
    source, sink = await connect(dut)
    return source, sink, master


async def status(master):
    return await master.read_dword(OFFSET["STATUS"])


async def until(master, mask):
    """Read STATUS until a bit of the mask is set."""
    while not (value := await status(master)) & mask:
        pass
    return value


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(share=[0.0, 0.6])
async def registers_show_the_last_result(dut, share):
    source, sink, master = await connect_all(dut, share)
    await until(master, STATUS["READY"])
    for index, (data, wanted) in enumerate(zip(images(), expected(), strict=True)):
        assert (await status(master), dut.irq.value) == (STATUS["READY"], 0)
        await source.send(AxiStreamFrame(data))
        assert await answer(sink) == (wanted, 0)
        assert await until(master, STATUS["RESULT"]) == STATUS["READY"] | STATUS["RESULT"]
        assert dut.irq.value == 1
        shown = [await master.read_dword(OFFSET[name]) for name in ("CLASS", "CYCLES", "STALLS", "IMAGES", "REFUSED")]
        assert shown == [*wanted[:3], index + 1, 0]
        scores = (await master.read(SCORES_OFFSET, 4 * plan().network.classes)).data
        assert list(struct.unpack(f"<{plan().network.classes}i", scores)) == wanted[4:]
        await master.write_dword(OFFSET["CONTROL"], CONTROL["TAKE"])


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def the_module_says_what_it_is(dut):
    _, _, master = await connect_all(dut)
    info = info_of(plan(), clock_hz=CLOCK_HZ)
    assert Info.from_bytes((await master.read(0, 64)).data) == info
    shown = [await master.read_dword(OFFSET[name]) for name in ("VERSION", "IMAGE_BYTES", "CLASSES")]
    assert shown == [0x10000, info.image_bytes, info.classes]
    # What is nothing reads as zero, scores of classes that there are not included.
    places = [OFFSET["CONTROL"], OFFSET["PIXELS"], OFFSET["PIXELS_LAST"], 0x70, 0xFC]
    places += range(SCORES_OFFSET + 4 * info.classes, aperture_bytes(info.classes), 4)
    assert [await master.read_dword(place) for place in places] == [0] * len(places)


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def a_refused_image_is_told_until_cleared(dut):
    source, sink, master = await connect_all(dut)
    await source.send(AxiStreamFrame(images()[0][:-1]))
    assert await answer(sink) == REFUSED
    assert await until(master, STATUS["LENGTH"]) & (STATUS["LENGTH"] | STATUS["RESULT"]) == STATUS["LENGTH"]
    assert dut.irq.value == 1
    await master.write_dword(OFFSET["CONTROL"], CONTROL["TAKE"])
    assert await status(master) & STATUS["LENGTH"]
    await master.write_dword(OFFSET["CONTROL"], CONTROL["CLEAR"])
    assert await status(master) == STATUS["READY"]
    assert dut.irq.value == 0
    assert [await master.read_dword(OFFSET[name]) for name in ("IMAGES", "REFUSED")] == [0, 1]
    await source.send(AxiStreamFrame(images()[1]))
    assert await answer(sink) == (expected()[1], 0)


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def only_control_can_be_written(dut):
    _, _, master = await connect_all(dut)
    for place in (0, OFFSET["STATUS"], OFFSET["PIXELS"], OFFSET["PIXELS_LAST"], SCORES_OFFSET):
        assert (await master.write(place, bytes(4))).resp == AxiResp.SLVERR, place
    assert (await master.write(OFFSET["CONTROL"], bytes(4))).resp == AxiResp.OKAY
    # Without byte 0, nothing of it is written.
    assert (await master.write(OFFSET["CONTROL"] + 1, bytes(3))).resp == AxiResp.SLVERR


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def reads_and_writes_that_wait_take_turns(dut):
    _, _, master = await connect_all(dut)
    writes = [master.init_write(OFFSET["CONTROL"], bytes(4)) for _ in range(20)]
    reads = [master.init_read(OFFSET["CLASSES"], 4) for _ in range(20)]
    await ClockCycles(dut.clk, 10 * 8 + 10)
    assert 8 <= sum(each.is_set() for each in writes) < 20
    assert 8 <= sum(each.is_set() for each in reads) < 20
    for each in (*writes, *reads):
        await each.wait()
    assert all(each.data.resp == AxiResp.OKAY for each in (*writes, *reads))
