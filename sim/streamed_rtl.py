"""The RTL of the streamed circuit as an engine: compiled by Verilator, with a model of the flash beside it.

The spike memory has no room for all maps of a network at once: a map is overwritten when nothing reads it any more. The
spikes of a layer are therefore read out of the memory while the inference runs, in the middle of the time in which the
map must stay: from the end of the last pass that writes it to the end of the last pass that reads it. The cycle model
(:mod:`gateware.mapper.streamed.cycles`) says when that is. So spikes are those of the very circuit and of the very
image in flash that give the scores.
"""

import contextlib
import functools
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from arch.flash.errors import ImageError
from arch.flash.image import Model, build_image, parse_image
from arch.link import Result
from arch.network import Network
from boards import board_named
from gateware.engine.configuration import EngineConfig
from gateware.flash.reader import FlashMode
from gateware.mapper.streamed.choice import lay_out, streamed_config
from gateware.mapper.streamed.cycles import StreamedCycles, count_cycles
from gateware.mapper.streamed.model import model_of
from gateware.mapper.streamed.passes import MapShape
from gateware.mapper.streamed.plan import StreamedPlan
from sim.circuits import CLOCK_HZ, circuit_verilog
from sim.power_on import PowerOn
from sim.rtl import DIVISOR, SPIKES, check_tools
from sim.session import LayerMaps, SimulatedEngine
from sim.spike_maps import unpack_map
from sim.verilated import compile_design
from sim.verilator import Report, shown_by
from support.progress import Progress

__all__ = ["StreamedRtlEngine", "power_on"]

#: Clocks until the flash is awake and the header of a model is read.
BOOT_CLOCKS = 8_000


def power_on(config: EngineConfig, image: bytes, *, base: int, mode: Any = FlashMode.QUAD,
             clock_hz: float = CLOCK_HZ, seed: int = 1, source: str | None = None, cache: Path | None = None,
             report: Report | None = None, **options: Any) -> PowerOn:
    """Return a streamed circuit, compiled, beside a flash that holds ``image`` from the address ``base`` on.

    The other arguments are those of :class:`StreamedRtlEngine`.
    """
    if source is None:
        source = circuit_verilog(config, divisor=DIVISOR, mode=mode, base=base, clock_hz=clock_hz, folder=cache,
                                 report=report)
    design = compile_design(source, memories=[SPIKES], cache=cache, report=report, **options)
    return PowerOn(design=design, divisor=DIVISOR, random=(SPIKES,), seed=seed, flash=(base, image),
                   boot_clocks=BOOT_CLOCKS)


class StreamedRtlEngine(SimulatedEngine):
    """Runs images on the simulated RTL of a streamed circuit.

    The spike memory starts with random contents; the model is an image in the simulated flash.

    Parameters
    ----------
    network : :class:`Network`
    board : :class:`str`
        Board whose circuit it is.
    config : :class:`EngineConfig`, optional
        The circuit itself, instead of the board's.
    mode : :class:`gateware.flash.reader.FlashMode`
    clock_hz : :class:`float`
        Clock, in Hz: makes the pauses of the flash, and is told to hosts.
    seed : :class:`int`
        Of the random memory contents.
    source : :class:`str`, optional
        The Verilog of the circuit, if it is not :func:`sim.circuits.circuit_verilog`'s.
    image : :class:`bytes`, optional
        Contents of the flash where the board has its models, instead of the model of the network alone.
    model : :class:`int`
        Number of the network's model in the image.
    cache, report, options
        As of :class:`sim.rtl.RtlEngine`.

    Raises
    ------
    :exc:`gateware.engine.configuration.ConfigError`
        If the network does not fit.
    :exc:`boards.BoardError`
        If there is no such board.
    :exc:`support.tools.ToolMissingError`
        If the simulator, Yosys or the C++ compiler is missing; before any work is done.
    :exc:`sim.session.RtlError`
        If the model cannot be selected.
    """

    def __init__(self, network: Network, *, board: str = "icebreaker", config: EngineConfig | None = None,
                 mode: Any = FlashMode.QUAD, clock_hz: float = CLOCK_HZ, seed: int = 1, source: str | None = None,
                 image: bytes | None = None, model: int = 0, cache: Path | None = None, report: Report | None = None,
                 **options: Any):
        check_tools()
        place = board_named(board)
        config = streamed_config(place) if config is None else config
        self.plan: StreamedPlan = lay_out(network, config, mode=mode)
        self.mode, self.clock_hz = mode, clock_hz
        self._image, self._number, self._base = image, model, place.models_at
        if image is None:
            image = build_image([self._model()], base=place.models_at, flash_bytes=place.flash_bytes)
        with contextlib.ExitStack() as stack:
            if report is None:
                report = shown_by(stack.enter_context(Progress("simulation", first_seconds=2)))
            before = power_on(config, image, base=place.models_at, mode=mode, clock_hz=clock_hz, seed=seed,
                              source=source, cache=cache, report=report, **options)
        super().__init__(network, before.start())
        self._source, self._cache = source, cache
        self._select_first(model)

    @property
    def verilog(self) -> str:
        """The circuit in Verilog."""
        if self._source is not None:
            return self._source
        return circuit_verilog(self.plan.config, divisor=DIVISOR, mode=self.mode, base=self._base,
                               clock_hz=self.clock_hz, folder=self._cache)

    def _model(self) -> Model:
        """The model that the network has by itself."""
        return model_of(self.plan, name="network", clock_hz=self.clock_hz)

    @functools.cached_property
    def cycles(self) -> StreamedCycles:
        """Clocks that the cycle model predicts."""
        return count_cycles(self.plan.config, self.plan.passes, mode=self.mode, clock_hz=self.clock_hz)

    @functools.cached_property
    def _obstacle(self) -> str | None:
        """Why no map can be read: the model in flash does not put them where the one that was laid out here does."""
        if self._image is None:
            return None
        try:
            model = parse_image(self._image, base=self._base)[self._number]
        except (ImageError, IndexError):
            return "the image in flash is damaged"
        programs = [tuple(section.program) for section in model.sections]
        if programs == [tuple(section.program) for section in self._model().sections]:
            return None
        return "another release made the image in flash, with its maps in other places"

    @functools.cached_property
    def _moments(self) -> list[tuple[int | None, MapShape]]:
        """Every map with the clock of the inference at which it is read: None for its end."""
        passes = self.plan.passes
        ends   = list(itertools.accumulate(item.clocks for item in self.cycles.passes))
        written: dict[int, tuple[int, MapShape]] = {}
        read: dict[int, int] = {}
        for number, item in enumerate(passes):
            if item.target is not None:
                written[item.target.layer] = number, item.target
            for walk in item.walks():
                read[walk.source.layer] = number
        moments: list[tuple[int | None, MapShape]] = [
            ((ends[number] + ends[read[layer]]) // 2 if read[layer] < len(passes) - 1 else None, shape)
            for layer, (number, shape) in written.items()]
        return sorted(moments, key=lambda moment: (moment[0] is None, moment[0]))

    def _observe(self, image: npt.NDArray[Any]) -> tuple[Result, LayerMaps, str | None]:
        """Compute one image when the rings are full, and read each map while it is there."""
        if self._obstacle is not None:
            return self.result_of(image), {}, self._obstacle
        self.info()
        self.simulation.run(limit=self.cycles.fill)
        maps: LayerMaps = {}

        def keep(shape: MapShape) -> None:
            maps[shape.layer] = self._read_map(shape)

        self.line.at([(moment, functools.partial(keep, shape))
                      for moment, shape in self._moments if moment is not None])
        result = self.result_of(image)
        for moment, shape in self._moments:
            if moment is None:
                maps[shape.layer] = self._read_map(shape)
        if result.cycles != self.cycles.total:
            return result, {}, (f"an inference took {result.cycles} clocks and not the {self.cycles.total} of the "
                                "cycle model, which says when the maps can be read")
        return result, maps, None

    def _read_map(self, shape: MapShape) -> npt.NDArray[np.bool_]:
        words = self.simulation.read(SPIKES, self.plan.address(shape), shape.total_words)
        return unpack_map(self.plan.config, words, shape.shape, timesteps=self.network.timesteps, planes=shape.planes)
