import dataclasses
import re

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
    ({"timesteps": 2}, r"^width must be a power of two from 4 to 8 for pixel input at 2 timesteps, not 16$"),
    ({"timesteps": 2, "lanes": 1, "width": 2},
     r"^width must be a power of two from 4 to 8 for pixel input at 2 timesteps, not 2$"),
    ({"width": 32}, r"^width must be a power of two from 2 to 16 for pixel input at 4 timesteps, not 32$"),
    ({"timesteps": 1}, r"^width must be 8 for pixel input at 1 timestep, not 16$"),
    ({"timesteps": 8, "width": 256},
     r"^width must be a power of two from 2 to 128 for pixel input at 8 timesteps, not 256$"),
    ({"accumulator_width": 1}, r"^accumulator width must be 2 to 24 bits, not 1$"),
    ({"accumulator_width": 25}, r"^accumulator width must be 2 to 24 bits, not 25$"),
    ({"membrane_width": 5}, r"^membrane width must be fraction \+ 2 to 40 bits, not 5$"),
    ({"membrane_width": 41}, r"^membrane width must be fraction \+ 2 to 40 bits, not 41$"),
    ({"fraction": -1}, r"^fraction must be 0 or more, not -1$"),
    ({"channel_groups": 0}, r"^channel groups must be 1 to 2\^24, not 0$"),
    ({"classes": -10**50}, r"^classes must be 1 to 2\^24, not -10{35}\.\.\.$"),
    ({"weight_rows": 2**24 + 1}, r"^weight rows must be 1 to 2\^24, not 16777217$"),
    ({"spike_words": 2**25}, r"^spike words must be 1 to 2\^24, not 33554432$"),
])
def test_impossible_circuit_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        EngineConfig(**options)


@pytest.mark.parametrize("timesteps", [1, 2, 4, 8])
def test_the_widths_that_a_refusal_names_are_all_there_are(timesteps):
    widths = [1 << power for power in range(1, 10)]
    made, refused = [], set()
    for width in widths:
        try:
            made.append(EngineConfig(lanes=1, width=width, timesteps=timesteps).width)
        except ConfigError as error:
            refused.add(re.sub(r", not \d+$", "", str(error)))
    rule = str(made[0]) if len(made) == 1 else f"a power of two from {made[0]} to {made[-1]}"
    steps = "1 timestep" if timesteps == 1 else f"{timesteps} timesteps"
    assert refused == {f"width must be {rule} for pixel input at {steps}"}
    # A slice of a word counts its pixels in as many bits as there are timesteps.
    slices = 8 // timesteps
    assert made == [width for width in widths if width % slices == 0 and width // slices < 1 << timesteps]


STREAMED = {"streamed": True, "accumulator_width": 8, "layers": 8, "max_run": 255, "max_side": 63, "max_row_words": 255}


@pytest.mark.parametrize(("options", "message"), [
    ({"weight_rows": 200}, r"^weight_rows must be a power of two and at least 16 for a streamed circuit, not 200$"),
    ({"weight_rows": 8}, r"^weight_rows must be a power of two and at least 16 for a streamed circuit, not 8$"),
    ({"channel_groups": 24}, r"^channel_groups must be a power of two and at least 4 for a streamed circuit, not 24$"),
    ({"channel_groups": 2}, r"^channel_groups must be a power of two and at least 4 for a streamed circuit, not 2$"),
    ({"layers": 10}, r"^layers must be a power of two and at least 4 for a streamed circuit, not 10$"),
    ({"layers": 2}, r"^layers must be a power of two and at least 4 for a streamed circuit, not 2$"),
    ({"membrane_width": 22},
     r"^membrane_width of a circuit must be 1 to 21, not 22: no model in flash can be for this circuit$"),
    ({"weight_rows": 8192},
     (r"^ring_rows of a circuit must be a multiple of 16, 16 to 4096, not 8192: no model in flash can be for this "
      r"circuit$")),
    ({"lanes": 1, "width": 4},
     (r"^lanes x width of a circuit must be a power of two, 8 or more, not 1 x 4: no model in flash can be for this "
      r"circuit$")),
    ({"blocks": 0}, r"^blocks must be 1 to 8, not 0$"),
    ({"blocks": 9}, r"^blocks must be 1 to 8, not 9$"),
    ({"timesteps": 2, "lanes": 4, "width": 4},
     r"^timesteps must be 4 or 8 for pixel input of a streamed circuit, not 2$"),
    ({"accumulator_width": 4}, r"^accumulator width must hold the 16 synapses of a word, not be 4 bits$"),
    ({"max_side": 64}, (r"^a step of the program must be at most 48 bits, not 49: use a smaller max_run, max_side, "
                        r"max_row_words, spike_words or weight_rows$")),
])
def test_impossible_streamed_circuit_is_refused(options, message):
    EngineConfig(**STREAMED)
    with pytest.raises(ConfigError, match=message):
        EngineConfig(**{**STREAMED, **options})


def test_blocks_are_streamed():
    with pytest.raises(ConfigError, match=r"^blocks must be 1 for a circuit that is not streamed, not 2$"):
        EngineConfig(blocks=2)


def test_streamed_widths():
    config = EngineConfig(**STREAMED)
    # 15 words of 16 synapses fit 8 bits; sums have 16, scores the 16 of a membrane that are not its fraction.
    assert (config.max_segment, config.sum_width, config.current_width, config.score_width) == (15, 5, 16, 16)
    assert EngineConfig(**STREAMED, membrane_width=21, fraction=0).score_width == 20
    assert (config.slot_address_width, config.advance_width, config.groups_width) == (15, 15, 9)
    assert EngineConfig(**{**STREAMED, "lanes": 1, "spike_words": 1024}).cooldown_cycles == 3


def test_baked_widths():
    config = EngineConfig()
    assert (config.slot_address_width, config.advance_width, config.groups_width) == (15, 6, 5)
    assert (config.current_width, config.cooldown_cycles) == (12, 8)
    assert EngineConfig(lanes=1).cooldown_cycles == 2


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
