"""The engine that is made of a simulated circuit and the client of the host program on the line to it."""

import abc
import contextlib
import pathlib
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt

from arch.images import image_bytes
from arch.link import BYTE_BITS, MAX_PAYLOAD_BYTES, ErrorCode, Frame, Info, LinkError, Result
from arch.network import Network, Readout
from firmware.host.errors import BusyError, DeviceError, NoAnswerError, RefusedError
from firmware.host.link import Link
from gateware.engine.readout import CLOCK_COUNTER_WIDTH
from reference.engines import EngineResult, result_of
from sim.verilated import SimulationTransport, Verilated
from sim.verilator import SimulationError
from support.errors import ToolchainError

__all__ = ["REPLY_CLOCKS", "LayerMaps", "RtlError", "SimulatedEngine"]

_T = TypeVar("_T")

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


def _error_text(code: int) -> str:
    """Name the code of an ERROR reply, and what to do."""
    if code not in tuple(ErrorCode):
        return f"the unknown error {code}: {_FAULT}"
    return f"the error {ErrorCode(code).name} ({code}): {_REMEDIES.get(ErrorCode(code), _FAULT)}"


class _Line(SimulationTransport):
    """The line to a simulation, on which something can be done at certain clocks behind a request."""

    def __init__(self, simulation: Verilated) -> None:
        super().__init__(simulation)
        self._moments: Sequence[tuple[int, Callable[[], None]]] = ()
        self._request_clocks = 0

    def at(self, moments: Sequence[tuple[int, Callable[[], None]]]) -> None:
        """Do each action so many clocks after the last bit of the next request, ascending, before its answer."""
        self._moments = moments

    def write(self, data: bytes) -> None:
        self._request_clocks = round(len(data) * BYTE_BITS * self.simulation.divisor)
        super().write(data)

    def read(self, size: int, timeout: float) -> bytes:
        moments, self._moments = self._moments, ()
        if moments:
            # The engine starts a few clocks before or after the last bit is sent.
            self._received += self.simulation.run(characters=0, limit=2 * self._request_clocks)
        clock = 0
        for moment, action in moments:
            self._received += self.simulation.run(characters=2**32 - 1, limit=moment - clock)
            clock = moment
            action()
        return super().read(size, timeout)


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
        self.line = _Line(simulation)
        longest = round((MAX_PAYLOAD_BYTES + 100) * BYTE_BITS * simulation.divisor)
        seconds = ((1 << CLOCK_COUNTER_WIDTH) + REPLY_CLOCKS + longest) / self.line.clocks_per_second
        # Nothing disturbs a simulated line, so nothing is repeated: what went wrong once is a fault.
        self._link = Link(self.line, timeout=seconds, silence=0, retries=0, tag=0, alone=True)
        #: Number of the next image, by which errors name it.
        self.next_image = 0
        self._trace: tuple[pathlib.Path, int, int | None] | None = None
        #: Clocks from the first bit of the last image to the last bit of its result, and those that were traced.
        self.image_clocks = self.traced_clocks = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the simulation."""
        self.simulation.close()

    def classify(self, images: npt.NDArray[Any], *, spikes: bool = False) -> EngineResult:
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
                result = self.result_of(image)
            results.append(result)
        return result_of(results, self.network.classes, spikes=self._by_layer(maps) if spikes else None, unseen=unseen)

    def _by_layer(self, maps: list[LayerMaps]) -> tuple[npt.NDArray[np.bool_] | None, ...]:
        """Join the maps of images; a layer that one of them lacks is None."""
        return tuple(
            np.stack([image[index] for image in maps]) if maps and all(index in image for image in maps) else None
            for index, layer in enumerate(self.network.layers) if not isinstance(layer, Readout))

    def result_of(self, image: npt.NDArray[Any]) -> Result:
        """Send one image and wait for its result.

        Raises
        ------
        :exc:`RtlError`
            If the answer is not a result.
        """
        with self._traced():
            result = self._checked(f"image {self.next_image}", "result",
                                   lambda: self._link.classify(image_bytes(self.network, image)))
        self.next_image += 1
        return result

    @contextlib.contextmanager
    def tracing(self, path: pathlib.Path, *, first: int = 0, count: int | None = None) -> Iterator[None]:
        """Trace the circuit, in the context, from the first bit of one image to the last bit of its result.

        The arguments are those of :meth:`sim.verilated.Verilated.trace`, and so is what the design must be compiled
        with.
        """
        # The first request on a line is preceded by another, for the info block, which is no part of an image.
        self.info()
        self._trace = (path, first, count)
        try:
            yield
        finally:
            self._trace = None

    @contextlib.contextmanager
    def _traced(self) -> Iterator[None]:
        """Trace while an image is computed, if that was asked for."""
        trace, self._trace = self._trace, None
        if trace is None:
            yield
            return
        path, first, count = trace
        begin = self.simulation.clocks
        self.simulation.trace(path, first=first, count=count)
        try:
            yield
        except BaseException:
            # The simulation may go on, and must not write to this file any more; what has failed first is told.
            with contextlib.suppress(SimulationError):
                self.simulation.end_trace()
            raise
        self.traced_clocks = self.simulation.end_trace()
        self.image_clocks = self.simulation.clocks - begin

    def info(self) -> Info:
        """Return the info block; raises :exc:`RtlError` if there is none."""
        return self._checked("request for the info block", "info", self._link.info)

    def select(self, model: int) -> Info:
        """Select a model of the flash; return its info block, or raise :exc:`RtlError`."""
        return self._checked(f"model {model}", "info", lambda: self._link.select(model))

    def _select_first(self, model: int) -> None:
        """Select the model that the engine is for, unless it is the one that is selected after reset."""
        # What interrupts the selection must not leave the simulation running.
        with contextlib.ExitStack() as selecting:
            selecting.callback(self.close)
            if model:
                self.select(model)
            selecting.pop_all()

    def request(self, command: int, payload: bytes = b"") -> Frame:
        """Send a frame and return its answer.

        Raises
        ------
        :exc:`RtlError`
            If there is none, or more than one.
        """
        return self._checked(f"request {command:#04x}", "frame", lambda: self._link.request(command, payload))

    @abc.abstractmethod
    def _observe(self, image: npt.NDArray[Any]) -> tuple[Result, LayerMaps, str | None]:
        """Compute one image; return its result, the maps that can be read, and why others cannot."""

    def _checked(self, what: str, reply: str, ask: Callable[[], _T]) -> _T:
        """Ask the circuit, which must answer well, once, and with nothing else; raise :exc:`RtlError` if not."""
        expected = f"{what}: the circuit must answer with its {reply}"
        try:
            answer = ask()
        except RefusedError as error:
            raise RtlError(f"{expected}, not with {_error_text(error.code)}") from None
        except BusyError:
            raise RtlError(f"{expected}, not with {_error_text(ErrorCode.BUSY)}") from None
        except NoAnswerError as error:
            if error.code is not None:
                raise RtlError(f"{expected}, not with {_error_text(error.code)}") from None
            raise RtlError(f"{what}: the circuit does not answer{self._oddities()}: {_FAULT}") from None
        except (DeviceError, LinkError) as error:
            raise RtlError(f"{what}: {error}: {_FAULT}") from None
        if odd := self._oddities():
            raise RtlError(f"{what}: the circuit must answer once{odd}: {_FAULT}")
        return answer

    def _oddities(self) -> str:
        """Name what the circuit has sent that nothing had asked for."""
        bad = ", but sends damaged frames" if self._link.bad_frames else ""
        return f"{bad}, but sends {self._link.stray}" if self._link.stray else bad
