import time

import numpy as np
import pytest

from arch import network_file
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
    projection_of,
    shortcut_of,
)
from reference.generate import random_images, random_network, random_weights
from reference.network import Reference, check_images, classify, pif
from reference.plain import infer


def assert_equal_to_plain(network, images, count):
    result = Reference(network).run(images, spikes=True, internals=True, step_scores=True)
    for image in range(count):
        trace = infer(network, images[image])
        assert result.scores[image].tolist() == trace.scores
        assert result.step_scores[image].tolist() == trace.step_scores
        assert result.classes[image] == trace.winner
        for fast, internals, slow, membranes in zip(result.spikes, result.internals, trace.spikes, trace.membranes,
                                                    strict=True):
            assert fast[image].astype(int).tolist() == slow
            assert (internals is None) == (membranes is None)
            if internals is not None:
                assert internals.membranes[image].tolist() == membranes
    return result


@pytest.mark.parametrize("seed", range(40))
def test_equals_the_plain_twin_on_random_networks(seed):
    rng = np.random.default_rng([7, seed])
    network = random_network(rng, max_side=8, max_channels=7)
    assert_equal_to_plain(network, random_images(network, rng, 4), 4)


GRAPHS = {"layers": 4, "max_side": 8, "max_channels": 5, "shortcuts": True, "pools": True}


@pytest.mark.parametrize("seed", range(40))
def test_equals_the_plain_twin_on_random_graphs(seed):
    rng = np.random.default_rng([17, seed])
    network = random_network(rng, **GRAPHS)
    assert_equal_to_plain(network, random_images(network, rng, 4), 4)


def test_random_graphs_add_spikes_and_pool_currents():
    """Values of 2 occur, sources of every kind, pools behind pixels and behind sums."""
    kinds, pools, twos = set(), set(), 0
    for seed in range(40):
        rng = np.random.default_rng([17, seed])
        network = random_network(rng, **GRAPHS)
        result = Reference(network).run(random_images(network, rng, 4), spikes=True)
        for index, layer in enumerate(network.layers):
            source = shortcut_of(layer)
            if source is not None:
                kinds.add((layer.kind, network.layers[source].kind))
                twos += np.count_nonzero(result.spikes[index - 1] & result.spikes[source])
            if isinstance(layer, Convolution) and layer.pool > 1:
                pools.add((index == 0, source is not None))
    assert {source for _, source in kinds} == {layer for layer, _ in kinds} | {"or-pool"}
    assert {"convolution", "fully-connected"} == {layer for layer, _ in kinds}
    assert pools == {(True, False), (False, False), (False, True)}
    assert twos > 100


def projected_network(rng, seed):
    """Make a network with projections; in every second one other layers have shortcuts."""
    return random_network(rng, layers=5, max_side=8, max_channels=5, shortcuts=seed % 2 == 0, pools=True,
                          projections=True)


@pytest.mark.parametrize("seed", range(40))
def test_equals_the_plain_twin_on_random_projections(seed):
    rng = np.random.default_rng([18, seed])
    network = projected_network(rng, seed)
    assert_equal_to_plain(network, random_images(network, rng, 4), 4)


def test_random_projections_are_of_every_kind():
    """Sources of every kind, the previous layer and others; strides, pools, identities; beside shortcuts elsewhere."""
    sources, distances, strides, pools, diagonal, shortcuts = (set() for _ in range(6))
    for seed in range(40):
        network = projected_network(np.random.default_rng([18, seed]), seed)
        for index, layer in enumerate(network.layers):
            beside = projection_of(layer)
            if beside is not None:
                sources.add(network.layers[beside.source].kind)
                distances.add(index - beside.source > 1)
                strides.add(beside.stride > 1)
                pools.add(layer.pool > 1)
                diagonal.add(beside.diagonal)
                shortcuts.add(any(shortcut_of(other) is not None for other in network.layers))
    assert sources == {"convolution", "fully-connected", "or-pool"}
    assert distances == strides == pools == diagonal == shortcuts == {True, False}


def test_old_seeds_make_the_networks_that_they_made():
    """Networks of tests and reports are named by their seed."""
    rng = np.random.default_rng([17, 3])
    digest = network_file.digest(random_network(rng, **GRAPHS))
    assert digest == "8cb1276933f725135818833131b9aa248a82960a6db0b68dd8c642b910031abe"


@pytest.mark.parametrize("reset", list(Reset))
@pytest.mark.parametrize("leak", [False, True])
@pytest.mark.parametrize("timesteps", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("encoding", list(Encoding))
def test_equals_the_plain_twin_with_every_neuron(reset, leak, timesteps, encoding):
    rng = np.random.default_rng([8, timesteps])
    network = random_network(rng, max_side=5, max_channels=5, timesteps=timesteps, reset=reset, leak=leak,
                             encoding=encoding)
    assert_equal_to_plain(network, random_images(network, rng, 3), 3)


def test_random_networks_meet_their_thresholds_exactly():
    met = 0
    for seed in range(10):
        rng = np.random.default_rng([7, seed])
        network = random_network(rng, max_side=8, max_channels=7)
        result = Reference(network).run(random_images(network, rng, 4), internals=True)
        for layer, internals in zip(network.layers, result.internals, strict=False):
            if internals is not None:
                met += np.count_nonzero(internals.compared == layer.neurons.threshold[:, None, None])
    assert met > 100


def make_single(reset, threshold=5, bias=0, initial=0, timesteps=4, fraction=0):
    neurons = Neurons(threshold=np.array([threshold]), bias=np.array([bias]), initial=np.array([initial]),
                      fraction=fraction, reset=reset)
    layer = FullyConnected(weights=np.ones((1, 5), dtype=np.int8), neurons=neurons)
    return Network(input=Input(encoding=Encoding.EVENTS, channels=5, height=1, width=1), timesteps=timesteps,
                   layers=(layer, Readout(weights=np.array([[1], [-1]], dtype=np.int8))))


def spikes_of(network, counts):
    frames = np.arange(5) < np.array(counts)[:, None]
    return Reference(network).run(frames[None, :, :, None, None], spikes=True).spikes[0].reshape(-1).tolist()


def test_a_membrane_at_its_threshold_spikes():
    assert spikes_of(make_single(Reset.SUBTRACT), [5, 4, 1, 0]) == [True, False, True, False]


def test_soft_reset_keeps_the_rest_and_hard_reset_does_not():
    assert spikes_of(make_single(Reset.SUBTRACT, threshold=3), [5, 1, 2, 0]) == [True, True, False, False]
    assert spikes_of(make_single(Reset.ZERO, threshold=3), [5, 1, 2, 0]) == [True, False, True, False]


def test_initial_bias_and_fraction_enter_in_order():
    network = make_single(Reset.SUBTRACT, threshold=21, bias=-3, initial=8, fraction=2)
    # 8 + 16 - 3 = 21: spikes; 0 + 20 - 3 = 17; 17 + 4 - 3 = 18; 18 + 8 - 3 = 23: spikes.
    assert spikes_of(network, [4, 5, 1, 2]) == [True, False, False, True]


def relay(channels, threshold=1, **options):
    """Neurons that start at 0 and have no bias."""
    zeros = np.zeros(channels, dtype=np.int64)
    return Neurons(threshold=zeros + threshold, bias=zeros, initial=zeros, **options)


def test_a_shortcut_adds_the_spikes_of_both_maps():
    """Layer 0 repeats the input, layer 1 spikes at every second input; the sum passes weights 1 and -1."""
    eye = np.eye(2, dtype=np.int8)
    network = Network(
        input=Input(encoding=Encoding.EVENTS, channels=2, height=1, width=1), timesteps=4,
        layers=(FullyConnected(weights=eye, neurons=relay(2)), FullyConnected(weights=eye, neurons=relay(2, 2)),
                FullyConnected(weights=np.array([[1, -1]], dtype=np.int8), neurons=relay(1, 3), shortcut=0),
                Readout(weights=np.array([[1], [-1]], dtype=np.int8))))
    frames = np.array([[1, 0], [1, 1], [0, 1], [1, 1]], dtype=bool)
    result = assert_equal_to_plain(network, frames[None, :, :, None, None], 1)
    assert result.spikes[0].reshape(4, 2).astype(int).tolist() == [[1, 0], [1, 1], [0, 1], [1, 1]]
    assert result.spikes[1].reshape(4, 2).astype(int).tolist() == [[0, 0], [1, 0], [0, 1], [0, 0]]
    # Sums (1, 0), (2, 1), (0, 2), (1, 1): currents 1, 1, -2, 0, and a membrane of 1, 2, 0, 0.
    assert result.internals[2].currents.reshape(-1).tolist() == [1, 1, -2, 0]
    assert result.internals[2].membranes.reshape(-1).tolist() == [1, 2, 0, 0]


def test_a_projection_adds_currents_of_an_earlier_map():
    """Layer 0 repeats the input, layer 1 spikes at every second input; layer 2 sees both through weights apart."""
    eye = np.eye(2, dtype=np.int8)[..., None, None]
    beside = Projection(source=0, weights=np.array([[-1, 1], [0, 1]], dtype=np.int8)[..., None, None])
    network = Network(
        input=Input(encoding=Encoding.EVENTS, channels=2, height=1, width=1), timesteps=4,
        layers=(Convolution(weights=eye, neurons=relay(2)), Convolution(weights=eye, neurons=relay(2, 2)),
                Convolution(weights=np.array([[1, 1], [1, 0]], dtype=np.int8)[..., None, None], neurons=relay(2, 2),
                            projection=beside),
                Readout(weights=np.array([[1, 0], [0, 1]], dtype=np.int8))))
    frames = np.array([[1, 0], [1, 1], [0, 1], [1, 1]], dtype=bool)
    result = assert_equal_to_plain(network, frames[None, :, :, None, None], 1)
    assert result.spikes[1].reshape(4, 2).astype(int).tolist() == [[0, 0], [1, 0], [0, 1], [0, 0]]
    # Own map 0, 1, 1, 0 and 0, 1, 0, 0; beside it -1, 0, 1, 0 and 0, 1, 1, 1.
    assert result.internals[2].currents.reshape(4, 2).tolist() == [[-1, 0], [1, 2], [2, 1], [0, 1]]
    assert result.internals[2].membranes.reshape(4, 2).tolist() == [[-1, 0], [0, 0], [0, 1], [0, 0]]
    assert result.scores.tolist() == [[1, 2]]


def test_a_projection_takes_every_nth_position_and_meets_the_pool():
    """The kernel of layer 1 is silent: windows of 2 x 2 of every second position of a 7 x 5 map, in their places."""
    one = np.ones((1, 1, 1, 1), dtype=np.int8)
    network = Network(
        input=Input(encoding=Encoding.EVENTS, channels=1, height=7, width=5), timesteps=1,
        layers=(Convolution(weights=one, neurons=relay(1)),
                Convolution(weights=0 * one, neurons=relay(1), stride=2, pool=2,
                            projection=Projection.identity(0, 1, stride=2)),
                Readout(weights=np.ones((2, 2), dtype=np.int8))))
    frame = np.zeros((1, 1, 1, 7, 5), dtype=bool)
    # Seen: rows 0, 2, 4, 6 and columns 0, 2; the third column of positions fills no window.
    for row, column in ((0, 0), (2, 2), (1, 0), (4, 0), (6, 0), (6, 2), (6, 4)):
        frame[..., row, column] = True
    result = assert_equal_to_plain(network, frame, 1)
    assert result.internals[1].currents[0, 0].tolist() == [[[2], [3]]]


def test_a_pool_sums_currents_before_the_neurons():
    """Windows of 2 x 2 on 3 x 5 pixels: the last row and column fill none."""
    pixels = np.array([[1, 2, 3, 4, 90], [5, 6, 7, 8, 90], [90, 90, 90, 90, 90]], dtype=np.uint8)
    weights = np.array([[[[1]]], [[[-1]]]], dtype=np.int8)
    network = Network(
        input=Input(encoding=Encoding.PIXELS, channels=1, height=3, width=5), timesteps=3,
        layers=(Convolution(weights=weights, neurons=relay(2, 22, fraction=1), pool=2),
                Readout(weights=np.array([[1, 1, 1, 1], [1, 0, 0, 0], [0, 1, 0, 0]], dtype=np.int8))))
    result = assert_equal_to_plain(network, pixels[None, None], 1)
    assert result.internals[0].currents[0, 0].tolist() == [[[14, 22]], [[-14, -22]]]
    # 28 - 22 = 6, 34 - 22 = 12, 40 - 22 = 18; 44 - 22 = 22 and on: both spike in each timestep.
    assert result.internals[0].membranes[0, :, 0, 0].tolist() == [[6, 22], [12, 44], [18, 66]]
    assert result.step_scores[0].tolist() == [[2, 1, 1]] * 3


def test_windows_of_currents_overlap_where_their_fields_do():
    """A 2 x 2 kernel and 2 x 2 windows see 3 x 3 inputs with weights 1 2 1 / 2 4 2 / 1 2 1."""
    network = Network(
        input=Input(encoding=Encoding.PIXELS, channels=1, height=3, width=3), timesteps=1,
        layers=(Convolution(weights=np.ones((1, 1, 2, 2), dtype=np.int8), neurons=relay(1), pool=2),
                Readout(weights=np.ones((2, 1), dtype=np.int8))))
    images = np.eye(9, dtype=np.uint8).reshape(9, 1, 3, 3)
    assert Reference(network).run(images, internals=True).internals[0].currents.reshape(-1).tolist() == [
        1, 2, 1, 2, 4, 2, 1, 2, 1]


def test_scores_of_timesteps_differ_with_a_constant_input():
    pixels = np.full((1, 1, 1, 1), 2, dtype=np.uint8)
    network = Network(
        input=Input(encoding=Encoding.PIXELS, channels=1, height=1, width=1), timesteps=4,
        layers=(FullyConnected(weights=np.ones((1, 1), dtype=np.int8), neurons=relay(1, 3)),
                Readout(weights=np.array([[1], [-1]], dtype=np.int8))))
    result = Reference(network).run(pixels, step_scores=True)
    assert result.step_scores.dtype == np.int64
    assert result.step_scores[0].tolist() == [[0, 0], [1, -1], [1, -1], [0, 0]]
    assert result.scores[0].tolist() == [2, -2]
    assert Reference(network).run(pixels).step_scores is None


def test_a_readout_of_pixels_has_the_same_scores_in_every_timestep():
    network = Network(input=Input(encoding=Encoding.PIXELS, channels=1, height=1, width=2), timesteps=3,
                      layers=(Readout(weights=np.array([[1, 0], [1, -1]], dtype=np.int8)),))
    result = Reference(network).run(np.array([[[[7, 9]]]], dtype=np.uint8), step_scores=True)
    assert result.step_scores[0].tolist() == [[7, -2]] * 3
    assert result.scores[0].tolist() == [21, -6]


def test_leak_rounds_towards_minus_infinity():
    neurons = Neurons(threshold=np.array([100]), bias=np.array([0]), initial=np.array([-1]), leak_shift=3)
    _, internals = pif(neurons, np.zeros((1, 3, 1, 1, 1), dtype=np.int64))
    assert internals.membranes.reshape(-1).tolist() == [0, 0, 0]
    neurons = Neurons(threshold=np.array([100]), bias=np.array([0]), initial=np.array([9]), leak_shift=2)
    _, internals = pif(neurons, np.zeros((1, 4, 1, 1, 1), dtype=np.int64))
    assert internals.membranes.reshape(-1).tolist() == [7, 6, 5, 4]


def test_pif_is_the_neuron_of_the_reference():
    rng = np.random.default_rng(3)
    network = random_network(rng, layers=2, timesteps=4)
    result = Reference(network).run(random_images(network, rng, 5), spikes=True, internals=True)
    for layer, spikes, internals in zip(network.layers, result.spikes, result.internals, strict=False):
        if internals is not None:
            again, inner = pif(layer.neurons, internals.currents)
            assert (again == spikes).all()
            assert (inner.compared == internals.compared).all()
            assert (inner.membranes == internals.membranes).all()


def test_ties_go_to_the_lowest_index():
    assert classify(np.array([[3, 7, 7], [-1, -1, -1], [0, 1, 2]])).tolist() == [1, 0, 2]


def test_batches_do_not_change_results():
    rng = np.random.default_rng(9)
    network = random_network(rng)
    images = random_images(network, rng, 150)
    reference = Reference(network)
    whole = reference.run(images, spikes=True, step_scores=True)
    assert (whole.step_scores.sum(axis=1) == whole.scores).all()
    assert whole.step_scores.shape == (150, network.timesteps, network.classes)
    for index in (0, 63, 64, 149):
        alone = reference.run(images[index:index + 1], spikes=True, step_scores=True)
        assert (alone.scores[0] == whole.scores[index]).all()
        assert (alone.step_scores[0] == whole.step_scores[index]).all()
        assert all((left[0] == right[index]).all() for left, right in zip(alone.spikes, whole.spikes, strict=True))


def test_no_images_give_no_scores():
    rng = np.random.default_rng(9)
    network = random_network(rng)
    result = Reference(network).run(random_images(network, rng, 0), spikes=True, step_scores=True)
    assert result.scores.shape == (0, network.classes)
    assert result.step_scores.shape == (0, network.timesteps, network.classes)
    assert result.spikes[0].shape[0] == 0


def test_sums_beyond_float32_are_exact():
    """70,000 pixels of 255 sum to more than 2^24; float32 would lose the last pixel."""
    inputs = 70_000
    neurons = Neurons(threshold=np.array([255 * inputs, 255 * inputs + 1]), bias=np.zeros(2, dtype=np.int64),
                      initial=np.zeros(2, dtype=np.int64))
    network = Network(input=Input(encoding=Encoding.PIXELS, channels=1, height=100, width=700), timesteps=1,
                      layers=(FullyConnected(weights=np.ones((2, inputs), dtype=np.int8), neurons=neurons),
                              Readout(weights=np.ones((2, 2), dtype=np.int8))))
    images = np.full((2, 1, 100, 700), 255, dtype=np.uint8)
    images[1, 0, 99, 699] = 254
    result = Reference(network).run(images, spikes=True, internals=True)
    assert result.internals[0].currents.reshape(2, 2).tolist() == [[17_850_000] * 2, [17_849_999] * 2]
    assert result.spikes[0].reshape(2, 2).tolist() == [[True, False], [False, False]]


def test_membranes_beyond_32_bits_are_exact():
    neurons = Neurons(threshold=np.array([2**45]), bias=np.array([2**44 - 1]), initial=np.array([1]), fraction=0)
    _, internals = pif(neurons, np.ones((1, 2, 1, 1, 1), dtype=np.int64))
    assert internals.compared.reshape(-1).tolist() == [2**44 + 1, 2**45 + 1]
    network = Network(input=Input(encoding=Encoding.EVENTS, channels=1, height=1, width=1), timesteps=2,
                      layers=(FullyConnected(weights=np.ones((1, 1), dtype=np.int8), neurons=neurons),
                              Readout(weights=np.ones((2, 1), dtype=np.int8))))
    result = Reference(network).run(np.ones((1, 2, 1, 1, 1), dtype=bool), spikes=True)
    assert result.spikes[0].reshape(-1).tolist() == [False, True]


def test_padding_is_the_zero_point():
    """At a padded border the current sees p - z = 0, not p = 0."""
    neurons = Neurons(threshold=np.array([1]), bias=np.array([0]), initial=np.array([0]))
    network = Network(input=Input(encoding=Encoding.PIXELS, channels=1, height=1, width=1, zero_point=128), timesteps=1,
                      layers=(Convolution(weights=np.ones((1, 1, 3, 3), dtype=np.int8), neurons=neurons, padding=1),
                              Readout(weights=np.ones((2, 1), dtype=np.int8))))
    result = Reference(network).run(np.full((1, 1, 1, 1), 131, dtype=np.uint8), internals=True)
    assert result.internals[0].currents.item() == 3


def test_wrong_images_are_refused():
    pixels = random_network(np.random.default_rng(0), encoding=Encoding.PIXELS)
    channels, height, width = pixels.input.shape
    with pytest.raises(NetworkError, match=r"^images must be uint8 for pixels, not float64$"):
        Reference(pixels).run(np.zeros((1, *pixels.input.shape)))
    with pytest.raises(NetworkError, match=rf"^images must have shape \(n, {channels}, {height}, {width}\), "
                                           rf"not \(2, 1\)$"):
        check_images(pixels, np.zeros((2, 1), dtype=np.uint8))
    events = make_single(Reset.ZERO)
    with pytest.raises(NetworkError, match=r"^images must be bool for events, not uint8$"):
        check_images(events, np.zeros((1, 4, 5, 1, 1), dtype=np.uint8))
    with pytest.raises(NetworkError, match=r"^images must have shape \(n, 4, 5, 1, 1\), not \(1, 3, 5, 1, 1\)$"):
        check_images(events, np.zeros((1, 3, 5, 1, 1), dtype=bool))


def test_ten_thousand_digits_take_less_than_a_minute():
    """One tenth of the digits in one tenth of the time, on the shipped networks' shapes."""
    rng = np.random.default_rng(1)

    def neurons(channels):
        return Neurons(threshold=rng.integers(1, 40, channels), bias=rng.integers(-9, 9, channels),
                       initial=np.zeros(channels, dtype=np.int64), fraction=2)

    network = Network(
        input=Input(encoding=Encoding.PIXELS, channels=1, height=28, width=28), timesteps=4,
        layers=(Convolution(weights=random_weights(rng, 16, 1, 7, 7), neurons=neurons(16), stride=2, padding=3),
                Convolution(weights=random_weights(rng, 32, 16, 3, 3), neurons=neurons(32)), OrPool(size=2),
                Convolution(weights=random_weights(rng, 64, 32, 3, 3), neurons=neurons(64)), OrPool(size=2),
                Readout(weights=random_weights(rng, 10, 256))))
    images = rng.integers(0, 256, (1000, 1, 28, 28), dtype=np.uint8)
    reference = Reference(network)
    start = time.perf_counter()
    reference.run(images)
    assert time.perf_counter() - start < 6
