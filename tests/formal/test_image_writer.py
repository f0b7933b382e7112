"""The image writer, where each byte of an image goes: for every size of image, source and grant of the memory.

What is assumed is what the writer's data sheet asks for: the shape of an image stays from one ``begin`` to the next,
and a byte stays until it is taken, so that none is there at ``begin``.
"""

import pytest
from amaranth import *

from gateware.engine.configuration import EngineConfig
from gateware.engine.image_writer import CHANNEL_BITS, ImageWriter
from tests.formal.bench import Bench, Inside
from tests.formal.faults import Fault
from tests.formal.properties import Claim, Proof, check

CONFIG = EngineConfig(lanes=2, width=4, timesteps=4, spike_words=32)
LANES = CONFIG.width.bit_length() - 1


def bench(block):
    bench, config = Bench(), CONFIG
    m = bench.m
    writer = block(config)
    inside = Inside(writer)
    bench.add("writer", writer)
    begin, byte = writer.begin, writer.i_pixels
    done = writer.write & writer.grant

    for shape in (writer.channels, writer.slices, writer.plane_words):
        bench.assume(bench.first | begin | (shape == bench.past(shape)))
    bench.assume(~begin | ~byte.valid)
    waits = bench.past(byte.valid & ~byte.ready)
    bench.assume(~waits | (byte.valid & (byte.payload == bench.past(byte.payload))))

    # The byte that is offered: its channel, and the words of the image before its position. Its slices that are done.
    channel, before, slices = Signal(CHANNEL_BITS), Signal(config.address_width), Signal(2)
    buffer = Signal()
    word = Signal(config.address_width)
    m.d.comb += word.eq(before + (channel >> LANES))
    with m.If(begin):
        m.d.sync += [channel.eq(0), before.eq(0), slices.eq(0), buffer.eq(writer.buffer)]
    with m.Elif(byte.ready):
        m.d.sync += slices.eq(0)
        m.d.sync += channel.eq(channel + 1)
        with m.If(channel == writer.channels):
            m.d.sync += channel.eq(0)
            m.d.sync += before.eq(before + (writer.channels >> LANES) + 1)
    with m.Elif(done):
        m.d.sync += slices.eq(slices + 1)
    start = buffer << config.address_width - 1
    lane = channel[:LANES]

    bench.claim("image-writer-place", ~writer.write | (
        (writer.address == (start + word + Mux(slices[0], writer.plane_words, 0))[:config.address_width])
        & (writer.mask == (1 << lane)[:config.width])))
    bench.claim("image-writer-place", ~writer.write | (
        Value.cast(writer.write_data).word_select(lane, config.timesteps)
        == byte.payload.word_select(slices[0], config.timesteps)))
    bench.situation("image-writer-place", done & slices[0] & (lane == 1) & (word == 3) & buffer)

    bench.claim("image-writer-once", byte.ready == (done & (slices == writer.slices)))
    bench.claim("image-writer-once", ~writer.write | byte.valid)
    bench.claim("image-writer-once", ~waits | writer.write)
    bench.claim("image-writer-once", writer.write == bench.past(writer.write_next))
    bench.situation("image-writer-once", byte.ready & bench.past(done) & bench.past(bench.past(writer.write & ~done)))

    # Any one write of an image which has no more words than its shape says, and no more than a buffer has.
    small = Signal(init=1)
    half = config.spike_words // 2
    fits = Signal()
    m.d.comb += fits.eq((word < writer.plane_words) & (writer.plane_words * (writer.slices + 1) <= half))
    m.d.sync += small.eq(begin | (small & (fits | ~byte.valid)))
    follow = bench.free(1, "follow")
    followed, kept, kept_lane, kept_slice = Signal(), Signal.like(word), Signal(LANES), Signal()
    kept_address = Signal.like(writer.address)
    with m.If(begin):
        m.d.sync += followed.eq(0)
    with m.Elif(~followed & done & follow):
        m.d.sync += [followed.eq(1), kept.eq(word), kept_lane.eq(lane), kept_slice.eq(slices[0]),
                     kept_address.eq(writer.address)]
    fine = writer.write & small & fits
    bench.claim("image-writer-apart", ~fine | (writer.address[-1] == buffer))
    bench.claim("image-writer-apart", ~(fine & followed) | (writer.address != kept_address)
                | (writer.mask != (1 << kept_lane)[:config.width]))
    bench.situation("image-writer-apart", fine & followed & kept_slice & (word == 1) & slices[0] & (kept_lane == lane))

    ended = channel == writer.channels
    bench.lemma((inside["channel"] == channel) & (inside["word"] == (start + word)[:config.address_width]))
    bench.lemma(inside["upper"] == slices)
    bench.lemma(begin | (slices <= writer.slices) & (channel <= writer.channels))
    bench.lemma(~writer.write | (inside["position_end"] == ended))
    bench.lemma(~writer.write | (inside["word_end"] == (ended | lane.all())))
    # What was written is before what is written, in the order of bytes and of their slices.
    there = followed & small & ~begin
    bench.lemma(~there | (Cat(kept_slice, kept_lane, kept) < Cat(slices[0], lane, word)))
    bench.lemma(~there | (kept < writer.plane_words))
    bench.lemma(~there | (kept_slice <= writer.slices))
    bench.lemma(~there | (writer.plane_words * (writer.slices + 1) <= half))
    bench.lemma(~there | (kept_address == (start + kept + Mux(kept_slice, writer.plane_words, 0))
                                       [:config.address_width]))
    return bench


PROOFS = [Proof(
    block=ImageWriter, parameters="W = 4, T = 4, 32 words, 1 to 64 channels", bench=bench, clocks=1,
    claims={
        "image-writer-place": Claim(
            says="A write has a slice of the byte that is offered, in lane c mod W of word c // W of its position; the "
                 "high slice is plane_words further. Positions follow each other, from the begin of the buffer on.",
            situation="the high slice of a byte of a later position is written into the second buffer",
            fault=Fault("(channel == self.channels) | channel[:lanes].all()", "channel[:lanes].all()"),
            faulty="a position does not begin a new word", within=25),
        "image-writer-once": Claim(
            says="There is a write for each slice of a byte, once, and none else; the byte is taken with the last one, "
                 "and waits for nothing but the memory.",
            situation="both slices of a byte are written after the memory was not free",
            fault=Fault("upper == self.slices", "upper <= self.slices"),
            faulty="a byte of two slices is taken with the first one"),
        "image-writer-apart": Claim(
            says="Writes of an image that fits its buffer stay in it, and no two go to the same lane of a word.",
            situation="two bytes write high slices into the same lane",
            fault=Fault("Mux(upper, word + self.plane_words, word)", "word"),
            faulty="the high slice goes where the low one is"),
    })]


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.block.__name__)
def test_image_writer(proof, tmp_path):
    check(proof, tmp_path)
