"""Top level of the overlay: the streamed circuit of a board, which runs every network that the flash holds."""

from typing import Any

from amaranth import *
from amaranth.lib import wiring

from boards.board import Board
from gateware.engine.configuration import EngineConfig
from gateware.engine.masked_ram import MaskedRam
from gateware.flash.phy import FlashPins
from gateware.flash.reader import FlashMode
from gateware.mapper.streamed.choice import streamed_config
from gateware.streamed_system import StreamedSystem
from gateware.top import BoardTop

__all__ = ["StreamedTop", "flash_mode"]


def flash_mode(board: Board, *, double: bool = False) -> FlashMode:
    """Return how the overlay of a board reads the flash, with ``double`` at both edges of the flash's clock.

    Raises
    ------
    :exc:`boards.BoardError`
        If it cannot.
    """
    wiring_there = board.overlay_wiring(double=double)
    if double:
        return FlashMode.DOUBLE
    return FlashMode.QUAD if wiring_there.lines == 4 else FlashMode.SINGLE


class StreamedTop(BoardTop):
    """The streamed circuit on a board, with the pins of the flash.

    Parameters
    ----------
    board, clock_hz, baud
        As of :class:`gateware.top.BoardTop`, and so are the errors.
    double : :class:`bool`
        Read the flash at both edges of its clock.
    config : :class:`EngineConfig`, optional
        Another circuit than that of the board: tests elaborate a small one.
    """

    def __init__(self, *, board: Board, clock_hz: float, baud: int, double: bool = False,
                 config: EngineConfig | None = None):
        super().__init__(board=board, clock_hz=clock_hz, baud=baud)
        self.config = streamed_config(board) if config is None else config
        self.wiring = board.overlay_wiring(double=double)
        self.mode   = flash_mode(board, double=double)

    def add_system(self, m: Module, platform: Any) -> StreamedSystem:
        """Add the streamed system, and join it with the pins of the flash."""
        board  = self.board
        double = self.mode is FlashMode.DOUBLE
        lines  = {"dq": "-"} if self.wiring.lines == 4 else {
            field.name: "-" for field in platform.lookup(self.wiring.resource, 0).ios
            if getattr(field, "name", None) in ("copi", "cipo", "wp", "hold")}
        pins = platform.request(self.wiring.resource, 0, dir={"cs": "-", "clk": "-", **lines})
        m.submodules.flash  = flash  = FlashPins(pins, double=double, late=self.wiring.late)
        m.submodules.system = system = StreamedSystem(
            self.config, divisor=self.divisor, clock_hz=self.clock_hz, mode=self.mode, latency=FlashPins.latency,
            base=board.models_at, large_ram=board.fpga.large_ram, masked_ram=board.fpga.masked_ram or MaskedRam,
            adder_pair=board.fpga.adder_pair)
        wiring.connect(m, system.flash, flash.bus)
        return system
