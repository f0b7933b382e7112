"""The window writer with the tables of small first layers: where each pixel goes, for every stream of images.

What is assumed is what its data sheet asks for: the memory takes the fill after reset at once, an image begins after
that, and not in two clocks in a row.
"""

import functools
import itertools

import numpy as np
import pytest
from amaranth import *
from amaranth.lib import data

from arch.network import Convolution, Encoding, FullyConnected, Input, Network, Readout
from gateware.engine.configuration import EngineConfig
from gateware.engine.program import PixelEntry, pixel_layouts
from gateware.engine.window_writer import WindowWriter
from gateware.mapper.choice import map_network
from reference.generate import random_neurons, random_weights
from tests.formal.bench import Bench, Inside, lookup
from tests.formal.faults import Fault
from tests.formal.properties import Claim, Proof, check

CONFIG = EngineConfig(lanes=4, width=16, timesteps=4, spike_words=16, max_side=7, classes=2, weight_rows=64)
#: Bits of a lane of a slice.
LANE_BITS = CONFIG.slice_width.bit_length() - 1


class FirstLayer:
    """A first layer with one output, and where its pixels are in the windows; without a kernel, a whole image is one.

    Parameters
    ----------
    shape : channels, rows and columns of the image
    kernel, stride, padding : of a convolution
    """

    def __init__(self, *, shape, kernel=None, stride=1, padding=0):
        self.channels, self.rows, self.columns = shape
        self.kernel, self.stride, self.padding = kernel, stride, padding
        rng = np.random.default_rng(1)
        neurons = random_neurons(rng, 1, 1)
        if kernel is None:
            size = self.channels * self.rows * self.columns
            layer = FullyConnected(weights=random_weights(rng, 1, size), neurons=neurons)
            window = (1, 1)
        else:
            size = kernel**2 * self.channels
            layer = Convolution(weights=random_weights(rng, 1, self.channels, kernel, kernel), neurons=neurons,
                                stride=stride, padding=padding)
            _, *window = layer.output_shape(shape)
        self.window_rows, self.window_columns = window
        source = Input(encoding=Encoding.PIXELS, channels=self.channels, height=self.rows, width=self.columns,
                       zero_point=128 if padding else 0)
        readout = Readout(weights=random_weights(rng, 2, self.window_rows * self.window_columns))
        #: What the mapper gives to the writer.
        self.table = map_network(Network(input=source, layers=(layer, readout), timesteps=CONFIG.timesteps),
                                 CONFIG).contents.pixels
        #: Value of the padding.
        self.zero = source.zero_point
        #: Windows a side that could share a pixel.
        self.turns = 1 if kernel is None else -(-kernel // stride)
        #: Lanes of a window, which is whole words.
        self.length = -(-size // CONFIG.slice_width) * CONFIG.slice_width
        #: Row, column and channel of each pixel, in the order in which they come.
        self.pixels = list(itertools.product(range(self.rows), range(self.columns), range(self.channels)))
        #: By lane, counted from the begin of a buffer: the number of the pixel that belongs there, and the turn.
        self.places = {lane: (number, turn) for number, at in enumerate(self.pixels)
                       for lane, turn in self._lanes_of(number, *at)}

    def _lanes_of(self, number, row, column, channel):
        """Lanes of a pixel, by the definition of a convolution, and the turns in which the writer comes there."""
        if self.kernel is None:
            yield number, 0
            return
        for y, x in itertools.product(range(self.window_rows), range(self.window_columns)):
            inner_y, inner_x = row + self.padding - y * self.stride, column + self.padding - x * self.stride
            if inner_y in range(self.kernel) and inner_x in range(self.kernel):
                window, place = y * self.window_columns + x, inner_y * self.kernel + inner_x
                yield (window * self.length + place * self.channels + channel,
                       inner_y // self.stride * self.turns + inner_x // self.stride)


def bench(layer, names, block):
    """Make the bench; ``names`` are those of the properties, of which two may be one, or that are lemmas."""
    bench, config = Bench(), CONFIG
    m = bench.m
    writer = block(config, init=layer.table)
    inside = Inside(writer)
    bench.add("writer", writer)
    ready, pixels = writer.ready, writer.i_pixels
    starts = writer.begin | writer.proceed
    taken  = pixels.valid & pixels.ready
    count  = len(layer.pixels)

    bench.assume(ready | (writer.grant & ~starts))
    bench.assume(~writer.proceed | writer.finished)
    bench.assume(~starts | ~bench.past(starts))

    def claim(kind, condition):
        if kind in names:
            bench.claim(names[kind], condition)
        else:
            bench.lemma(condition)

    def situation(kind, condition):
        if kind in names:
            bench.situation(names[kind], condition)

    # The pixel that is taken next, the one that was taken last, and the buffer that it goes to.
    coming, pixel, value = Signal(range(count)), Signal(range(count)), Signal(8)
    whole, given_up = Signal(), Signal()  # no image has begun since a pixel was taken; one has begun before its time
    with m.If(writer.begin):
        m.d.sync += [coming.eq(0), whole.eq(0), given_up.eq(given_up | (whole & coming.any()))]
    with m.Elif(taken):
        m.d.sync += [coming.eq(Mux(coming == count - 1, 0, coming + 1)), whole.eq(1)]
    with m.If(taken):
        m.d.sync += [pixel.eq(coming), value.eq(pixels.payload)]
    buffer, sampled, home = Signal(), Signal(), Signal()
    m.d.comb += buffer.eq(Mux(bench.past(starts), writer.buffer, sampled))
    m.d.sync += sampled.eq(buffer)
    # A write that waits stays what it is.
    with m.If(~writer.write):
        m.d.sync += home.eq(buffer)

    # The lane that is written, from the begin of the buffer on.
    number = Signal(LANE_BITS)
    for place in range(config.slice_width):
        with m.If(writer.mask[place]):
            m.d.comb += number.eq(place)
    lane = Signal(config.address_width - 1 + LANE_BITS)
    m.d.comb += lane.eq(Cat(number, writer.address[:-1]))
    written_pixel = lookup(m, lane, {at: pixel for at, (pixel, _) in layer.places.items()}, "written_pixel")
    is_place = lookup(m, lane, dict.fromkeys(layer.places, 1), "is_place")
    mask = (1 << number)[:config.slice_width].replicate(config.slices)
    scatters = writer.write & ready
    claim("place", ~scatters | (is_place & (written_pixel == pixel) & (writer.address[-1] == home)))
    claim("place", ~scatters | ((writer.mask == mask) & (Value.cast(writer.write_data) == word_of(value))))
    situation("place", scatters & home & given_up & (pixel == 1))

    # Any one lane: how often the pixel that was taken last has been written there.
    follow = bench.constant(len(lane), "follow")
    there, times = Signal(), Signal(2)
    m.d.comb += there.eq(scatters & (lane == follow))
    with m.If(taken):
        m.d.sync += times.eq(0)
    with m.Elif(there & writer.grant & (times < 3)):
        m.d.sync += times.eq(times + 1)
    belongs = (lookup(m, follow, dict.fromkeys(layer.places, 1), "is_followed")
               & (lookup(m, follow, {at: pixel for at, (pixel, _) in layer.places.items()}, "followed") == pixel))
    ended = whole & (taken | (writer.finished & (pixel == count - 1)))
    claim("once", ~ended | (times == belongs))
    situation("once", ended & (pixel == 1) & (times == 1))

    # Any one word, in the fill after reset.
    word = bench.constant(config.address_width, "word")
    fills = writer.write & ~ready
    filled = Signal(2)
    with m.If(fills & (writer.address == word) & (filled < 3)):
        m.d.sync += filled.eq(filled + 1)
    claim("fill", ~fills | (writer.mask.all() & (Value.cast(writer.write_data) == word_of(C(layer.zero, 8)))))
    claim("fill", ~ready | (filled == 1))
    claim("fill", ready | ~taken)
    situation("fill", ready & bench.past(~ready))

    state_lemmas(bench, layer, inside, writer, word=word, filled=filled)
    pixel_lemmas(bench, layer, inside, writer, coming=coming, pixel=pixel, value=value, whole=whole)
    across, down = walk_lemmas(bench, layer, inside, coming=coming, buffer=buffer)

    # Of the pixel at hand, what was written or waits to be.
    turn = lookup(m, follow, {at: turn for at, (_, turn) in layer.places.items()}, "turn")
    state, held, written = functools.partial(inside.state, fsm="image"), inside["held"], times + there
    passed = state("CHECK") | state("ADVANCE")
    bench.lemma(~(held & passed) | (written == (belongs & (turn < down * layer.turns + across))))
    bench.lemma(~(held & ~passed) | (written == 0))
    bench.lemma(~(whole & ~held) | (written == belongs))
    bench.lemma(~(state("SETTLE") | (state("CHECK") & ~held)) | ((across == 0) & (down == 0)))
    return bench


def word_of(value):
    """A word with the slices of a value in all lanes."""
    return Cat(value.word_select(index, CONFIG.timesteps).replicate(CONFIG.slice_width)
               for index in range(CONFIG.slices))


def state_lemmas(bench, layer, inside, writer, *, word, filled):
    """Where the preparation is, what it has read, and how much it has filled."""
    state = functools.partial(inside.state, fsm="preparation")
    ready, target, fetched = writer.ready, inside["target"], inside["fetched"]
    at = target[LANE_BITS:]
    bench.lemma(state("RESET") | state("FETCH") | state("FILL") | state("DONE"))
    bench.lemma((ready == state("DONE")) & (ready != inside["filling"]))
    bench.lemma(ready | (inside.state("WAIT", "image") & ~inside["held"]))
    bench.lemma(~state("FETCH") | ((fetched >= int(PixelEntry.LOOPS)) & (fetched <= int(PixelEntry.SIZES))))
    for entry, name in ((PixelEntry.LOOPS, "loops"), (PixelEntry.KERNEL, "kernel"), (PixelEntry.WINDOWS, "windows")):
        known = state("FILL") | ready | (state("FETCH") & (fetched > int(entry)))
        bench.lemma(~known | (inside[name] == layer.table[entry]))
    bench.lemma(~state("FILL") | (~target[:LANE_BITS].any() & (filled == (at > word)) & (writer.write | (at == 0))))
    bench.lemma(~state("FILL") | (inside["filled"] == (at == CONFIG.spike_words - 1)))
    bench.lemma(~state("FILL") | ~writer.write | (inside["value"] == layer.zero))
    bench.lemma(state("FILL") | ready | ((filled == 0) & ~writer.write & ~inside["filled"]))


def pixel_lemmas(bench, layer, inside, writer, *, coming, pixel, value, whole):
    """Which pixel is at hand."""
    count = len(layer.pixels)
    held, write, ready = inside["held"], writer.write, writer.ready
    state = functools.partial(inside.state, fsm="image")
    before = Mux(coming == 0, count - 1, coming - 1)
    starts = bench.past(writer.begin | writer.proceed)
    bench.lemma(coming < count)
    bench.lemma(ready | (coming == 0))
    bench.lemma(~whole | (pixel == before))
    bench.lemma(~held | whole)
    bench.lemma(~ready | ~(held | write) | (inside["value"] == value))
    bench.lemma(~writer.i_pixels.ready | (ready & ~held & ~write))
    bench.lemma(state("START") == starts)
    bench.lemma(state("WAIT") | starts | state("SETTLE") | state("CHECK") | state("ADVANCE"))
    bench.lemma(state("CHECK") | state("ADVANCE") | ((coming == held) & ~(held & write)))


def walk_lemmas(bench, layer, inside, *, coming, buffer):
    """Registers of the walk, by the pixel that it is at and the turns that it has made, which are returned."""
    m = bench.m
    state, held = functools.partial(inside.state, fsm="image"), inside["held"]
    walking = state("SETTLE") | state("CHECK") | state("ADVANCE")
    stride, padding = layer.stride, layer.padding
    last = layer.channels - 1, layer.columns - 1, layer.rows - 1
    walked = Signal.like(coming)
    m.d.comb += walked.eq(Mux(held, Mux(coming == 0, len(layer.pixels) - 1, coming - 1), coming))

    def of(name, function):
        """What a function says of row, column and channel of the pixel of the walk."""
        return lookup(m, walked, {number: int(function(*at)) for number, at in enumerate(layer.pixels)}, name)

    # Turns that were made, of those to the left and of those upward.
    across, down = Signal(range(layer.turns)), Signal(range(layer.turns))
    left = [inside[name].as_signed() for name in ("across", "down")]
    m.d.comb += [across.eq(layer.turns - 2 - left[0]), down.eq(layer.turns - 2 - left[1])]
    for count in left:
        bench.lemma(~walking | ((count >= -1) & (count <= layer.turns - 2)))

    if layer.kernel is None:
        fields = {"lane": walked, "kernel_x": C(0), "window_x": C(0), "kernel_y": C(0), "window_y": C(0)}
    else:
        fields = {
            "kernel_x": of("kernel_x_of", lambda y, x, c: (x + padding) % stride) + across * stride,
            "window_x": of("window_x_of", lambda y, x, c: (x + padding) // stride) - across,
            "kernel_y": of("kernel_y_of", lambda y, x, c: (y + padding) % stride) + down * stride,
            "window_y": of("window_y_of", lambda y, x, c: (y + padding) // stride) - down,
        }
        window = fields["window_y"] * layer.window_columns + fields["window_x"]
        place = fields["kernel_y"] * layer.kernel + fields["kernel_x"]
        fields["lane"] = window * layer.length + place * layer.channels + of("channel_of", lambda y, x, c: c)
    pointer = data.View(pixel_layouts(CONFIG)[PixelEntry.START], inside["pointer"])
    fields["lane"] = fields["lane"] + (buffer << len(pointer.lane) - 1)
    for name, field in fields.items():
        number = Signal(len(pointer[name]), name=f"{name}_at")
        m.d.comb += number.eq(field)
        bench.lemma(~walking | (pointer[name] == number))

    counters = {
        "channel": of("channels_left", lambda y, x, c: last[0] - 1 - c),
        "column": of("columns_left", lambda y, x, c: last[1] - 1 - x),
        "row": of("rows_left", lambda y, x, c: last[2] - 1 - y),
        "phase_x": of("phase_x_of", lambda y, x, c: (x + padding) % stride),
        "phase_y": of("phase_y_of", lambda y, x, c: (y + padding) % stride),
    }
    for name, count in counters.items():
        register = inside[name] if name.startswith("phase") else inside[name].as_signed()
        bench.lemma(~walking | (register == count))

    def following(y, x, c):
        if c < last[0]:
            return PixelEntry.CHANNEL
        if x < last[1]:
            return PixelEntry.COLUMN_NEW if (x + padding + 1) % stride == 0 else PixelEntry.COLUMN
        return PixelEntry.ROW_NEW if (y + padding + 1) % stride == 0 else PixelEntry.ROW

    advances = state("ADVANCE")
    ends = [left[0] < 0, left[1] < 0, of("channels_end", lambda y, x, c: c == last[0]),
            of("columns_end", lambda y, x, c: x == last[1]), of("rows_end", lambda y, x, c: y == last[2])]
    bench.lemma(~advances | (held & (inside["visible"] == inside["inside"])))
    bench.lemma(~advances | (inside["loop_ends"] == Cat(Cat(ends[:number]).all() for number in range(1, 6))))
    bench.lemma(~(advances | (state("CHECK") & held)) | (inside["next_pixel"] == of("following", following)))
    return across, down


WINDOWS = FirstLayer(shape=(2, 2, 4), kernel=3, stride=2, padding=1)
WHOLE = FirstLayer(shape=(1, 2, 5))

PROOFS = [
    Proof(
        block=WindowWriter, clocks=2,
        parameters="W = 16, T = 4, 16 words, 3 x 3 windows, stride 2, padding 1, of 2 x 4 pixels of 2 channels",
        bench=functools.partial(bench, WINDOWS, {kind: f"window-writer-{kind}" for kind in ("place", "once", "fill")}),
        claims={
            "window-writer-place": Claim(
                says="Each write of a pixel goes to a place of a window that sees it, in the buffer of its image, with "
                     "all its slices and to no other lane; pixels are counted from the begin of an image.",
                situation="a pixel is written into the second buffer after an image was given up",
                fault=Fault("visible.eq(inside)", "visible.eq(1)"),
                faulty="windows beyond the map are written, too", within=70),
            "window-writer-once": Claim(
                says="When the next pixel is taken, or the image is finished, a pixel has been written once to every "
                     "place of a window that sees it.",
                situation="the second pixel has been written",
                fault=Fault("with m.If(~self.write):", "with m.If(self.ready):"),
                faulty="a write that waits is overwritten by the next one", within=70),
            "window-writer-fill": Claim(
                says="After reset each word is filled with the padding once, and no pixel is taken before.",
                situation="the memory is filled",
                fault=Fault("config.spike_words - 2", "config.spike_words - 3"),
                faulty="the fill ends a word early", within=70),
        }),
    Proof(
        block=WindowWriter, clocks=2, parameters="W = 16, T = 4, 16 words, whole images of 2 x 5 pixels",
        bench=functools.partial(bench, WHOLE, {"place": "window-writer-whole"}),
        claims={
            "window-writer-whole": Claim(
                says="Where a layer sees the whole image, each write of a pixel goes to its own lane.",
                situation="a pixel is written into the second buffer after an image was given up",
                fault=Fault("step.lane[-1] ^ self.buffer", "step.lane[-1]"),
                faulty="the first buffer is written always", within=60),
        }),
]


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: next(iter(proof.claims)))
def test_window_writer(proof, tmp_path):
    check(proof, tmp_path)
