"""What the nodes of a chain say about themselves."""

from fractions import Fraction

import pytest

from export.sources.chain import shift_of, shown


@pytest.mark.parametrize(("share", "shift"), [
    (Fraction(1, 2), 1), (Fraction(1, 2**31), 31), (Fraction(1, 2**32), None), (Fraction(1), None), (Fraction(2), None),
    (Fraction(0), None), (Fraction(1, 3), None), (Fraction(3, 4), None), (Fraction(-1, 2), None),
])
def test_leaks_are_the_powers_of_a_half_that_a_network_has(share, shift):
    assert shift_of(share) == shift


@pytest.mark.parametrize(("value", "text"), [
    (Fraction(1, 3), "0.333333"), (Fraction(-15), "-15"), (Fraction(10)**400, "1e400 or more"),
    (-Fraction(10)**400 * 3, "-1e400 or more")])
def test_numbers_in_messages_may_be_larger_than_any_float(value, text):
    assert shown(value) == text
