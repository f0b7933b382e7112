import hashlib
import re
import zlib

import pytest

from arch.flash.circuit import Circuit
from arch.flash.errors import ImageError
from arch.flash.header import ModelHeader
from arch.link import Info, InputEncoding
from tests.flash_models import circuit_of, info_of

DIGEST = hashlib.sha256(b"network").digest()


def header_of(circuit=None, info=None, **changes):
    circuit = circuit or circuit_of()
    values = {"digest": DIGEST, "length": 12345, "address": 0x110000, "buffers": 2, **changes}
    return ModelHeader(circuit=circuit, info=info or info_of(circuit, DIGEST, name="vgg16 für 🂡"), **values)


def test_a_header_comes_back():
    header = header_of()
    assert len(header.to_bytes()) == 256
    assert ModelHeader.from_bytes(header.to_bytes(), circuit=header.circuit) == header


def test_fields_are_where_the_docstring_says():
    header = header_of()
    data = header.to_bytes()
    assert Circuit.from_bytes(data[:16]) == header.circuit
    assert Info.from_bytes(data[16:80]) == header.info
    assert header.name == header.info.name
    assert data[48:80] == "vgg16 für 🂡".encode().ljust(32, b"\0")
    assert data[80:112] == DIGEST
    assert int.from_bytes(data[112:116], "little") == 12345
    assert data[116:240] + data[248:252] == bytes(128)
    assert int.from_bytes(data[252:], "little") == zlib.crc32(data[:252])


@pytest.mark.parametrize(("encoding", "channels", "timesteps", "circuit", "kept"), [
    (InputEncoding.UNSIGNED, 3, 4, circuit_of(), "00 09 0f 00 2d 00 c2 11"),
    (InputEncoding.OFFSET, 16, 32, circuit_of(), "00 09 0f 00 f0 00 cf 11"),
    (InputEncoding.EVENTS, 17, 4, circuit_of(), "00 09 1e 00 ff 00 90 11"),
    (InputEncoding.EVENTS, 32, 5, circuit_of(), "00 09 1e 00 e0 01 df 11"),
    (InputEncoding.UNSIGNED, 64, 1, circuit_of(timesteps=8), "00 09 3c 00 c0 03 bf 11"),
])
def test_what_the_circuit_keeps(encoding, channels, timesteps, circuit, kept):
    info = info_of(circuit, DIGEST, encoding=encoding, channels=channels, timesteps=timesteps)
    assert header_of(circuit, info).kept_bytes().hex(" ") == kept


@pytest.mark.parametrize(("changes", "message"), [
    ({"info": info_of(circuit_of(), DIGEST, name="")},
     "name of a model must be 1 to 32 bytes of printable UTF-8, not ''"),
    ({"digest": DIGEST[::-1]}, ("digest of a model must be 32 bytes that begin with those of its info block, "
                               f"not {DIGEST[::-1].hex()}")),
    ({"digest": DIGEST[:8]}, ("digest of a model must be 32 bytes that begin with those of its info block, "
                             f"not {DIGEST[:8].hex()}")),
    ({"address": 0x110001}, "address of a stream must be a multiple of 65536 below 2^24, not 0x110001"),
    ({"address": 1 << 24}, "address of a stream must be a multiple of 65536 below 2^24, not 0x1000000"),
    ({"length": 0}, "length of a stream at 0x110100 must be 1 to 15662848 bytes, not 0"),
    ({"length": 15662849}, "length of a stream at 0x110100 must be 1 to 15662848 bytes, not 15662849"),
    ({"buffers": 3}, "buffers of a model must be 1 or 2, not 3"),
    ({"info": info_of(circuit_of(4, 16), DIGEST)},
     "array of the info block must be that of the signature, 8 x 16 x 4, not 4 x 16 x 4"),
    ({"info": info_of(circuit_of(), DIGEST, timesteps=33)},
     "timesteps of a model must be 1 to 32, 8 blocks of 4, not 33"),
    ({"info": info_of(circuit_of(), DIGEST, classes=257)}, "classes of a model in flash must be 1 to 256, not 257"),
    ({"circuit": circuit_of(timesteps=2), "info": info_of(circuit_of(timesteps=2), DIGEST, timesteps=2)},
     "image must have 1 or 2 slices of 2 bits, not 4"),
    ({"info": info_of(circuit_of(), DIGEST, channels=65)}, "channels of an image must be 1 to 64, not 65"),
])
def test_impossible_headers_are_refused(changes, message):
    with pytest.raises(ImageError, match=f"^{re.escape(message)}$"):
        header_of(**changes)


def altered(place, value):
    """A header with another byte and a right CRC."""
    data = bytearray(header_of().to_bytes())
    data[place] = value
    return bytes(data[:252]) + zlib.crc32(data[:252]).to_bytes(4, "little")


@pytest.mark.parametrize(("data", "message"), [
    (header_of().to_bytes()[:-1], "header at 0x300 must have 256 bytes, not 255: the image is truncated"),
    (altered(16, 0), "info block at 0x310: device does not answer with an info block"),
    (altered(20, 3), ("info block at 0x310: protocol version must be 4, not 3: use a bitstream, an image in flash and "
                      "a host program of the same release")),
    (altered(48, 0xFF), f"info block at 0x310: name must be UTF-8, not ff{'vgg16 für 🂡'.encode()[1:].hex()}"),
    (altered(49, 0), "info block at 0x310: name must be at most 32 bytes of printable UTF-8, not 'v\\x00g16 für 🂡'"),
    (altered(116, 1), "byte at 0x374 must be 0x00, not 0x01"),
    (altered(239, 1), "byte at 0x3ef must be 0x00, not 0x01"),
    (altered(240, 1), "byte at 0x3f0 must be 0x00, not 0x01"),
    (altered(241, 1), "byte at 0x3f1 must be 0x09, not 0x01"),
    (altered(243, 1), "byte at 0x3f3 must be 0x00, not 0x01"),
    (altered(244, 1), "byte at 0x3f4 must be 0x2d, not 0x01"),
    (altered(246, 0xC1), "byte at 0x3f6 must be 0xc2, not 0xc1"),
    (altered(251, 1), "byte at 0x3fb must be 0x00, not 0x01"),
])
def test_headers_that_nobody_writes_are_refused(data, message):
    with pytest.raises(ImageError, match=f"^{re.escape(message)}$"):
        ModelHeader.from_bytes(data, offset=0x300)


def test_a_wrong_crc_is_refused():
    data = bytearray(header_of().to_bytes())
    data[60] ^= 0x10
    message = (f"CRC-32 at 0x3fc must be {zlib.crc32(data[:252]):08x}, not "
               f"{int.from_bytes(data[252:], 'little'):08x}: make the image again with python -m export")
    with pytest.raises(ImageError, match=f"^{re.escape(message)}$"):
        ModelHeader.from_bytes(bytes(data), offset=0x300)


def test_a_model_for_another_circuit_is_refused():
    message = "width must be 32, not 16: make the image for this circuit"
    with pytest.raises(ImageError, match=f"^{re.escape(message)}$"):
        ModelHeader.from_bytes(header_of().to_bytes(), circuit=circuit_of(8, 32))
