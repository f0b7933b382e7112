"""``docs/overlay.md`` shows the image that is written for its example."""

import hashlib
import pathlib
import re

import numpy as np

from arch.flash.circuit import Circuit
from arch.flash.header import SEAL_BYTES
from arch.flash.image import BASE, Model, build_image, parse_image
from arch.flash.stream import Section, boundaries
from arch.flash.trits import encoding, row_bytes, spare_bytes
from arch.link import Info, InputEncoding

PAGE = (pathlib.Path(__file__).parents[3] / "docs" / "overlay.md").read_text(encoding="utf-8")
CIRCUIT = Circuit(lanes=8, width=16, timesteps=4, membrane_width=20, fraction=4, ring_rows=256, leak=False,
                  hard_reset=True, blocks=8, spike_width=14, fingerprint=0xA55A)


def example():
    """The model of the page: one layer of one group, whose lanes have one row of weights."""
    weights = np.zeros((1, 1, 8, 16), np.int8)
    weights[0, 0, 0, :4] = 1, -1, 0, 1
    weights[0, 0, 2, 8] = -1
    weights[0, 0, 7, 12:] = 1, 1, -1, -1
    constants = np.zeros((1, 8), np.uint64)
    constants[0, 0] = 5 | 2 << 20 | 300 << 40
    digest = hashlib.sha256(b"example").digest()
    info = Info(lanes=8, width=16, circuit_timesteps=4, timesteps=4, encoding=InputEncoding.UNSIGNED, channels=3,
                image_height=32, image_width=32, classes=8, clock_khz=48_000, digest=digest[:8],
                name="example")
    section = Section(program=(0x010203040506,), constants=constants, weights=weights)
    return Model(circuit=CIRCUIT, info=info, digest=digest, buffers=2, sections=[section])


def dump(data, begin):
    """Lines of 16 bytes with their addresses; what is only zeros is left out."""
    lines = [(begin + place, data[place : place + 16]) for place in range(0, len(data), 16)]
    return "".join(f"{place:06x}  {line.hex(' ')}\n" for place, line in lines if any(line))


def blocks():
    """Fenced blocks of text on the page."""
    return re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)


def test_the_image_on_the_page_is_the_one_that_is_written():
    model = example()
    image = build_image([model])
    stored, = parse_image(image, circuit=CIRCUIT)
    begin = stored.header.address
    assert dump(image[:256], BASE) in blocks()
    assert dump(image[begin - BASE :][:4], begin) in blocks()
    assert dump(image[begin - BASE + SEAL_BYTES:], begin + SEAL_BYTES) in blocks()
    assert f"The image has {len(image):,} bytes" in PAGE
    assert f"a section of {boundaries(model.sections)[0]} bytes" in PAGE


def test_the_bytes_of_a_row_on_the_page_are_those_that_are_written():
    row = [build_image([example()])[65536 + SEAL_BYTES + 256 + 64 + place] for place in (0, 1, 2, 3, 24, 25)]
    for place, byte in zip((0, 1, 2, 3, 24, 25), row, strict=True):
        assert re.search(rf"^\| {place} \| .* \| `{byte:02x}` \|", PAGE, re.MULTILINE), (place, byte)


def test_figures_on_the_page_are_right():
    assert f"{row_bytes(8, 16)} bytes for 128 weights, {row_bytes(8, 16) * 8 / 128} bits each" in PAGE
    assert len(spare_bytes()) == 13
    assert "the other 13 bytes" in PAGE
    assert len(set(encoding())) == 243


def test_the_table_of_codes_on_the_page_is_that_of_the_format():
    """Every code that the page names is that of the five weights beside it."""
    rows = re.findall(r"^\| `((?:[+-]?[01] ){4}[+-]?[01])` \| `([0-9a-f]{2})` \|$", PAGE, re.MULTILINE)
    assert len(rows) >= 6
    for weights, code in rows:
        number = sum(int(weight) * 3**place for place, weight in enumerate(weights.split()))
        assert f"{encoding()[number % 256]:02x}" == code
