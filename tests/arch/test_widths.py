import itertools
import tracemalloc

import numpy as np
import pytest

from arch.network import (
    Convolution,
    Encoding,
    FullyConnected,
    Input,
    Network,
    NetworkError,
    Neurons,
    OrPool,
    Projection,
    Readout,
    Reset,
)
from arch.widths import ChannelRange, Range, channel_currents, input_range, layer_widths, membrane_range, spike_range
from reference.generate import random_images, random_network
from reference.network import Reference


def make_neurons(threshold, bias=0, initial=0, **options):
    constants = (np.array([value], dtype=np.int64) for value in (threshold, bias, initial))
    return Neurons(**dict(zip(("threshold", "bias", "initial"), constants, strict=True)), **options)


def one(low, high):
    return ChannelRange(np.array([low]), np.array([high]))


def trajectories(neurons, currents):
    """Membranes of one channel under one sequence of currents: all values, and those compared."""
    v = int(neurons.initial[0])
    seen, compared = [v], []
    for current in currents:
        if neurons.leak_shift is not None:
            v -= v >> neurons.leak_shift
            seen.append(v)
        v += (current << neurons.fraction) + int(neurons.bias[0])
        compared.append(v)
        if v >= neurons.threshold[0]:
            v = v - int(neurons.threshold[0]) if neurons.reset is Reset.SUBTRACT else 0
        seen.append(v)
    return seen + compared, compared


@pytest.mark.parametrize(("low", "high", "bits"), [
    (0, 0, 1), (0, 1, 2), (-1, 0, 1), (-2, 1, 2), (-2, 2, 3), (0, 127, 8), (-128, 127, 8), (-129, 0, 9), (5, 8, 5),
])
def test_signed_bits_hold_the_range(low, high, bits):
    assert Range(low, high).bits == bits


def test_input_ranges():
    source = {"channels": 1, "height": 2, "width": 2}
    assert input_range(Input(encoding=Encoding.PIXELS, **source)) == Range(0, 255)
    assert input_range(Input(encoding=Encoding.PIXELS, zero_point=128, **source)) == Range(-128, 127)
    assert input_range(Input(encoding=Encoding.EVENTS, **source)) == Range(0, 1)


def test_extreme_inputs_reach_the_range_of_currents():
    rng = np.random.default_rng(1)
    weights = rng.integers(-1, 2, (5, 3, 2, 2)).astype(np.int8)
    for inputs in (spike_range(summed=False), spike_range(summed=True), Range(0, 255), Range(-128, 127)):
        found = channel_currents(weights, inputs)
        flat = weights.reshape(5, -1).astype(np.int64)
        assert (found.high == (flat * np.where(flat > 0, inputs.high, inputs.low)).sum(axis=1)).all()
        assert (found.low == (flat * np.where(flat > 0, inputs.low, inputs.high)).sum(axis=1)).all()


@pytest.mark.parametrize("reset", list(Reset))
@pytest.mark.parametrize("fraction", [0, 2])
@pytest.mark.parametrize("leak_shift", [None, 1, 2])
@pytest.mark.parametrize("constant", [False, True])
def test_membranes_of_all_sequences_stay_in_the_range_and_reach_it(reset, fraction, leak_shift, constant):
    rng = np.random.default_rng([1, fraction, leak_shift or 0])
    for _ in range(12):
        neurons = make_neurons(int(rng.integers(1, 20)), int(rng.integers(-9, 9)), int(rng.integers(-9, 20)),
                               fraction=fraction, reset=reset, leak_shift=leak_shift)
        low, high = -int(rng.integers(0, 4)), int(rng.integers(0, 4))
        timesteps = int(rng.integers(1, 5))
        membrane, difference = membrane_range(neurons, one(low, high), timesteps, constant=constant)
        values = range(low, high + 1)
        sequences = [(a,) * timesteps for a in values] if constant else itertools.product(values, repeat=timesteps)
        runs = [trajectories(neurons, sequence) for sequence in sequences]
        seen = [v for run, _ in runs for v in run]
        gaps = [v - int(neurons.threshold[0]) for _, compared in runs for v in compared]
        assert membrane.total.low <= min(seen) <= max(seen) <= membrane.total.high
        assert difference.total.low <= min(gaps) <= max(gaps) <= difference.total.high
        if leak_shift is None or constant:
            assert membrane.total == Range(min(seen), max(seen))
            assert difference.total == Range(min(gaps), max(gaps))


def test_gaps_between_reachable_membranes_are_kept():
    """Steps of 2^F and thresholds far apart leave holes, and an interval would report membranes in them."""
    rng = np.random.default_rng(11)
    for _ in range(400):
        fraction = int(rng.integers(0, 5))
        neurons = make_neurons(int(rng.integers(1, 120)), int(rng.integers(-60, 60)), int(rng.integers(-60, 90)),
                               fraction=fraction, reset=Reset.SUBTRACT)
        low, high = -int(rng.integers(0, 2)), int(rng.integers(0, 3))
        membrane, difference = membrane_range(neurons, one(low, high), 5)
        runs = [trajectories(neurons, sequence) for sequence in itertools.product(range(low, high + 1), repeat=5)]
        seen = [v for run, _ in runs for v in run]
        gaps = [v - int(neurons.threshold[0]) for _, compared in runs for v in compared]
        assert membrane.total == Range(min(seen), max(seen))
        assert difference.total == Range(min(gaps), max(gaps))


def test_channels_are_ranged_apart():
    neurons = Neurons(threshold=np.array([1, 100]), bias=np.array([0, 5]), initial=np.array([0, -7]))
    membrane, difference = membrane_range(neurons, ChannelRange(np.array([0, -3]), np.array([2, 0])), 2)
    assert (membrane.low.tolist(), membrane.high.tolist()) == ([0, -7], [3, 3])
    assert (difference.low.tolist(), difference.high.tolist()) == ([-1, -105], [2, -97])


def test_huge_pixel_layers_fall_back_to_a_bound():
    neurons = make_neurons(10)
    tracemalloc.start()
    membrane, _ = membrane_range(neurons, one(-2**22, 2**22), 2, constant=True)
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert membrane.total == Range(-2**23, 2**23 - 10)
    # Not one current after the other: there are eight million.
    assert most_bytes < 2**16


def test_membranes_too_wide_for_the_reference_are_refused():
    neurons = make_neurons(2**47, fraction=16)
    message = r"^membrane must fit in 62 bits, and may need 63$"
    with pytest.raises(NetworkError, match=message):
        membrane_range(neurons, one(0, 2**44), 2)
    layer = FullyConnected(weights=np.ones((1, 2**16), dtype=np.int8), neurons=make_neurons(1, bias=-2**47, fraction=0))
    wide = Network(input=Input(encoding=Encoding.EVENTS, channels=1, height=256, width=256), timesteps=64,
                   layers=(layer, Readout(weights=np.ones((2, 1), dtype=np.int8))))
    assert next(layer_widths(wide)).membrane.bits == 54


def test_widths_follow_the_layers():
    neurons = Neurons(threshold=np.array([3, 9]), bias=np.array([-1, 2]), initial=np.array([0, 4]), fraction=1)
    weights = np.ones((2, 1, 2, 2), dtype=np.int8)
    weights[1, 0, 0] = -1
    readout = np.array([[1, 1], [-1, 0]], dtype=np.int8)
    network = Network(input=Input(encoding=Encoding.PIXELS, channels=1, height=3, width=3), timesteps=3,
                      layers=(Convolution(weights=weights, neurons=neurons), OrPool(size=2), Readout(weights=readout)))
    first, pool, last = layer_widths(network)
    assert pool is None
    assert first.input == Range(0, 255)
    assert first.current == Range(-510, 1020)
    assert first.shifted == Range(-1020, 2040)
    assert (first.threshold, first.bias, first.initial) == (Range(3, 9), Range(-1, 2), Range(0, 4))
    assert last.input == Range(0, 1)
    assert last.current == Range(-1, 2)
    assert last.score == Range(-3, 6)
    assert last.membrane is None


def test_shortcuts_and_pools_widen_the_range():
    neurons = Neurons(threshold=np.array([3, 9]), bias=np.array([-1, 2]), initial=np.array([0, 4]))
    weights = np.array([[[[1]], [[1]]], [[[1]], [[-1]]]], dtype=np.int8)
    first = Convolution(weights=weights[:, :1], neurons=neurons, pool=2)
    plain = Convolution(weights=weights, neurons=neurons)
    network = Network(input=Input(encoding=Encoding.EVENTS, channels=1, height=6, width=6), timesteps=2,
                      layers=(first, plain, Convolution(weights=weights, neurons=neurons, shortcut=0, pool=3), plain,
                              Readout(weights=np.ones((2, 2), dtype=np.int8))))
    assert [(of.input, of.current) for of in layer_widths(network)] == [
        (Range(0, 1), Range(0, 4)), (Range(0, 1), Range(-1, 2)), (Range(0, 2), Range(-18, 36)),
        (Range(0, 1), Range(-1, 2)), (Range(0, 1), Range(0, 2))]


def test_extreme_spikes_reach_the_extremes_of_a_summed_and_pooled_layer():
    """All spikes where the weight is +1 and none where it is -1, in every field of the window."""
    weights = np.array([1, -1, 1, 0], dtype=np.int8)
    pass_on = Convolution(weights=np.eye(4, dtype=np.int8)[..., None, None],
                          neurons=Neurons(threshold=np.ones(4, np.int64), bias=np.zeros(4, np.int64),
                                          initial=np.zeros(4, np.int64)))
    last = Convolution(weights=weights.reshape(1, 4, 1, 1), neurons=make_neurons(7, bias=3), pool=3, shortcut=0)
    network = Network(input=Input(encoding=Encoding.EVENTS, channels=4, height=3, width=3), timesteps=2,
                      layers=(pass_on, pass_on, last, Readout(weights=np.array([[1], [-1]], dtype=np.int8))))
    high = np.broadcast_to((weights > 0)[:, None, None], (2, 4, 3, 3))
    result = Reference(network).run(np.stack([high, ~high]), internals=True)
    of = list(layer_widths(network))[2]
    internals = result.internals[2]
    assert (internals.currents.min(), internals.currents.max()) == (of.current.low, of.current.high) == (-18, 36)
    assert (internals.compared.min(), internals.compared.max()) == (of.membrane.low, of.membrane.high)


def test_extreme_spikes_reach_the_extremes_of_a_projected_and_pooled_layer():
    """All spikes where a weight of either input is +1 and none where it is -1, in every field of the window."""
    weights, projected = np.array([1, -1, 0], dtype=np.int8), np.array([1, 1, -1], dtype=np.int8)
    rest = {"bias": np.zeros(6, np.int64), "initial": np.zeros(6, np.int64)}
    # Both layers pass on what they see: the first the last three channels, the second the first three.
    repeat = Convolution(weights=np.eye(6, dtype=np.int8)[..., None, None],
                         neurons=Neurons(threshold=np.ones(6, np.int64), **rest))
    front = Convolution(weights=np.eye(3, 6, dtype=np.int8)[..., None, None],
                        neurons=Neurons(threshold=np.ones(3, np.int64), bias=np.zeros(3, np.int64),
                                        initial=np.zeros(3, np.int64)))
    back = np.concatenate([np.zeros(3, np.int8), projected]).reshape(1, 6, 1, 1)
    last = Convolution(weights=weights.reshape(1, 3, 1, 1), neurons=make_neurons(7, bias=3), pool=2,
                       projection=Projection(source=0, weights=back))
    network = Network(input=Input(encoding=Encoding.EVENTS, channels=6, height=2, width=2), timesteps=2,
                      layers=(repeat, front, last, Readout(weights=np.array([[1], [-1]], dtype=np.int8))))
    signs = np.concatenate([weights, projected])
    images = np.stack([np.broadcast_to((signs == sign)[:, None, None], (2, 6, 2, 2)) for sign in (1, -1)])
    result = Reference(network).run(images, internals=True)
    of = list(layer_widths(network))[2]
    internals = result.internals[2]
    assert of.input == Range(0, 1)
    assert (internals.currents.min(), internals.currents.max()) == (of.current.low, of.current.high) == (-8, 12)
    assert (internals.compared.min(), internals.compared.max()) == (of.membrane.low, of.membrane.high)


@pytest.mark.parametrize("options", [
    {}, {"shortcuts": True, "pools": True, "layers": 4},
    {"shortcuts": True, "pools": True, "projections": True, "layers": 4}], ids=["chain", "graph", "projections"])
@pytest.mark.parametrize("seed", range(20))
def test_reference_stays_in_the_widths(seed, options):
    rng = np.random.default_rng([20, seed])
    network = random_network(rng, **options)
    result = Reference(network).run(random_images(network, rng, 6), internals=True)
    *hidden, readout = layer_widths(network)
    for of, internals in zip(hidden, result.internals, strict=True):
        if internals is None:
            continue
        assert of.current.low <= internals.currents.min() <= internals.currents.max() <= of.current.high
        for values in (internals.compared, internals.membranes):
            assert of.membrane.low <= values.min() <= values.max() <= of.membrane.high
    assert readout.score.low <= result.scores.min() <= result.scores.max() <= readout.score.high


def test_extreme_images_reach_the_extremes_of_a_pixel_layer():
    """White where the weight is +1 and black where it is -1, and the other way round, drive a neuron to its limits."""
    rng = np.random.default_rng(4)
    weights = rng.integers(-1, 2, (1, 1, 5, 5)).astype(np.int8)
    network = Network(
        input=Input(encoding=Encoding.PIXELS, channels=1, height=5, width=5, zero_point=128), timesteps=4,
        layers=(Convolution(weights=weights, neurons=make_neurons(7, bias=3, initial=-5, fraction=4)),
                Readout(weights=np.array([[1], [-1]], dtype=np.int8))))
    high = np.where(weights[0] > 0, 255, 0).astype(np.uint8)
    result = Reference(network).run(np.stack([high, 255 - high]), internals=True)
    of, readout = layer_widths(network)
    internals = result.internals[0]
    assert (internals.currents.min(), internals.currents.max()) == (of.current.low, of.current.high)
    assert (internals.compared.min(), internals.compared.max()) == (of.membrane.low, of.membrane.high)
    assert (result.scores.min(), result.scores.max()) == (readout.score.low, readout.score.high)
