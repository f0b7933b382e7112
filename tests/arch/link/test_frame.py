import random

import pytest

from arch.link import CRC_POLYNOMIAL, HEADER_BYTES, Command, ErrorCode, Frame, FrameReader, LinkError, Reply, crc16

SEED = 0x11


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


def test_every_burst_of_sixteen_bits_is_found():
    """The CRC is linear, so what it finds of a damage depends on neither the data nor, for bursts, the place."""
    rng = random.Random(SEED)
    data = rng.randbytes(28)
    sound = int.from_bytes(data + crc16(data).to_bytes(2, "little"), "little")
    for burst in range(1, 1 << 16, 2):
        place = rng.randrange(8 * 30 - 15)
        assert crc16((sound ^ burst << place).to_bytes(30, "little")) != 0


def test_every_odd_number_of_wrong_bits_is_found():
    rng = random.Random(SEED)
    data = rng.randbytes(784)
    sound = int.from_bytes(data + crc16(data).to_bytes(2, "little"), "little")
    for _ in range(2_000):
        damage = sum(1 << place for place in rng.sample(range(8 * 786), 2 * rng.randrange(20) + 1))
        assert crc16((sound ^ damage).to_bytes(786, "little")) != 0


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


def test_codes_are_as_documented():
    assert {command.name: command.value for command in Command} == {"INFO": 1, "CLASSIFY": 2, "SELECT": 3}
    assert {code.name: code.value for code in ErrorCode} == {
        "BAD_CRC": 1, "WRONG_LENGTH": 2, "UNKNOWN_COMMAND": 3, "BUSY": 4, "OVERRUN": 5, "NO_MODEL": 6,
        "WRONG_MODEL": 7, "DAMAGED": 8, "FLASH": 9,
    }  # fmt: skip


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
