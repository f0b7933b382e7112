"""The module with streams, through the stream models of cocotbext-axi: every result, in order, under any stall."""

import itertools
import random

import cocotb
from cocotb.triggers import ClockCycles
from cocotbext.axi import AxiStreamBus, AxiStreamFrame, AxiStreamSink, AxiStreamSource

from arch.link import ErrorCode
from tests.embedded_networks import expected, images, plan
from tests.rtl.benches.clocking import start

#: The answer to an image that was refused: its words, and tuser of the last one.
REFUSED = ([ErrorCode.WRONG_LENGTH], 1)


def pauses(seed, share):
    rng = random.Random(seed)
    return (rng.random() < share for _ in itertools.count())


async def connect(dut, *, send_share=0.0, take_share=0.0):
    """Reset the module, and return the models at both of its streams."""
    source = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis"), dut.clk, dut.rst)
    sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis"), dut.clk, dut.rst)
    source.set_pause_generator(pauses(1, send_share))
    sink.set_pause_generator(pauses(2, take_share))
    await start(dut)
    return source, sink


async def answer(sink):
    """Words of the next packet, and tuser of its last word."""
    frame = await sink.recv()
    data = bytes(frame.tdata)
    words = [int.from_bytes(data[byte:byte + 4], "little", signed=True) for byte in range(0, len(data), 4)]
    user = frame.tuser if isinstance(frame.tuser, int) else frame.tuser[-1]
    return words, int(user)


def same_but_for_stalls(words, wanted):
    """Whether a result is the one wanted; pixels of the next image may have cost it clocks."""
    return (words[0], words[3:]) == (wanted[0], wanted[3:]) and wanted[1] <= words[1] <= wanted[1] + 2 * words[2]


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def an_image_alone_takes_the_clocks_of_the_cycle_model(dut):
    source, sink = await connect(dut)
    for data, wanted in zip(images(), expected(), strict=True):
        await source.send(AxiStreamFrame(data))
        assert await answer(sink) == (wanted, 0)


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(send_share=[0.0, 0.7], take_share=[0.0, 0.9])
async def results_come_in_order_under_any_stall(dut, send_share, take_share):
    source, sink = await connect(dut, send_share=send_share, take_share=take_share)
    for _ in range(2):
        for data in images():
            await source.send(AxiStreamFrame(data))
    for wanted in expected() * 2:
        words, user = await answer(sink)
        assert user == 0
        assert same_but_for_stalls(words, wanted), (words, wanted)


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def an_image_of_another_length_is_refused_in_its_turn(dut):
    source, sink = await connect(dut, send_share=0.2, take_share=0.2)
    data, size = images(), len(images()[0])
    lengths = [size, 1, size, size - 1, size + 1, size, 2 * size, 3 * size + 1, size, size]
    for index, length in enumerate(lengths):
        await source.send(AxiStreamFrame((data[index % 4] * 4)[:length]))
    for index, length in enumerate(lengths):
        words, user = await answer(sink)
        if length == size:
            assert user == 0, index
            assert same_but_for_stalls(words, expected()[index % 4]), index
        else:
            assert (words, user) == REFUSED, index


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def a_reset_in_the_middle_of_everything_starts_over(dut):
    source, sink = await connect(dut)
    for data in images():
        source.send_nowait(AxiStreamFrame(data))
    await ClockCycles(dut.clk, plan().config.spike_words + 300)
    dut.rst.value = 1
    await ClockCycles(dut.clk, 3)
    source.clear()
    sink.clear()
    dut.rst.value = 0
    await ClockCycles(dut.clk, 3)
    sink.clear()
    await source.send(AxiStreamFrame(images()[3]))
    assert await answer(sink) == (expected()[3], 0)
