import dataclasses

import pytest

from gateware.engine.configuration import MAX_ENTRY_WIDTH, EngineConfig
from gateware.engine.program import (
    PIXEL_ENTRIES,
    SECOND,
    LayerEntry,
    PixelEntry,
    count_shape,
    countdown,
    layer_entries,
    layer_layouts,
    pixel_layouts,
    pixel_width,
    program_width,
)


def test_countdown_is_negative_in_the_last_turn():
    for count in range(1, 20):
        value, turns = countdown(count), 1
        while value >= 0:
            value, turns = value - 1, turns + 1
        assert turns == count


@pytest.mark.parametrize("width", [1, 3, 8])
def test_counters_hold_their_most_turns(width):
    shape = count_shape(width)
    assert shape.signed
    assert -(1 << shape.width - 1) <= countdown(1)
    assert countdown(1 << width) < 1 << shape.width - 1


LAYER_PLACES = {
    "KERNEL": 0, "ACROSS": 1, "DOWN": 2, "BLOCK": 3, "COLUMN": 4, "ROW": 5, "PART": 6, "GROUP": 7, "WORD": 8,
    "SECOND_START": 9, "LOOPS": 10, "SIZES": 11, "SOURCE": 12, "TARGET": 13, "MODE": 14, "START": 15,
    "SECOND_KERNEL": 16, "SECOND_ACROSS": 17, "SECOND_DOWN": 18, "SECOND_BLOCK": 19, "SECOND_COLUMN": 20,
    "SECOND_ROW": 21, "SECOND_PART": 22, "SECOND_GROUP": 23}
PIXEL_PLACES = {
    "ACROSS": 0, "DOWN": 1, "CHANNEL": 2, "COLUMN": 3, "COLUMN_NEW": 4, "ROW": 5, "ROW_NEW": 6, "START": 7,
    "LOOPS": 8, "KERNEL": 9, "WINDOWS": 10, "SIZES": 11}


@pytest.mark.parametrize(("entries", "places"), [(LayerEntry, LAYER_PLACES), (PixelEntry, PIXEL_PLACES)])
def test_every_entry_has_the_place_that_images_rely_on(entries, places):
    """Memory contents are kept in flash: a change of places is a change of their format."""
    assert {entry.name: entry.value for entry in entries} == places
    parameters = {"LOOPS", "SIZES", "SOURCE", "TARGET", "MODE", "KERNEL", "WINDOWS"}
    if entries is LayerEntry:
        parameters.remove("KERNEL")
    assert {entry.name for entry in entries if not entry.is_step} == parameters & set(places)


def test_steps_of_the_second_source_are_those_of_the_first():
    for entry in list(LayerEntry)[:8]:
        assert LayerEntry(entry + SECOND).name == f"SECOND_{entry.name}"


STREAMED = EngineConfig(streamed=True, accumulator_width=8, layers=8, max_run=255, max_side=63, max_row_words=255,
                        blocks=8, leak=False)
SMALLEST = EngineConfig(lanes=1, width=2, timesteps=1, pixels=False)


@pytest.mark.parametrize(("config", "missing"), [
    (EngineConfig(), ["BLOCK", "PART", *(name for name in LAYER_PLACES if name.startswith("SECOND_"))]),
    (SMALLEST, ["BLOCK", "PART", *(name for name in LAYER_PLACES if name.startswith("SECOND_"))]),
    (STREAMED, []),
    (dataclasses.replace(STREAMED, blocks=1), ["BLOCK", "SECOND_BLOCK"]),
], ids=["UP5K", "smallest", "streamed", "streamed-one-block"])
def test_every_layer_entry_of_a_circuit_has_a_layout(config, missing):
    layouts = layer_layouts(config)
    assert [entry.name for entry in LayerEntry if entry not in layouts] == missing
    assert max(layouts) < layer_entries(config) == (32 if config.streamed else 16)
    assert max(layout.size for layout in layouts.values()) == program_width(config)
    assert {layouts[entry] for entry in layouts if entry.is_step} == {layouts[LayerEntry.START]}


def test_streamed_entries_have_six_bytes():
    assert program_width(STREAMED) == MAX_ENTRY_WIDTH == 48


@pytest.mark.parametrize("config", [EngineConfig(), SMALLEST], ids=["UP5K", "smallest"])
def test_every_pixel_entry_fits_its_memory(config):
    layouts = pixel_layouts(config)
    assert set(layouts) == set(PixelEntry)
    assert max(PixelEntry) < PIXEL_ENTRIES == 16
    assert max(layout.size for layout in layouts.values()) == pixel_width(config)
    assert {layouts[entry] for entry in layouts if entry.is_step} == {layouts[PixelEntry.START]}


def test_a_lane_is_addressed_in_one_number():
    assert pixel_layouts(EngineConfig())[PixelEntry.START]["lane"].shape == EngineConfig().address_width + 3
