"""A host's side of the line of a simulated circuit: requests, their answers, and the engine that is made of them."""

import abc
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from arch.images import image_bytes
from arch.link import BYTE_BITS, CRC_BYTES, HEADER_BYTES, Command, ErrorCode, Frame, FrameReader, Reply, Result
from arch.network import Network, Readout
from gateware.engine.readout import CLOCK_COUNTER_WIDTH
from reference.engines import EngineResult
from sim.verilated import Verilated
from support.errors import ToolchainError

__all__ = ["REPLY_CLOCKS", "LayerMaps", "RtlError", "SimulatedEngine"]

#: Clocks that a reply may take beyond its request on the line and the longest inference that can be counted.
REPLY_CLOCKS = 200_000

#: Spikes of one image by the index of the layer, ``bool[T, channels, height, width]`` each.
LayerMaps = dict[int, npt.NDArray[np.bool_]]

#: What to do about an error in place of a result. The others cannot happen: the engine sends good frames, one by one.
_REMEDIES = {
    ErrorCode.OVERRUN: "its first layer takes pixels more slowly than the line brings them, so give RtlEngine a larger "
                       "divisor",
    ErrorCode.NO_MODEL: "make the image in its flash again with python -m export NETWORK --flash IMAGE",
    ErrorCode.WRONG_MODEL: "the image in its flash is for another circuit, so make it again with python -m export "
                           "NETWORK --flash IMAGE, for this board and with this release",
    ErrorCode.DAMAGED: "the image in its flash is damaged, so make it again with python -m export NETWORK --flash "
                       "IMAGE",
}
_FAULT = "this is a fault of the circuit or of its simulation, so please report it with the network"


class RtlError(ToolchainError):
    """The simulated circuit did not answer as the protocol says."""


def _error_text(frame: Frame) -> str:
    """Name the code of an ERROR reply, and what to do."""
    code = frame.payload[0] if frame.payload else 0
    if code not in tuple(ErrorCode):
        return f"the unknown error {code}: {_FAULT}"
    return f"the error {ErrorCode(code).name} ({code}): {_REMEDIES.get(ErrorCode(code), _FAULT)}"


def _missing(received: bytes) -> int:
    """Bytes until the frame that has begun is whole, as far as its header says; at least one."""
    size = HEADER_BYTES + CRC_BYTES
    if len(received) >= HEADER_BYTES:
        size += int.from_bytes(received[HEADER_BYTES - 2:HEADER_BYTES], "little")
    return max(1, size - len(received))


class SimulatedEngine(abc.ABC):
    """What the engines on simulated RTL have in common: a simulation, the line to it, and results of images.

    Use it as a context manager, or :meth:`close` it.

    Parameters
    ----------
    network : :class:`Network`
        What the circuit computes.
    simulation : :class:`sim.verilated.Verilated`
        The circuit, out of reset; the engine closes it.
    """

    name = "rtl"

    def __init__(self, network: Network, simulation: Verilated):
        self.network = network
        #: The running simulation; a :class:`sim.verilated.SimulationTransport` makes a board of it.
        self.simulation = simulation
        self._reader = FrameReader()
        #: What came since the last request, and the frames that were found in it.
        self._received = b""
        self._frames: list[Frame] = []
        self._tag = 0
        self._images = 0
        self._line_clocks = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the simulation."""
        self.simulation.close()

    def run(self, images: npt.NDArray[Any], *, spikes: bool = False) -> EngineResult:
        """Compute ``images`` one by one; see :class:`reference.engines.Engine`.

        A layer whose map cannot be read, or that is never formed, has no spikes in the result.
        """
        results: list[Result] = []
        maps: list[LayerMaps] = []
        unseen = None
        for image in images:
            if spikes:
                result, seen, why = self._observe(image)
                unseen = unseen or why
                maps.append(seen)
            else:
                result = self.classify(image)
            results.append(result)
        classes = self.network.classes
        return EngineResult(
            scores=np.array([result.scores for result in results], np.int64).reshape(len(results), classes),
            classes=np.array([result.label for result in results], np.int64),
            cycles=np.array([result.cycles for result in results], np.int64),
            stall_cycles=np.array([result.stalls for result in results], np.int64),
            flash_stall_cycles=np.array([result.flash_stalls for result in results], np.int64),
            spikes=self._by_layer(maps) if spikes else None, unseen=unseen)

    def _by_layer(self, maps: list[LayerMaps]) -> tuple[npt.NDArray[np.bool_] | None, ...]:
        """Join the maps of images; a layer that one of them lacks is None."""
        return tuple(
            np.stack([image[index] for image in maps]) if maps and all(index in image for image in maps) else None
            for index, layer in enumerate(self.network.layers) if not isinstance(layer, Readout))

    def classify(self, image: npt.NDArray[Any]) -> Result:
        """Send one image and wait for its result.

        Raises
        ------
        :exc:`RtlError`
            If the answer is not a result.
        """
        self._send(Command.CLASSIFY, image_bytes(self.network, image))
        return self._result()

    def request(self, command: int, payload: bytes = b"") -> Frame:
        """Send a frame and return its answer.

        Raises
        ------
        :exc:`RtlError`
            If there is none, or more than one.
        """
        self._send(command, payload)
        return self._answer(f"request {self._tag}")

    @abc.abstractmethod
    def _observe(self, image: npt.NDArray[Any]) -> tuple[Result, LayerMaps, str | None]:
        """Compute one image; return its result, the maps that can be read, and why others cannot."""

    def _send(self, command: int, payload: bytes) -> None:
        """Begin a request under a tag of its own."""
        self._tag = (self._tag + 1) % 256
        self._received, self._frames = b"", []
        request = Frame(command=command, tag=self._tag, payload=payload).to_bytes()
        #: Clocks that the request takes on the line.
        self._line_clocks = round(len(request) * BYTE_BITS * self.simulation.divisor)
        self.simulation.send(request)

    def _advance(self, *, limit: int, characters: int = 2**32 - 1) -> bool:
        """Run until so many bytes came and everything was sent, or for ``limit`` clocks; whether bytes came."""
        data = self.simulation.run(characters=characters, limit=limit)
        self._received += data
        self._frames += self._reader.feed(data)
        return bool(data)

    def _answer(self, what: str) -> Frame:
        """Wait for the answer to the last request; ``what`` is asked for names it in messages."""
        limit = self._line_clocks + (1 << CLOCK_COUNTER_WIDTH) + REPLY_CLOCKS
        while not self._frames:
            if not self._advance(characters=_missing(self._received), limit=limit):
                raise RtlError(f"{what}: the circuit does not answer: {_FAULT}")
        if len(self._frames) != 1 or self._frames[0].tag != self._tag:
            raise RtlError(f"{what}: the circuit must answer once and under tag {self._tag}, not with "
                           f"{self._frames}: {_FAULT}")
        return self._frames[0]

    def _expect(self, what: str, reply: Reply) -> Frame:
        """Wait for the answer to the last request, which must be of one kind."""
        frame = self._answer(what)
        expected = f"{what}: the circuit must answer with its {reply.name.lower()}"
        if frame.command == Reply.ERROR:
            raise RtlError(f"{expected}, not with {_error_text(frame)}")
        if frame.command != reply:
            raise RtlError(f"{expected}, not with {frame}: {_FAULT}")
        return frame

    def _result(self) -> Result:
        """Wait for the result of the image that was sent last."""
        frame = self._expect(f"image {self._images}", Reply.RESULT)
        self._images += 1
        return Result.from_bytes(frame.payload, self.network.classes)
