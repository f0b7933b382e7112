"""A circuit as the models in flash name it."""

import dataclasses
import hashlib

from arch.flash.circuit import Circuit
from arch.strict_json import canonical
from gateware.engine.configuration import EngineConfig

__all__ = ["circuit_of"]


def circuit_of(config: EngineConfig) -> Circuit:
    """Describe a streamed circuit for the headers of its models.

    The fingerprint is the beginning of a SHA-256 over all parameters: nearly each of them changes what a byte of a
    layer program means, and a model must not run on a circuit that understands it otherwise.

    Raises
    ------
    :exc:`arch.flash.errors.ImageError`
        If no model in flash can be for this circuit.
    """
    text = canonical(dataclasses.asdict(config))
    return config.flash_circuit(int.from_bytes(hashlib.sha256(text.encode()).digest()[:2], "little"))
