"""The RTL of the streamed circuit as an engine: compiled by Verilator, with a model of the flash beside it."""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from amaranth.back import verilog

from arch.flash.image import BASE, build_image
from arch.images import image_bytes
from arch.link import Command, Frame, FrameReader, Reply, Result
from arch.network import Network
from gateware.engine.adder_pair import AdderPair
from gateware.engine.configuration import EngineConfig
from gateware.flash.phy import FlashPins
from gateware.flash.reader import FlashMode
from gateware.mapper.streamed.choice import lay_out
from gateware.mapper.streamed.model import model_of
from gateware.mapper.streamed.plan import StreamedPlan
from gateware.streamed_system import StreamedSystem
from sim.engines import EngineResult
from sim.rtl import CLOCK_HZ, DIVISOR, RtlError, check_tools
from sim.verilated import Verilated
from sim.verilator import Report
from support.tools import amaranth_tools

__all__ = ["StreamedRtlEngine", "streamed_verilog"]

#: Clocks that an answer may take: the longest inference that can be counted, and the line.
ANSWER_CLOCKS = (1 << 24) + 1_000_000
#: Clocks until the flash is awake and the header of a model is read.
BOOT_CLOCKS = 8_000


def streamed_verilog(config: EngineConfig, *, mode: Any = FlashMode.QUAD, divisor: int = DIVISOR) -> str:
    """Return the Verilog of the streamed system."""
    system = StreamedSystem(config, divisor=divisor, clock_hz=CLOCK_HZ, mode=mode, latency=FlashPins.latency, base=BASE,
                            adder_pair=AdderPair)
    with amaranth_tools():
        return str(verilog.convert(system, name="sterna", strip_internal_attrs=True))


class StreamedRtlEngine:
    """Runs images on the simulated RTL of a streamed circuit.

    The spike memory starts with random contents; the model is an image in the simulated flash.

    Parameters
    ----------
    network : :class:`Network`
    config : :class:`EngineConfig`
    mode : :class:`gateware.flash.reader.FlashMode`
    seed : :class:`int`
        Of the random memory contents.
    source : :class:`str`, optional
        The Verilog of the circuit, if it is there already.
    image : :class:`bytes`, optional
        Contents of the flash at the base, instead of the model of the network: tests damage it.
    cache, report, verilated
        As of :class:`sim.rtl.RtlEngine`.

    Raises
    ------
    :exc:`gateware.engine.configuration.ConfigError`
        If the network does not fit.
    :exc:`support.tools.ToolMissingError`
        If the simulator, Yosys or the C++ compiler is missing.
    """

    name = "rtl"

    def __init__(self, network: Network, *, config: EngineConfig, mode: Any = FlashMode.QUAD, seed: int = 1,
                 source: str | None = None, image: bytes | None = None, cache: Path | None = None,
                 report: Report | None = None, **verilated: Any):
        check_tools()
        self.plan: StreamedPlan = lay_out(network, config, mode=mode)
        if image is None:
            image = build_image([model_of(self.plan, name="network", clock_hz=CLOCK_HZ)])
        self._spikes = "accelerator.spikes.words"
        source = streamed_verilog(config, mode=mode) if source is None else source
        self.simulation = Verilated(source, memories=[self._spikes], divisor=DIVISOR, cache=cache, report=report,
                                    **verilated)
        try:
            self.simulation.fill(self._spikes, seed)
            self.simulation.load_flash(BASE, image)
            self.simulation.reset()
            self.simulation.run(limit=BOOT_CLOCKS)
        except BaseException:
            self.simulation.close()
            raise
        self._reader = FrameReader()
        self._tag = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the simulation."""
        self.simulation.close()

    def run(self, images: npt.NDArray[Any], *, spikes: bool = False) -> EngineResult:
        """Compute ``images`` one by one; see :class:`sim.engines.Engine`."""
        results = [self.classify(image) for image in images]
        return EngineResult(
            scores=np.array([result.scores for result in results], np.int64).reshape(len(results), -1),
            classes=np.array([result.label for result in results], np.int64),
            cycles=np.array([result.cycles for result in results], np.int64),
            stall_cycles=np.array([result.stalls for result in results], np.int64),
            flash_stall_cycles=np.array([result.flash_stalls for result in results], np.int64))

    def request(self, command: int, payload: bytes = b"") -> Frame:
        """Send a frame and return its answer.

        Raises
        ------
        :exc:`RtlError`
            If there is none, or more than one.
        """
        self._tag = (self._tag + 1) % 256
        self.simulation.send(Frame(command=command, tag=self._tag, payload=payload).to_bytes())
        frames: list[Frame] = []
        expected = 8
        while not frames:
            data = self.simulation.run(characters=expected, limit=ANSWER_CLOCKS)
            if not data:
                raise RtlError(f"request {self._tag}: the circuit does not answer")
            frames = self._reader.feed(data)
            expected = 1
        frame = frames[0]
        if frame.tag != self._tag or len(frames) != 1:
            raise RtlError(f"request {self._tag}: the circuit must answer once, not with {frames}")
        return frame

    def classify(self, image: npt.NDArray[Any]) -> Result:
        """Send one image and wait for its result.

        Raises
        ------
        :exc:`RtlError`
            If the answer is not a result.
        """
        frame = self.request(Command.CLASSIFY, image_bytes(self.plan.network, image))
        if frame.command != Reply.RESULT:
            raise RtlError(f"request {frame.tag}: the circuit must answer with a result, not {frame}")
        return Result.from_bytes(frame.payload, self.plan.network.classes)
