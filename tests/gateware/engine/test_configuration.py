import dataclasses

import pytest

from arch.network import NetworkError
from gateware.engine.configuration import ConfigError, EngineConfig, bits_for


@pytest.mark.parametrize(("options", "message"), [
    ({"lanes": 3}, r"^lanes must be a power of two, not 3$"),
    ({"lanes": 0}, r"^lanes must be a power of two, not 0$"),
    ({"spike_words": 1000}, r"^spike words must be a power of two, not 1000$"),
    ({"spike_words": 0}, r"^spike words must be a power of two, not 0$"),
    ({"width": 12}, r"^width must be a power of two, not 12$"),
    ({"width": -4}, r"^width must be a power of two, not -4$"),
    ({"lanes": 1, "width": 1}, r"^lanes must be at most width and width at least 2, not 1 and 1$"),
    ({"lanes": 8, "width": 4}, r"^lanes must be at most width and width at least 2, not 8 and 4$"),
    ({"timesteps": 0}, r"^timesteps must be 1 to 8, not 0$"),
    ({"timesteps": 9}, r"^timesteps must be 1 to 8, not 9$"),
    ({"timesteps": 3}, r"^timesteps must divide 8 for pixel input, not be 3$"),
    ({"timesteps": 2}, r"^width must be at most 12 and divisible by 4 for pixel input at 2 timesteps, not 16$"),
    ({"timesteps": 2, "lanes": 1, "width": 2},
     r"^width must be at most 12 and divisible by 4 for pixel input at 2 timesteps, not 2$"),
    ({"width": 32}, r"^width must be at most 30 and divisible by 2 for pixel input at 4 timesteps, not 32$"),
    ({"accumulator_width": 1}, r"^accumulator width must be 2 to 24 bits, not 1$"),
    ({"accumulator_width": 25}, r"^accumulator width must be 2 to 24 bits, not 25$"),
    ({"membrane_width": 5}, r"^membrane width must be fraction \+ 2 to 40 bits, not 5$"),
    ({"membrane_width": 41}, r"^membrane width must be fraction \+ 2 to 40 bits, not 41$"),
])
def test_impossible_circuit_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        EngineConfig(**options)


def test_errors_are_network_errors():
    assert issubclass(ConfigError, NetworkError)


def test_events_have_any_number_of_timesteps():
    for timesteps in range(1, 9):
        config = EngineConfig(pixels=False, timesteps=timesteps, width=64)
        assert (config.slices, config.slice_width) == (1, 64)


@pytest.mark.parametrize(("timesteps", "width", "slices", "slice_width"),
                         [(1, 8, 8, 1), (2, 8, 4, 2), (4, 16, 2, 8), (8, 64, 1, 64)])
def test_planes_fill_a_word(timesteps, width, slices, slice_width):
    config = EngineConfig(lanes=4, width=width, timesteps=timesteps)
    assert (config.slices, config.slice_width) == (slices, slice_width)


def test_shipped_geometry():
    config = EngineConfig()
    assert (config.sop_per_cycle, config.slots, config.address_width, config.row_width, config.group_width,
            config.layer_width, config.score_width) == (512, 2, 14, 8, 5, 4, 16)


def test_widths_hold_what_they_must():
    for value in (1, 2, 3, 4, 255, 256):
        assert value < 1 << bits_for(value)
        assert bits_for(value) == 1 or value >= 1 << bits_for(value) - 1
        config = EngineConfig(max_side=value, max_row_words=value, max_run=value, layers=value + 1)
        assert 1 << config.side_width > value + 1
        assert 1 << config.x_width > value + 1
        assert 1 << config.run_width > value
        assert 1 << config.layer_width > value
    assert bits_for(0) == 1


def test_a_circuit_is_a_value():
    config = EngineConfig()
    assert config == EngineConfig()
    assert hash(config) == hash(EngineConfig())
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.lanes = 4
