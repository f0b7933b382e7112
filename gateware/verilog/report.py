"""The report of a Verilog file, and its keys."""

import dataclasses
import json
from typing import Any

__all__ = ["FamilyReport", "VerilogReport"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FamilyReport:
    """What the module takes on a family of FPGAs, by Yosys, without pins and before place and route."""

    #: The commands of Yosys.
    command: str
    #: LUTs, those of adders included; flip-flops.
    luts: int
    flip_flops: int
    #: RAMs by the names of their cells, and multipliers.
    rams: dict[str, int]
    multipliers: int
    #: Every cell by its name.
    cells: dict[str, int]
    #: Warnings of Yosys.
    warnings: list[str]
    seconds: float


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class VerilogReport:
    """What a Verilog file is; the fields are keys of ``report.json``."""

    #: Name of the module, and how a system reaches it: ``stream``, ``axi`` or ``wishbone``.
    module: str
    interface: str
    #: Name of the network, and SHA-256 of its content.
    network: str
    network_sha256: str
    revision: str
    tool_versions: dict[str, str]
    #: Clock that software is told, in MHz.
    clock_mhz: float
    #: The circuit: P, W and T, widths in bits, and depths of memories.
    lanes: int
    width: int
    timesteps: int
    accumulator_width: int
    membrane_width: int
    weight_rows: int
    spike_words: int
    #: Bytes of an image, classes, and words of a result.
    image_bytes: int
    classes: int
    result_words: int
    #: Clocks of an inference, in which a byte of an image is stored, and after reset until the first image.
    cycles_per_inference: int
    cycles_per_byte: int
    cycles_after_reset: int
    #: Ports: name, direction and width.
    ports: list[dict[str, Any]]
    #: Warnings of Verilator that the file turns off, and why.
    waivers: dict[str, str]
    #: SHA-256 of the other files, by their names.
    files: dict[str, str]
    #: What the module takes, by family.
    synthesis: dict[str, FamilyReport] = dataclasses.field(default_factory=dict)

    def to_json(self) -> bytes:
        """Return the content of ``report.json``."""
        return (json.dumps(dataclasses.asdict(self), indent=2) + "\n").encode()
