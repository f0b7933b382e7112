import dataclasses
import functools
import itertools
import math
import re
from fractions import Fraction

import numpy as np
import pytest

from arch.network import Reset
from export import certificate
from export.certificate import RealNeuron, certify, integer_bounds, real_bounds
from reference.network import pif


def single(value):
    """The rational that a float32 is."""
    return Fraction(float(np.float32(value)))


def make_neuron(**overrides):
    return RealNeuron(**({"scale": Fraction(1), "gamma": Fraction(1), "beta": Fraction(0), "centre": Fraction(0),
                          "variance_epsilon": Fraction(1), "theta": Fraction(1), "initial": Fraction(0)} | overrides))


def random_neuron(rng, **overrides):
    return make_neuron(**({
        "scale": single(rng.uniform(0.02, 0.6)), "gamma": single(rng.normal(0.3, 1)),
        "beta": single(rng.normal(0, 0.5)), "centre": single(rng.normal(0, 0.7)), "theta": single(rng.uniform(0.3, 2)),
        "variance_epsilon": single(rng.uniform(0.1, 4)) + Fraction(1e-5), "initial": single(rng.uniform(-0.2, 0.7)),
    } | overrides))


def real_root(value):
    """A square root to 60 digits: enough to decide what is not a tie."""
    scale = 10**60
    numerator = value.numerator * value.denominator * scale**2
    return Fraction(math.isqrt(numerator), value.denominator * scale)


@functools.cache
def scaled(neuron):
    """Gain, drift, threshold and initial membrane over one denominator: integers in the ratio of the rationals."""
    root = real_root(neuron.variance_epsilon)
    values = (neuron.scale * abs(neuron.gamma) / root, neuron.beta + neuron.gamma * neuron.centre / root, neuron.theta,
              neuron.initial)
    unit = math.lcm(*(value.denominator for value in values))
    return [int(value * unit) for value in values]


def real_spikes(neuron, currents, reset):
    """The real-valued neuron, in exact numbers: currents are those of the weights with the sign of g."""
    gain, drift, theta, u = scaled(neuron)
    spikes = []
    for current in currents:
        u += gain * current + drift
        fired = u >= theta
        spikes.append(fired)
        if fired:
            u = u - theta if reset is Reset.SUBTRACT else 0
    return spikes


def integer_spikes(neurons, channel, currents):
    v, spikes = int(neurons.initial[channel]), []
    for current in currents:
        v += (current << neurons.fraction) + int(neurons.bias[channel])
        fired = v >= neurons.threshold[channel]
        spikes.append(bool(fired))
        if fired:
            v = v - int(neurons.threshold[channel]) if neurons.reset is Reset.SUBTRACT else 0
    return spikes


def solve_one(neuron, low, high, timesteps, reset, *, constant=False, max_fraction=8):
    return certify([neuron], np.array([low]), np.array([high]), timesteps=timesteps, reset=reset, constant=constant,
                   max_fraction=max_fraction)


def sequences(low, high, timesteps, constant):
    values = range(low, high + 1)
    return [(a,) * timesteps for a in values] if constant else itertools.product(values, repeat=timesteps)


@pytest.mark.parametrize("reset", list(Reset))
@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("timesteps", [1, 2, 3, 4])
def test_certified_neurons_equal_the_real_ones_on_every_input(reset, constant, timesteps):
    rng = np.random.default_rng([1, timesteps, constant])
    for _ in range(12):
        neuron = random_neuron(rng)
        low, high = (-int(rng.integers(0, 4)), int(rng.integers(1, 4))) if not constant else (-200, 300)
        neurons, inexact = solve_one(neuron, low, high, timesteps, reset, constant=constant)
        assert inexact == []
        for currents in sequences(low, high, timesteps, constant):
            assert integer_spikes(neurons, 0, currents) == real_spikes(neuron, currents, reset), (neuron, currents)


@pytest.mark.parametrize("reset", list(Reset))
@pytest.mark.parametrize("constant", [False, True])
def test_equal_bounds_mean_equal_spikes_and_other_bounds_are_seen(reset, constant):
    """Constants around the right ones: the certificate holds for some and not for others, and never wrongly."""
    rng = np.random.default_rng([2, constant])
    held = failed = differed = 0
    for _ in range(6):
        neuron = random_neuron(rng, gamma=single(rng.uniform(0.5, 1)))
        low, high, timesteps = (-40, 60, 3) if constant else (-3, 4, 3)
        bounds = real_bounds(neuron, low=low, high=high, timesteps=timesteps, reset=reset, constant=constant)
        places, limits = [place for place, _ in bounds], [limit for _, limit in bounds]
        neurons, _ = solve_one(neuron, low, high, timesteps, reset, constant=constant)
        for shift in itertools.product((-2, -1, 0, 1, 3), repeat=3):
            theta, bias, initial = (int(constants[0]) + step for constants, step in zip(
                (neurons.threshold, neurons.bias, neurons.initial), shift, strict=True))
            if theta < 1:
                continue
            moved = type(neurons)(threshold=np.array([theta]), bias=np.array([bias]), initial=np.array([initial]),
                                  fraction=neurons.fraction, reset=reset)
            equal = all(integer_spikes(moved, 0, currents) == real_spikes(neuron, currents, reset)
                        for currents in sequences(low, high, timesteps, constant))
            holds = limits == integer_bounds(places, threshold=theta, bias=bias, initial=initial,
                                             fraction=neurons.fraction)
            assert equal or not holds
            held, failed, differed = held + holds, failed + (not holds), differed + (not equal)
    assert held > 6
    assert failed > 100
    assert differed > 100


@pytest.mark.parametrize("reset", list(Reset))
def test_bounds_are_those_of_the_contract(reset):
    """``docs/contract.md``, section 6, by its formulas, where the root is rational."""
    neuron = make_neuron(scale=Fraction(1, 3), gamma=Fraction(-3, 2), beta=Fraction(1, 7), centre=Fraction(5, 11),
                         variance_epsilon=Fraction(9, 4), theta=Fraction(4, 5), initial=Fraction(1, 9))
    g = Fraction(1, 3)
    d = Fraction(1, 7) - Fraction(5, 11)
    theta, v0 = neuron.theta, neuron.initial
    found = {(place.thetas, place.steps, place.initials): limit for place, limit in
             real_bounds(neuron, low=-50, high=50, timesteps=3, reset=reset)}
    if reset is Reset.SUBTRACT:
        expected = {(n + 1, t + 1, 1): math.ceil(((n + 1) * theta - (t + 1) * d - v0) / g)
                    for t in range(3) for n in range(t + 1)}
    else:
        expected = {(1, k, 1): math.ceil((theta - k * d - v0) / g) for k in (1, 2, 3)}
        expected |= {(1, k, 0): math.ceil((theta - k * d) / g) for k in (1, 2)}
    assert found == expected


def test_bounds_are_clipped_to_what_is_reached():
    neuron = make_neuron(theta=Fraction(100))

    def limits(neuron, **options):
        found = real_bounds(neuron, low=-2, high=3, timesteps=2, reset=Reset.SUBTRACT, **options)
        return [limit for _, limit in found]

    assert limits(neuron) == [4, 7, 7]
    neuron = make_neuron(theta=Fraction(1), initial=Fraction(100))
    assert limits(neuron) == [-2, -4, -4]
    assert limits(neuron, constant=True) == [-2, -2, -2]


def test_a_tie_of_real_numbers_is_a_spike():
    """The membrane is theta exactly: 2 (1/2) + 0 >= 1, and one unit of the last place below is none."""
    neuron = make_neuron(scale=Fraction(1, 2))
    (_, limit), = real_bounds(neuron, low=0, high=9, timesteps=1, reset=Reset.SUBTRACT)
    assert limit == 2
    above = make_neuron(scale=Fraction(1, 2), theta=Fraction(1) + Fraction(1, 2**60))
    (_, limit), = real_bounds(above, low=0, high=9, timesteps=1, reset=Reset.SUBTRACT)
    assert limit == 3


def test_a_tie_without_inputs_is_a_spike():
    """Without inputs, v0 + d = 1/4 + 3/4 is theta exactly."""
    neuron = make_neuron(scale=Fraction(0), beta=Fraction(3, 4), initial=Fraction(1, 4))
    neurons, inexact = solve_one(neuron, 0, 0, 3, Reset.SUBTRACT)
    assert inexact == []
    assert integer_spikes(neurons, 0, [0, 0, 0]) == [True, False, True]


def test_rational_roots_are_exact():
    assert certificate._root(Fraction(9, 4)) == (6, 6, 4)
    low, high, unit = certificate._root(Fraction(2))
    assert high == low + 1
    assert Fraction(low, unit)**2 < 2 < Fraction(high, unit)**2


def test_an_undecided_bound_is_an_error(monkeypatch):
    """With a root of 2 bits the two ends disagree; with 200 they do not."""
    neuron = make_neuron(scale=Fraction(1, 1000), variance_epsilon=Fraction(2))
    real_bounds(neuron, low=0, high=10000, timesteps=1, reset=Reset.SUBTRACT)
    monkeypatch.setattr(certificate, "BITS", 2)
    message = r"^bound must be decided by 2 bits of the square root, not be \[1250, 1500\]$"
    with pytest.raises(certificate.RealValueError, match=message):
        real_bounds(neuron, low=0, high=10000, timesteps=1, reset=Reset.SUBTRACT)
    fixed = make_neuron(scale=Fraction(0), variance_epsilon=Fraction(2), theta=Fraction(1), gamma=Fraction(7, 5),
                        centre=Fraction(1))
    with pytest.raises(certificate.RealValueError, match=r"^spike must be decided by 2 bits of the square root$"):
        real_bounds(fixed, low=0, high=0, timesteps=1, reset=Reset.SUBTRACT)


def test_the_smallest_fraction_is_taken():
    neuron = make_neuron(scale=Fraction(1, 10), theta=Fraction(1), beta=Fraction(1, 3), initial=Fraction(1, 2))
    low, high, timesteps = -30, 30, 4
    neurons, inexact = solve_one(neuron, low, high, timesteps, Reset.SUBTRACT)
    assert inexact == []
    assert neurons.fraction > 0
    bounds = real_bounds(neuron, low=low, high=high, timesteps=timesteps, reset=Reset.SUBTRACT)
    places, limits = [place for place, _ in bounds], [limit for _, limit in bounds]
    below = neurons.fraction - 1
    for theta, bias, initial in itertools.product(range(1, 24 << below), range(-(4 << below), (8 << below) + 1),
                                                  range(0, 12 << below)):
        assert limits != integer_bounds(places, threshold=theta, bias=bias, initial=initial, fraction=below)


def have_constants(bounds, fraction, thetas):
    """Whether any Theta of ``thetas``, with any B and V0, has these bounds.

    Each bound says between which two integers ``s B + i V0`` is, if B counts s times and V0 i times. So each pair of
    bounds with V0 says between which two integers a multiple of B is; so does a bound without V0. V0 is an integer of
    the intersection of intervals with integer ends, which is not empty if no two of them are apart.
    """
    def fit(theta):
        low, high = {}, {}
        for place, limit in bounds:
            need, unit, key = place.thetas * theta, place.multiple << fraction, (place.initials, place.steps)
            if limit <= place.high // place.multiple:
                low[key] = max(low.get(key, -math.inf), need - limit * unit)
            if limit > place.low // place.multiple:
                high[key] = min(high.get(key, math.inf), need - (limit - 1) * unit - 1)
        keys = {*low, *high, (0, 0)}
        low[0, 0] = high[0, 0] = 0
        if any(low.get(key, -math.inf) > high.get(key, math.inf) for key in keys):
            return False
        smallest, largest = -math.inf, math.inf
        for (initials, later), (others, earlier) in itertools.product(keys, repeat=2):
            if initials == others and later > earlier:
                least = low.get((initials, later), -math.inf) - high.get((others, earlier), math.inf)
                most = high.get((initials, later), math.inf) - low.get((others, earlier), -math.inf)
                smallest = smallest if least == -math.inf else max(smallest, -(-least // (later - earlier)))
                largest = largest if most == math.inf else min(largest, most // (later - earlier))
        return smallest <= largest

    return any(map(fit, thetas))


@pytest.mark.parametrize("reset", list(Reset))
@pytest.mark.parametrize(("timesteps", "constant"), [(4, False), (4, True), (8, False), (12, False), (12, True)])
def test_no_smaller_fraction_has_constants_anywhere(reset, timesteps, constant):
    """All integers are tried, not only those near the rounded ones; what fits at F would fit, doubled, at F + 1."""
    rng = np.random.default_rng([10, timesteps, constant])
    fractions = []
    for _ in range(8 if constant else 24):
        size = int(rng.integers(5, 150)) * (40 if constant else 1)
        low, high = -int(size * rng.uniform(0.3, 1)), int(size * rng.uniform(0.3, 1))
        neuron = random_neuron(rng, gamma=single(rng.uniform(0.1, 2)), scale=single(rng.uniform(0.5, 2) / size))
        neurons, inexact = solve_one(neuron, low, high, timesteps, reset, constant=constant, max_fraction=10)
        assert inexact == []
        fractions.append(neurons.fraction)
        if not neurons.fraction:
            continue
        bounds = real_bounds(neuron, low=low, high=high, timesteps=timesteps, reset=reset, constant=constant)
        found = int(neurons.threshold[0])
        unit = timesteps << neurons.fraction if constant else 1 << neurons.fraction
        # Bounds of the same timestep with one spike more hold Theta to two units, the same bias given.
        thetas = range(max(1, found - 4 * unit), found + 4 * unit + 1)
        assert have_constants(bounds, neurons.fraction, thetas)
        assert not have_constants(bounds, neurons.fraction - 1, [theta // 2 for theta in thetas[::2]])
    assert max(fractions) > (not constant)


def test_what_has_no_exact_constants_is_reported():
    """At F = 0 and T = 4 most channels need a fraction; the others stay exact."""
    rng = np.random.default_rng(5)
    neurons = [random_neuron(rng, scale=single(rng.uniform(0.02, 0.05)), gamma=Fraction(1)) for _ in range(40)]
    bounds = np.full(40, 60)
    built, inexact = certify(neurons, -bounds, bounds, timesteps=4, reset=Reset.SUBTRACT, constant=False,
                             max_fraction=0)
    assert built.fraction == 0
    assert 5 < len(inexact) < 40
    rng = np.random.default_rng(6)
    for channel in range(40):
        differs = False
        for _ in range(3000):
            currents = rng.integers(-60, 61, 4).tolist()
            differs = differs or (integer_spikes(built, channel, currents) !=
                                  real_spikes(neurons[channel], currents, Reset.SUBTRACT))
            if differs:
                break
        assert not (differs and channel not in inexact)


def test_more_fraction_makes_all_channels_exact():
    rng = np.random.default_rng(5)
    neurons = [random_neuron(rng) for _ in range(300)]
    low, high = -rng.integers(20, 120, 300), rng.integers(20, 120, 300)
    built, inexact = certify(neurons, low, high, timesteps=4, reset=Reset.SUBTRACT, constant=False, max_fraction=8)
    assert inexact == []
    assert 0 < built.fraction <= 8


@pytest.mark.parametrize("reset", list(Reset))
@pytest.mark.parametrize("timesteps", [1, 4, 7])
def test_channels_without_inputs_have_their_fixed_pattern(reset, timesteps):
    rng = np.random.default_rng([8, timesteps])
    patterns = set()
    for case in range(40):
        gamma = Fraction(0) if case % 2 else single(rng.normal())
        neuron = random_neuron(rng, scale=Fraction(0) if gamma else Fraction(1), gamma=gamma)
        neurons, inexact = solve_one(neuron, 0, 0, timesteps, reset)
        assert inexact == []
        expected = real_spikes(neuron, [0] * timesteps, reset)
        assert integer_spikes(neurons, 0, [0] * timesteps) == expected
        patterns.add(tuple(expected))
    assert len(patterns) > 1 + (timesteps > 1)


@pytest.mark.parametrize("reset", list(Reset))
@pytest.mark.parametrize("beta", [-1000, -3, -0.2, 0.2, 0.35, 1.2, 1000])
def test_nearly_dead_channels_stay_exact_and_narrow(reset, beta):
    """A gain of 1e-12 gives constants of 2^40; the spikes hardly depend on the inputs, so small ones do as well."""
    neuron = make_neuron(gamma=single(1e-12), beta=single(beta), initial=single(0.5))
    neurons, inexact = solve_one(neuron, -3, 3, 4, reset)
    assert inexact == []
    for currents in sequences(-3, 3, 4, False):
        assert integer_spikes(neurons, 0, currents) == real_spikes(neuron, currents, reset)
    assert max(abs(int(values[0])) for values in (neurons.threshold, neurons.bias, neurons.initial)) < 2**12


def test_constants_that_no_network_holds_are_not_exact(monkeypatch):
    neuron = make_neuron(scale=Fraction(1, 300), initial=Fraction(1, 2))
    assert solve_one(neuron, -200, 200, 4, Reset.SUBTRACT)[1] == []
    monkeypatch.setattr(certificate, "MAX_CONSTANT", 100)
    neurons, inexact = solve_one(neuron, -200, 200, 4, Reset.SUBTRACT)
    assert inexact == [0]
    assert (neurons.threshold.tolist(), neurons.initial.tolist()) == ([100], [100])


def test_leaky_constants_are_the_rounded_ones():
    neurons = certificate.round_leaky(
        [make_neuron(scale=Fraction(1, 3), beta=Fraction(-1, 6), initial=Fraction(1, 2)),
         make_neuron(gamma=Fraction(0), beta=Fraction(1, 4))],
        fraction=2, reset=Reset.ZERO, leak_shift=3)
    assert neurons.threshold.tolist() == [12, 1024]
    assert neurons.bias.tolist() == [-2, 256]
    assert neurons.initial.tolist() == [6, 0]
    assert (neurons.fraction, neurons.leak_shift, neurons.reset) == (2, 3, Reset.ZERO)


@pytest.mark.parametrize(("neuron", "constants", "other"), [
    (make_neuron(scale=Fraction(1, 2**46)), (2**49, 0, 0), "smaller"),
    (make_neuron(beta=Fraction(-2**45)), (8, -2**48, 0), "smaller"),
    (make_neuron(scale=Fraction(64)), (0, 0, 0), "larger"),
    (make_neuron(gamma=Fraction(0), theta=Fraction(1, 2**40), initial=Fraction(1)), (2048, 0, 2**51), "smaller"),
])
def test_leaky_constants_are_never_clipped(neuron, constants, other):
    """They define the neuron: another constant is another network, and no certificate would tell."""
    with pytest.raises(certificate.RealValueError, match=(
            r"^channel 1: threshold, bias and initial membrane must be within \+-2\^47 units of the gain at F = 3, and "
            rf"the threshold at least 1, not {re.escape(str(constants))}: give a {other} --max-fraction, or the "
            r"channel a gain of another size$")):
        certificate.round_leaky([make_neuron(), neuron], fraction=3, reset=Reset.ZERO, leak_shift=3)


def test_the_comparison_of_bounds_is_the_proof(monkeypatch):
    """Constants are exact because their bounds are equal, and not because the search has found them."""
    neuron = make_neuron(scale=Fraction(1, 3), beta=Fraction(-1, 6), initial=Fraction(1, 2))
    for reset in Reset:
        assert solve_one(neuron, -3, 3, 4, reset)[1] == []
    monkeypatch.setattr(certificate, "solve", lambda bounds, start, fraction: (start[0] + (9 << fraction), *start[1:]))
    for reset in Reset:
        assert solve_one(neuron, -3, 3, 4, reset)[1] == [0]


def strict_spikes(neuron, currents, reset):
    """A neuron without BatchNorm that spikes only above its threshold, in exact numbers."""
    u, spikes = neuron.initial, []
    for current in currents:
        u += neuron.scale * current + neuron.beta
        spikes.append(u > neuron.theta)
        if spikes[-1]:
            u = u - neuron.theta if reset is Reset.SUBTRACT else Fraction(0)
    return spikes


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("reset", list(Reset))
def test_a_comparison_above_the_threshold_becomes_at_least(reset, constant):
    """Eighths meet the threshold often; all currents are tried."""
    rng = np.random.default_rng(5)
    low, high, timesteps = -2, 3, 3
    ties = 0
    for _ in range(40):
        eighths = rng.integers([1, -4, 4, 0], [9, 5, 17, 4])
        gain, drift, theta, initial = (Fraction(int(value), 8) for value in eighths)
        neuron = make_neuron(scale=gain, beta=drift, theta=theta, initial=initial, strict=True)
        neurons, inexact = certify([neuron], np.array([low]), np.array([high]), timesteps=timesteps, reset=reset,
                                   constant=constant, max_fraction=8)
        assert not inexact
        for currents in ([(a,) * timesteps for a in range(low, high + 1)] if constant else
                         itertools.product(range(low, high + 1), repeat=timesteps)):
            spikes, _ = pif(neurons, np.array(currents).reshape(1, timesteps, 1, 1, 1))
            expected = strict_spikes(neuron, currents, reset)
            assert spikes.ravel().tolist() == expected
            ties += real_spikes(dataclasses.replace(neuron, strict=False), currents, reset) != expected
    assert ties > 10


def test_a_strict_channel_without_inputs_has_its_fixed_spikes():
    """A bias of half the threshold meets it after two timesteps, and is above it after three."""
    neuron = make_neuron(scale=Fraction(0), beta=Fraction(1, 2), strict=True)
    for strict, expected in ((True, [0, 0, 1, 0, 1]), (False, [0, 1, 0, 1, 0])):
        neurons, inexact = certify([dataclasses.replace(neuron, strict=strict)], np.array([0]), np.array([0]),
                                   timesteps=5, reset=Reset.SUBTRACT, constant=False, max_fraction=4)
        assert not inexact
        assert pif(neurons, np.zeros((1, 5, 1, 1, 1), dtype=np.int64))[0].ravel().tolist() == expected


def test_a_strict_leaky_neuron_gets_the_first_integer_above_its_threshold():
    for scale in (Fraction(1, 2), Fraction(0)):
        neurons = certificate.round_leaky([make_neuron(scale=scale, strict=True)], fraction=2, reset=Reset.ZERO,
                                          leak_shift=1)
        # Units are a quarter of the gain, or a quarter of 1/256 of the threshold.
        assert neurons.threshold.tolist() == [9 if scale else 1025]
