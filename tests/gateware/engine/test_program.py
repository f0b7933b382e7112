import pytest

from gateware.engine.configuration import EngineConfig
from gateware.engine.program import (
    LAYER_ENTRIES,
    PIXEL_ENTRIES,
    LayerEntry,
    PixelEntry,
    count_shape,
    countdown,
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


@pytest.mark.parametrize(("entries", "places"), [
    (LayerEntry, {"KERNEL": 0, "ACROSS": 1, "DOWN": 2, "COLUMN": 4, "ROW": 5, "GROUP": 7, "START": 8, "WORD": 15,
                  "LOOPS": 9, "SIZES": 10, "SOURCE": 11, "TARGET": 12, "MODE": 13}),
    (PixelEntry, {"ACROSS": 0, "DOWN": 1, "CHANNEL": 2, "COLUMN": 3, "COLUMN_NEW": 4, "ROW": 5, "ROW_NEW": 6,
                  "START": 7, "LOOPS": 8, "KERNEL": 9, "WINDOWS": 10, "SIZES": 11}),
])
def test_every_entry_has_the_place_that_images_rely_on(entries, places):
    """Memory contents are kept in flash: a change of places is a change of their format."""
    assert {entry.name: entry.value for entry in entries} == places
    parameters = list(places)[list(places).index("LOOPS"):]
    assert [entry.name for entry in entries if not entry.is_step] == parameters
    assert max(entries) < LAYER_ENTRIES == PIXEL_ENTRIES == 16


@pytest.mark.parametrize("config", [EngineConfig(), EngineConfig(lanes=1, width=2, timesteps=1, pixels=False)],
                         ids=["UP5K", "smallest"])
@pytest.mark.parametrize(("entries", "layouts", "width"), [(LayerEntry, layer_layouts, program_width),
                                                           (PixelEntry, pixel_layouts, pixel_width)])
def test_every_entry_fits_its_memory(config, entries, layouts, width):
    assert set(layouts(config)) == set(entries)
    assert max(layout.size for layout in layouts(config).values()) == width(config)
    assert {layouts(config)[entry] for entry in entries if entry.is_step} == {layouts(config)[entries.START]}


def test_a_lane_is_addressed_in_one_number():
    assert pixel_layouts(EngineConfig())[PixelEntry.START]["lane"].shape == EngineConfig().address_width + 3
