"""The accelerator as a Python object: images in, arrays out, whatever is behind the port.

>>> with Accelerator.open("auto") as chip:  # doctest: +SKIP
...     result = chip.classify(images)
...     result.classes, result.scores
"""

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

import numpy.typing as npt

from arch.images import check_array, image_bytes
from arch.link import Info, LinkCounters, Result
from firmware.host.link import Link
from firmware.host.options import check_timeout
from firmware.host.ports import Port, open_port
from reference.engines import EngineResult, result_of
from reference.network import check_images

__all__ = ["Accelerator"]


class Accelerator:
    """An accelerator behind a port: an engine as the reference and simulations are (:class:`reference.engines.Engine`).

    Use it as a context manager, or :meth:`close` it. Two images are on their way at a time, one of which is computed
    while the next one is sent; or more, where inferences take less time than images on the line
    (:mod:`firmware.host.latency`).

    Parameters
    ----------
    port : :class:`firmware.host.ports.Port`
        The open line; the accelerator closes it.
    timeout : :class:`float`, optional
        Seconds without a byte until an answer is given up (default: that of the port).
    """

    name = "board"

    def __init__(self, port: Port, *, timeout: float | None = None) -> None:
        if timeout is not None:
            check_timeout(timeout)
        #: The open line.
        self.port = port
        self._link = Link(port.transport, timeout=port.timeout if timeout is None else timeout, silence=port.silence,
                          alone=port.alone, baud=port.baud, latency_ms=port.latency_ms or 0)

    @classmethod
    def open(cls, port: str = "auto", *, baud: int | None = None, timeout: float | None = None) -> Self:
        """Open a port, as :func:`firmware.host.ports.open_port` names them.

        Raises
        ------
        :exc:`firmware.host.errors.PortError`
            If there is no such port, or no board, or it cannot be opened, or has no such rate.
        :exc:`firmware.host.errors.DeviceError`
            If ``timeout`` is not 0.001 to 3600 seconds.
        """
        if timeout is not None:
            # Before a simulated board is compiled.
            check_timeout(timeout)
        return cls(open_port(port, baud), timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the port; closing it twice is fine.

        After it :attr:`info`, and everything that needs the board, raises :exc:`firmware.host.errors.ClosedError`.
        """
        self._link.close()

    @property
    def info(self) -> Info:
        """What is on the other end: circuit and network. The device is asked once.

        Raises
        ------
        :exc:`firmware.host.errors.DeviceError`
            If the device does not answer, or no model is selected.
        :exc:`arch.link.LinkError`
            If it speaks another version of the protocol.
        """
        return self._link.info()

    @property
    def counters(self) -> LinkCounters:
        """Faults of the line that the device had seen when it last said what it is; see :attr:`info`."""
        _ = self._link.info()
        return self._link.counters

    def ask_counters(self) -> LinkCounters:
        """Ask the device for its counters of faults now; raises as :attr:`info`."""
        self._link.ask_info()
        return self._link.counters

    @property
    def repeated(self) -> int:
        """Requests that had to be repeated so far: the line had a fault, or the device no room."""
        return self._link.repeated

    def select(self, model: int) -> Info:
        """Choose a model of the flash; see :meth:`firmware.host.link.Link.select`."""
        return self._link.select(model)

    def selectable(self) -> bool:
        """Whether there are models to select; see :meth:`firmware.host.link.Link.selectable`."""
        return self._link.selectable()

    def results(self, images: npt.NDArray[Any]) -> Iterator[Result]:
        """Classify ``images``, and give each result when it is there; see :meth:`classify`.

        Until the last result is taken, or the iterator is closed, every other request is refused with a
        :exc:`firmware.host.errors.DeviceError`.
        """
        check_array(images)
        info = self.info
        check_images(info, images)
        return self._link.classify_all(image_bytes(info, image) for image in images)

    def classify(self, images: npt.NDArray[Any], *, spikes: bool = False,
                 progress: Callable[[int, int], object] = lambda done, total: None) -> EngineResult:
        """Classify a batch.

        Parameters
        ----------
        images : array
            ``uint8[n, channels, height, width]`` for pixels, ``bool[n, T, channels, height, width]`` for events.
        spikes : :class:`bool`
            Asked for by programs that run on any engine; a board does not send spikes, and the result says so.
        progress : callable
            Told after each image how many of how many are done.

        Raises
        ------
        :exc:`arch.network.NetworkError`
            If the images have not the type or the shape that the network takes.
        :exc:`arch.images.ImageError`
            If they are no plain array: a list, or a masked array.
        :exc:`firmware.host.errors.DeviceError`
            If the device does not answer, or refuses an image.
        :exc:`arch.link.LinkError`
            If an answer is malformed.
        """
        results = []
        for result in self.results(images):
            results.append(result)
            progress(len(results), len(images))
        return result_of(results, self.info.classes, unseen="a board does not send spikes" if spikes else None)
