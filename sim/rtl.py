"""The RTL as an engine: the generated Verilog, compiled by Verilator, driven through its UART pins.

The compiled simulation depends on the circuit's parameters alone; a network is loaded into its memories. So another
network on the same circuit costs no compilation, and a board's networks share one circuit
(:func:`sim.circuits.shared_circuit`). A build names its own circuit, whose exact RTL is then simulated.
"""

import contextlib
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from arch.images import image_bytes
from arch.link import (
    BYTE_BITS,
    CRC_BYTES,
    HEADER_BYTES,
    RESULT_HEADER_WORDS,
    Command,
    Frame,
    FrameReader,
    Reply,
    Result,
)
from arch.network import Network, Readout
from boards import board_named
from gateware.engine.configuration import EngineConfig
from gateware.mapper.choice import map_network, plan_for_board
from gateware.mapper.cycles import MAX_CYCLES
from gateware.mapper.info import info_of
from gateware.mapper.line import keeps_up
from gateware.mapper.plan import Plan
from sim.circuits import circuit_verilog, shared_circuit
from sim.engines import EngineResult
from sim.spike_maps import read_map
from sim.verilated import Verilated
from sim.verilator import Report, check_simulator
from support.errors import ToolchainError
from support.progress import Progress
from support.tools import YOSYS, find_tool

__all__ = ["DIVISOR", "SLOW_DIVISOR", "RtlEngine", "RtlError", "check_tools"]

#: Clocks per bit of the simulated line: the fewest that the receiver takes, as at 12 Mbaud and 48 MHz; and those at
#: 3 Mbaud, for networks whose first layer would lose pixels.
DIVISOR, SLOW_DIVISOR = 4, 16

#: Clock that the simulated circuit claims in its info block.
CLOCK_HZ = 48e6

#: Clocks that a reply may take beyond its request on the line and the longest inference.
REPLY_CLOCKS = 200_000


class RtlError(ToolchainError):
    """The simulated circuit did not answer as the protocol says."""


def check_tools() -> None:
    """Check that everything is there that a simulation needs, before work is put into what comes before it.

    Raises
    ------
    :exc:`support.tools.ToolMissingError`
        If Yosys, Verilator or the C++ compiler is not installed; the message says how to get it.
    """
    find_tool(YOSYS)
    check_simulator()


def _shown(progress: Progress) -> Report:
    """Report to a line of progress."""
    def report(step: str, done: int, total: int) -> None:
        progress.update(step if total == 1 else f"{step}, {done} of {total} files")

    return report


class RtlEngine:
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
    verilated
        Further arguments of :class:`sim.verilated.Verilated`.

    Raises
    ------
    :exc:`gateware.engine.configuration.ConfigError`
        If the network does not fit.
    :exc:`boards.BoardError`
        If there is no such board.
    :exc:`support.tools.ToolMissingError`
        If the simulator, Yosys or the C++ compiler is missing; before any work is done.
    """

    name = "rtl"

    def __init__(self, network: Network, *, board: str = "icebreaker", lanes: int | None = None,
                 width: int | None = None, config: EngineConfig | None = None, seed: int = 1,
                 divisor: int | None = None, cache: Path | None = None, report: Report | None = None, **verilated: Any):
        check_tools()
        if config is None:
            chosen = plan_for_board(network, board_named(board), lanes=lanes, width=width)
            config = shared_circuit(chosen.config)
        self.plan: Plan = map_network(network, config)
        if divisor is None:
            divisor = DIVISOR if keeps_up(self.plan, DIVISOR, alone=True) else SLOW_DIVISOR
        contents = self.plan.contents
        memories: dict[str, list[int]] = {
            "link.info": list(info_of(self.plan, clock_hz=CLOCK_HZ).to_bytes()),
            "accelerator.sequencer.entries": list(contents.program),
            "accelerator.windows.steps": list(contents.pixels),
            "accelerator.constants.neurons": list(contents.constants),
        }
        for lane, rows in enumerate(contents.weights):
            memories[f"accelerator.weights.lane{lane}"] = list(rows)
        self._spikes = "accelerator.spikes.words"
        with contextlib.ExitStack() as stack:
            if report is None:
                report = _shown(stack.enter_context(Progress("simulation", first_seconds=2)))
            source = circuit_verilog(config, divisor=divisor, folder=cache, report=report)
            #: The running simulation; a :class:`sim.verilated.SimulationTransport` makes a board of it.
            self.simulation = Verilated(source, memories=[*memories, self._spikes], divisor=divisor, cache=cache,
                                        report=report, **verilated)
            # What interrupts the loading must not leave it running.
            with contextlib.ExitStack() as loading:
                loading.callback(self.simulation.close)
                for name in (*memories, self._spikes):
                    self.simulation.fill(name, seed)
                for name, rows in memories.items():
                    self.simulation.load(name, rows)
                self.simulation.reset()
                # The spike memory is filled after reset; no image is accepted before.
                self.simulation.run(limit=self.plan.config.spike_words + 100)
                loading.pop_all()
        self._reader = FrameReader()
        self._tag = 0
        self._images = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the simulation."""
        self.simulation.close()

    def run(self, images: npt.NDArray[Any], *, spikes: bool = False) -> EngineResult:
        """Compute ``images`` one by one; see :class:`sim.engines.Engine`.

        A layer whose map another one has overwritten, or that is never formed, has no spikes in the result.
        """
        results = []
        maps: list[list[npt.NDArray[np.bool_]]] = []
        for image in images:
            results.append(self.classify(image))
            if spikes:
                maps.append(self._read_maps())
        shown: tuple[npt.NDArray[np.bool_] | None, ...] | None = None
        if spikes:
            by_layer: dict[int, npt.NDArray[np.bool_]] = {
                stage.last_index: np.stack([image_maps[number] for image_maps in maps])
                for number, stage in enumerate(self.plan.stages[:-1])
            } if self.plan.maps_are_apart and maps else {}
            shown = tuple(by_layer.get(index) for index, layer in enumerate(self.plan.network.layers)
                          if not isinstance(layer, Readout))
        return EngineResult(
            scores=np.array([result.scores for result in results], np.int64).reshape(len(results), -1),
            classes=np.array([result.label for result in results], np.int64),
            cycles=np.array([result.cycles for result in results], np.int64),
            stall_cycles=np.array([result.stalls for result in results], np.int64),
            flash_stall_cycles=np.array([result.flash_stalls for result in results], np.int64),
            spikes=shown)

    def classify(self, image: npt.NDArray[Any]) -> Result:
        """Send one image and wait for its result.

        Raises
        ------
        :exc:`RtlError`
            If the answer is not a result.
        """
        self._tag = (self._tag + 1) % 256
        payload = image_bytes(self.plan.network, image)
        request = Frame(command=Command.CLASSIFY, tag=self._tag, payload=payload).to_bytes()
        self.simulation.send(request)
        limit = round(len(request) * BYTE_BITS * self.simulation.divisor) + MAX_CYCLES + REPLY_CLOCKS
        frames: list[Frame] = []
        # An error is shorter than a result: wait for no more than it has first.
        error  = HEADER_BYTES + 1 + CRC_BYTES
        result = HEADER_BYTES + 4 * (RESULT_HEADER_WORDS + self.plan.network.classes) + CRC_BYTES
        received = 0
        while not frames:
            data = self.simulation.run(characters=max(1, (result if received else error) - received), limit=limit)
            if not data:
                raise RtlError(f"image {self._images}: the circuit does not answer")
            received += len(data)
            frames = self._reader.feed(data)
        frame = frames[0]
        if frame.command != Reply.RESULT or frame.tag != self._tag or len(frames) != 1:
            raise RtlError(f"image {self._images}: the circuit must answer with its result, not {frames}")
        self._images += 1
        return Result.from_bytes(frame.payload, self.plan.network.classes)

    def _read_maps(self) -> list[npt.NDArray[np.bool_]]:
        """Spike maps of the stages, ``bool[T, channels, rows, columns]`` each."""
        maps = []
        for number, stage in enumerate(self.plan.stages[:-1]):
            first = stage.placement.target
            values = self.simulation.read(self._spikes, first, stage.map_words(self.plan.config))
            maps.append(read_map(self.plan, number, values, first))
        return maps
