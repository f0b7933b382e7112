"""Lines of bytes between a host and a device: a serial port, or a program whose standard streams are the line."""

import contextlib
import errno
import os
import select
import signal
import subprocess
from collections.abc import Sequence
from typing import Protocol

import serial

from firmware.host import latency
from firmware.host.errors import ClosedError, PortError
from support.errors import first_line

__all__ = ["PipeTransport", "SerialTransport", "Transport"]

#: Seconds that a program behind a pipe gets to end.
_END_SECONDS = 5
#: Seconds in which a port must take something of what is sent.
_WRITE_SECONDS = 10
#: Errors of the system about a device that was unplugged, or a pseudo-terminal whose other end was closed.
_GONE = (errno.EIO, errno.ENXIO, errno.ENODEV, errno.EBADF)


class Transport(Protocol):
    """A full-duplex line of bytes.

    Once it is closed, :meth:`write` and :meth:`read` raise :exc:`firmware.host.errors.ClosedError`.
    """

    def write(self, data: bytes) -> None:
        """Send all of ``data``."""

    def read(self, size: int, timeout: float) -> bytes:
        """Return at least one and up to ``size`` bytes, or none after ``timeout`` seconds without any."""

    def close(self) -> None:
        """Release the line; closing it twice is fine."""


class SerialTransport:
    """A serial device.

    Parameters
    ----------
    device : :class:`str`
        Its name, ``/dev/ttyUSB1``.
    baud : :class:`int`
        Rate in baud.

    Raises
    ------
    :exc:`PortError`
        If it cannot be opened. Methods raise it if the device goes away.
    """

    def __init__(self, device: str, baud: int) -> None:
        self._device = device
        self._closed = False
        try:
            self._port = serial.Serial(device, baud, timeout=0, write_timeout=_WRITE_SECONDS)
            # What a program that died has left to be sent is not part of this session.
            self._port.reset_output_buffer()
            self._port.reset_input_buffer()
        except (OSError, ValueError, OverflowError) as error:
            raise self._failed(error) from None
        #: On POSIX systems, what pyserial has opened and set is read and written directly: its own methods wait and ask
        #: several times for each piece, which at 12 Mbaud costs as much as the rest of this program.
        self._descriptor: int | None = self._port.fileno() if os.name == "posix" else None
        #: The latency timer of the device's USB bridge in ms, after it was set where that is allowed; None without one.
        self.latency_ms = latency.lower(self._port)

    def _failed(self, error: Exception) -> PortError:
        # pyserial repeats the name and the number of an error of the system.
        number = getattr(error, "errno", None)
        reason = os.strerror(number) if number else " ".join(str(error).split()) or type(error).__name__
        return PortError(f"port {self._device} must be a serial device that can be used: {reason}")

    def _gone(self) -> PortError:
        return PortError(f"port {self._device} is gone: plug the board in, and see to the cable")

    def _check_open(self) -> None:
        # The system gives the number of a closed descriptor to the next file that is opened.
        if self._closed:
            raise ClosedError

    def write(self, data: bytes) -> None:
        """Send bytes."""
        self._check_open()
        try:
            if self._descriptor is None:
                self._port.write(data)
                return
            view = memoryview(data)
            while view:
                try:
                    view = view[os.write(self._descriptor, view):]
                except BlockingIOError:
                    if not select.select([], [self._descriptor], [], _WRITE_SECONDS)[1]:
                        raise PortError(f"port {self._device} must take what is sent, and has taken nothing for "
                                        f"{_WRITE_SECONDS} s: switch the board off and on") from None
        except OSError as error:
            raise self._gone() if error.errno in _GONE else self._failed(error) from None

    def read(self, size: int, timeout: float) -> bytes:
        """Return what arrives within ``timeout`` seconds."""
        self._check_open()
        try:
            if self._descriptor is not None:
                return self._read(self._descriptor, size, timeout)
            # pyserial sets all of the port anew with it, its rate too.
            if self._port.timeout != timeout:
                self._port.timeout = timeout
            data: bytes = self._port.read(1)
            return data + self._port.read(min(size - 1, self._port.in_waiting)) if data else b""
        except OSError as error:
            raise self._gone() if error.errno in _GONE else self._failed(error) from None

    def _read(self, descriptor: int, size: int, timeout: float) -> bytes:
        if not select.select([descriptor], [], [], timeout)[0]:
            return b""
        # Without a byte, as pyserial sets terminals, a read returns nothing; a device of another kind says that it
        # would wait.
        with contextlib.suppress(BlockingIOError):
            if data := os.read(descriptor, size):
                return data
        if self._hung_up(descriptor):
            raise self._gone()
        raise PortError(f"port {self._device} must be used by one program, and another one has read from it: end that "
                        "program")

    @staticmethod
    def _hung_up(descriptor: int) -> bool:
        """Whether the device behind ``descriptor`` is gone; one whose bytes somebody else has read is still there."""
        poll = select.poll()
        poll.register(descriptor, 0)
        return any(events & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, events in poll.poll(0))

    def close(self) -> None:
        """Close the device."""
        self._closed = True
        self._descriptor = None
        self._port.close()


class PipeTransport:
    """A program whose stdin and stdout are the line: a simulated board.

    The program runs in a session of its own, so that what it has started ends with it; it has no terminal to ask at.

    Parameters
    ----------
    command : sequence of :class:`str`
        The program and its arguments.

    Raises
    ------
    :exc:`PortError`
        If it cannot be started.
    """

    def __init__(self, command: Sequence[str]) -> None:
        try:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
                                             start_new_session=True)
        except (OSError, ValueError) as error:
            reason = (isinstance(error, OSError) and error.strerror) or first_line(error)
            raise PortError("--port pipe: must be followed by a program that can be started, not "
                            f"{command[0]!r}: {reason}") from None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._closed = False

    def write(self, data: bytes) -> None:
        """Send bytes; raises :exc:`PortError` if the program has ended."""
        if self._closed:
            raise ClosedError
        view = memoryview(data)
        try:
            while view:
                view = view[self._stdin.write(view):]
        except BrokenPipeError as error:
            raise self._ended() from error

    def read(self, size: int, timeout: float) -> bytes:
        """Return what arrives within ``timeout`` seconds; raises :exc:`PortError` if the program has ended."""
        if self._closed:
            raise ClosedError
        readable, _, _ = select.select([self._stdout], [], [], timeout)
        if not readable:
            return b""
        data = os.read(self._stdout.fileno(), size)
        if not data:
            raise self._ended()
        return data

    def _ended(self) -> PortError:
        # A program that ends closes its output a moment earlier.
        try:
            return PortError(f"simulated board ended with exit status {self._process.wait(_END_SECONDS)}")
        except subprocess.TimeoutExpired:
            return PortError("program of --port pipe: must keep its standard input and output open while it runs, and "
                             "has closed one of them: run it by itself, and see what it does")

    def close(self) -> None:
        """End the program, and what it has started."""
        if self._closed:
            return
        self._closed = True
        self._signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._stdin.close()
        self._stdout.close()

    def _signal(self, number: signal.Signals) -> None:
        """Send a signal to every process of the program's session that is left."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)
