"""Top levels of bitstreams: the pins of a board around a system; clock and reset are the family's.

:class:`BoardTop` has what every bitstream has. :class:`Top` puts the circuit of one network into it;
:class:`gateware.streamed_top.StreamedTop` puts in the overlay.
"""

import abc
from typing import Any

from amaranth import *
from amaranth.lib import io

from boards.board import Board
from gateware.engine.configuration import EngineConfig
from gateware.source import NetworkSource
from gateware.system import System

__all__ = ["BoardTop", "Top"]


class BoardTop(Elaboratable, abc.ABC):
    """Puts a system on a board: clock and reset as its FPGA makes them, UART pins, an LED.

    Parameters
    ----------
    board : :class:`boards.Board`
    clock_hz : :class:`float`
    baud : :class:`int`
        Rate of the host link.

    Raises
    ------
    :exc:`boards.BoardError`
        If the board cannot run at this clock, or its host link at this rate.
    """

    def __init__(self, *, board: Board, clock_hz: float, baud: int):
        board.check_clock(clock_hz)
        self.board    = board
        self.clock_hz = clock_hz
        self.divisor  = board.divisor(clock_hz, baud)

    @abc.abstractmethod
    def add_system(self, m: Module, platform: Any) -> Any:
        """Add the system as a submodule, with all of its pins but ``rx``, ``tx`` and ``busy``; returns it."""

    def elaborate(self, platform):
        m = Module()

        board  = self.board
        serial = platform.request("uart", 0, dir={"rx": "-", "tx": "-"})
        led    = platform.request(board.led, 0, dir="-")
        m.submodules.rx  = rx  = io.Buffer("i", serial.rx)
        m.submodules.tx  = tx  = io.Buffer("o", serial.tx)
        m.submodules.led = led = io.Buffer("o", led)
        for name in board.inactive:
            # The platform inverts outputs that are active low.
            m.submodules[name] = held = io.Buffer("o", platform.request(name, 0, dir="-"))
            m.d.comb += held.o.eq(0)

        board.fpga.add_clock(m, platform, oscillator=board.oscillator, oscillator_hz=board.oscillator_hz,
                             clock_hz=self.clock_hz)

        system = self.add_system(m, platform)
        m.d.comb += [
            system.rx.eq(rx.i),
            tx.o.eq(system.tx),
            led.o.eq(system.busy),
        ]

        return m


class Top(BoardTop):
    """The circuit of one network, whose memories are part of the bitstream.

    Parameters
    ----------
    config : :class:`gateware.engine.configuration.EngineConfig`
        The circuit.
    source : :class:`gateware.source.NetworkSource`
        Where the network comes from.
    board, clock_hz, baud
        As of :class:`BoardTop`, and so are the errors.
    """

    def __init__(self, config: EngineConfig, source: NetworkSource, *, board: Board, clock_hz: float, baud: int):
        super().__init__(board=board, clock_hz=clock_hz, baud=baud)
        self.config = config
        self.source = source

    def add_system(self, m: Module, platform: Any) -> System:
        """Add the system of the circuit."""
        m.submodules.system = system = System(
            self.config, self.source, divisor=self.divisor, large_ram=self.board.fpga.large_ram)
        return system
