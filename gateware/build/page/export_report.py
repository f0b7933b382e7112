"""What an export found of the network: the report of ``python -m export --json``, read back."""

import dataclasses
import pathlib

from arch import json_object, strict_json
from support.errors import InputError
from support.files import read_file

__all__ = ["ExportReport", "ExportReportError", "ExportedLayer", "read_export_report"]

#: Longest file that is read: a network has some dozens of layers.
_MAX_BYTES = 1 << 24


class ExportReportError(InputError):
    """A file is no report of ``python -m export``, or of another network."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ExportedLayer:
    """Keys of a layer that are read; None is what a layer of its kind does not have."""

    name: str
    kind: str
    weights: int | None
    #: Share of zeros among the weights, 0 to 1.
    sparsity: float | None
    #: Bytes of its weights and constants, and how much shorter that is than in 32-bit floating point.
    bytes: int | None
    compression: float | None
    #: Spikes that differ from those of real arithmetic on the same inputs, of how many.
    mismatches: int | None
    compared: int | None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ExportReport:
    """Keys of a report of ``python -m export --json`` that are read."""

    network_sha256: str
    bytes: int
    layers: list[ExportedLayer]
    verified_images: int
    verified_on: str

    @property
    def compared(self) -> int:
        """Spikes that were compared with those of real arithmetic."""
        return sum(layer.compared or 0 for layer in self.layers)

    @property
    def mismatches(self) -> int:
        """Spikes that differ from those of real arithmetic."""
        return sum(layer.mismatches or 0 for layer in self.layers)


def read_export_report(path: pathlib.Path, *, network_sha256: str) -> ExportReport:
    """Read what ``python -m export CHECKPOINT --json`` has printed.

    Parameters
    ----------
    path : :class:`pathlib.Path`
    network_sha256 : :class:`str`
        Of the network that the page is about.

    Raises
    ------
    :exc:`ExportReportError`
        If it is no such report, or of another network.
    :exc:`OSError`
        If it cannot be read.
    """
    try:
        made = json_object.make(ExportReport, strict_json.parse(read_file(path, limit=_MAX_BYTES)))
    except ValueError as error:
        raise ExportReportError(f"{path}: must be what python -m export CHECKPOINT --json prints: {error}") from None
    if made.network_sha256 != network_sha256:
        raise ExportReportError(f"{path}: must be of the network of the build, whose sha256 is {network_sha256[:16]}, "
                                f"not {made.network_sha256[:16]}: export the checkpoint that was built in, or build "
                                f"this network")
    numbers = [made.bytes, made.verified_images, *(value or 0 for layer in made.layers for value in (
        layer.weights, layer.bytes, layer.mismatches, layer.compared, layer.sparsity, layer.compression))]
    if min(numbers) < 0:
        raise ExportReportError(f"{path}: numbers must not be negative: run python -m export again")
    return made
