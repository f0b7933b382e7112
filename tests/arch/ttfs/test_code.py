import decimal
import itertools
import math
from fractions import Fraction

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from arch.network import NetworkError
from arch.ttfs.code import TimeCode

SMALL = {"timesteps": 3, "tau": 2, "p": 1, "bits": 3, "fraction": 4}


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
