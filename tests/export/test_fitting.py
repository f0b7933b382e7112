"""Constants that are moved to fit the membranes of a circuit."""

import itertools
import re
from fractions import Fraction

import numpy as np
import pytest

from arch.network import Neurons, Reset
from arch.widths import ChannelRange
from export.certificate import certify, integer_bounds, real_bounds
from export.fitting import FitError, Room, fit_channels
from tests.export.test_certificate import integer_spikes, make_neuron, random_neuron, real_spikes, sequences, single

ROOM = Room(board="small", title="Small", fraction=1, membrane_width=12)


def fit(neurons, low, high, timesteps, reset, *, room=ROOM, constant=False):
    """Certify with the fractional bits of the room, and fit; return both integer layers and their inexact channels."""
    lows, highs = np.full(len(neurons), low), np.full(len(neurons), high)
    rounded, inexact = certify(neurons, lows, highs, timesteps=timesteps, reset=reset, constant=constant,
                               max_fraction=room.fraction)
    fitted, moved = fit_channels(neurons, rounded, inexact, ChannelRange(lows, highs), timesteps=timesteps,
                                 constant=constant, room=room)
    return rounded, inexact, fitted, moved


def other_sums(neuron, neurons, channel, low, high, timesteps, *, constant=False):
    """By how many sums the bounds of an integer neuron are off, all together."""
    bounds = real_bounds(neuron, low=low, high=high, timesteps=timesteps, reset=neurons.reset, constant=constant)
    threshold, bias, initial = (int(values[channel]) for values in
                                (neurons.threshold, neurons.bias, neurons.initial))
    found = integer_bounds([place for place, _ in bounds], threshold=threshold, bias=bias, initial=initial,
                           fraction=neurons.fraction)
    return sum(abs(ours - limit) for ours, (_, limit) in zip(found, bounds, strict=True))


@pytest.mark.parametrize("reset", list(Reset))
@pytest.mark.parametrize("constant", [False, True])
def test_moved_constants_are_nearer_than_the_rounded_ones(reset, constant):
    rng = np.random.default_rng([3, constant])
    scale = 0.003 if constant else 0.03
    neurons = [random_neuron(rng, scale=single(rng.uniform(0.5, 1) * scale), gamma=Fraction(1)) for _ in range(40)]
    low, high = (-600, 600) if constant else (-60, 60)
    room = Room(board="wide", title="Wide", fraction=1, membrane_width=20)
    rounded, inexact, fitted, moved = fit(neurons, low, high, 6, reset, room=room, constant=constant)
    assert len(inexact) > 5
    assert moved == inexact
    before = after = 0
    for channel, neuron in enumerate(neurons):
        ours = other_sums(neuron, fitted, channel, low, high, 6, constant=constant)
        was = other_sums(neuron, rounded, channel, low, high, 6, constant=constant)
        assert (ours > 0) is (channel in moved)
        assert ours <= was
        before, after = before + was, after + ours
        if channel not in inexact:
            assert fitted.threshold[channel] == rounded.threshold[channel]
            assert (fitted.bias[channel], fitted.initial[channel]) == (rounded.bias[channel], rounded.initial[channel])
    assert after < 0.8 * before
    # No neighbour is nearer.
    for channel, shift in itertools.product(moved[:6], itertools.product((-3, -1, 0, 1, 2), repeat=3)):
        theta, bias, initial = (np.array([values[channel] + by]) for values, by in
                                zip((fitted.threshold, fitted.bias, fitted.initial), shift, strict=True))
        if theta > 0:
            near = Neurons(threshold=theta, bias=bias, initial=initial, fraction=fitted.fraction, reset=reset)
            assert (other_sums(neurons[channel], near, 0, low, high, 6, constant=constant) >=
                    other_sums(neurons[channel], fitted, channel, low, high, 6, constant=constant))


def registers(neurons, channel, currents):
    """Yield all numbers that a circuit with one fractional bit has in its registers."""
    shift = 1 - neurons.fraction
    v, threshold = int(neurons.initial[channel]) << shift, int(neurons.threshold[channel]) << shift
    for current in currents:
        v += (current << 1) + (int(neurons.bias[channel]) << shift)
        yield from (v, v - threshold, -threshold)
        if v >= threshold:
            v = v - threshold if neurons.reset is Reset.SUBTRACT else 0


@pytest.mark.parametrize("reset", list(Reset))
@pytest.mark.parametrize("beta", [-14.0, 14.0])
def test_membranes_that_leave_the_range_are_brought_back(reset, beta):
    """A large bias: after three timesteps the membrane is too large, or too small, in some channel."""
    room = Room(board="small", title="Small", fraction=1, membrane_width=6)
    neurons = [make_neuron(theta=single(3.3), beta=single(beta), initial=single(start)) for start in (0.4, 1.9)]
    low, high, timesteps = -2, 2, 3
    lows, highs = np.full(2, low), np.full(2, high)
    rounded = Neurons(threshold=np.array([7, 7]), bias=np.array([round(2 * beta)] * 2), initial=np.array([1, 4]),
                      fraction=1, reset=reset)
    fitted, moved = fit_channels(neurons, rounded, [], ChannelRange(lows, highs), timesteps=timesteps, constant=False,
                                 room=room)
    for made, channel in itertools.product((rounded, fitted), (0, 1)):
        numbers = [number for currents in sequences(low, high, timesteps, False)
                   for number in registers(made, channel, currents)]
        assert (min(numbers) >= -32 and max(numbers) <= 31) is (made is fitted)
    for channel in range(2):
        spikes = [(integer_spikes(fitted, channel, currents), real_spikes(neurons[channel], currents, reset))
                  for currents in sequences(low, high, timesteps, False)]
        # Where the bounds are equal, the channel is exact: not reported, and equal.
        assert channel in moved or all(ours == theirs for ours, theirs in spikes)


@pytest.mark.parametrize("bias", [-23, 27])
def test_a_membrane_that_leaves_the_range_by_one_is_brought_back(bias):
    """Six bits hold -32 to 31. What the neuron has in its registers reaches -33 or 32."""
    room = Room(board="small", title="Small", fraction=1, membrane_width=6)
    rounded = Neurons(threshold=np.array([7]), bias=np.array([bias]), initial=np.array([1]), fraction=1,
                      reset=Reset.SUBTRACT)
    neuron = make_neuron(theta=single(3.5), beta=single(bias / 2), initial=single(0.5))
    fitted, _ = fit_channels([neuron], rounded, [], ChannelRange(np.array([-2]), np.array([2])), timesteps=1,
                             constant=False, room=room)
    before, after = ([number for current in range(-2, 3) for number in registers(made, 0, [current])]
                     for made in (rounded, fitted))
    assert (min(before), max(before)).count(-33 if bias < 0 else 32) == 1
    assert min(after) >= -32
    assert max(after) <= 31


def test_what_no_constants_keep_in_the_range_is_refused():
    room = Room(board="small", title="Small", fraction=1, membrane_width=6)
    message = (r"^channel 0: its membrane of 3 timesteps must fit the 6 bits of the Small, not need 9, and no "
               r"constants near the trained ones make it fit: train it with so few inputs or pooled positions that "
               r"currents of the channel are at most -(\d+) to \1, not -40 to 40$")
    with pytest.raises(FitError, match=message):
        fit([make_neuron()], -40, 40, 3, Reset.ZERO, room=room)


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("reset", list(Reset))
@pytest.mark.parametrize(("low", "high", "timesteps"), [(-14, 14, 4), (-25, 0, 4), (-3, 20, 8), (-40, 40, 3)])
def test_what_the_refusal_names_was_tried(low, high, timesteps, reset, constant):
    """Constants for as many timesteps as it names, and for currents as small, are found."""
    room = Room(board="small", title="Small", fraction=1, membrane_width=6)
    neurons = [make_neuron(theta=single(3.3), beta=single(0.6))]

    def fits(low, high, timesteps):
        try:
            fit(neurons, low, high, timesteps, reset, room=room, constant=constant)
        except FitError as error:
            return str(error)
        return True

    refusal = fits(low, high, timesteps)
    if refusal is True:
        assert high - low < 32
        return
    found = re.search(r"(?:train it with at most (\d) timesteps?; or )?train it with so few inputs or pooled positions "
                      r"that currents of the channel are at most (-?\d+) to (\d+), not (-?\d+) to (\d+)$", refusal)
    assert found is not None
    steps, *currents = (group and int(group) for group in found.groups())
    assert currents[2:] == [low, high]
    assert fits(*currents[:2], timesteps) is True
    # The range of a single current is more than the six bits have room for.
    assert (steps is None) is (high - low >= 32)
    if steps is not None:
        assert fits(low, high, steps) is True
        assert steps < timesteps


def test_exact_channels_that_fit_are_left_as_they_are():
    rng = np.random.default_rng(5)
    neurons = [random_neuron(rng) for _ in range(20)]
    room = Room(board="wide", title="Wide", fraction=8, membrane_width=20)
    rounded, inexact, fitted, moved = fit(neurons, -9, 9, 3, Reset.SUBTRACT, room=room)
    assert inexact == moved == []
    for name in ("threshold", "bias", "initial"):
        assert np.array_equal(getattr(fitted, name), getattr(rounded, name))
    assert fitted.fraction == rounded.fraction < 8
