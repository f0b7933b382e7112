"""The one board of a demonstration, and what is asked of it from several threads.

A board belongs to the thread that runs :meth:`Board.run`, which is the main thread, where Ctrl-C arrives: whatever the
board does then, it is closed, and a simulated one ended. Other threads ask, and wait for a future.
"""

import concurrent.futures
import dataclasses
import enum
import queue
import time
from collections.abc import Callable
from typing import Any

import numpy.typing as npt

from arch.link import ErrorCode, Info, LinkCounters, LinkError
from firmware.demo.networks import Catalogue
from firmware.host.accelerator import Accelerator
from firmware.host.errors import BusyError, DeviceError, RefusedError
from firmware.host.models import Model, models_of
from firmware.host.ports import Report
from reference.engines import EngineResult
from support.errors import InputError

__all__ = ["Answer", "Board", "NetworkMissingError", "State", "Status"]


#: What those are told who wait for an answer that does not come.
_ENDED = "the demonstration has ended: start it again"


class NetworkMissingError(InputError):
    """The board, which may be another one than before, has not the network that is asked for."""


class State(enum.Enum):
    """Where a board is."""

    #: It is looked for, or its simulation is compiled and started.
    STARTING = "starting"
    #: It answers.
    READY = "ready"
    #: It did not answer; the next request looks for it again.
    LOST = "lost"
    #: The demonstration has ended.
    ENDED = "ended"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """What is known of a board; a new one replaces it at once."""

    state: State
    #: What is being done, or what is wrong; one line, empty if the board is ready.
    text: str = ""
    #: When the state began, on the clock of :func:`time.monotonic`.
    since: float = dataclasses.field(default_factory=time.monotonic)
    #: The open port; empty before it was opened.
    port: str = ""
    models: tuple[Model, ...] = ()
    #: Hash of the selected model, 16 hexadecimal digits; None if none is selected.
    selected: str | None = None
    counters: LinkCounters = dataclasses.field(default_factory=LinkCounters)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Answer:
    """What a board computed of one image."""

    result: EngineResult
    info: Info
    #: Faults of the line since reset.
    counters: LinkCounters
    #: Requests of this session that had to be repeated.
    repeated: int


@dataclasses.dataclass(frozen=True, slots=True)
class _Job:
    """An image for a network, and where its answer goes."""

    digest: str
    image: npt.NDArray[Any]
    future: concurrent.futures.Future[Answer]


class Board:
    """A board that is opened, asked, and opened again when it went away.

    Parameters
    ----------
    open_board : callable
        Opens the board; it is given a :data:`firmware.host.ports.Report` for the compilation of a simulation.
    catalogue : :class:`firmware.demo.networks.Catalogue`
        Files of its networks.
    """

    def __init__(self, open_board: Callable[[Report], Accelerator], catalogue: Catalogue) -> None:
        self._open = open_board
        self._catalogue = catalogue
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._chip: Accelerator | None = None
        #: What is known of the board.
        self.status = Status(state=State.STARTING, text="looking for the board")

    def classify(self, digest: str, image: npt.NDArray[Any]) -> concurrent.futures.Future[Answer]:
        """Ask for one image; any thread may.

        Parameters
        ----------
        digest
            Hash of the network that must compute it, 16 hexadecimal digits: that model is selected.
        image
            A batch of one, as of :meth:`firmware.host.accelerator.Accelerator.classify`.

        Returns
        -------
        future
            Of the answer; or of the error with which it ended.
        """
        job = _Job(digest, image, concurrent.futures.Future())
        self._jobs.put(job)
        if self.status.state is State.ENDED:
            self._drop()
        return job.future

    def stop(self) -> None:
        """Let :meth:`run` return when it has answered what was asked; any thread may."""
        self._jobs.put(None)

    def run(self, ready: Callable[[], object] = lambda: None) -> None:
        """Open the board and answer until :meth:`stop`; everything is closed at the end, however it comes.

        Parameters
        ----------
        ready : callable
            Called when the board answers for the first time.

        Raises
        ------
        :exc:`firmware.host.errors.DeviceError`, :exc:`OSError`
            If the board cannot be opened the first time, or has no network with a known file.
        """
        try:
            self._connected()
            ready()
            while (job := self._jobs.get()) is not None:
                self._answer(job)
        finally:
            self._now(State.ENDED, "the demonstration has ended")
            self._disconnect()
            self._drop()

    def _drop(self) -> None:
        """Let nobody wait for an answer that does not come."""
        while True:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return
            if job is not None:
                job.future.set_exception(DeviceError(_ENDED))

    def _answer(self, job: _Job) -> None:
        if not job.future.set_running_or_notify_cancel():
            return
        try:
            job.future.set_result(self._classify(job))
        except (RefusedError, BusyError, NetworkMissingError) as error:
            # What the board runs now is not sure.
            self.status = dataclasses.replace(self.status, selected=None)
            job.future.set_exception(error)
        except (DeviceError, LinkError, OSError) as error:
            self._disconnect()
            reason = str(error) if isinstance(error, DeviceError | LinkError) else f"port: {error.strerror or error}"
            self._now(State.LOST, reason)
            job.future.set_exception(DeviceError(reason))
        except Exception as error:
            # Who waits must not wait for ever.
            job.future.set_exception(DeviceError(f"board was not asked to the end: {type(error).__name__}, a "
                                                 "mistake of the demonstration: see the terminal"))
            raise
        except BaseException:
            # Ctrl-C.
            job.future.set_exception(DeviceError(_ENDED))
            raise

    def _classify(self, job: _Job) -> Answer:
        chip = self._connected()
        # A board that was switched off and on meanwhile runs its first model, or none, and tells nobody.
        for _ in range(2):
            self._select(chip, job.digest)
            try:
                result = chip.classify(job.image)
                counters = chip.ask_counters()
            except RefusedError as error:
                if error.code not in (ErrorCode.NO_MODEL, ErrorCode.WRONG_LENGTH):
                    raise
            else:
                if chip.info.digest.hex() == job.digest:
                    self.status = dataclasses.replace(self.status, selected=job.digest, counters=counters)
                    return Answer(result=result, info=chip.info, counters=counters, repeated=chip.repeated)
            self.status = dataclasses.replace(self.status, selected=None)
        # As one that was programmed anew: the next request asks it for its networks again.
        raise DeviceError(f"board must run the network with the sha256 {job.digest}, not another: reload the page")

    def _select(self, chip: Accelerator, digest: str) -> None:
        if self.status.selected == digest:
            return
        for model in self.status.models:
            if model.info is not None and model.info.digest.hex() == digest:
                # The network of a bitstream is always selected.
                if model.number is not None:
                    chip.select(model.number)
                return
        raise NetworkMissingError(f"board must have the network with the sha256 {digest}, and has not: reload the page")

    def _connected(self) -> Accelerator:
        """Return the board, opened if it is not."""
        if self._chip is not None:
            return self._chip
        self._now(State.STARTING, "looking for the board")
        self._chip = self._open(self._compiling)
        self._now(State.STARTING, "asking the board for its networks")
        models = tuple(models_of(self._chip))
        self._catalogue.check(models)
        selected = next((model.info.digest.hex() for model in models if model.selected and model.info), None)
        self.status = Status(state=State.READY, port=self._chip.port.name, models=models, selected=selected,
                             counters=self._chip.counters if selected else LinkCounters())
        return self._chip

    def _compiling(self, step: str, done: int, total: int) -> None:
        parts = f", {done} of {total} files" if total > 1 else ""
        # The time counts from the first step.
        since = self.status.since if self.status.text.startswith("compiling") else time.monotonic()
        self.status = dataclasses.replace(self.status, text=f"compiling the simulation: {step}{parts}", since=since)

    def _now(self, state: State, text: str) -> None:
        """Begin a state; the board's networks are still those that it had."""
        self.status = dataclasses.replace(self.status, state=state, text=text, since=time.monotonic(), selected=None)

    def _disconnect(self) -> None:
        chip, self._chip = self._chip, None
        if chip is not None:
            chip.close()
