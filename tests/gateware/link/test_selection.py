# amaranth: UnusedElaboratable=no
"""HostLink with models to select: SELECT, its answers, and what comes while a scripted selector chooses."""

import pytest

from arch.link import INFO_BYTES, Command, ErrorCode, Frame, Reply
from gateware.link.host_link import HostLink
from tests import streams
from tests.gateware.link.test_host_link import (
    ASK_INFO,
    INFO,
    INFO_REPLY,
    Bench,
    classify,
    error_frame,
    make_images,
    make_words,
    result_frame,
    send_all,
)
from tests.link_board import make_info

#: Info blocks of the models that the selector finds; the size of an image is the same.
MODELS = {number: make_info(classes=number + 1, clock_khz=1000 + number, name=f"model {number}").to_bytes()
          for number in (0, 2, 255)}


class SelectableBench(Bench):
    """A HostLink that has models to select.

    ``choosing`` clocks pass until a choice is settled; the info block is written in the last of them, a byte per clock.
    A number that is not in :data:`MODELS` has the status ``failure``.
    """

    def __init__(self, *, choosing=100, failure=ErrorCode.NO_MODEL, status=0):
        super().__init__()
        self.dut = HostLink(divisor=self.divisor, info=INFO.to_bytes(), timeout_bits=256, selectable=True)
        self.choosing, self.failure, self.status = choosing, failure, status
        #: Numbers of the models that were chosen.
        self.chosen = []

    def run(self, host, **options):
        """Run the host with a selector beside it."""
        return super().run(host, beside=self._select, **options)

    async def _select(self, ctx, clocks):
        dut = self.dut
        ctx.set(dut.selected, 1)
        ctx.set(dut.status, self.status)
        left = 0
        for _ in range(clocks):
            strobe, number = ctx.get(dut.select), ctx.get(dut.model)
            await ctx.tick()
            if strobe:
                assert not left, "a model is chosen while another one is"
                self.chosen.append(number)
                left = self.choosing
                ctx.set(dut.selected, 0)
                # What the status is meanwhile means nothing.
                ctx.set(dut.status, 15)
                continue
            left = max(0, left - 1)
            found = self.chosen and self.chosen[-1] in MODELS
            writing = bool(found and 0 < left <= INFO_BYTES)
            ctx.set(dut.info_write, writing)
            if writing:
                ctx.set(dut.info_index, INFO_BYTES - left)
                ctx.set(dut.info_data, MODELS[self.chosen[-1]][INFO_BYTES - left])
            if self.chosen and not left:
                ctx.set(dut.selected, 1)
                ctx.set(dut.status, 0 if found else self.failure)


def select(number, tag=0x40):
    return Frame(command=Command.SELECT, tag=tag, payload=bytes((number,))).to_bytes()


def info_frame(number, tag=0x40):
    return Frame(command=Reply.INFO, tag=tag, payload=MODELS[number] + bytes(4))


@pytest.mark.parametrize(("number", "choosing"), [(0, 500), (2, INFO_BYTES + 1), (255, INFO_BYTES + 1)])
def test_select_is_answered_with_the_info_block_of_the_model(number, choosing):
    (image,) = make_images(1)

    async def host(ctx, bench):
        await bench.send(ctx, select(number))
        await ctx.tick().repeat(choosing + 3100)
        await bench.send(ctx, ASK_INFO)
        await bench.send(ctx, classify(image, 5))

    bench = SelectableBench(choosing=choosing).run(host, results=[make_words(1)], clocks=10_000 + choosing)
    assert bench.chosen == [number]
    assert bench.frames == [info_frame(number), info_frame(number, 9), result_frame(make_words(1), 5)]


@pytest.mark.parametrize("code", [ErrorCode.WRONG_MODEL, ErrorCode.FLASH])
def test_without_a_model_every_request_has_the_code_that_says_why(code):
    (image,) = make_images(1)

    async def host(ctx, bench):
        for frame in (select(7, 0x41), ASK_INFO, classify(image, 0x42), classify(image + b"\x00", 0x43),
                      Frame(command=Command.INFO, tag=0x44, payload=b"\x00").to_bytes(), select(2, 0x45)):
            await bench.send(ctx, frame)
            await ctx.tick().repeat(400)
        await ctx.tick().repeat(1300)
        await bench.send(ctx, classify(image, 0x46))

    bench = SelectableBench(failure=code).run(host, results=[make_words(1)], clocks=12_500)
    assert bench.chosen == [7, 2]
    assert bench.frames == [error_frame(code, 0x41), error_frame(code, 9), error_frame(code, 0x42),
                            error_frame(code, 0x43), error_frame(ErrorCode.WRONG_LENGTH, 0x44), info_frame(2, 0x45),
                            result_frame(make_words(1), 0x46)]
    assert [name for name, _ in bench.strobes] == ["begin", "commit"]
    assert bytes(bench.pixels) == image


def test_before_any_select_the_status_is_the_answer_too():
    bench = SelectableBench(status=ErrorCode.FLASH).run(send_all(ASK_INFO), clocks=1500)
    assert bench.frames == [error_frame(ErrorCode.FLASH, 9)]
    bench = SelectableBench().run(send_all(ASK_INFO), clocks=4500)
    assert bench.frames == [INFO_REPLY]


@pytest.mark.parametrize("images", [1, 3])
def test_select_is_busy_until_every_result_was_sent(images):
    """The last reply is on the line when the first SELECT comes."""
    payloads = make_images(images)

    async def host(ctx, bench):
        for number, payload in enumerate(payloads):
            await bench.send(ctx, classify(payload, number))
        await bench.send(ctx, select(0, 0x50))
        await ctx.tick().repeat(images * 1600)
        await bench.send(ctx, select(0, 0x51))

    words = [make_words(number) for number in range(images)]
    bench = SelectableBench().run(host, results=words, gap=40, clocks=4500 + 2800 * images)
    assert bench.chosen == [0]
    results = [result_frame(words[number], number) for number in range(images)]
    assert [frame for frame in bench.frames if frame.command == Reply.RESULT] == results
    assert [frame for frame in bench.frames if frame.command != Reply.RESULT] == [
        error_frame(ErrorCode.BUSY, 0x50), info_frame(0, 0x51)]
    assert bench.frames[-1].command == Reply.INFO


@pytest.mark.parametrize(("frame", "code"), [
    (Frame(command=Command.SELECT, tag=6).to_bytes(), ErrorCode.WRONG_LENGTH),
    (Frame(command=Command.SELECT, tag=6, payload=b"\x00\x00").to_bytes(), ErrorCode.WRONG_LENGTH),
    (Frame(command=Command.SELECT, tag=6, payload=bytes(256)).to_bytes(), ErrorCode.WRONG_LENGTH),
    (Frame(command=Command.SELECT, tag=6, payload=bytes(257)).to_bytes(), ErrorCode.WRONG_LENGTH),
    (Frame(command=4, tag=6, payload=b"\x00").to_bytes(), ErrorCode.UNKNOWN_COMMAND),
    (select(0, 6)[:-1] + b"\x00", ErrorCode.BAD_CRC),
])
def test_a_select_that_is_not_right_chooses_nothing(frame, code):
    async def host(ctx, bench):
        await bench.send(ctx, frame)
        await ctx.tick().repeat(600)
        await bench.send(ctx, ASK_INFO)

    bench = SelectableBench().run(host, clocks=5500 + 40 * len(frame))
    assert bench.chosen == []
    told = INFO.to_bytes() + bytes((code == ErrorCode.BAD_CRC, 0, 0, 0))
    assert bench.frames == [error_frame(code, 6), Frame(command=Reply.INFO, tag=9, payload=told)]


def test_a_select_whose_reply_would_be_dropped_chooses_nothing():
    """Its tag has no place while the reply before it is on the line."""
    bench = SelectableBench().run(send_all(ASK_INFO, select(0)), clocks=4500)
    assert bench.chosen == []
    assert bench.frames == [INFO_REPLY]


@pytest.mark.parametrize("choosing", [392, 398, 404, 416, 428, 440, 452, 462])
def test_frames_that_come_while_a_model_is_chosen_do_no_harm(choosing):
    """Their tags, which come at any clock of the info block, do not take its place in the memory."""
    (image,) = make_images(1)

    async def host(ctx, bench):
        await bench.send(ctx, select(2))
        # The tag of the second of these frames comes 394 to 398 clocks after the strobe.
        await bench.send(ctx, Frame(command=Command.INFO, tag=0x61).to_bytes())
        await bench.send(ctx, Frame(command=Command.INFO, tag=0x62).to_bytes())
        await ctx.tick().repeat(3200)
        await bench.send(ctx, classify(image, 0x63))

    bench = SelectableBench(choosing=choosing).run(host, results=[make_words(1)], clocks=7500)
    assert bench.chosen == [2]
    assert bench.frames == [info_frame(2), result_frame(make_words(1), 0x63)]


def test_an_image_that_begins_while_a_model_is_chosen_is_swallowed():
    images = make_images(2)

    async def host(ctx, bench):
        await bench.send(ctx, select(2))
        await bench.send(ctx, classify(images[0], 0x71))
        await ctx.tick().repeat(1700)
        await bench.send(ctx, classify(images[1], 0x72))

    # The tag of the image comes 118 clocks after the strobe; its header is complete 80 clocks later.
    for choosing in (150, 2000):
        bench = SelectableBench(choosing=choosing).run(host, results=[make_words(1)], clocks=7500 + choosing)
        assert bytes(bench.pixels) == images[1]
        assert bench.frames == [info_frame(2), result_frame(make_words(1), 0x72)]


def test_a_result_may_be_an_error_under_the_tag_of_its_image():
    images = make_images(2)
    dut = HostLink(divisor=4, info=INFO.to_bytes(), timeout_bits=256, selectable=True)
    received = []

    async def host(ctx):
        ctx.set(dut.image_bytes, INFO.image_bytes)
        ctx.set(dut.result_words, INFO.result_words)
        ctx.set(dut.selected, 1)
        ctx.set(dut.accept, 1)
        ctx.set(dut.o_pixels.ready, 1)
        for number, image in enumerate(images):
            await streams.send_characters(ctx, dut.rx, classify(image, 0x20 + number), clocks_per_bit=4)

    async def core(ctx):
        await ctx.tick().repeat(2000)
        await streams.put(ctx, dut.i_words, {"word": 0xFFFFFF00 | ErrorCode.DAMAGED, "last": 0, "error": 1})
        for number, word in enumerate(make_words(2)):
            payload = {"word": word, "last": number == INFO.result_words - 1, "error": 0}
            await streams.put(ctx, dut.i_words, payload)

    async def listen(ctx):
        expected = (error_frame(ErrorCode.DAMAGED, 0x20), result_frame(make_words(2), 0x21))
        size = sum(len(frame.to_bytes()) for frame in expected)
        received.append(await streams.receive_characters(ctx, dut.tx, size, clocks_per_bit=4, limit_cycles=8000))
        assert received == [b"".join(frame.to_bytes() for frame in expected)]

    streams.run(dut, host, core, listen)
