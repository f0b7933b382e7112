import decimal
import itertools
import math
from fractions import Fraction

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from arch.network import NetworkError
from arch.ttfs import network as ttfs
from arch.ttfs.code import TimeCode
from arch.ttfs.network import Convolution, EarliestPool, FullyConnected, Input, Network, Readout
from arch.widths import Range

SMALL = {"timesteps": 3, "tau": 2, "p": 1, "bits": 3, "fraction": 4}


def make_input(**overrides):
    return Input(**({"channels": 1, "height": 5, "width": 4, "threshold": np.array([200, 100, 100])} | overrides))


def falling(channels, steps=3):
    return np.arange(channels, dtype=np.int64)[:, None] - np.arange(steps, dtype=np.int64)


def make_network(**overrides):
    codes = (np.arange(18) % 7 - 3).astype(np.int8)
    return Network(**({
        "input": make_input(), "code": TimeCode(**SMALL),
        "layers": (Convolution(weights=codes.reshape(2, 1, 3, 3), threshold=falling(2), padding=1),
                   EarliestPool(size=2),
                   FullyConnected(weights=np.ones((3, 8), dtype=np.int8), threshold=falling(3)),
                   Readout(weights=-np.eye(3, dtype=np.int8)))} | overrides))


@pytest.mark.parametrize(("residues", "fraction"), [(1, 1), (2, 8), (4, 16), (5, 12), (12, 23), (64, 23)])
def test_the_table_is_the_rounded_roots_of_two(residues, fraction):
    with decimal.localcontext() as context:
        context.prec = 60
        wanted = [int((decimal.Decimal(2) ** (fraction - decimal.Decimal(r) / residues) + decimal.Decimal("0.5"))
                      .to_integral_value(decimal.ROUND_FLOOR)) for r in range(residues)]
    assert list(TimeCode(timesteps=1, tau=residues, p=1, bits=2, fraction=fraction).powers) == wanted


def test_products_by_hand():
    # D = 2: K is 16 and 11 (16 / sqrt 2 = 11.31); exponents are t + 2 q, up to 2 + 4, so S is 3.
    code = TimeCode(**SMALL)
    assert (code.residues, code.powers, code.levels, code.shift, code.unit_bits) == (2, (16, 11), 3, 3, 7)
    assert code.products().tolist() == [[0, 0, 0, 0], [128, 88, 64, 0], [64, 44, 32, 0], [32, 22, 16, 0]]
    assert code.values().tolist() == [1, 11 / 16, 1 / 2, 0]


@hypothesis.given(st.integers(1, 25), st.integers(1, 8), st.integers(1, 4), st.integers(2, 5))
def test_every_product_is_its_exponents_table_value(timesteps, tau, p, bits):
    code = TimeCode(timesteps=timesteps, tau=tau, p=p, bits=bits, fraction=10)
    products = code.products()
    assert products.shape == (2**(bits - 1), timesteps + 1)
    assert not products[0].any()
    assert not products[:, timesteps].any()
    octaves = []
    for level, time in itertools.product(range(code.levels), range(timesteps)):
        exponent = Fraction(time, tau) + Fraction(level, p)
        octaves.append(math.floor(exponent))
        table = code.powers[int((exponent - octaves[-1]) * math.lcm(tau, p))]
        assert Fraction(int(products[level + 1, time]), 2**code.unit_bits) == Fraction(table, 2**(10 + octaves[-1]))
        assert products[level + 1, time] / 2**code.unit_bits == pytest.approx(2.0**-float(exponent), rel=2**-10)
    assert code.shift == max(octaves)


def test_a_value_halves_every_tau_exactly():
    values = TimeCode(timesteps=24, tau=4).values()
    assert (values[4:-1] * 2 == values[:-5]).all()
    assert (values[:-1].astype(np.float32) == values[:-1]).all()


@pytest.mark.parametrize(("changes", "message"), [
    ({"timesteps": 0}, "timesteps must be an integer from 1 to 255, not 0"),
    ({"timesteps": 256}, "timesteps must be an integer from 1 to 255, not 256"),
    ({"tau": 4.0}, "tau must be an integer from 1 to 64, not 4.0"),
    ({"p": 0}, "p must be an integer from 1 to 64, not 0"),
    ({"bits": 1}, "bits must be an integer from 2 to 8, not 1"),
    ({"fraction": 24}, "fraction must be an integer from 1 to 23, not 24"),
    ({"tau": 13, "p": 5}, "tau and p must have a common multiple up to 64, not 65"),
    ({"tau": 8, "fraction": 3}, "fraction must be large enough to tell 8 steps of an octave apart, not 3"),
    ({"timesteps": 60, "tau": 1},
     "products must have at most 52 fractional bits, not 65: use fewer timesteps, a larger tau or a smaller fraction"),
])
def test_wrong_codes_are_refused(changes, message):
    with pytest.raises(NetworkError) as caught:
        TimeCode(**(SMALL | changes))
    assert str(caught.value) == message


@pytest.mark.parametrize(("make", "message"), [
    (lambda: make_input(channels=65), "input channels must be an integer from 1 to 64, not 65"),
    (lambda: make_input(threshold=np.array([257, 3, 1])), "input threshold of time 0 must be from 1 to 256, not 257"),
    (lambda: make_input(threshold=np.array([9, 3, 0])), "input threshold of time 2 must be from 1 to 256, not 0"),
    (lambda: make_input(threshold=np.array([9, 10, 1])),
     "input threshold of channel 0 must never rise, not go from 9 to 10 at time 1"),
    (lambda: make_input(threshold=[9]), "input threshold must be an array of int64, not list"),
    (lambda: make_network(input=make_input(threshold=np.array([9]))), "input threshold must have 3 timesteps, not 1"),
    (lambda: Convolution(weights=np.ones((1, 1, 2, 3), np.int8), threshold=falling(1)),
     "kernel must be square, 1 x 1 to 7 x 7, not 2 x 3"),
    (lambda: Convolution(weights=np.ones((1, 1, 2, 2), np.int8), threshold=falling(1), padding=2),
     "padding must be an integer from 0 to 1, not 2"),
    (lambda: Convolution(weights=np.ones((1, 1, 2, 2), np.int8), threshold=falling(1), stride=0),
     "stride must be an integer from 1 to 7, not 0"),
    (lambda: Convolution(weights=np.ones((2, 1, 2, 2), np.int8), threshold=falling(1)),
     "threshold must have 2 channels like the weights, not 1"),
    (lambda: FullyConnected(weights=np.ones((2, 3)), threshold=falling(2)),
     "weights must be an array of int8, not float64"),
    (lambda: FullyConnected(weights=np.ones((2, 3), np.int8), threshold=-falling(2)),
     "threshold of channel 0 must never rise, not go from 0 to 1 at time 1"),
    (lambda: FullyConnected(weights=np.ones((1, 3), np.int8), threshold=np.array([[2**53 + 1, 0]])),
     "threshold of channel 0 must be within +-2^53, not 9007199254740993"),
    (lambda: EarliestPool(size=1), "pool size must be an integer from 2 to 7, not 1"),
    (lambda: Readout(weights=np.ones((1, 3), np.int8)), "classes must be 2 to 1024, not 1"),
    (lambda: make_network(layers=()), "layers must end in a readout, not be empty"),
    (lambda: make_network(layers=("x",)), "layer 0 must be a layer, not str"),
    (lambda: make_network(layers=make_network().layers[:-1]),
     "layer 2 must be a readout: a network has one, at its end"),
    (lambda: make_network(layers=(Readout(weights=np.ones((2, 20), np.int8)),) * 2),
     "layer 0 must not be a readout: a network has one, at its end"),
    (lambda: make_network(layers=make_network().layers[1:]), "layer 0 must have weights, not be an earliest-pool"),
    (lambda: make_network(code=TimeCode(**(SMALL | {"bits": 2}))),
     "layer 0 (convolution): weights must be codes from -1 to 1, not -3 at (0, 0, 0, 0)"),
    (lambda: make_network(layers=(FullyConnected(weights=np.ones((3, 20), np.int8), threshold=falling(3, 2)),
                                  make_network().layers[-1])),
     "layer 0 (fully-connected): threshold must have 3 timesteps, not 2"),
    (lambda: make_network(input=make_input(channels=2)),
     "layer 0 (convolution): weights must have 2 input channels, not 1"),
    (lambda: make_network(input=make_input(height=2, width=1)),
     "layer 1 (earliest-pool): pool size 2 must fit in the map of 2 x 1"),
    (lambda: make_network(input=make_input(height=6)),
     "layer 2 (fully-connected): weights must have 12 inputs for a map of (2, 3, 2), not 8"),
    (lambda: make_network(layers=(Convolution(weights=np.ones((1, 1, 7, 7), np.int8), threshold=falling(1)),
                                  make_network().layers[-1])),
     "layer 0 (convolution): kernel 7 must fit in the padded map of 5 x 4"),
])
def test_wrong_parts_are_refused(make, message):
    with pytest.raises(NetworkError) as caught:
        make()
    assert str(caught.value) == message


def test_a_network_knows_its_shapes():
    network = make_network()
    assert [output for _, _, output in network.shapes()] == [(2, 5, 4), (2, 2, 2), (3, 1, 1), (3, 1, 1)]
    assert (network.classes, network.weight_count) == (3, 18 + 24 + 9)
    assert not network.layers[0].weights.flags.writeable
    assert not network.layers[0].threshold.flags.writeable


@pytest.mark.parametrize("options", [SMALL, {"timesteps": 4, "tau": 3, "p": 2, "bits": 4, "fraction": 6},
                                     {"timesteps": 5, "tau": 1, "p": 3, "bits": 3, "fraction": 9}])
def test_both_ends_of_every_range_are_reached(options):
    code = TimeCode(**options)
    rng = np.random.default_rng(5)
    weights = rng.integers(-code.levels, code.levels + 1, (3, 3)).astype(np.int8)
    source = Input(channels=1, height=1, width=3, threshold=np.ones(code.timesteps, dtype=np.int64))
    network = Network(input=source, code=code, layers=(
        FullyConnected(weights=weights, threshold=falling(3, code.timesteps)),
        Readout(weights=np.ones((2, 3), dtype=np.int8))))
    widths = next(ttfs.layer_widths(network))
    membranes, accumulators = [0], [0]
    for row, times in itertools.product(weights.tolist(), itertools.product(range(code.timesteps + 1), repeat=3)):
        sums = [0] * code.residues
        for weight, time in zip(row, times, strict=True):
            if weight and time < code.timesteps:
                exponent = code.exponent(time, abs(weight) - 1)
                term = 2**(code.shift - exponent // code.residues)
                sums[exponent % code.residues] += term if weight > 0 else -term
        membranes.append(sum(k * a for k, a in zip(code.powers, sums, strict=True)))
        accumulators += sums
    assert widths.membrane == Range(min(membranes), max(membranes))
    assert widths.accumulator == Range(min(accumulators), max(accumulators))
    assert widths.threshold == Range(1 - code.timesteps, 2)
    ranges = ttfs.membrane_range(code, weights)
    assert (int(ranges.low.min()), int(ranges.high.max())) == (min(membranes), max(membranes))


def test_membranes_that_float64_cannot_hold_are_refused():
    code = TimeCode(timesteps=36, tau=1, p=1, bits=2, fraction=17)
    assert code.unit_bits == 52
    network = Network(
        input=Input(channels=1, height=1, width=2, threshold=np.ones(36, dtype=np.int64)), code=code,
        layers=(Readout(weights=np.array([[1, 0], [1, -1]], dtype=np.int8)),))
    assert next(ttfs.layer_widths(network)).membrane == Range(-2**52, 2**52)
    wide = Network(input=network.input, code=code, layers=(Readout(weights=np.ones((2, 2), dtype=np.int8)),))
    with pytest.raises(NetworkError, match=r"^layer 0 \(readout\): membrane must stay below 2\^53, and may reach "
                                           r"9007199254740992: use a smaller fraction$"):
        list(ttfs.layer_widths(wide))
