import itertools
import re

import numpy as np
import pytest

from arch.images import ImageError
from arch.network import NetworkError
from arch.ttfs.code import TimeCode
from arch.ttfs.network import Convolution, EarliestPool, FullyConnected, Input, Network, Readout
from arch.ttfs.widths import membrane_range
from reference.ttfs.network import Reference, first_spike
from tests.arch.images.test_payload import NOT_PLAIN

#: Window, tau, p, bits, fraction: the paper's region, ternary, p above tau, a window below tau, one timestep.
CODES = [(24, 4, 2, 5, 16), (12, 2, 1, 2, 12), (9, 2, 3, 4, 10), (5, 8, 2, 5, 14), (1, 1, 1, 3, 8), (13, 6, 4, 5, 18)]
codes = pytest.mark.parametrize("options", CODES, ids=str)


def make_code(options):
    return TimeCode(**dict(zip(("timesteps", "tau", "p", "bits", "fraction"), options, strict=True)))


def random_thresholds(rng, code, weights):
    """Falling thresholds within what the membranes reach, or nearly so; the last channel's never lets a spike pass."""
    reach = membrane_range(code, weights)
    draws = rng.integers(reach.low[:, None] // 3 - 1, reach.high[:, None] // 2 + 2, (len(weights), code.timesteps))
    draws[-1] = reach.high[-1] + 1
    return np.sort(draws, axis=1)[:, ::-1].copy()


def random_network(rng, code, *, side=(7, 6)):
    def weights(*shape):
        return rng.integers(-code.levels, code.levels + 1, shape).astype(np.int8)

    first, second = weights(4, 2, 3, 3), weights(5, 4, 2, 2)
    # Maps of 7 x 6, 4 x 3, pooled to 2 x 1 with a column dropped, 3 x 2.
    third = weights(6, 5 * 3 * 2)
    source = Input(channels=2, height=side[0], width=side[1],
                   threshold=np.sort(rng.integers(1, 257, code.timesteps))[::-1].astype(np.int64))
    return Network(input=source, code=code, layers=(
        Convolution(weights=first, threshold=random_thresholds(rng, code, first), stride=2, padding=1),
        EarliestPool(size=2),
        Convolution(weights=second, threshold=random_thresholds(rng, code, second), padding=1),
        FullyConnected(weights=third, threshold=random_thresholds(rng, code, third)),
        Readout(weights=weights(3, 6))))


def random_images(rng, count, shape=(2, 7, 6)):
    images = rng.integers(0, 256, (count, *shape), dtype=np.uint8)
    images[0] = 255
    images[1:2] = 0
    return images


def slow_neuron(code, inputs, weights):
    """Accumulators and membrane of one neuron, event by event, in the order of time: Horner's rule in each residue.

    A residue pair (t mod tau, q mod p) has a register that doubles every tau timesteps, before that timestep's spikes.
    """
    registers = {}
    for time in range(code.timesteps):
        offset, octave = time % code.tau, time // code.tau
        for part in range(code.p):
            value = registers.get((offset, part), 0) * (2 if octave else 1)
            for seen, weight in zip(inputs, weights, strict=True):
                level = abs(weight) - 1
                if seen == time and weight and level % code.p == part:
                    value += (1 if weight > 0 else -1) << (code.levels // code.p + 1 - level // code.p)
            registers[offset, part] = value
    accumulators = [0] * code.residues
    for (offset, part), value in registers.items():
        exponent = code.exponent(offset, part)
        # The register counts in units of 2^-(octaves of its last spike + levels // p + 1).
        places = (code.timesteps - 1 - offset) // code.tau + code.levels // code.p + 1 + exponent // code.residues
        scaled = value * 2**(code.shift + 64) >> places
        assert scaled % 2**64 == 0
        accumulators[exponent % code.residues] += scaled >> 64
    return accumulators, sum(k * a for k, a in zip(code.powers, accumulators, strict=True))


def slow(network, image):
    """One image, neuron by neuron, in Python: times of the input and of each layer, accumulators, membranes, scores."""
    code = network.code
    maps = np.full(image.shape, code.timesteps)
    for place in np.ndindex(image.shape):
        maps[place] = next((t for t in range(code.timesteps) if int(image[place]) >= network.input.threshold[t]),
                           code.timesteps)
    times, internals = [maps], []
    for layer in network.layers:
        if isinstance(layer, EarliestPool):
            size = layer.size
            values = code.values()
            pooled = np.zeros((len(maps), maps.shape[1] // size, maps.shape[2] // size), int)
            for c, y, x in np.ndindex(pooled.shape):
                window = maps[c, y * size:(y + 1) * size, x * size:(x + 1) * size].reshape(-1)
                pooled[c, y, x] = window[values[window].argmax()]
            maps = pooled
            times.append(maps)
            internals.append(None)
            continue
        pad = getattr(layer, "padding", 0)
        padded = np.pad(maps, ((0, 0), (pad, pad), (pad, pad)), constant_values=code.timesteps)
        if isinstance(layer, Convolution):
            side, step = layer.kernel, layer.stride
            rows, columns = (padded.shape[1] - side) // step + 1, (padded.shape[2] - side) // step + 1
            windows = {(y, x): padded[:, y * step:y * step + side, x * step:x * step + side]
                       for y, x in itertools.product(range(rows), range(columns))}
        else:
            rows = columns = 1
            windows = {(0, 0): padded}
        accumulators = np.zeros((code.residues, len(layer.weights), rows, columns), np.int64)
        membranes = np.zeros((len(layer.weights), rows, columns), np.int64)
        for (y, x), window in windows.items():
            for channel, weights in enumerate(layer.weights):
                accumulators[:, channel, y, x], membranes[channel, y, x] = slow_neuron(
                    code, window.reshape(-1).tolist(), weights.reshape(-1).tolist())
        if isinstance(layer, Readout):
            return times, internals, membranes.reshape(-1)
        maps = np.full(membranes.shape, code.timesteps)
        for place in np.ndindex(membranes.shape):
            reached = np.flatnonzero(membranes[place] >= layer.threshold[place[0]])
            maps[place] = reached[0] if len(reached) else code.timesteps
        times.append(maps)
        internals.append((accumulators, membranes))
    raise AssertionError("a network ends in a readout")


@codes
def test_the_reference_equals_one_neuron_after_the_other(options):
    code = make_code(options)
    rng = np.random.default_rng([4, *options])
    network = random_network(rng, code)
    images = random_images(rng, 4)
    result = Reference(network).run(images, times=True, internals=True)
    spikes = 0
    for index, image in enumerate(images):
        times, internals, scores = slow(network, image)
        assert (result.scores[index] == scores).all()
        for ours, theirs in zip(result.times, times, strict=True):
            assert ours.dtype == np.uint8
            assert (ours[index] == theirs).all()
        for ours, theirs in zip(result.internals, internals, strict=True):
            assert (ours is None) == (theirs is None)
            if theirs is not None:
                assert (ours.accumulators[index] == theirs[0]).all()
                assert (ours.membranes[index] == theirs[1]).all()
        spikes += sum(int((entry < code.timesteps).sum()) for entry in times[3:])
    # Otherwise nothing after the pool was compared.
    assert spikes


def test_batches_are_joined():
    rng = np.random.default_rng(6)
    network = random_network(rng, make_code(CODES[0]))
    images = random_images(rng, 70)
    reference = Reference(network)
    whole = reference.run(images, times=True, internals=True)
    for index in (0, 31, 32, 69):
        one = reference.run(images[index:index + 1], times=True, internals=True)
        assert (whole.scores[index] == one.scores[0]).all()
        assert whole.classes[index] == one.classes[0]
        assert all((ours[index] == theirs[0]).all() for ours, theirs in zip(whole.times, one.times, strict=True))
        assert all((ours.membranes[index] == theirs.membranes[0]).all()
                   for ours, theirs in zip(whole.internals, one.internals, strict=True) if ours is not None)
    none = reference.run(images[:0])
    assert none.scores.shape == (0, 3)
    assert none.classes.shape == (0,)
    assert (none.times, none.internals) == (None, None)


@codes
def test_no_input_leaves_the_ranges(options):
    """The extreme spikes: time 0 through all weights of one sign, none through the others."""
    code = make_code(options)
    rng = np.random.default_rng([7, *options])
    weights = rng.integers(-code.levels, code.levels + 1, (2, 12)).astype(np.int8)
    source = Input(channels=1, height=3, width=4, threshold=np.ones(code.timesteps, dtype=np.int64))
    network = Network(input=source, code=code, layers=(Readout(weights=weights),))
    reach = membrane_range(code, weights)
    for channel, sign in itertools.product(range(2), (-1, 1)):
        image = np.where(sign * weights[channel] > 0, 255, 0).astype(np.uint8).reshape(1, 1, 3, 4)
        score = Reference(network).run(image).scores[0, channel]
        assert score == (reach.high if sign > 0 else reach.low)[channel]


def test_a_spike_is_at_the_first_threshold_that_is_reached():
    threshold = np.array([[9, 5, 5, -2], [3, 2, 1, 0]])
    values = np.array([[9, -1], [8, 0], [5, 1], [4, 2], [-2, 3], [-3, 99]])
    assert first_spike(values, threshold).tolist() == [[0, 4], [1, 3], [1, 2], [3, 1], [3, 0], [4, 0]]


def test_the_lowest_class_wins_a_tie():
    network = Network(input=Input(channels=1, height=1, width=1, threshold=np.array([1])), code=make_code(CODES[4]),
                      layers=(Readout(weights=np.array([[-1], [2], [2]], dtype=np.int8)),))
    result = Reference(network).run(np.full((1, 1, 1, 1), 9, np.uint8))
    assert (result.classes.tolist(), np.sign(result.scores).tolist()) == ([1], [[-1, 1, 1]])


@pytest.mark.parametrize(("images", "message"), [
    (np.zeros((1, 2, 7, 6)), "images must be uint8, not float64"),
    (np.zeros((1, 2, 6, 7), np.uint8), "images must have shape (n, 2, 7, 6), not (1, 2, 6, 7)"),
])
def test_wrong_images_are_refused(images, message):
    reference = Reference(random_network(np.random.default_rng(8), make_code(CODES[1])))
    with pytest.raises(NetworkError, match=f"^{re.escape(message)}$"):
        reference.run(images)


@pytest.mark.parametrize(("images", "message"), NOT_PLAIN)
def test_images_that_are_no_plain_array_are_refused(images, message):
    reference = Reference(random_network(np.random.default_rng(8), make_code(CODES[1])))
    with pytest.raises(ImageError, match=f"^{re.escape(message)}$"):
        reference.run(images)


def test_a_network_too_large_for_exact_sums_is_refused():
    code = TimeCode(timesteps=36, tau=1, p=1, bits=2, fraction=17)
    network = Network(input=Input(channels=1, height=1, width=2, threshold=np.ones(36, dtype=np.int64)), code=code,
                      layers=(Readout(weights=np.ones((2, 2), dtype=np.int8)),))
    with pytest.raises(NetworkError, match=r"^layer 0 \(readout\): membrane must stay below 2\^53, .*fraction$"):
        Reference(network)
