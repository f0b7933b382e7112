"""Random models for images in flash: what the format holds, without a network behind it."""

import hashlib
import random

import numpy as np

from arch.flash.circuit import Circuit
from arch.flash.header import ModelHeader
from arch.flash.image import Model
from arch.flash.stream import ENTRY_BITS, PROGRAM_ENTRIES, Section
from arch.link import Info, InputEncoding

__all__ = ["SMALL", "circuit_of", "header_of", "info_of", "random_model", "random_section"]


def circuit_of(lanes: int = 8, width: int = 16, **changes: int) -> Circuit:
    """Describe the overlay of the iCEBreaker with another array."""
    values = {"timesteps": 4, "membrane_width": 20, "fraction": 4, "ring_rows": 256, "leak": False,
              "hard_reset": True, "blocks": 8, "spike_width": 14, "fingerprint": 0xA55A, **changes}
    return Circuit(lanes=lanes, width=width, **values)


#: An array whose rows are one byte pair: the smallest.
SMALL = circuit_of(2, 4, ring_rows=16)


def info_of(circuit: Circuit, digest: bytes, **changes: object) -> Info:
    """Describe a model that takes images of 3 x 5 positions with three channels."""
    values = {"timesteps": 4, "encoding": InputEncoding.UNSIGNED, "channels": 3, "image_height": 3, "image_width": 5,
              "classes": 10, "clock_khz": 48_000, "name": "a network", **changes}
    return Info(lanes=circuit.lanes, width=circuit.width, circuit_timesteps=circuit.timesteps, digest=digest[:8],
                **values)


def header_of(circuit: Circuit, **changes: object) -> ModelHeader:
    """Describe a model in the directory."""
    digest = hashlib.sha256(b"network").digest()
    values = {"info": info_of(circuit, digest), "length": 12345, "address": 0x110000, "buffers": 2, **changes}
    return ModelHeader(circuit=circuit, digest=digest, **values)


def random_section(rng: random.Random, circuit: Circuit, groups: int, rows: int) -> Section:
    """Make a section of random contents."""
    numbers = np.random.default_rng(rng.getrandbits(32))
    constants = numbers.integers(0, 1 << 3 * circuit.membrane_width, (groups, circuit.lanes), dtype=np.uint64)
    weights = numbers.integers(-1, 2, (groups, rows, circuit.lanes, circuit.width), dtype=np.int8)
    return Section(program=tuple(rng.getrandbits(ENTRY_BITS) for _ in range(PROGRAM_ENTRIES)), constants=constants,
                   weights=weights)


def random_model(seed: int, circuit: Circuit, shapes: list[tuple[int, int]], **changes: object) -> Model:
    """Make a model with a section of each shape, (groups, rows)."""
    rng = random.Random(seed)
    digest = hashlib.sha256(seed.to_bytes(4, "little")).digest()
    info = info_of(circuit, digest, **{"name": f"model {seed}"} | changes)
    return Model(circuit=circuit, info=info, digest=digest, buffers=rng.randint(1, 2),
                 sections=[random_section(rng, circuit, *shape) for shape in shapes])
