import random

import pytest

from arch.link import (
    CRC_POLYNOMIAL,
    HEADER_BYTES,
    INFO_BYTES,
    Command,
    ErrorCode,
    Frame,
    FrameReader,
    Info,
    InputEncoding,
    LinkError,
    Reply,
    Result,
    crc16,
)
from arch.network import Encoding, Input, NetworkError

SEED = 0x11


def make_info(**overrides):
    fields = {
        "lanes": 8, "width": 16, "circuit_timesteps": 4, "timesteps": 3, "encoding": InputEncoding.OFFSET,
        "channels": 3, "image_height": 32, "image_width": 31,
        "classes": 10, "clock_khz": 48_000, "digest": bytes(range(8)),
    }  # fmt: skip
    return Info(**fields | overrides)


def test_crc_has_the_catalogued_check_value():
    assert crc16(b"123456789") == 0x6F91


def test_crc_is_that_of_the_bits_in_the_order_of_the_line():
    rng = random.Random(SEED)
    for size in (0, 1, 2, 17, 784):
        data, start = rng.randbytes(size), rng.randrange(1 << 16)
        expected = start
        for byte in data:
            for bit in range(8):
                expected = expected >> 1 ^ (CRC_POLYNOMIAL if (expected ^ byte >> bit) & 1 else 0)
        assert crc16(data, start) == expected
        assert crc16(data[size // 2 :], crc16(data[: size // 2], start)) == expected


def test_crc_over_its_own_bytes_is_zero():
    data = random.Random(SEED).randbytes(100)
    assert crc16(data + crc16(data).to_bytes(2, "little")) == 0


def test_every_single_and_double_bit_error_is_found():
    data = random.Random(SEED).randbytes(12)
    sound = int.from_bytes(data + crc16(data).to_bytes(2, "little"), "little")
    size = len(data) + 2
    for first in range(8 * size):
        for second in range(first + 1):
            damage = 1 << first | 1 << second
            assert crc16((sound ^ damage).to_bytes(size, "little")) != 0


def test_frame_bytes_are_as_documented():
    assert Frame(command=Command.CLASSIFY, tag=7, payload=b"\x01\x02").to_bytes()[:HEADER_BYTES].hex() == "a502070200"
    assert Frame(command=Command.CLASSIFY, tag=7, payload=b"\x01\x02").to_bytes()[5:7] == b"\x01\x02"


@pytest.mark.parametrize("size", [0, 1, 255, 256, 65_535])
@pytest.mark.parametrize("chunk", [1, 7, 100_000])
def test_reader_finds_what_was_sent(size, chunk):
    frame = Frame(command=Reply.RESULT, tag=255, payload=random.Random(SEED).randbytes(size))
    data = b"\x00\xff" + frame.to_bytes() * 2
    if chunk == 1 and size > 256:
        pytest.skip("slow and nothing new")
    reader = FrameReader()
    found = [found for at in range(0, len(data), chunk) for found in reader.feed(data[at : at + chunk])]
    assert found == [frame, frame]


def test_reader_survives_garbage_and_broken_frames():
    rng = random.Random(SEED)
    frame = Frame(command=Reply.INFO, tag=1, payload=b"\xa5\xa5\x00\x00\x00")
    broken = bytearray(frame.to_bytes())
    broken[6] ^= 0x10
    reader = FrameReader()
    found = reader.feed(bytes(rng.choice(range(0xA0)) for _ in range(50)) + bytes(broken) + frame.to_bytes())
    found += reader.feed(bytes(300) + frame.to_bytes())
    assert found == [frame] * len(found)
    assert len(found) == 2
    assert reader.bad_frames >= 1


def test_info_round_trips():
    info = make_info()
    data = info.to_bytes()
    assert len(data) == INFO_BYTES
    assert Info.from_bytes(data) == info
    assert info.image_bytes == 32 * 31 * 3
    assert info.result_words == 14
    assert data[4:16].hex() == "0308100401032000" + "1f000a00"
    assert data[28:].hex() == "03000000"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({0: 0}, "device does not answer with an info block"),
        ({4: 1},
         "protocol version must be 3, not 1: build the bitstream and run the host program from the same release"),
        ({8: 3}, "input encoding must be 0, 1 or 2, not 3"),
        ({5: 0}, "lanes must be 1 to 255, not 0"),
        ({28: 0}, "timesteps must be 1 to 255, not 0"),
        ({7: 9, 8: 2, 28: 9}, "timesteps of events must be 1 to 8, not 9"),
        ({11: 0xFF}, "image must have at most 65535 bytes, not 6074016"),
        ({14: 0, 15: 0}, "classes must be 1 to 16379, not 0"),
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


def test_codes_are_as_documented():
    assert {command.name: command.value for command in Command} == {"INFO": 1, "CLASSIFY": 2, "SELECT": 3}
    assert {code.name: code.value for code in ErrorCode} == {
        "BAD_CRC": 1, "WRONG_LENGTH": 2, "UNKNOWN_COMMAND": 3, "BUSY": 4, "OVERRUN": 5, "NO_MODEL": 6,
        "WRONG_MODEL": 7, "DAMAGED": 8, "FLASH": 9,
    }  # fmt: skip


def test_short_info_is_refused():
    with pytest.raises(LinkError, match=r"^device does not answer with an info block$"):
        Info.from_bytes(make_info().to_bytes()[:-1])


def test_info_checks_its_digest():
    with pytest.raises(LinkError, match=r"^digest must have 8 bytes, not 0$"):
        make_info(digest=b"")


def test_result_round_trips_with_negative_scores():
    result = Result(label=2, cycles=2**32 - 1, stalls=0, flash_stalls=2**31, scores=(-(2**31), -1, 2**31 - 1))
    data = result.to_bytes()
    assert Result.from_bytes(data, 3) == result
    assert data[:16].hex() == "02000000" + "ffffffff" + "00000000" + "00000080"


def test_bad_results_are_refused():
    data = Result(label=3, cycles=0, stalls=0, flash_stalls=0, scores=(0, 0, 0)).to_bytes()
    with pytest.raises(LinkError, match=r"^class must be less than 3, not 3$"):
        Result.from_bytes(data, 3)
    with pytest.raises(LinkError, match=r"^result must have 32 bytes, not 28$"):
        Result.from_bytes(data, 4)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"command": 256, "tag": 0}, "command must be 0 to 255, not 256"),
        ({"command": 1, "tag": -1}, "tag must be 0 to 255, not -1"),
        ({"command": 1, "tag": 0, "payload": bytes(65_536)}, "payload must have at most 65535 bytes, not 65536"),
    ],
)
def test_bad_frames_are_refused(fields, message):
    with pytest.raises(LinkError, match=f"^{message}$"):
        Frame(**fields)


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
