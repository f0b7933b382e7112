"""What came of a configuration; the fields are the keys of a record's ``result``."""

import dataclasses

__all__ = ["Result"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What is known of a configuration, each figure with how it is known. None is what is not.

    Raises
    ------
    :exc:`ValueError`
        If a figure is none that can be, or a network that fits has no clocks.
    """

    #: Whether the circuit bears the network at this clock, and if not, why.
    fits: bool
    reason: str | None = None
    #: Clocks and time of an inference, from the start of the engine to the class: exact, by the cycle model.
    clocks: int | None = None
    inference_ms: float | None = None
    #: Synapses x timesteps by what the array can do in the clocks.
    utilisation: float | None = None
    #: Logic cells and block RAMs, and how they are known: ``estimated``, or ``routed``.
    logic_cells: int | None = None
    block_rams: int | None = None
    cells_evidence: str | None = None
    #: Share of images that are classified right, and how it is known: ``metadata`` of the network's file, or
    #: ``reference``, which computed the images that were given.
    accuracy: float | None = None
    accuracy_evidence: str | None = None
    #: Fmax of each seed that was placed and routed, and whether one closes the clock; None without place and route.
    fmax_mhz: list[float] | None = None
    closes: bool | None = None

    def __post_init__(self) -> None:
        if self.fits and (self.clocks is None or self.inference_ms is None):
            raise ValueError("a result that fits must have clocks and inference_ms")
        if self.fmax_mhz is not None and not self.fmax_mhz:
            raise ValueError("fmax_mhz must have a value for each seed, or be null")
        for name in ("clocks", "inference_ms", "utilisation", "logic_cells", "block_rams"):
            if (figure := getattr(self, name)) is not None and figure < 0:
                raise ValueError(f"{name} must be 0 or more, not {figure}")
