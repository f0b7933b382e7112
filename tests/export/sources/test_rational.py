"""Spikes in rational numbers, against the plain rule in fractions."""

from fractions import Fraction

import numpy as np
import pytest

from export.certificate import RealNeuron
from export.sources.rational import exact_spikes


def plain(neuron, currents, hard, leak_shift):
    u, spikes = neuron.initial, []
    for current in currents:
        kept = 1 if leak_shift is None else 1 - Fraction(1, 2**leak_shift)
        u = u * kept + neuron.scale * int(current) + neuron.beta
        fired = u > neuron.theta if neuron.strict else u >= neuron.theta
        spikes.append(fired)
        if fired:
            u = Fraction(0) if hard else u - neuron.theta
    return spikes


@pytest.mark.parametrize("leak_shift", [None, 1, 3])
@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("denominator", [8, 3, 2**80])
def test_spikes_are_those_of_fractions(denominator, strict, hard, leak_shift):
    """The last denominator is beyond integers of 64 bits."""
    rng = np.random.default_rng(1)
    currents = rng.integers(-3, 9, (5, 4, 3, 2, 2))
    neurons = tuple(RealNeuron(
        scale=Fraction(int(rng.integers(1, 9)), 8) + Fraction(1, denominator), gamma=Fraction(1),
        beta=Fraction(int(rng.integers(-3, 3)), 8), centre=Fraction(0), variance_epsilon=Fraction(1),
        theta=Fraction(int(rng.integers(4, 16)), 8), initial=Fraction(1, 4), strict=strict) for _ in range(3))
    found = exact_spikes(neurons, currents, timesteps=4, hard=hard, leak_shift=leak_shift)
    assert found.dtype == bool
    assert 0.1 < found.mean() < 0.9
    for image, channel, row, column in np.ndindex(5, 3, 2, 2):
        assert found[image, :, channel, row, column].tolist() == plain(
            neurons[channel], currents[image, :, channel, row, column], hard, leak_shift)


def test_one_current_stands_for_all_timesteps():
    neuron = RealNeuron(scale=Fraction(1, 2), gamma=Fraction(1), beta=Fraction(0), centre=Fraction(0),
                        variance_epsilon=Fraction(1), theta=Fraction(1), initial=Fraction(0))
    spikes = exact_spikes((neuron,), np.full((1, 1, 1, 1, 1), 1), timesteps=5, hard=False, leak_shift=None)
    assert spikes.ravel().tolist() == [False, True, False, True, False]


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("strict", [False, True])
def test_batchnorm_keeps_its_square_root(strict, hard):
    """Of BatchNorm with a rational root nothing is rounded; with another, spikes are those of any close enclosure.

    Membranes with ``beta = theta`` and no current but the mean meet the threshold though the root is irrational.
    """
    rng = np.random.default_rng(2)
    currents = rng.integers(-3, 5, (6, 4, 2, 3, 3))
    for variance, exact in ((Fraction(9, 4), True), (Fraction(2), False)):
        neurons = tuple(RealNeuron(
            scale=Fraction(1, 2), gamma=Fraction(3 - 5 * (channel == 1), 2), beta=Fraction(1), centre=Fraction(-1, 2),
            variance_epsilon=variance, theta=Fraction(1), initial=Fraction(0), strict=strict) for channel in range(2))
        found = exact_spikes(neurons, currents, timesteps=4, hard=hard, leak_shift=None)
        assert 0.1 < found.mean() < 0.9
        ties = 0
        for image, channel, row, column in np.ndindex(6, 2, 3, 3):
            neuron = neurons[channel]
            # Membranes as pairs: a part that is divided by the root, and one that is not.
            under, plain_part, expected = Fraction(0), Fraction(0), []
            for current in currents[image, :, channel, row, column]:
                under += neuron.gamma * (neuron.scale * int(current) + neuron.centre)
                plain_part += neuron.beta
                # under / root >= theta - plain_part, by squares and signs.
                left, right = under, neuron.theta - plain_part
                above = (left * abs(left)) - (right * abs(right)) * variance
                fired = above > 0 or (above == 0 and not strict)
                ties += above == 0
                expected.append(fired)
                if fired:
                    under, plain_part = (Fraction(0),) * 2 if hard else (under, plain_part - neuron.theta)
            assert found[image, :, channel, row, column].tolist() == expected
        assert ties > 0, exact
