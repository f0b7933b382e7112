"""The RTL as an engine: the generated Verilog, compiled by Verilator, driven through its UART pins.

The compiled simulation depends on the circuit's parameters alone; a network is loaded into its memories. So another
network on the same circuit costs no compilation, and a board's networks share one circuit
(:func:`sim.circuits.shared_circuit`). A build names its own circuit, whose exact RTL is then simulated.
"""

import contextlib
from pathlib import Path
from typing import Any

import numpy.typing as npt

from arch.link import Result
from arch.network import Network
from boards import board_named
from gateware.engine.configuration import EngineConfig
from gateware.mapper.choice import map_network, plan_for_board
from gateware.mapper.info import info_of
from gateware.mapper.line import keeps_up
from gateware.mapper.plan import Plan
from sim.circuits import CLOCK_HZ, circuit_verilog, shared_circuit
from sim.power_on import PowerOn
from sim.session import LayerMaps, RtlError, SimulatedEngine
from sim.spike_maps import read_map
from sim.verilated import compile_design
from sim.verilator import Report, check_simulator, shown_by
from support.progress import Progress
from support.tools import YOSYS, find_tool

__all__ = ["DIVISOR", "SLOW_DIVISOR", "SPIKES", "RtlEngine", "RtlError", "check_tools", "power_on"]

#: Clocks per bit of the simulated line: the fewest that the receiver takes, as at 12 Mbaud and 48 MHz; and those at
#: 3 Mbaud, for networks whose first layer would lose pixels.
DIVISOR, SLOW_DIVISOR = 4, 16
#: The spike memory, in the baked circuit and in the streamed one.
SPIKES = "accelerator.spikes.words"



def check_tools() -> None:
    """Check that everything is there that a simulation needs, before work is put into what comes before it.

    Raises
    ------
    :exc:`support.tools.ToolMissingError`
        If Yosys, Verilator or the C++ compiler is not installed; the message says how to get it.
    """
    find_tool(YOSYS)
    check_simulator()


def power_on(plan: Plan, *, divisor: int, seed: int = 1, cache: Path | None = None, report: Report | None = None,
             **options: Any) -> PowerOn:
    """Return the circuit of a plan with its network in its memories, compiled; arguments as of :class:`RtlEngine`."""
    contents = plan.contents
    memories: dict[str, list[int]] = {
        "link.info": list(info_of(plan, clock_hz=CLOCK_HZ).to_bytes()),
        "accelerator.sequencer.entries": list(contents.program),
        "accelerator.windows.steps": list(contents.pixels),
        "accelerator.constants.neurons": list(contents.constants),
    }
    for lane, rows in enumerate(contents.weights):
        memories[f"accelerator.weights.lane{lane}"] = list(rows)
    source = circuit_verilog(plan.config, divisor=divisor, folder=cache, report=report)
    design = compile_design(source, memories=[*memories, SPIKES], cache=cache, report=report, **options)
    # The spike memory is filled after reset; no image is accepted before.
    return PowerOn(design=design, divisor=divisor, random=(*memories, SPIKES), seed=seed, memories=memories,
                   boot_clocks=plan.config.spike_words + 100)


class RtlEngine(SimulatedEngine):
    """Runs images on the simulated RTL.

    All memories start with random contents; then the network is loaded and reset released.

    Parameters
    ----------
    network : :class:`Network`
    board : :class:`str`
        Board whose limits decide whether the network fits, and choose the geometry. The circuit is the shared one of
        that geometry, with the clocks of the board's own.
    lanes, width : :class:`int`, optional
        Geometry of the array, if not the largest that fits.
    config : :class:`EngineConfig`, optional
        The circuit itself, instead of the choice: exactly the RTL of a build.
    seed : :class:`int`
        Of the random memory contents.
    divisor : :class:`int`, optional
        Clocks per bit of the line, if not the fewest at which no pixel is lost.
    cache : :class:`pathlib.Path`, optional
        Where designs and compiled programs are kept.
    report : callable, optional
        Told of every step of a compilation, as :data:`sim.verilator.Report`; by default a line on standard error says
        what a compilation is doing, if it takes more than two seconds.
    options
        Further arguments of :func:`sim.verilated.compile_design`.

    Raises
    ------
    :exc:`gateware.engine.configuration.ConfigError`
        If the network does not fit.
    :exc:`boards.BoardError`
        If there is no such board.
    :exc:`support.tools.ToolMissingError`
        If the simulator, Yosys or the C++ compiler is missing; before any work is done.
    """

    def __init__(self, network: Network, *, board: str = "icebreaker", lanes: int | None = None,
                 width: int | None = None, config: EngineConfig | None = None, seed: int = 1,
                 divisor: int | None = None, cache: Path | None = None, report: Report | None = None, **options: Any):
        check_tools()
        if config is None:
            chosen = plan_for_board(network, board_named(board), lanes=lanes, width=width)
            config = shared_circuit(chosen.config)
        self.plan: Plan = map_network(network, config)
        if divisor is None:
            divisor = DIVISOR if keeps_up(self.plan, DIVISOR, alone=True) else SLOW_DIVISOR
        with contextlib.ExitStack() as stack:
            if report is None:
                report = shown_by(stack.enter_context(Progress("simulation", first_seconds=2)))
            before = power_on(self.plan, divisor=divisor, seed=seed, cache=cache, report=report, **options)
        super().__init__(network, before.start())
        self._divisor, self._cache = divisor, cache

    @property
    def verilog(self) -> str:
        """The circuit in Verilog."""
        return circuit_verilog(self.plan.config, divisor=self._divisor, folder=self._cache)

    def _observe(self, image: npt.NDArray[Any]) -> tuple[Result, LayerMaps, str | None]:
        """Compute one image, and read the maps if none has overwritten another."""
        result = self.result_of(image)
        if not self.plan.maps_are_apart:
            return result, {}, "maps share memory in this circuit"
        maps = {}
        for number, stage in enumerate(self.plan.stages[:-1]):
            first = stage.placement.target
            values = self.simulation.read(SPIKES, first, stage.map_words(self.plan.config))
            maps[stage.last_index] = read_map(self.plan, number, values, first)
        return result, maps, None
