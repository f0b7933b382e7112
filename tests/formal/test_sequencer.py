"""The sequencer with the program of a small network: each word of each sum, in order, for every grant of the memory.

The network has three layers, with windows of an image, two groups of channels, a kernel with padding, a pooling window
and a readout. What is assumed is that the image buffer stays while the program runs.
"""

import itertools

import numpy as np
import pytest
from amaranth import *

from arch.network import Convolution, Encoding, Input, Network, OrPool, Readout
from gateware.engine.configuration import EngineConfig
from gateware.engine.program import SECOND, LayerEntry
from gateware.engine.sequencer import Sequencer
from gateware.mapper.choice import map_network
from reference.generate import random_neurons, random_weights
from tests.formal.bench import Bench, Inside, lookup
from tests.formal.faults import Fault
from tests.formal.properties import Claim, Proof, check

CONFIG = EngineConfig(lanes=4, width=8, timesteps=1, pixels=False, spike_words=32, max_side=7, classes=2,
                      weight_rows=64, layers=3, max_run=7, max_row_words=7, channel_groups=8)
#: Clocks from the last word of a layer until its spikes are in memory.
DRAIN = 5


def plan():
    """Lay the network out."""
    rng = np.random.default_rng(1)
    layers = (Convolution(weights=random_weights(rng, 5, 1, 2, 2), neurons=random_neurons(rng, 5, 1)),
              Convolution(weights=random_weights(rng, 2, 5, 3, 3), neurons=random_neurons(rng, 2, 1), padding=1),
              OrPool(size=2),
              Readout(weights=random_weights(rng, 2, 2)))
    source = Input(encoding=Encoding.EVENTS, channels=1, height=3, width=3)
    return map_network(Network(input=source, layers=layers, timesteps=1), CONFIG)


def words_of(stages):
    """The words of all sums, in order: what the sequencer says of each, and the turns that the loops have left."""
    words = []
    for number, stage in enumerate(stages):
        at = stage.placement
        _, rows, columns = stage.target
        height = stage.computed[1] if number == 0 else stage.source[1]
        loops = (at.groups, rows, columns, stage.pool, stage.pool, at.kernel, at.run)
        for turns in itertools.product(*map(range, loops)):
            group, row, column, down, across, kernel, word = turns
            left = [loop - 1 - turn for turn, loop in zip(turns, loops, strict=True)]
            y = (row * stage.pool + down) * at.stride + kernel - at.padding
            x = ((column * stage.pool + across) * at.stride - at.padding) * at.words + word
            words.append({
                "layer": number, "address": at.source + y * at.row_words + x, "x": x, "y": y,
                "weights": at.row + (group * at.kernel + kernel) * at.run + word,
                "zero": x not in range(at.row_words) or y not in range(height),
                "first": kernel == 0 and word == 0, "last": not any(left[5:]),
                "window_first": down == 0 and across == 0, "window_last": not any(left[3:5]),
                "group_last": not any(left[1:5]),
                "group": left[0], "row": left[1], "column": left[2], "down": left[3], "across": left[4],
                "kernel": left[5], "run": left[6],
            })
    return words


PLAN = plan()
WORDS = words_of(PLAN.stages)
#: Number of the first word of each layer, and of all words.
BEGINS = [next(number for number, word in enumerate(WORDS) if word["layer"] == layer)
          for layer in range(len(PLAN.stages))] + [len(WORDS)]


def of_layer(m, layer, entry, name):
    """Make a signal with an entry of the program of a layer."""
    return lookup(m, layer, [PLAN.contents.program[number * SECOND + int(entry)]
                             for number in range(len(PLAN.stages))], name)


def bench(block):
    bench, config = Bench(), CONFIG
    m = bench.m
    sequencer = block(config, drain_cycles=DRAIN, init=PLAN.contents.program)
    inside = Inside(sequencer)
    bench.add("sequencer", sequencer)
    beat, busy, request = sequencer.beat, sequencer.busy, sequencer.request
    bench.assume(~bench.past(busy) | (sequencer.buffer == bench.past(sequencer.buffer)))

    # The word whose beat comes, by its number; the one that is requested; clocks since the last beat, or the start.
    number, coming, clocks = Signal(range(len(WORDS) + 1)), Signal(range(len(WORDS) + 1)), Signal(range(DRAIN + 9))
    m.d.comb += coming.eq(number + beat.valid)
    with m.If(sequencer.done):
        m.d.sync += number.eq(0)
    with m.Else():
        m.d.sync += number.eq(coming)
    with m.If(sequencer.start & ~busy):
        m.d.sync += clocks.eq(DRAIN + 1)
    with m.Elif(beat.valid):
        m.d.sync += clocks.eq(1)
    with m.Elif(clocks < DRAIN + 8):
        m.d.sync += clocks.eq(clocks + 1)
    now = {what: lookup(m, number, [word[what] for word in WORDS], f"{what}_now") for what in WORDS[0]}
    following = {what: lookup(m, coming, [word[what] for word in WORDS], f"{what}_next") for what in WORDS[0]}

    address = (now["address"] ^ (((now["layer"] == 0) & sequencer.buffer) << config.address_width - 1))
    granted = bench.past(request & sequencer.grant)
    bench.claim("sequencer-words", ~beat.valid | (granted & (number < len(WORDS))))
    bench.claim("sequencer-words", ~beat.valid | (
        (bench.past(sequencer.address) == address[:config.address_width]) & (sequencer.row == now["weights"])
        & (sequencer.zero == now["zero"]) & (beat.first == now["first"]) & (beat.last == now["last"])))
    bench.situation("sequencer-words", beat.valid & (number == BEGINS[0] + 2) & sequencer.buffer & (clocks > 5))

    ending, ends = sequencer.ending, beat.valid & beat.last
    bench.claim("sequencer-endings", ~ends | Cat(
        ending[what] == now[what] for what in ("window_first", "window_last", "group_last")).all())
    # Until a layer begins, with a step that is no word.
    begun, walks = Signal(), Signal()
    bench.claim("sequencer-endings", bench.first | ends | (begun & ~walks)
                | (ending.as_value() == bench.past(ending.as_value())))
    bench.situation("sequencer-endings", ends & ending.group_last & ~bench.past(ending.group_last))

    # What keeps a layer from a word in each clock: the array, which takes the ends of two sums no closer.
    at_end = beat.valid & Cat(coming == begin for begin in BEGINS[1:]).any()
    under_way = (walks | beat.valid) & ~at_end
    m.d.sync += [begun.eq((begun | sequencer.layer_start) & ~at_end), walks.eq(under_way)]
    recent = [ends]
    for _ in range(1, config.cooldown_cycles):
        recent.append(bench.past(recent[-1]))
    bench.claim("sequencer-pace", ~ends | ~Cat(recent[1:]).any())
    bench.claim("sequencer-pace", ~under_way | request | (following["last"] & Cat(recent[:-1]).any()))
    bench.claim("sequencer-pace", ~(under_way & granted) | beat.valid)
    bench.situation("sequencer-pace", under_way & request & (number == 2) & ~bench.past(request))

    on = Signal()
    with m.If(sequencer.start & ~busy):
        m.d.sync += on.eq(1)
    with m.Elif(sequencer.done):
        m.d.sync += on.eq(0)
    layer = now["layer"]
    starts = busy & ~begun & ~beat.valid & (number < len(WORDS))
    target, mode = (of_layer(m, layer, entry, entry.name) for entry in (LayerEntry.TARGET, LayerEntry.MODE))
    bench.claim("sequencer-layers", sequencer.layer_start == (starts & (clocks == DRAIN + 6)))
    bench.claim("sequencer-layers", sequencer.target_valid == (starts & (clocks == DRAIN + 4)))
    bench.claim("sequencer-layers", ~sequencer.target_valid | (sequencer.target.as_value() == target))
    bench.claim("sequencer-layers", ~(sequencer.layer_start | begun) | (sequencer.mode.as_value() == mode))
    bench.claim("sequencer-layers", sequencer.done == (on & (number == len(WORDS)) & (clocks == DRAIN)))
    bench.claim("sequencer-layers", busy == (on & ~sequencer.done))
    bench.claim("sequencer-layers", ~request | begun | sequencer.layer_start)
    bench.situation("sequencer-layers", sequencer.layer_start)

    walk_lemmas(bench, inside, sequencer, number=number, coming=coming, following=following, clocks=clocks,
                begun=begun, walks=walks, on=on)
    return bench


def walk_lemmas(bench, inside, sequencer, *, number, coming, following, clocks, begun, walks, on):
    """Registers of the walk, by the state and by the word that comes next."""
    m = bench.m
    state, layer, fetched, running = inside.state, inside["layer"], inside["fetched"], inside["running"]
    turn, done, beat = inside["turn"], sequencer.done, sequencer.beat
    bench.lemma(Cat(state(name) for name in ("IDLE", "NEXT", "FETCH", "START", "RUN", "DRAIN")).any())

    # Where the program is.
    begin, end = (lookup(m, layer, values, name) for values, name in ((BEGINS[:-1], "begin"), (BEGINS[1:], "end")))
    over = (state("RUN") & ~running) | state("DRAIN")
    placed = (state("START") & ~running) | (state("RUN") & running)
    bench.lemma(layer < len(BEGINS) - 1)
    bench.lemma(~state("IDLE") | ((layer == 0) & (coming == Mux(done, len(WORDS), 0))))
    bench.lemma(~(state("NEXT") | state("FETCH") | state("START")) | (coming == begin))
    bench.lemma(~state("NEXT") | (layer > 0))
    bench.lemma(~over | (coming == end))
    bench.lemma(~(state("RUN") & running) | ((coming >= begin) & (coming < end)))
    bench.lemma(state("RUN") | ~beat.valid)
    bench.lemma(~running | state("START") | state("RUN"))
    bench.lemma(inside["starting"] == state("START"))
    bench.lemma((inside["walking"] == state("RUN")) | (state("START") & (inside["walking"] == ~running))
                | state("DRAIN"))

    # The preparation of a layer.
    loads = state("START") | state("RUN") | state("DRAIN")
    bench.lemma(~(state("IDLE") | state("NEXT")) | (fetched == int(LayerEntry.LOOPS)))
    bench.lemma(~state("FETCH") | (fetched > int(LayerEntry.LOOPS)))
    bench.lemma(~(state("START") | state("RUN")) | (fetched == int(LayerEntry.START)))
    bench.lemma(inside["groups"] == (state("FETCH") & (fetched == int(LayerEntry.SIZES))))
    for entry, name in ((LayerEntry.LOOPS, "loops"), (LayerEntry.SIZES, "sizes"), (LayerEntry.SOURCE, "source")):
        known = loads | (state("FETCH") & (fetched > int(entry) + 1))
        bench.lemma(~known | (inside[name] == of_layer(m, layer, entry, f"{name}_of")))
    (mode,) = (signal for signal in inside.named("mode") if signal is not Value.cast(sequencer.mode))
    bench.lemma(~loads | (mode == of_layer(m, layer, LayerEntry.MODE, "mode_of")))
    bench.lemma(~state("DRAIN") | (inside["drain"].as_signed() == DRAIN - 2 - clocks))
    bench.lemma(~(state("RUN") & ~running) | beat.valid)
    bench.lemma(~state("NEXT") | (clocks == DRAIN))
    bench.lemma(~state("FETCH") | (clocks == DRAIN + fetched - int(LayerEntry.LOOPS)))
    bench.lemma(on == (~state("IDLE") | done))
    bench.lemma(begun == ((state("START") & ~sequencer.layer_start) | state("RUN")))
    bench.lemma(walks == (state("RUN") & (number > begin)))

    # The loops and the pointers.
    prepared = (state("FETCH") & (fetched > int(LayerEntry.SIZES))) | (state("START") & running)
    ports = [Value.cast(port) for port in (sequencer.address, sequencer.row, sequencer.zero)]
    pointers = {"address": following["address"] * CONFIG.slots, "x": following["x"], "y": following["y"],
                "row": following["weights"], "run": following["run"] - 1}
    counts = {name: following[name] - 1 for name in ("kernel", "across", "down", "column", "row")}

    def registers(name):
        return [signal for signal in inside.named(name) if not any(signal is port for port in ports)]

    for name, value in pointers.items():
        register = registers(name)[0]
        expected = Signal(len(register), name=f"{name}_at")
        m.d.comb += expected.eq(Mux(placed, value, -1 if name == "run" else 0))
        bench.lemma(~(placed | prepared) | (register == expected))
    for name, value in counts.items():
        bench.lemma(~(placed | prepared) | (registers(name)[-1].as_signed() == Mux(placed, value, -1)))
    group, moved = inside["group"].as_signed(), inside["moved"]
    groups = lookup(m, layer, [WORDS[number]["group"] for number in BEGINS[:-1]], "groups_of")
    bench.lemma(~placed | (group + moved == -following["group"]))
    bench.lemma(~prepared | (group == -groups))
    bench.lemma(placed | prepared | over | (group == 0))
    bench.lemma(~over | (group + moved == 0))
    bench.lemma(~moved | placed)
    inner = ("kernel", "across", "down", "column", "row")
    ended = Cat(Cat(following[name] == 0 for name in inner[:count]).all() for count in range(1, 6))
    bench.lemma(~placed | bench.past(turn) | (inside["_ends"][:5] == ended))
    bench.lemma(~placed | bench.past(turn) | bench.past(bench.past(turn))
                | (inside["_ends"][5] == (ended[4] & (following["group"] == 0))))
    bench.lemma(~(state("START") & running) | inside["_ends"][:5].all())
    bench.lemma(~placed | (inside["first"] == following["first"]))
    bench.lemma(~placed | (inside["window_first"] == following["window_first"]))
    bench.lemma(bench.first | (inside["cooled"] == ~inside["cooling"]))


PROOFS = [Proof(
    block=Sequencer, parameters="P = 4, W = 8, baked, the program of three layers", bench=bench, clocks=5,
    claims={
        "sequencer-words": Claim(
            says="Each word of each sum of each layer is read once and in its order: its address, in the buffer of the "
                 "image for the first layer, its row of weights, and whether it is padding and begins or ends a sum.",
            situation="the third word is read in the second buffer, and waited",
            fault=Fault("mode.input & self.buffer", "mode.input & self.busy"),
            faulty="the second buffer is read always", within=30),
        "sequencer-endings": Claim(
            says="The flags of the pooling window and of the group are those of the sum that ends, until the next one "
                 "does or another layer begins.",
            situation="a group ends",
            fault=Fault('group_last.eq(walk.ends_with("part"))', 'group_last.eq(walk.ends_with("column"))'),
            faulty="each row of a map ends a group", within=30),
        "sequencer-pace": Claim(
            says="A layer has a word in each clock that the memory grants, but the end of a sum waits until that of "
                 "the one before is cooldown_cycles ago.",
            situation="an end waited",
            fault=Fault("cooldown.eq(2 - config.cooldown_cycles)", "cooldown.eq(3 - config.cooldown_cycles)"),
            faulty="ends may be a clock closer", within=30),
        "sequencer-layers": Claim(
            says="A layer begins with its mode and its target as many clocks after the last word of the one before as "
                 "spikes are under way and its entries take; the program ends so many after its last word.",
            situation="a layer begins",
            fault=Fault("with m.Case(LayerEntry.TARGET):", "with m.Case(LayerEntry.MODE):"),
            faulty="the target is there a clock before it is said to be", within=30),
    })]


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.parameters)
def test_sequencer(proof, tmp_path):
    check(proof, tmp_path)
