"""The report of an overlay: which circuit its bitstream holds, and how fast and large that is."""

import dataclasses
import re
from typing import Any, ClassVar

from arch.flash.circuit import Circuit
from arch.flash.errors import ImageError
from arch.strict_json import short
from gateware.reports.build import BuildReport

__all__ = ["WEIGHTS", "OverlayReport"]

#: Where the weights are, as the option of the build names it: what tells this report from that of a network.
WEIGHTS = "flash"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class OverlayReport(BuildReport):
    """All that is known of an overlay; the fields are the keys of its ``report.json``. None is what was not done."""

    command: ClassVar[str] = "python -m gateware.build --weights flash"

    weights: str = WEIGHTS
    #: The FPGA and its package.
    device: str
    #: Signature of the circuit, 32 hexadecimal digits: what the headers of its models begin with.
    circuit: str
    #: Words of the spike memory.
    spike_words: int
    #: All parameters of the circuit, by the names of :class:`gateware.engine.configuration.EngineConfig`.
    parameters: dict[str, int | bool]
    #: How the flash is read, "single", "quad" or "double"; half a clock later; clocks from its clock to its data.
    flash_mode: str
    flash_late: bool
    flash_latency: int
    #: Size of the flash, and where the models are in it.
    flash_bytes: int
    models_at: int
    #: SHA-256 of what the tools were given: the design without references to its sources, the pins and the options.
    design_sha256: str | None = None
    #: Size of the bitstream.
    bitstream_bytes: int | None = None
    #: The network whose model the samples were simulated with, its SHA-256, and the clocks of an inference.
    sample_network: str | None = None
    sample_network_sha256: str | None = None
    sample_cycles: int | None = None

    @property
    def signature(self) -> Circuit:
        """The circuit, as models name it."""
        return Circuit.from_bytes(bytes.fromhex(self.circuit))

    @classmethod
    def check_values(cls, values: dict[str, Any]) -> None:
        """As of :meth:`BuildReport.check_values`: the report must be one of an overlay, and the circuit be one."""
        for key in ("weights", "circuit"):
            if key not in values:
                raise ValueError(f"it has no {key!r}")
        if values["weights"] != WEIGHTS:
            raise ValueError(f"weights must be {WEIGHTS!r}, not {short(values['weights'])}")
        circuit = values["circuit"]
        if not isinstance(circuit, str) or not re.fullmatch(r"[0-9a-f]*", circuit) or len(circuit) % 2:
            raise ValueError(f"circuit must be a signature in hexadecimal digits, not {short(circuit)}")
        try:
            Circuit.from_bytes(bytes.fromhex(circuit))
        except ImageError as error:
            raise ValueError(f"circuit: {error}") from None
