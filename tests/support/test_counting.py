"""What texts say of numbers of things."""

import pytest

from support.counting import counted


@pytest.mark.parametrize(("number", "text"), [
    (0, "0 images"), (1, "1 image"), (2, "2 images"), (10_000, "10,000 images")])
def test_the_noun_follows_the_number(number, text):
    assert counted(number, "image") == text
