"""Marks: they tell of every bit which it is, in every shape of block RAM, for every circuit."""

import dataclasses
import hashlib
import itertools

import pytest

from arch import network_file
from boards import BOARDS
from gateware.engine.configuration import EngineConfig
from gateware.mapper.choice import plan_for_board
from gateware.mapper.info import info_of
from gateware.mapper.memories import block_ram_memories
from gateware.swap.marks import _parts, marked, marks_of, words_of
from models import DEFAULT_NETWORK
from tests.layouts import columns_of
from tests.random_networks import CIRCUITS, SMALL

#: As few rows and as many bits as a circuit can have.
TINY = EngineConfig(lanes=1, width=2, timesteps=1, pixels=False, channel_groups=1, layers=1, membrane_width=40,
                    weight_rows=16, classes=1)
CONFIGS = {**CIRCUITS, "small": SMALL, "tiny": TINY, "largest": EngineConfig(weight_rows=4096)}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_columns_of_every_shape_are_distinct_and_not_zero(config):
    marks = marks_of(config)
    for in_row in (1, 2, 4, 8):
        # Fewer than 16 words in a column: no tool makes a block RAM of such a shape of so few words.
        columns = [column for memory in marks if len(memory.words) >= 16 * in_row
                   for column in columns_of(memory, in_row)]
        assert 0 not in columns
        assert len(set(columns)) == len(columns)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_memories_have_the_sizes_of_the_circuit(config):
    """Those that the mapper counts, but for what the circuit itself writes."""
    marks = {memory.name: (memory.width, len(memory.words)) for memory in marks_of(config)}
    counted = {memory.name: (memory.width, memory.depth)
               for memory in block_ram_memories(config, BOARDS["icebreaker"].fpga)}
    width, depth = marks.pop("info block")
    assert (width, 2 * depth) == counted["information"]
    assert marks == {name: counted[name] for name in marks}
    assert counted.keys() - marks.keys() == {"scores", "pixel FIFO", "information"}


def test_marks_are_the_same_in_every_version_and_on_every_machine():
    """A layout that was placed with them is filled months later. The size of the info block is the protocol's."""
    text = repr([(memory.name, memory.width, memory.words) for memory in marks_of(TINY)[:-1]])
    assert hashlib.sha256(text.encode()).hexdigest() == (
        "558956533498a4bf9e7a9bd5e9168ab6b92def083797c84d2226ecc8a4e43557")


def test_words_of_a_network_are_its_contents_in_the_order_of_the_marks():
    plan = plan_for_board(network_file.load(DEFAULT_NETWORK), BOARDS["icebreaker"])
    info = info_of(plan, clock_hz=48e6).to_bytes()
    words, marks = words_of(plan.config, plan.contents, info), marks_of(plan.config)
    assert [(memory.name, memory.width) for memory in words] == [(memory.name, memory.width) for memory in marks]
    held = [memory.words for memory in words]
    contents = plan.contents
    assert held == [*contents.weights, contents.constants, contents.program, contents.pixels, list(info)]
    for memory, mark in zip(words, marks, strict=True):
        assert len(memory.words) <= len(mark.words)
        assert max(memory.words) < 1 << memory.width


def test_the_source_of_a_marked_design_holds_the_marks():
    source = marked(SMALL, image_bytes=12, result_words=7)
    assert words_of(SMALL, source.contents, source.info_block) == marks_of(SMALL)
    assert (source.image_bytes, source.result_words) == (12, 7)


def test_circuits_of_other_sizes_have_other_marks():
    configs = [SMALL, dataclasses.replace(SMALL, weight_rows=128), dataclasses.replace(SMALL, membrane_width=25)]
    for one, other in itertools.combinations(map(marks_of, configs), 2):
        assert one != other


@pytest.mark.parametrize(("depth", "parts"),
                         [(15, 0), (16, 1), (31, 1), (32, 3), (63, 3), (64, 7), (127, 7), (128, 15)])
def test_columns_too_short_to_be_told_apart_are_left_out(depth, parts):
    """A bit of N words may be a column of N rows, or two of N / 2, and so on, of at least 16 rows."""
    assert len(_parts((1 << depth) - 1, depth)) == parts
