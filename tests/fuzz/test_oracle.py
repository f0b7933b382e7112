"""The judge of damaged files finds what it is there to find: readers that are wrong in every way that it knows."""

import pathlib
import zlib

import pytest

from support.errors import InputError
from tests.fuzz.kinds import Kind, Sample
from tests.fuzz.oracle import Exceeded, faults, limited, wrong_message

CONTENT = b"sixteen bytes..." + zlib.crc32(b"sixteen bytes...").to_bytes(4, "big")


def right(path: pathlib.Path) -> bytes:
    """Read a text of 16 bytes with its CRC."""
    content = path.read_bytes()
    if len(content) != 20 or zlib.crc32(content[:16]) != int.from_bytes(content[16:], "big"):
        raise InputError(f"{path}: file must be a text and its CRC")
    return content[:16]


def careless(path):
    return path.read_bytes()[:16]


def index_error(path):
    content = path.read_bytes()
    return content[:16] if content == CONTENT else content[10**6]


def two_lines(path):
    try:
        return right(path)
    except InputError as error:
        raise InputError(f"{error}:\nlook") from None


def nameless(path):
    try:
        return right(path)
    except InputError:
        raise InputError("it is damaged") from None


def wordy(path):
    try:
        return right(path)
    except InputError as error:
        raise InputError(f"{error}, not {'x' * 600}") from None


def greedy(path):
    return careless(path) if path.read_bytes() == CONTENT else bytes(2**34)


def check(found, content):
    assert len(found) == 16, "text has 16 bytes"


def found_with(reader, *, protected=True):
    return Kind(name="text", protected=protected, samples=lambda folder: [
        Sample(content=CONTENT, read=reader, identity=bytes, check=check)])


def test_a_right_reader_has_no_faults(tmp_path):
    assert list(faults(found_with(right), range(200), 1, tmp_path)) == []


@pytest.mark.parametrize(("reader", "fault"), [
    (careless, "accepted in silence, with another content"),
    (careless, "accepted, and not well-formed: assert len(found) == 16"),
    (index_error, "IndexError at test_oracle.py:"),
    (two_lines, "message is not one line of printable characters: "),
    (nameless, "message does not name the file: 'it is damaged'"),
    (wordy, "message has more than 600 characters: "),
    (greedy, "MemoryError at test_oracle.py:"),
])
def test_a_wrong_reader_is_found(reader, fault, tmp_path):
    found = list(faults(found_with(reader), range(60), 1, tmp_path))
    assert any(f": {fault}" in line for line in found), found[:3]
    number = int(found[0].partition("case ")[2].partition(" ")[0])
    kept = tmp_path / f"case-{number}"
    assert f"case {number} of seed 1, a copy of sample 0 kept as {kept}: " in found[0]
    # The file shows the fault again, and so does the number alone.
    assert kept.read_bytes() != CONTENT
    assert list(faults(found_with(reader), range(number, number + 1), 1, tmp_path)) == found[:1]


def test_without_a_checksum_another_content_is_no_fault(tmp_path):
    def read(path):
        content = path.read_bytes()
        if len(content) != 20:
            raise InputError(f"{path}: file must have 20 bytes")
        return content[:16]

    assert list(faults(found_with(read, protected=False), range(100), 1, tmp_path)) == []
    assert list(faults(found_with(read), range(100), 1, tmp_path)) != []


def test_a_reader_that_does_not_end_is_stopped():
    def turn():
        while True:
            pass

    with pytest.raises(Exceeded, match=r"^more than 0\.1 s of the processor$"), limited(seconds=0.1):
        turn()
    with limited(seconds=0.1):
        pass


def test_messages_are_judged(tmp_path):
    path = tmp_path / "a"
    assert wrong_message(f"{path}: it is damaged", path) is None
    assert wrong_message(f"{path}: \x1b[2J", path) == "is not one line of printable characters"
