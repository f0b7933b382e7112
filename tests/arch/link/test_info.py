import re

import pytest

from arch.link import (
    INFO_BYTES,
    INFO_REPLY_BYTES,
    Info,
    InfoReply,
    InputEncoding,
    LinkCounters,
    LinkError,
    cut_name,
)
from arch.network import Encoding, Input, NetworkError


def make_info(**overrides):
    fields = {
        "lanes": 8, "width": 16, "circuit_timesteps": 4, "timesteps": 3, "encoding": InputEncoding.OFFSET,
        "channels": 3, "image_height": 32, "image_width": 31,
        "classes": 10, "clock_khz": 48_000, "digest": bytes(range(8)),
        "name": "für 🂡",
    }  # fmt: skip
    return Info(**fields | overrides)


def test_info_round_trips():
    info = make_info()
    data = info.to_bytes()
    assert len(data) == INFO_BYTES
    assert Info.from_bytes(data) == info
    assert info.image_bytes == 32 * 31 * 3
    assert info.result_words == 14
    assert data[4:16].hex() == "0408100401032000" + "1f000a00"
    assert data[28:32].hex() == "03000000"
    assert data[32:] == "für 🂡".encode() + bytes(23)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({0: 0}, "device does not answer with an info block"),
        ({4: 1},
         ("protocol version must be 4, not 1: use a bitstream, an image in flash and a host program of the same "
          "release")),
        ({8: 3}, "input encoding must be 0, 1 or 2, not 3"),
        ({5: 0}, "lanes must be 1 to 255, not 0"),
        ({28: 0}, "timesteps must be 1 to 255, not 0"),
        ({7: 9, 8: 2, 28: 9}, "timesteps of events must be 1 to 8, not 9"),
        ({11: 0xFF}, "image must have at most 65535 bytes, not 6074016"),
        ({14: 0, 15: 0}, "classes must be 1 to 16379, not 0"),
        ({32: 0xFF}, "name must be UTF-8, not ffc3bc7220f09f82a1"),
        ({33: 0, 34: 0}, r"name must be at most 32 bytes of printable UTF-8, not 'f\\x00\\x00r 🂡'"),
    ],
)
def test_bad_info_is_refused(change, message):
    data = bytearray(make_info().to_bytes())
    for at, value in change.items():
        data[at] = value
    with pytest.raises(LinkError, match=f"^{message}$"):
        Info.from_bytes(bytes(data))


def test_a_network_may_have_more_timesteps_than_the_circuit():
    """It is computed in blocks of those of the circuit."""
    info = make_info(timesteps=255)
    assert Info.from_bytes(info.to_bytes()) == info
    events = make_info(timesteps=8, encoding=InputEncoding.EVENTS)
    assert Info.from_bytes(events.to_bytes()).input.encoding is Encoding.EVENTS
    with pytest.raises(LinkError, match=r"^timesteps must be 1 to 255, not 256$"):
        make_info(timesteps=256)


SAME_RELEASE = "use a bitstream, an image in flash and a host program of the same release"


def test_info_of_another_size_is_refused():
    data = make_info().to_bytes()
    with pytest.raises(LinkError, match=f"^info block must have 64 bytes, not 63: {SAME_RELEASE}$"):
        Info.from_bytes(data[:-1])
    for size in (0, 4):
        with pytest.raises(LinkError, match=r"^device does not answer with an info block$"):
            Info.from_bytes(data[:size])


@pytest.mark.parametrize(("version", "size"), [(3, 32), (5, 100), (0, 5)])
def test_a_device_of_another_version_is_told_by_both_versions_whatever_its_size(version, size):
    data = (b"STRN" + bytes((version,))).ljust(size, b"\0")
    for decode in (Info.from_bytes, InfoReply.from_bytes):
        with pytest.raises(LinkError, match=f"^protocol version must be 4, not {version}: {SAME_RELEASE}$"):
            decode(data)


def test_a_name_fills_its_field_and_no_more():
    """What is longer is cut at a character; what is refused cannot be told from zeros, or harms a terminal."""
    for name in ("", "x" * 32, "ü" * 16):
        assert Info.from_bytes(make_info(name=name).to_bytes()).name == name
    assert cut_name("x" * 31 + "ü") == "x" * 31
    assert cut_name("ü" * 17) == "ü" * 16
    for name in ("x" * 33, "ü" * 17, "a\n", "a\0", "\ud800"):
        message = f"name must be at most 32 bytes of printable UTF-8, not {name!r}"
        with pytest.raises(LinkError, match=f"^{re.escape(message)}$"):
            make_info(name=name)


def test_info_reply_round_trips():
    reply = InfoReply(info=make_info(), counters=LinkCounters(bad_frames=1, overruns=2, aborted_frames=255))
    data = reply.to_bytes()
    assert len(data) == INFO_REPLY_BYTES == 68
    assert data[:64] == make_info().to_bytes()
    assert data[64:].hex() == "0102ff00"
    assert InfoReply.from_bytes(data) == reply
    assert InfoReply(info=make_info()).counters == LinkCounters(bad_frames=0, overruns=0, aborted_frames=0)
    for changed in (data[:-1], data + b"\0", data[:64]):
        message = f"^reply INFO must have 68 bytes, not {len(changed)}: {SAME_RELEASE}$"
        with pytest.raises(LinkError, match=message):
            InfoReply.from_bytes(changed)
    with pytest.raises(LinkError, match=r"^device does not answer with an info block$"):
        InfoReply.from_bytes(bytes(68))


@pytest.mark.parametrize("name", ["bad_frames", "overruns", "aborted_frames"])
def test_counters_are_bytes(name):
    for value in (-1, 256):
        with pytest.raises(LinkError, match=f"^{name} must be 0 to 255, not {value}$"):
            LinkCounters(**{name: value})


def test_info_checks_its_digest():
    with pytest.raises(LinkError, match=r"^digest must have 8 bytes, not 0$"):
        make_info(digest=b"")


@pytest.mark.parametrize(("encoding", "expected"), [
    (InputEncoding.UNSIGNED, Input(encoding=Encoding.PIXELS, channels=3, height=32, width=31)),
    (InputEncoding.OFFSET, Input(encoding=Encoding.PIXELS, channels=3, height=32, width=31, zero_point=128)),
    (InputEncoding.EVENTS, Input(encoding=Encoding.EVENTS, channels=3, height=32, width=31)),
])
def test_info_says_its_input_as_a_network_does(encoding, expected):
    assert make_info(encoding=encoding).input == expected


def test_a_device_with_an_impossible_input_has_its_line():
    with pytest.raises(NetworkError, match=r"^input channels must be an integer from 1 to 64, not 65$"):
        _ = make_info(channels=65).input
