"""Lines are what was put on them."""

import pytest

from tests.fuzz.link.line import Line
from tests.twins.uart import SYNCHRONISER_CLOCKS, receive


def line_of(data, divisor=8, **options):
    line = Line(divisor)
    line.send(data, **options)
    return line


@pytest.mark.parametrize("rate", [None, 8.25, 7.75])
def test_what_is_sent_is_received(rate):
    line = line_of(bytes(range(256)), rate=rate)
    characters = receive(line.edges, 8)
    assert bytes(character.byte for character in characters) == line.sent == bytes(range(256))
    assert all(character.stop_bit for character in characters)


def test_times_of_characters_are_those_of_their_bits():
    line = line_of(b"\x0f\xf0")
    assert line.edges == [2, 10, 42, 74, 82, 122]
    assert line.segments() == [(1, 2), (0, 8), (1, 32), (0, 32), (1, 8), (0, 40), (1, 41)]
    first, second = receive(line.edges, 8)
    assert (first.first, first.last) == (2 + 3 + 8 + SYNCHRONISER_CLOCKS, 2 + 3 + 72 + SYNCHRONISER_CLOCKS)
    assert second.last - first.last == 80


def test_a_wait_is_silence():
    line = line_of(b"\xff")
    line.wait(100)
    line.wait(-100)
    line.send(b"\xff")
    assert line.edges == [2, 10, 182, 190]


def test_a_pulse_turns_the_level_over():
    line = line_of(b"\xff")
    line.pulse(4, 2)
    assert line.edges == [2, 4, 6, 10]
    line.pulse(10, 3)
    assert line.edges == [2, 4, 6, 13]
    assert line.sent is None


@pytest.mark.parametrize(("level", "begin", "end", "edges"), [
    (0, 0, 5, [0, 10, 42, 74]), (0, 8, 20, [2, 20, 42, 74]), (0, 10, 42, [2, 74]),
    (0, 100, 120, [2, 10, 42, 74, 100, 120]),
    (1, 4, 8, [2, 4, 8, 10, 42, 74]), (1, 12, 20, [2, 10, 42, 74]), (1, 0, 50, [50, 74]), (1, 0, 80, []),
])
def test_a_held_line_has_one_level(level, begin, end, edges):
    line = line_of(b"\x0f")
    line.hold(level, begin, end)
    assert line.edges == edges


@pytest.mark.parametrize(("bits", "stop_bit"), [(0.3, True), (0.6, False), (1, False), (1.4, False)])
@pytest.mark.parametrize("byte", [0x00, 0xFF])
def test_a_missing_stop_bit_neither_adds_nor_loses_a_character(bits, stop_bit, byte):
    line = Line(8)
    line.send_without_stop_bit(byte, bits)
    line.send(b"\x55")
    assert [(character.byte, character.stop_bit) for character in receive(line.edges, 8)] == [
        (byte, stop_bit), (0x55, True)]


def test_shaken_edges_keep_their_order():
    line = line_of(b"\x0f")
    line.shake([3, -6, 0, -1], 1)
    assert line.edges == [5, 6, 42, 73]
    assert line.sent == b"\x0f"
