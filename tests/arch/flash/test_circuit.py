import dataclasses
import re

import pytest

from arch.flash.circuit import Circuit
from arch.flash.errors import ImageError
from tests.flash_models import SMALL, circuit_of


@pytest.mark.parametrize("circuit", [circuit_of(), SMALL, circuit_of(16, 16, ring_rows=4096, leak=True),
                                     circuit_of(hard_reset=False, spike_width=24, blocks=255)])
def test_a_signature_comes_back(circuit):
    signature = circuit.to_bytes()
    assert len(signature) == 16
    assert Circuit.from_bytes(signature) == circuit


def test_the_signature_of_the_icebreaker():
    assert circuit_of().to_bytes().hex(" ") == "53 54 46 4d 01 08 10 04 14 04 0f 02 08 0e 5a a5"


def test_a_part_leaves_room_in_the_ring():
    assert circuit_of().part_rows == 252


@pytest.mark.parametrize(("place", "value", "message"), [
    (0, 0x52, "bytes 0 to 3 must be 53 54 46 4d, not 52 54 46 4d: this is no model"),
    (4, 2, "byte 4, the version, must be 1, not 2: make the image with the release that made the bitstream"),
    (5, 0, "lanes of a circuit must be 1 to 255, not 0"),
    (6, 3, "lanes x width of a circuit must be a power of two, 8 or more, not 8 x 3"),
    (7, 9, "timesteps of a circuit must be 1 to 8, not 9"),
    (8, 22, "membrane_width of a circuit must be 1 to 21, not 22"),
    (11, 4, "byte 11, the features, must be 0 to 3, not 4"),
    (12, 0, "blocks of a circuit must be 1 to 255, not 0"),
    (13, 25, "spike_width of a circuit must be 1 to 24, not 25"),
])
def test_impossible_signatures_are_refused(place, value, message):
    signature = bytearray(circuit_of().to_bytes())
    signature[place] = value
    with pytest.raises(ImageError, match=f"^{re.escape(message)}$"):
        Circuit.from_bytes(bytes(signature))


@pytest.mark.parametrize("size", [0, 4, 15, 17])
def test_a_signature_of_another_size_is_refused(size):
    signature = (circuit_of().to_bytes() + b"\0")[:size]
    with pytest.raises(ImageError, match=f"^signature of a circuit must have 16 bytes, not {size}$"):
        Circuit.from_bytes(signature)


@pytest.mark.parametrize(("changes", "message"), [
    ({"ring_rows": 24}, "ring_rows of a circuit must be a multiple of 16, 16 to 4096, not 24"),
    ({"ring_rows": 0}, "ring_rows of a circuit must be a multiple of 16, 16 to 4096, not 0"),
    ({"fingerprint": 1 << 16}, "fingerprint of a circuit must be 0 to 65535, not 65536"),
    ({"lanes": 1, "width": 4}, "lanes x width of a circuit must be a power of two, 8 or more, not 1 x 4"),
])
def test_impossible_circuits_are_refused(changes, message):
    with pytest.raises(ImageError, match=f"^{re.escape(message)}$"):
        dataclasses.replace(circuit_of(), **changes)


@pytest.mark.parametrize("field", dataclasses.fields(Circuit), ids=lambda field: field.name)
def test_every_field_counts(field):
    circuit = circuit_of()
    value = getattr(circuit, field.name)
    other = dataclasses.replace(circuit, **{field.name: not value if field.type is bool else value // 2})
    circuit.check_same(dataclasses.replace(circuit))
    message = f"{field.name} must be {value}, not {getattr(other, field.name)}: make the image for this circuit"
    with pytest.raises(ImageError, match=f"^{re.escape(message)}$"):
        circuit.check_same(other)
    assert circuit.to_bytes() != other.to_bytes()
