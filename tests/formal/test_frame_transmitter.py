"""The frame transmitter: every bit that it sends, beside a plain account of which reply, field and byte is its turn.

The UART inside, which is proven apart, says when it takes a bit. Words, replies and the bytes of the memory come in any
clock in which the data sheet lets them come.
"""

import pytest
from amaranth import *

from arch.link import CRC_INIT, CRC_POLYNOMIAL, INFO_BYTES, INFO_REPLY_BYTES, SYNC, Reply
from gateware.link.frame import CONTROL_SLOT, MEMORY_ROWS, TAG_SLOTS, Field
from gateware.link.transmitter import FrameTransmitter
from tests.formal.bench import Bench, Inside
from tests.formal.faults import Fault
from tests.formal.properties import Claim, Proof, check

DIVISOR = 4
#: Clocks by which a byte of the memory may follow its row.
LATE = 4
SYNCHRONISATION, COMMAND, TAG, LENGTH0, LENGTH1, PAYLOAD, CRC0, CRC1 = (
    Field[name].value for name in ("SYNC", "COMMAND", "TAG", "LENGTH0", "LENGTH1", "PAYLOAD", "CRC0", "CRC1"))
#: The field behind each one; the payload may go on.
BEHIND = {SYNCHRONISATION: COMMAND, COMMAND: TAG, TAG: LENGTH0, LENGTH0: LENGTH1, LENGTH1: PAYLOAD, PAYLOAD: CRC0,
          CRC0: CRC1, CRC1: SYNCHRONISATION}


class Account:
    """Which bit comes next: of which reply, field and byte. It moves on a clock behind the last bit of a byte."""

    def __init__(self, bench, transmitter, inside):
        m = bench.m
        self.words, self.reply = transmitter.i_words, transmitter.i_reply
        self.taken, self.place = inside["uart.i__ready"], inside["uart.position"]
        self.field   = Signal(3, init=SYNCHRONISATION)
        self.index   = Signal(7)                  # byte of the payload
        self.control = Signal()                   # the frame is a reply, and no result
        self.slot    = Signal(range(TAG_SLOTS))   # results so far
        self.crc     = Signal(16, init=CRC_INIT)  # over what was sent behind the synchronisation, shifted out at last
        self.count   = Signal(8)                  # the counter that is sent
        self.moves   = bench.past(self.taken & (self.place == 7))
        self.error   = self.words.p.error
        self.info    = self.control & (self.reply.payload == 0)
        self.result  = ~self.control & ~self.error
        self.in_crc  = (self.field == CRC0) | (self.field == CRC1)
        self.word_ends = (self.field == PAYLOAD) & ~self.control & (self.error | (self.index[:2] == 3))
        last = Mux(self.result, self.word_ends & self.words.p.last, ~self.info | (self.index == INFO_REPLY_BYTES - 1))
        self.moved   = bench.past(self.moves)

        with m.If(self.taken & (self.field == SYNCHRONISATION) & (self.place == 0)):
            m.d.sync += self.control.eq(self.reply.valid)
        with m.If(self.field == SYNCHRONISATION):
            m.d.sync += self.crc.eq(CRC_INIT)
        with m.Elif(self.taken):
            turn = (inside["i__payload"] ^ self.crc[0]).replicate(16) & CRC_POLYNOMIAL
            m.d.sync += self.crc.eq((self.crc >> 1) ^ Mux(self.in_crc, 0, turn))
        with m.If(self.moves):
            m.d.sync += self.index.eq(Mux(self.field == PAYLOAD, self.index + 1, 0))
            for field, behind in BEHIND.items():
                with m.If((self.field == field) & (last if field == PAYLOAD else 1)):
                    m.d.sync += self.field.eq(behind)
            with m.If((self.field == CRC1) & ~self.control):
                m.d.sync += self.slot.eq(self.slot + 1)
        with m.If(self.moved):
            counters = Cat(Value.cast(transmitter.counters), C(0, 8))
            m.d.sync += self.count.eq(counters.word_select(self.index[:2], 8))

    @property
    def row(self):
        """The row of the memory that has the byte, if it comes from there."""
        return Mux(self.field == TAG, INFO_BYTES + Mux(self.control, CONTROL_SLOT, self.slot), self.index)

    @property
    def from_memory(self):
        return (self.field == TAG) | ((self.field == PAYLOAD) & self.info & (self.index < INFO_BYTES))

    def byte(self, result_words, stored):
        """The byte that is sent, but for the CRC."""
        length = Mux(self.result, result_words << 2, Mux(self.info, INFO_REPLY_BYTES, 1))[:16]
        payload = Mux(self.info, self.count, Mux(self.control, self.reply.payload,
                                                 self.words.p.word.word_select(self.index[:2], 8)))
        code = Mux(self.result, Reply.RESULT, Mux(self.info, Reply.INFO, Reply.ERROR))
        byte = Mux(self.field == SYNCHRONISATION, SYNC, Mux(self.field == COMMAND, code, payload))
        byte = Mux(self.field == LENGTH0, length[:8], Mux(self.field == LENGTH1, length[8:], byte))
        return Mux(self.from_memory, stored, byte)[:8]


def bench(block):
    bench = Bench()
    transmitter = block(divisor=DIVISOR)
    inside = Inside(transmitter)
    result_words = bench.constant(16, "result_words")
    bench.add("transmitter", transmitter, result_words=result_words)
    account = Account(bench, transmitter, inside)
    words, reply, taken = transmitter.i_words, transmitter.i_reply, account.taken

    # What is offered stays until it is taken; a result has no error behind its first word.
    for stream in (words, reply):
        payload = Value.cast(stream.payload)
        stays = bench.past(stream.valid & ~stream.ready)
        bench.assume(~stays | (stream.valid & (payload == bench.past(payload))))
    within = Signal()
    with bench.m.If(words.valid & words.ready):
        bench.m.d.sync += within.eq(~words.p.last & ~words.p.error)
    bench.assume(~within | ~words.p.error)
    # Any one byte of the memory.
    row, stored = bench.constant(range(MEMORY_ROWS), "row"), bench.constant(8, "stored")
    asked = transmitter.row == row
    for _ in range(LATE):
        asked = asked & bench.past(asked)
    bench.assume(~asked | (transmitter.data == stored))

    bit = inside["i__payload"]
    known = ~account.in_crc & (~account.from_memory | (account.row == row))
    bench.claim("frame-transmitter-bytes", ~(taken & known) | (
        bit == account.byte(result_words, stored).bit_select(account.place, 1)))
    bench.claim("frame-transmitter-crc", ~(taken & account.in_crc) | (bit == account.crc[0]))
    bench.claim("frame-transmitter-tags", (account.field != TAG) | (transmitter.row == account.row))
    bench.claim("frame-transmitter-transfers", words.ready == (account.moves & account.word_ends))
    bench.claim("frame-transmitter-transfers",
                reply.ready == (account.moves & (account.field == CRC1) & account.control))
    valid, idle = inside["i__valid"], account.field == SYNCHRONISATION
    there = Mux(idle, words.valid | reply.valid, ((account.field != PAYLOAD) | account.control) | words.valid)
    bench.claim("frame-transmitter-pace", bench.first | (valid == bench.past(there)))
    add_situations(bench, account)
    add_lemmas(bench, transmitter, inside, account, within)
    return bench


def add_situations(bench, account):
    words, reply = account.words, account.reply
    answers = reply.valid & (reply.payload == 2)
    result = words.valid & (words.p.word == 0x5A3CA5C3) & words.p.last & ~words.p.error
    bench.situation("frame-transmitter-bytes", account.taken & (account.field == PAYLOAD) & (account.index == 1),
                    among=result & ~reply.valid)
    bench.situation("frame-transmitter-crc", account.taken & (account.field == CRC1), among=answers & ~words.valid)
    bench.situation("frame-transmitter-tags", account.taken & (account.field == TAG) & account.control & words.valid,
                    among=answers)
    bench.situation("frame-transmitter-transfers", reply.ready & words.valid, among=answers & result)
    bench.situation("frame-transmitter-pace", account.taken & words.valid & bench.past(bench.past(~words.valid)))


def add_lemmas(bench, transmitter, inside, account, within):
    """Say how the registers of the transmitter go with the account."""
    timer, phase = inside["uart.timer"], inside["uart.phase"]
    bench.lemma(timer < DIVISOR)
    bench.lemma(inside["uart.tick"] == ((timer == DIVISOR - 1) & ~bench.first))
    bench.lemma((phase < 2) | phase[3])
    bench.lemma(Value.cast(inside["field"]) == account.field)
    bench.lemma(inside["index"] == account.index)
    bench.lemma(inside["control"] == account.control)
    bench.lemma(transmitter.result_slot == account.slot)
    bench.lemma(inside["byte_end"] == account.moves)
    bench.lemma((account.field == PAYLOAD) | (account.field == CRC0) | (account.index == 0))
    counts = account.info & account.index[-1]
    bench.lemma(inside["settled"] == account.moved)
    bench.lemma(account.moves | account.moved | (inside["count"] == Mux(counts, account.count, 0)))
    bench.lemma(inside["generate.crc"] == account.crc)

    # What a frame is about is there until the frame has sent it.
    field, words, reply, control = account.field, account.words, account.reply, account.control
    inner = (phase >= 9) | account.moves
    bench.lemma(~((field == SYNCHRONISATION) & phase[3]) | words.valid | reply.valid)
    bench.lemma(~(((field != SYNCHRONISATION) | inner) & control) | reply.valid)
    header = (field == COMMAND) | (field == TAG) | (field == LENGTH0) | (field == LENGTH1)
    in_words = (field == PAYLOAD) & ~control
    bench.lemma(~((header | ((field == SYNCHRONISATION) & inner)) & ~control) | words.valid)
    bench.lemma(~(in_words & (phase[3] | account.moves | (account.index[:2] != 0) | ~within)) | words.valid)
    bench.lemma(~within | in_words)
    bench.lemma(~(in_words & (account.index >= 4)) | within)
    bench.lemma(~(in_words & words.valid & account.error) | (account.index == 0))
    bench.lemma(~((field == PAYLOAD) & control) | (account.index < Mux(account.info, INFO_REPLY_BYTES, 1)))


PROOFS = [Proof(
    block=FrameTransmitter, parameters="4 clocks a bit", bench=bench, clocks=13,
    claims={
        "frame-transmitter-bytes": Claim(
            says="The bits of a frame are those of its bytes, in order: synchronisation, kind, tag, length, payload. A "
                 "result has the words that are given, an INFO the info block and the counters, and an error its code.",
            situation="the second byte of a word is sent",
            fault=Fault("word.word_select(index[:2], 8)", "word.word_select(~index[:2], 8)"),
            faulty="the bytes of a word are sent from the highest to the lowest", within=285, skipped=245),
        "frame-transmitter-crc": Claim(
            says="Behind them comes the CRC of all that was sent behind the synchronisation.",
            situation="the second byte of a CRC is sent",
            fault=Fault("generate.clear.eq(field == Field.SYNC)", "generate.clear.eq(field == Field.COMMAND)"),
            faulty="the kind of a frame is not in its CRC", within=330, skipped=285),
        "frame-transmitter-tags": Claim(
            says="The tag of result n is that of slot n mod 4; the tag of a reply is that of a slot of its own.",
            situation="the tag of a reply is sent while a result waits",
            fault=Fault("Mux(control, CONTROL_SLOT, self.result_slot)", "self.result_slot"),
            faulty="a reply has the tag of the next result", within=130, skipped=80),
        "frame-transmitter-transfers": Claim(
            says="A word is taken in the clock after its last bit, a reply in the clock after the last bit of its "
                 "frame, and neither in any other clock.",
            situation="a reply is taken while a result waits",
            fault=Fault("ends & (field == Field.CRC1) & control", "ends & (field == Field.CRC0) & control"),
            faulty="a reply is taken before its CRC is sent", within=335, skipped=275),
        "frame-transmitter-pace": Claim(
            says="Within a frame there is always a bit for the line, but for a result whose next word is not there; "
                 "and a frame begins when there is a reply or a word, and else never.",
            situation="a bit is sent of a word that came to a transmitter at rest",
            fault=Fault("available.eq(self.i_reply.valid | self.i_words.valid)", "available.eq(self.i_reply.valid)"),
            faulty="a result waits for a reply"),
    })]


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.block.__name__)
def test_frame_transmitter(proof, tmp_path):
    check(proof, tmp_path)
