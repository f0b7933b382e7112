import pytest

from gateware.engine.configuration import EngineConfig
from gateware.engine.program import (
    LAYER_ENTRIES,
    PIXEL_ENTRIES,
    PixelStep,
    Step,
    count_shape,
    countdown,
    layer_layouts,
    pixel_layouts,
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


def test_numbers_of_steps_are_those_of_their_entries():
    assert [step.value for step in Step] == list(range(7))
    assert [step.value for step in PixelStep] == list(range(8))
    # Parameters follow from entry 8 on.
    assert LAYER_ENTRIES == PIXEL_ENTRIES == 16


@pytest.mark.parametrize("config", [EngineConfig(), EngineConfig(lanes=1, width=2, timesteps=1, pixels=False)],
                         ids=["UP5K", "smallest"])
def test_every_entry_fits_its_memory(config):
    assert all(layout.size <= program_width(config) for layout in layer_layouts(config).values())
    assert program_width(config) in [layout.size for layout in layer_layouts(config).values()]
    assert pixel_layouts(config)["step"]["lane"].shape >= config.address_width
