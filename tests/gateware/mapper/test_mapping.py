import dataclasses

import numpy as np
import pytest

from arch.network import Convolution, Encoding, FullyConnected, Input, Network, Neurons, OrPool, Readout, Reset
from boards import BOARDS
from gateware.engine.configuration import ConfigError, EngineConfig
from gateware.engine.program import LAYER_ENTRIES, PIXEL_ENTRIES, layer_layouts
from gateware.mapper.cycles import count_cycles
from gateware.mapper.mapping import choose_config, map_network, plan_for_board, stages_of, synaptic_operations
from tests.random_networks import CIRCUITS, draw
from tests.twins.blocks import issues

CONFIG = EngineConfig(lanes=2, width=4, accumulator_width=15, membrane_width=20, fraction=2, weight_rows=64,
                      channel_groups=8, spike_words=256, layers=3, max_run=16, max_side=16, max_row_words=64, classes=4)


def make_neurons(channels, **options):
    ones = np.ones(channels, np.int64)
    return Neurons(**({"threshold": 5 * ones, "bias": ones, "initial": -ones} | options))


def conv(out, into, kernel=3, *, stride=1, padding=1, **neurons):
    weights = (np.arange(out * into * kernel * kernel) % 3 - 1).astype(np.int8).reshape(out, into, kernel, kernel)
    return Convolution(weights=weights, neurons=make_neurons(out, **neurons), stride=stride, padding=padding)


def network(*layers, shape=(1, 4, 4), classes=2, timesteps=4, encoding=Encoding.PIXELS):
    size = shape
    for layer in layers:
        size = layer.output_shape(size)
    inputs = int(np.prod(size))
    readout = Readout(weights=(np.arange(classes * inputs) % 3 - 1).astype(np.int8).reshape(classes, inputs))
    return Network(input=Input(encoding=encoding, channels=shape[0], height=shape[1], width=shape[2]),
                   layers=(*layers, readout), timesteps=timesteps)


def test_what_the_limits_allow_is_mapped():
    plan = map_network(network(conv(3, 1), OrPool(size=2)), CONFIG)
    assert plan.weight_rows == 2 * 5 + 4
    assert len(plan.contents.program) == 2 * LAYER_ENTRIES
    assert len(plan.contents.pixels) == PIXEL_ENTRIES
    assert [len(lane) for lane in plan.contents.weights] == [plan.weight_rows] * 2
    assert len(plan.contents.constants) == (2 + 1) * 2


@pytest.mark.parametrize(("net", "options", "message"), [
    (network(conv(2, 1), encoding=Encoding.EVENTS), {},
     r"^network: its input must be pixels for this circuit, not events$"),
    (network(conv(2, 1)), {"pixels": False}, r"^network: its input must be events for this circuit, not pixels$"),
    (network(conv(2, 1), timesteps=5), {},
     r"^network: timesteps must be at most 4, not 5: choose a circuit with more timesteps$"),
    (network(conv(2, 1), conv(2, 2), conv(2, 2)), {},
     r"^network: layers with weights must be at most 3, not 4: choose a circuit with a longer program$"),
    (network(conv(2, 1), classes=5), {},
     r"^network: classes must be at most 4, not 5: choose a circuit with more classes$"),
    (network(conv(8, 1), conv(3, 8)), {},
     r"^network: weight rows of 2 x 4 must be at most 64, not 72: use fewer or smaller layers$"),
    (network(conv(16, 1, 1, padding=0), OrPool(size=2)), {},
     r"^network: groups of 2 channels must be at most 8, not 9: use fewer channels in all layers together$"),
    (network(conv(1, 3, 7, padding=3), shape=(3, 2, 4)),
     {"spike_words": 2048, "weight_rows": 256},
     (r"^layer 0 \(convolution\): words of a kernel row must be at most 16, not 74: "
      r"use a smaller map or fewer channels$")),
    (network(conv(2, 1, 5, padding=4), shape=(1, 1, 9)), {"spike_words": 2048, "weight_rows": 256},
     (r"^layer 0 \(convolution\): words of a map row must be at most 64, not 169: "
      r"use a narrower map or fewer channels$")),
    (network(conv(2, 1, 1, padding=0), OrPool(size=5), shape=(1, 17, 5)), {},
     r"^layer 0 \(convolution\): side of its maps must be at most 16, not 17: use a smaller map$"),
    (network(conv(2, 1, fraction=3)), {},
     r"^layer 0 \(convolution\): fractional bits must be at most 2, not 3: export it with fewer$"),
    (network(conv(2, 1, reset=Reset.ZERO)), {"hard_reset": False},
     r"^layer 0 \(convolution\): this circuit has no hard reset$"),
    (network(conv(2, 1, leak_shift=2)), {"leak": False}, r"^layer 0 \(convolution\): this circuit has no leak$"),
    (network(conv(2, 1, threshold=np.array([5, 200000]))), {},
     r"^layer 0 \(convolution\): membrane bits must be at most 20, not 21: choose a circuit with a wider membrane$"),
    (network(conv(2, 1)), {"spike_words": 64},
     (r"^layer 0 \(convolution\): words of packed windows must be at most 32, not 80: "
      r"use a smaller image, a larger stride or a smaller kernel$")),
    (network(conv(5, 1), conv(5, 5)), {"spike_words": 200},
     (r"^layer 0 \(convolution\): its spikes take 32 words of spike memory and those of the layer before must stay: "
      r"20 words are not enough$")),
])
def test_what_does_not_fit_is_refused_in_one_line(net, options, message):
    with pytest.raises(ConfigError, match=message):
        map_network(net, dataclasses.replace(CONFIG, **options))


def test_or_pool_follows_weights():
    pooled = Network(input=Input(encoding=Encoding.PIXELS, channels=1, height=8, width=8), timesteps=1,
                     layers=(conv(2, 1), OrPool(size=2), OrPool(size=2),
                             Readout(weights=np.ones((2, 8), np.int8))))
    with pytest.raises(ConfigError,
                       match=r"^layer 2 \(or-pool\) must follow a layer with weights, not another or-pool$"):
        stages_of(pooled)


def summed():
    return network(conv(2, 1), conv(2, 2), dataclasses.replace(conv(2, 2), shortcut=0))


def pooled():
    return network(dataclasses.replace(conv(2, 1), pool=2))


@pytest.mark.parametrize(("net", "message"), [
    (summed(),
     ("layer 2 (convolution): adds the spikes of layer 0: summed spikes do not run on the array, only on the "
      "reference: train it without the shortcut")),
    (pooled(),
     ("layer 0 (convolution): sums the currents of 2 x 2 windows: pooled currents do not run on the array, only on the "
      "reference: train it with an or-pool instead")),
])
def test_what_only_the_reference_sums_is_refused(net, message):
    for refuse in (lambda: map_network(net, CONFIG), lambda: stages_of(net),
                   lambda: plan_for_board(net, BOARDS["icebreaker"])):
        with pytest.raises(ConfigError) as caught:
            refuse()
        assert str(caught.value) == message


def test_a_full_connection_that_adds_spikes_is_refused():
    square = FullyConnected(weights=np.eye(2, dtype=np.int8), neurons=make_neurons(2))
    net = network(FullyConnected(weights=np.ones((2, 16), np.int8), neurons=make_neurons(2)), square,
                  dataclasses.replace(square, shortcut=0))
    with pytest.raises(ConfigError, match=r"^layer 2 \(fully-connected\): adds the spikes of layer 0: "):
        stages_of(net)


def test_readout_cannot_read_pixels():
    with pytest.raises(ConfigError, match=r"^layer 0 \(readout\) must follow a layer with neurons: "
                                          r"it cannot read pixels$"):
        stages_of(network())


def test_a_stage_is_a_layer_and_its_pool():
    stages = stages_of(network(conv(3, 1), OrPool(size=2), conv(2, 3, 1, padding=0), shape=(1, 5, 7)))
    assert [(stage.index, stage.last_index, stage.pool, stage.computed, stage.target) for stage in stages] == [
        (0, 1, 2, (3, 4, 6), (3, 2, 3)), (2, 2, 1, (2, 2, 3), (2, 2, 3)), (3, 3, 1, (2, 1, 1), (2, 1, 1))]
    assert stages[0].name == "layer 0 (convolution)"


def test_maps_stay_apart_or_at_least_from_their_neighbours():
    net = network(conv(4, 1), *[conv(4, 4)] * 4, shape=(1, 4, 4))
    config = dataclasses.replace(CONFIG, weight_rows=256, layers=6, channel_groups=16)
    roomy = map_network(net, dataclasses.replace(config, spike_words=512))
    assert roomy.maps_are_apart
    tight = map_network(net, dataclasses.replace(config, spike_words=224))
    assert not tight.maps_are_apart
    places = [range(at.target, at.target + 16) for at in tight.schedules[:-1]]
    buffers = [range(0, 80), range(112, 192)]
    for number, place in enumerate(places):
        assert place.stop <= 224
        for other in (*buffers, *places[max(0, number - 1):number]):
            assert place.stop <= other.start or other.stop <= place.start


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("name", CIRCUITS)
def test_memories_are_within_their_depths(name, seed):
    plan, _ = draw(CIRCUITS[name], [31, seed])
    config, contents = plan.config, plan.contents
    assert plan.weight_rows <= config.weight_rows
    assert plan.spike_words <= config.spike_words
    assert len(contents.constants) <= config.channel_groups * config.lanes
    assert all(0 <= row < 1 << 2 * config.width for lane in contents.weights for row in lane)
    read = [issue for issue in issues(plan, 1) if not issue.zero]
    assert max(issue.row for issue in read) < plan.weight_rows
    assert max(issue.address for issue in read) < plan.spike_words
    assert sum(count_cycles(plan).words) == len(list(issues(plan, 0)))


@pytest.mark.parametrize("seed", range(20))
def test_chosen_circuit_runs_the_network_and_no_smaller_one_does(seed):
    plan, _ = draw(CIRCUITS["P2-W4-T4"], [32, seed])
    config = choose_config(plan.network, lanes=2, width=4, timesteps=4, spike_words=16384, weight_rows=16384)
    assert map_network(plan.network, config).config == config
    for name in ("channel_groups", "layers", "max_run", "max_row_words", "classes", "membrane_width", "fraction"):
        least = {"channel_groups": 2, "layers": 2, "membrane_width": config.fraction + 2, "fraction": 0}.get(name, 1)
        value = getattr(config, name)
        # The widest sum or score of the readout may be what asks for the membrane.
        if value == least or name == "membrane_width":
            continue
        with pytest.raises(ConfigError):
            map_network(plan.network, dataclasses.replace(config, **{name: value - 1}))


def test_operations_leave_padding_out():
    whole = FullyConnected(weights=np.ones((3, 48), np.int8), neurons=make_neurons(3))
    plan = map_network(network(conv(3, 1), whole), dataclasses.replace(CONFIG, max_run=64))
    # 4 x 4 positions, 3 x 3 taps of which 10 of 12 a side are inside.
    assert synaptic_operations(plan, 0) == 10 * 10 * 1 * 3 * 4
    assert synaptic_operations(plan, 1) == 48 * 3 * 4


def test_leak_is_that_of_the_layer_whatever_its_fraction():
    plan = map_network(network(conv(2, 1, fraction=0, leak_shift=3)), CONFIG)
    layout = layer_layouts(CONFIG)["mode"]
    # Shift the scaled membrane, then clear its lowest bits: floor(V / 8) in units of the layer.
    mode = layout.from_bits(plan.contents.program[12] & (1 << layout.size) - 1)
    assert (mode.neurons.leak, mode.neurons.scale) == (3, CONFIG.fraction)
