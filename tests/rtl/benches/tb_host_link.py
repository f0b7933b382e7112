"""The host link with models to select: a choice, an image, and an error in place of a result."""

import cocotb
from cocotb.triggers import FallingEdge

from arch.link import INFO_REPLY_BYTES, RESULT_HEADER_WORDS, Command, ErrorCode, Frame, FrameReader, InfoReply, Reply
from gateware.link.host_link import HostLink
from tests.link_board import make_info
from tests.rtl.benches.clocking import start
from tests.rtl.benches.tb_system import DIVISOR, receive, send

BEFORE = make_info(height=2, width=2, classes=2)
AFTER = make_info(height=2, width=2, classes=1, clock_khz=1234, name="another")


def block():
    return HostLink(divisor=DIVISOR, info=BEFORE.to_bytes(), timeout_bits=256, selectable=True)


async def select(dut, status):
    """Answer a choice: write the info block of the model, a byte per clock; return its number."""
    while dut.select.value == 0:
        await FallingEdge(dut.clk)
    number = dut.model.value.to_unsigned()
    await FallingEdge(dut.clk)
    dut.selected.value = 0
    dut.info_write.value = 1
    for index, byte in enumerate(AFTER.to_bytes()):
        dut.info_index.value, dut.info_data.value = index, byte
        await FallingEdge(dut.clk)
    dut.info_write.value = 0
    dut.status.value, dut.selected.value = status, 1
    return number


async def give(dut, words):
    """Hand over the words of the next image's result, each with its flag ``error``."""
    while dut.commit.value == 0:
        await FallingEdge(dut.clk)
    for index, (word, error) in enumerate(words):
        dut.i_words__payload.value = word | (index == len(words) - 1) << 32 | error << 33
        dut.i_words__valid.value = 1
        # What the clock edge between two falling ones sees is what the first of them saw.
        while True:
            taken = dut.i_words__ready.value == 1
            await FallingEdge(dut.clk)
            if taken:
                break
        dut.i_words__valid.value = 0


async def ask(dut, frame, size):
    """Send a frame and return the one that comes back, with ``size`` bytes of payload."""
    answer = cocotb.start_soon(receive(dut, 7 + size))
    await send(dut, frame.to_bytes())
    (reply,) = FrameReader().feed(await answer)
    return reply


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def models_are_selected_and_results_may_be_errors(dut):
    await start(dut, rx=1, accept=1, image_bytes=4, result_words=RESULT_HEADER_WORDS + 1, o_pixels__ready=1,
                i_words__valid=0, i_words__payload=0, selected=1, status=0, info_write=0, info_index=0, info_data=0)
    assert await ask(dut, Frame(command=Command.INFO, tag=1), INFO_REPLY_BYTES) == Frame(
        command=Reply.INFO, tag=1, payload=InfoReply(info=BEFORE).to_bytes())
    for status, tag in ((ErrorCode.WRONG_MODEL, 0x80), (0, 0x81)):
        chosen = cocotb.start_soon(select(dut, status))
        reply = await ask(dut, Frame(command=Command.SELECT, tag=tag, payload=bytes((tag,))),
                          1 if status else INFO_REPLY_BYTES)
        assert await chosen == tag
        payload = bytes((status,)) if status else InfoReply(info=AFTER).to_bytes()
        assert reply == Frame(command=Reply.ERROR if status else Reply.INFO, tag=tag, payload=payload)
    image = Frame(command=Command.CLASSIFY, tag=7, payload=bytes((1, 2, 3, 4)))
    words = [(0xA5000000 + index, 0) for index in range(RESULT_HEADER_WORDS + 1)]
    results = cocotb.start_soon(give(dut, words))
    assert await ask(dut, image, 4 * len(words)) == Frame(
        command=Reply.RESULT, tag=7, payload=b"".join(word.to_bytes(4, "little") for word, _ in words))
    await results
    results = cocotb.start_soon(give(dut, [(0xFFFFFF00 | ErrorCode.DAMAGED, 1)]))
    assert await ask(dut, image, 1) == Frame(command=Reply.ERROR, tag=7, payload=bytes((ErrorCode.DAMAGED,)))
    await results
