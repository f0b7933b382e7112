"""Damaged images: none is accepted, and each is refused in one line that says where."""

import dataclasses
import random
import zlib

import pytest

from arch.flash.circuit import Circuit
from arch.flash.errors import ImageError
from arch.flash.header import HEADER_BYTES, SEAL_BYTES
from arch.flash.image import DIRECTORY_BYTES, build_image, parse_image
from arch.flash.stream import PROGRAM_BYTES, boundaries
from tests.flash_models import circuit_of, random_model

CIRCUIT = circuit_of()
MODELS = [random_model(seed, CIRCUIT, [(1, 3), (2, 2), (3, 1)]) for seed in range(2)]
IMAGE = build_image(MODELS)
SEALS = [65536, 131072]
STREAMS = [seal + SEAL_BYTES for seal in SEALS]
ENDS = [[begin + end for end in boundaries(model.sections)] for begin, model in zip(STREAMS, MODELS, strict=True)]
SEED = 0x4D


def regions():
    """Every kind of byte of the second model, by name: where its bytes are."""
    header, begin = HEADER_BYTES, STREAMS[1]
    group = 8 * 8 + 3 * 26
    return {
        "magic": range(header, header + 4), "version": range(header + 4, header + 5),
        "circuit": range(header + 5, header + 16), "info": range(header + 16, header + 48),
        "name": range(header + 48, header + 80), "digest": range(header + 80, header + 112),
        "length": range(header + 112, header + 116), "reserved": range(header + 116, header + 240),
        "kept": range(header + 240, header + 252), "header's CRC": range(header + 252, header + 256),
        "empty header": range(2 * header, DIRECTORY_BYTES), "gap": range(DIRECTORY_BYTES, SEALS[0]),
        "seal": range(SEALS[1], STREAMS[1]),
        "program": range(begin, begin + PROGRAM_BYTES),
        "constants": range(begin + PROGRAM_BYTES, begin + PROGRAM_BYTES + 64),
        "weights": range(begin + PROGRAM_BYTES + 64, begin + PROGRAM_BYTES + group),
        "tail": range(begin + PROGRAM_BYTES + group - 2, begin + PROGRAM_BYTES + group),
        "CRC": range(begin + PROGRAM_BYTES + group, begin + PROGRAM_BYTES + group + 4),
    }


def check_refused(data, **options):
    with pytest.raises(ImageError) as caught:
        parse_image(data, circuit=CIRCUIT, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    return message


def test_the_image_is_accepted_before_it_is_damaged():
    assert len(parse_image(IMAGE, circuit=CIRCUIT)) == 2


@pytest.mark.parametrize("case", range(8))
@pytest.mark.parametrize("name", regions())
def test_a_flipped_byte_is_refused(name, case):
    """144 images: in each kind of byte one bit, and several."""
    rng = random.Random(f"{SEED} {name} {case}")
    place = rng.choice(regions()[name])
    flipped = 1 << case if case % 2 else rng.randrange(1, 256)
    data = IMAGE[:place] + bytes((IMAGE[place] ^ flipped,)) + IMAGE[place + 1:]
    message = check_refused(data)
    if name not in ("empty header", "gap"):
        assert message.startswith("model 1: ")
    if name in ("program", "constants", "weights", "tail", "CRC"):
        assert "section 0: " in message
        assert "0x" in message


@pytest.mark.parametrize("end", sorted({end + distance for ends in ENDS for end in ends for distance in
                                        (-5, -4, -1, 0, 1)} - {len(IMAGE)}))
def test_an_image_truncated_at_the_end_of_a_section_is_refused(end):
    """29 images: cut before, at and behind each boundary, and one with a byte too much."""
    check_refused((IMAGE + b"\0")[:end])


@pytest.mark.parametrize("case", range(20))
def test_an_image_truncated_anywhere_is_refused(case):
    check_refused(IMAGE[:random.Random(SEED + case).randrange(len(IMAGE))])


def with_header(change):
    """The image with a changed header of model 1, and a right CRC."""
    header = bytearray(IMAGE[HEADER_BYTES : 2 * HEADER_BYTES - 4])
    change(header)
    content = bytes(header) + zlib.crc32(header).to_bytes(4, "little")
    return IMAGE[:HEADER_BYTES] + content + IMAGE[2 * HEADER_BYTES:]


@pytest.mark.parametrize("version", [0, 2, 0xFF])
def test_another_version_is_refused(version):
    message = check_refused(with_header(lambda header: header.__setitem__(4, version)))
    assert message.startswith(f"model 1: byte 4, the version, must be 1, not {version}: ")


@pytest.mark.parametrize("field", dataclasses.fields(Circuit), ids=lambda field: field.name)
def test_a_model_for_another_circuit_is_refused(field):
    """11 images, each of them right for another circuit."""
    value = getattr(CIRCUIT, field.name)
    found = not value if field.type is bool else 8 if field.name == "timesteps" else value // 2
    other = dataclasses.replace(CIRCUIT, **{field.name: found})
    model = random_model(1, other, [(1, 3)])
    image = build_image([MODELS[0], model])
    assert len(parse_image(image)) == 2
    assert check_refused(image) == (
        f"model 1: {field.name} must be {value}, not {found}: make the image for this circuit")


@pytest.mark.parametrize("offset", [*range(116, 252, 17), *range(240, 248)])
def test_a_changed_header_with_a_right_crc_is_refused(offset):
    check_refused(with_header(lambda header: header.__setitem__(offset, header[offset] ^ 0x21)))


@pytest.mark.parametrize("base", [0, 0x10000, 0x200000])
def test_an_image_at_another_base_is_refused(base):
    check_refused(IMAGE, base=base)


@pytest.mark.parametrize("case", range(10))
def test_another_file_is_refused(case):
    rng = random.Random(SEED + case)
    check_refused(rng.randbytes(rng.choice([100, 4096, 70_000])))


@pytest.mark.parametrize("case", range(12))
def test_swapped_pieces_are_refused(case):
    """Sections that are whole, in another order or of another model: the CRC does not agree."""
    rng = random.Random(SEED + case)
    begin = rng.randrange(STREAMS[1], len(IMAGE) - 64)
    length = rng.randrange(1, 32)
    left, right = IMAGE[begin : begin + length], IMAGE[begin + length : begin + 2 * length]
    assert left != right
    check_refused(IMAGE[:begin] + right + left + IMAGE[begin + 2 * length:])
