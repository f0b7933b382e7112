"""The frame receiver: what it does with a frame, beside a plain account of the characters that came.

The characters are those of the UART inside, which is proven apart. The ticks may come in any clock, pixels and replies
may be taken in any clock, and there may be room for an image in any clock.
"""

import pytest
from amaranth import *

from arch.link import CRC_INIT, CRC_POLYNOMIAL, SYNC, Command, ErrorCode, Frame
from gateware.link.frame import CONTROL_SLOT, TAG_SLOTS, Field
from gateware.link.receiver import FrameReceiver
from tests.formal.bench import Bench, Inside
from tests.formal.faults import Fault
from tests.formal.properties import Claim, Proof, check

DIVISOR, TIMEOUT_BITS = 4, 32
#: A frame with an image of one byte, and one that asks who is there.
IMAGE = Frame(command=Command.CLASSIFY, tag=0x5C, payload=b"\xA6").to_bytes()
INQUIRY = Frame(command=Command.INFO, tag=0x39).to_bytes()
#: Where a frame is: no frame, or what its next character is.
OUTSIDE, COMMAND, TAG, LENGTH0, LENGTH1, PAYLOAD, CRC0, CRC1 = range(8)


def crc_behind(bench, crc, bits):
    """The CRC that stands behind further bits."""
    for bit in bits:
        behind = Signal(16)
        bench.m.d.comb += behind.eq((crc >> 1) ^ ((bit ^ crc[0]).replicate(16) & CRC_POLYNOMIAL))
        crc = behind
    return crc


def delayed(bench, value, clocks):
    """A value of one bit as it was 0, 1, ... clocks ago."""
    values = [value]
    for _ in range(clocks):
        values.append(bench.past(values[-1]))
    return values


def on_line(bench, rx, characters, *, either=None):
    """Whether the line has been so far as with characters that follow each other at once, and silence behind them.

    One bit, number ``either`` of the line, counted with start bits and stop bits, may be any.
    """
    bits = [bit for character in characters for bit in (0, *(character >> place & 1 for place in range(8)), 1)]
    rest = Signal(len(bits), init=sum(bit << place for place, bit in enumerate(bits)))
    timer, place = Signal(range(DIVISOR)), Signal(range(len(bits) + 1))
    bench.m.d.sync += timer.eq(Mux(timer == DIVISOR - 1, 0, timer + 1))
    with bench.m.If(timer == DIVISOR - 1):
        bench.m.d.sync += [rest.eq(Cat(rest[1:], 1)), place.eq(Mux(place == len(bits), place, place + 1))]
    free = C(0) if either is None else place == either
    return free | (rx == rest[0])


class Account:
    """A plain account of the frames on the line, byte by byte.

    ``came`` is a clock behind the stop bit of a character. What the account says of a frame stays until the next one
    begins.
    """

    def __init__(self, bench, inside, receiver):
        self.rx, self.tick = receiver.rx, receiver.tick
        self.place   = Signal(range(8))
        self.command = Signal(8)
        self.tag     = Signal(8)
        self.length  = Signal(16)
        self.left    = Signal(16)  # bytes of the payload that have not come
        self.crc     = Signal(16)  # over all that came behind the synchronisation
        self.broken  = Signal()    # a stop bit was missing
        self.byte    = Signal(8)   # the last character
        self.silence = Signal(range(2 * TIMEOUT_BITS))
        self.came    = bench.past(inside["uart.received"] | inside["uart.error"])
        self.no_stop = bench.past(inside["uart.error"])
        #: Whether a character came 0 to 3 clocks ago.
        self.recent  = delayed(bench, self.came, 3)
        self.lapsed  = self.silence >= TIMEOUT_BITS
        self.right   = (self.crc == 0) & ~self.broken
        m, data = bench.m, inside["uart.data"]
        #: The CRC with the character that comes.
        self.further = crc_behind(bench, self.crc, data)

        with m.If(self.came | (self.place == OUTSIDE)):
            m.d.sync += self.silence.eq(0)
        with m.Elif(self.tick):
            m.d.sync += self.silence.eq(self.silence + 1)
        with m.If(self.came):
            m.d.sync += self.byte.eq(data)
        with m.If(self.lapsed):
            m.d.sync += self.place.eq(OUTSIDE)
        with m.Elif(self.came):
            with m.If(self.place != OUTSIDE):
                m.d.sync += self.crc.eq(self.further)
                m.d.sync += self.broken.eq(self.broken | self.no_stop)
            self._step(m, data)

    def _step(self, m, data):
        length = Cat(self.length[:8], data)
        with m.Switch(self.place):
            with m.Case(OUTSIDE):
                with m.If(data == SYNC):
                    m.d.sync += [self.place.eq(COMMAND), self.crc.eq(CRC_INIT), self.broken.eq(0)]
            with m.Case(COMMAND):
                m.d.sync += [self.place.eq(TAG), self.command.eq(data)]
            with m.Case(TAG):
                m.d.sync += [self.place.eq(LENGTH0), self.tag.eq(data)]
            with m.Case(LENGTH0):
                m.d.sync += [self.place.eq(LENGTH1), self.length[:8].eq(data)]
            with m.Case(LENGTH1):
                m.d.sync += [self.place.eq(Mux(length == 0, CRC0, PAYLOAD)), self.length.eq(length),
                             self.left.eq(length)]
            with m.Case(PAYLOAD):
                m.d.sync += [self.place.eq(Mux(self.left == 1, CRC0, PAYLOAD)), self.left.eq(self.left - 1)]
            with m.Case(CRC0):
                m.d.sync += self.place.eq(CRC1)
            with m.Case(CRC1):
                m.d.sync += self.place.eq(OUTSIDE)


def bench(block):
    bench = Bench()
    m = bench.m
    receiver = block(divisor=DIVISOR, timeout_bits=TIMEOUT_BITS)
    inside = Inside(receiver)
    image_bytes = bench.constant(16, "image_bytes")
    bench.add("receiver", receiver, image_bytes=image_bytes)
    account = Account(bench, inside, receiver)
    pixels, reply = receiver.o_pixels, receiver.o_reply
    stepped = account.came & ~account.lapsed
    header = delayed(bench, stepped & (account.place == LENGTH1), 3)
    end = delayed(bench, stepped & (account.place == CRC1), 2)

    # Images.
    is_image = (account.command == Command.CLASSIFY) & (account.length == image_bytes)
    lost = bench.past(pixels.valid & ~pixels.ready & inside["uart.bit_stb"])
    opened, taken = Signal(), Signal(16)
    with m.If(receiver.begin):
        m.d.sync += opened.eq(1)
    with m.Elif(receiver.commit | receiver.abort):
        m.d.sync += opened.eq(0)
    m.d.sync += taken.eq(Mux(receiver.begin, 0, taken + (pixels.valid & pixels.ready)))
    bench.claim("frame-receiver-image", receiver.begin == (header[3] & is_image & receiver.accept))
    bench.claim("frame-receiver-image", ~receiver.begin | ~opened)
    bench.claim("frame-receiver-image", receiver.commit == (opened & end[2] & account.right))
    bench.claim("frame-receiver-image", ~receiver.commit | (taken == image_bytes))
    bench.claim("frame-receiver-image", ~receiver.commit | ~receiver.abort)
    bench.claim("frame-receiver-image",
                receiver.abort == (opened & (lost | account.lapsed | (end[2] & ~account.right))))
    bench.claim("frame-receiver-image", opened | ~receiver.abort)
    # A frame may end with a silence while its last pixel is offered, which then stays until there is a bit.
    forgotten = Signal()
    m.d.sync += forgotten.eq((forgotten | receiver.abort) & ~inside["uart.bit_stb"])
    bench.claim("frame-receiver-pixels", ~pixels.valid | opened | forgotten)
    bench.claim("frame-receiver-pixels", ~pixels.valid | (pixels.payload == account.byte))
    bench.claim("frame-receiver-pixels", ~opened | lost | (taken + pixels.valid == account.length - account.left))

    # Replies. A frame has one if none waits when its tag comes.
    tags = delayed(bench, account.came & (account.place == TAG), 1)
    code, kept, waiting, reply_tag = Signal(4), Signal(), Signal(), Signal(8)
    full, overrun = Signal(), Signal()
    with m.If(tags[1]):
        m.d.sync += kept.eq(~waiting)
    with m.If(header[3]):
        m.d.sync += [full.eq(~receiver.accept), overrun.eq(0)]
    with m.Elif(lost):
        m.d.sync += overrun.eq(1)
    answered = end[2] & kept & ~receiver.commit
    error = first_error(account, image_bytes, full, overrun)
    with m.If(answered):
        m.d.sync += [waiting.eq(1), reply_tag.eq(account.tag), code.eq(error)]
    with m.Elif(reply.ready):
        m.d.sync += waiting.eq(0)
    bench.claim("frame-receiver-reply", reply.valid == waiting)
    bench.claim("frame-receiver-reply", ~waiting | (reply.payload == code))

    # Tags, as a memory keeps them.
    control_tag, image_tag, commits = Signal(8), Signal(8), Signal(range(TAG_SLOTS))
    followed = bench.constant(range(TAG_SLOTS), "followed")
    m.d.sync += commits.eq(commits + receiver.commit)
    with m.If(receiver.tag_stb & (receiver.tag_slot == CONTROL_SLOT)):
        m.d.sync += control_tag.eq(receiver.tag)
    with m.If(receiver.tag_stb & (receiver.tag_slot == followed)):
        m.d.sync += image_tag.eq(receiver.tag)
    bench.claim("frame-receiver-tag", ~waiting | (control_tag == reply_tag))
    bench.claim("frame-receiver-tag", ~(receiver.commit & (commits == followed)) | (image_tag == account.tag))
    bench.claim("frame-receiver-tag", ~receiver.tag_stb | (receiver.tag_slot == commits)
                | ((receiver.tag_slot == CONTROL_SLOT) & ~waiting))

    add_lemmas(bench, inside, account, header, end)
    bench.lemma(~header[2] | (inside["is_image"] == (account.length == image_bytes)))
    bench.lemma(~header[3] | (inside["frame"][3] == (account.length == Mux(inside["frame"][0], image_bytes, 0))))
    place, phase = account.place, inside["uart.phase"]
    bench.lemma(inside["live"] == opened)
    for overruns in inside.named("overrun"):
        bench.lemma(overruns == lost)
    bench.lemma(~lost | (~account.came & ~pixels.valid & (opened | (place == OUTSIDE))))
    bench.lemma(~(inside["tagged"] & inside["waiting"]) | ~(opened | lost | pixels.valid))
    bench.lemma(~opened | is_image)
    bench.lemma(~opened | (place >= PAYLOAD) | end[1] | end[2])
    bench.lemma(~pixels.valid | opened | (place == OUTSIDE))
    bench.lemma(~pixels.valid | (~account.came & ((phase == 1) | (phase == 6) | (phase == 7) | (phase == 8))))
    bench.lemma(~(header[1] | header[2] | header[3]) | ~(opened | pixels.valid))
    bench.lemma(~(end[1] | end[2]) | ~(pixels.valid | lost))

    known = (place > TAG) | end[1] | end[2]
    bench.lemma(~(tags[1] & end[1]))
    bench.lemma(~tags[1] | (place == OUTSIDE) | ((place == LENGTH0) & (account.tag == account.byte)))
    bench.lemma(~tags[1] | ((inside["uart.data"] == account.byte) & account.recent[1]))
    bench.lemma(inside["waiting"] == waiting)
    bench.lemma(inside["head"] == commits)
    bench.lemma(inside["again"] == tags[1])
    bench.lemma(~known | tags[1] | (inside["tagged"] == kept))
    bench.lemma(~(known & ~tags[1] & kept) | (~waiting & (control_tag == account.tag)))
    bench.lemma(~known | (commits != followed) | (image_tag == account.tag))
    checked = ((place >= PAYLOAD) & ~(header[1] | header[2] | header[3])) | end[1] | end[2]
    expected = first_error(account, image_bytes, full, overrun, right=C(1))
    bench.lemma(~(checked & kept & ~lost) | opened | (inside["code"] == expected))
    bench.lemma(~(checked & opened) | (~full & (overrun == 0)))

    # The last bit of the CRC may be any.
    image, inquiry = (on_line(bench, receiver.rx, frame, either=10 * len(frame) - 2) for frame in (IMAGE, INQUIRY))
    bench.situation("frame-receiver-image", receiver.abort & account.came & (place == CRC1), among=image)
    bench.situation("frame-receiver-pixels", pixels.valid & pixels.ready & inside["uart.bit_stb"], among=image)
    bench.situation("frame-receiver-reply", waiting & (reply.payload == ErrorCode.BAD_CRC), among=inquiry)
    bench.situation("frame-receiver-tag", tags[1] & waiting, among=on_line(bench, receiver.rx, INQUIRY + INQUIRY))
    add_rest(bench, inside, account, opened)
    return bench


def first_error(account, image_bytes, full, overrun, right=None):
    """The reply to a frame that is no image, or one that was forgotten."""
    classify, inquiry = (account.command == command for command in (Command.CLASSIFY, Command.INFO))
    right = account.right if right is None else right
    return Mux(~right, ErrorCode.BAD_CRC,
               Mux(~(classify | inquiry), ErrorCode.UNKNOWN_COMMAND,
                   Mux(account.length != Mux(classify, image_bytes, 0), ErrorCode.WRONG_LENGTH,
                       Mux(classify & full, ErrorCode.BUSY,
                           Mux(overrun, ErrorCode.OVERRUN, 0)))))


def add_rest(bench, inside, account, opened):
    """Say when a line that is high has brought the receiver back."""
    m = bench.m
    phase, timer, bit = (inside[f"uart.{name}"] for name in ("phase", "timer", "bit"))
    character = 9 * DIVISOR
    high, ticks = Signal(range(character + 1)), Signal(range(TIMEOUT_BITS + 1))
    m.d.sync += high.eq(Mux(~bit, 0, Mux(high == character, high, high + 1)))
    quiet = (high == character) & bench.past(high == character)
    m.d.sync += ticks.eq(Mux(~quiet, 0, Mux(ticks == TIMEOUT_BITS, ticks, ticks + account.tick)))
    waited = quiet & (ticks == TIMEOUT_BITS) & bench.past(ticks == TIMEOUT_BITS)
    bench.claim("frame-receiver-rest", ~waited | ((inside["field"] == Field.SYNC.value) & ~opened))
    bench.situation("frame-receiver-rest", waited & bench.past(bench.past(account.place != OUTSIDE)),
                    among=on_line(bench, account.rx, [SYNC]))

    bench.lemma((phase != 0) | (high + timer < character))
    bench.lemma((phase != 7) | (high + timer < character))
    bench.lemma((phase != 6) | (high <= DIVISOR))
    for number in range(8):
        bench.lemma((phase != 8 + number) | (high + timer + (8 - number) * DIVISOR < character))
    bench.lemma((high < character) | (phase == 1))
    bench.lemma(~quiet | ~account.came)
    for number in range(1, 4):
        bench.lemma((ticks < number) | ~account.recent[number])
    bench.lemma((ticks == 0) | quiet | (high < character))
    bench.lemma((account.place == OUTSIDE) | ~quiet | (account.silence >= ticks))


def add_lemmas(bench, inside, account, header, end):
    """Say how the registers of the receiver go with the account."""
    place, came = account.place, account.came
    phase, timer, due, data = (inside[f"uart.{name}"] for name in ("phase", "timer", "due", "data"))
    between = (phase == 1) | (phase == 6) | (phase == 7)
    bench.lemma(between | (phase == 0) | phase[3])
    bench.lemma((phase == 1) | (due == (timer == 0)))
    recent = account.recent
    bench.lemma(~came | (phase == 1) | ((phase == 6) & (timer == DIVISOR - 1)))
    bench.lemma(~recent[1] | between)
    bench.lemma(~recent[2] | between | (phase == 8))

    # The CRC runs bit by bit.
    crc = inside["check.crc"]
    inner = place != OUTSIDE
    bench.lemma(~(inner & between) | (crc == Mux(came, account.further, account.crc)))
    for number in range(9):
        there = phase == (8 + number) % 16
        bench.lemma(~(inner & there) | (crc == crc_behind(bench, account.crc, data[8 - number:])))
    bench.lemma(~end[1] | (crc == account.crc))
    spoilt = inside["spoilt"]
    bench.lemma(~inner | (spoilt == (account.broken | (came & account.no_stop))))
    bench.lemma(~end[1] | (spoilt == account.broken))

    field, byte_stb, frame = inside["field"], inside["byte_stb"], inside["frame"]
    fields = {OUTSIDE: Field.SYNC, COMMAND: Field.COMMAND, TAG: Field.TAG, LENGTH0: Field.LENGTH0,
              LENGTH1: Field.LENGTH1, PAYLOAD: Field.PAYLOAD, CRC0: Field.PAYLOAD, CRC1: Field.CRC1}
    for where, which in fields.items():
        bench.lemma((place != where) | (field == which.value))
    bench.lemma(byte_stb == came)
    bench.lemma(bench.first | (inside["silence"] == account.silence))
    bench.lemma(account.silence <= TIMEOUT_BITS + (place == OUTSIDE))
    bench.lemma((recent[1] + recent[2] + recent[3]) <= 1)
    for number in range(1, 4):
        bench.lemma(~recent[number] | (~came & (account.silence < number)))
    bench.lemma(Cat(header[1:]) == inside["header_stb"])
    bench.lemma(Cat(end[1:]) == inside["end_stb"])
    classify, inquiry, intact = frame[0], frame[1], frame[4]
    known = (place > COMMAND) | end[1] | end[2]
    bench.lemma(~known | (classify == (account.command == Command.CLASSIFY)))
    bench.lemma(~known | (inquiry == (account.command == Command.INFO)))
    bench.lemma(~end[2] | (intact == account.right))

    missing, complete = inside["payload.missing"], inside["payload.complete"]
    in_payload = (place == PAYLOAD) | (place == CRC0)
    bench.lemma((place != LENGTH1) | (missing[:8] == ~account.length[:8]))
    bench.lemma(~in_payload | (missing == ~account.left))
    bench.lemma(~in_payload | recent[1] | (complete == (account.left == 0)))
    bench.lemma(~in_payload | ((place == CRC0) == (account.left == 0)))
    bench.lemma(~(header[1] | header[2] | header[3]) | (in_payload & (account.left == account.length)))
    bench.lemma(~((place >= CRC1) | end[1] | end[2]) | (account.left == 0))
    bench.lemma(~(end[1] | end[2]) | (place == OUTSIDE))
    bench.lemma(~end[1] | recent[1])
    bench.lemma(~end[2] | recent[2])
    bench.lemma(~header[1] | recent[1])
    bench.lemma(~header[2] | recent[2])
    bench.lemma(~header[3] | recent[3])


PROOFS = [
    Proof(
        block=FrameReceiver, parameters="4 clocks a bit, 32 bit times of silence", bench=bench, clocks=1,
        claims={
            "frame-receiver-image": Claim(
                says="An image begins behind a right header with room for it; it is committed at the end of its frame "
                     "if the CRC is right, no stop bit was missing and every byte was taken; else it is forgotten, "
                     "once.",
                situation="an image is forgotten after a silence that ends together with its last character",
                fault=Fault("frame.intact.eq(check.good & ~spoilt)", "frame.intact.eq(~spoilt)"),
                faulty="the CRC is not looked at", within=328, skipped=312),
            "frame-receiver-pixels": Claim(
                says="The bytes of an image are offered once each, in order and as they came, from its beginning to "
                     "its end, and after a silence until the next bit.",
                situation="a byte is taken in the last clock for it",
                fault=Fault("with m.If(self.o_pixels.ready | uart.bit_stb):", "with m.If(self.o_pixels.ready):"),
                faulty="a byte that is not taken in time is not withdrawn", within=256, skipped=240),
            "frame-receiver-reply": Claim(
                says="Each frame that ends, but for an image that is committed, leaves INFO or the first error that "
                     "holds, unless a reply waited at its tag; and that stays until it is taken.",
                situation="a frame with a wrong CRC is answered",
                fault=Fault("(frame.classify & ~self.accept)", "~self.accept"),
                faulty="an INFO needs room for an image", within=292, skipped=280),
            "frame-receiver-tag": Claim(
                says="The tag of an image is in the slot of that image, and that of a reply in the other one, where "
                     "none is put while a reply waits.",
                situation="a frame's tag comes while a reply waits",
                fault=Fault("| (again & ~waiting)", "| again"),
                faulty="the tag of a reply that waits is overwritten", within=408, skipped=396),
            "frame-receiver-rest": Claim(
                says="On a line that is high for 9 bit times and then for as many ticks as end a frame, the receiver "
                     "is between frames two clocks later, and no image is open, whatever was before.",
                situation="a frame ends at that moment",
                fault=Fault("with m.Elif(self.tick):", "with m.Elif(self.tick & ~uart.bit):"),
                faulty="only a low line is silent", within=124, skipped=100),
        })]


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: next(iter(proof.claims)))
def test_frame_receiver(proof, tmp_path):
    check(proof, tmp_path)
