"""What a user may name as a port, opened: a serial device, a board that is looked for, or a simulated one.

=================  ====================================================================================
``DEVICE``         a serial device or a pseudo-terminal, ``/dev/ttyUSB1``
``auto``           the one board that is found by its USB identity
``sim:rom``        the simulated board with a network in its bitstream; ``sim`` is the same
``sim:overlay``    the simulated board with the overlay, and models in its flash
``pipe:COMMAND``   a command line whose standard input and output are the line
=================  ====================================================================================

The simulated boards are another process, ``python -m sim.board``, behind a pseudo-terminal: the same bytes flow as with
a board, and this program needs nothing of the simulator.
"""

import dataclasses
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence

from serial.tools import list_ports

from arch.link import BAUD_RATES, TIMEOUT_BITS
from firmware.host.errors import PortError
from firmware.host.known_boards import TITLES, USB_IDENTITIES
from firmware.host.transports import PipeTransport, SerialTransport, Transport

__all__ = ["DEFAULT_BAUD", "OVERLAY_PORT", "SIMULATED", "Port", "Report", "board_at", "check_baud", "find_board",
           "is_simulated", "listed", "open_port"]

#: Rate of the line of the shipped bitstreams.
DEFAULT_BAUD = 3_000_000
#: Shortest silence that separates sessions, in seconds: a USB bridge keeps bytes for up to 16 ms.
_SILENCE_SECONDS = 0.1
#: A simulated circuit computes as fast as the computer can: what takes a board 0.1 s may take seconds.
_SIMULATED_SILENCE_SECONDS = 10.0
#: Seconds after which an answer is given up, of a board and of a simulated one: an inference of VGG-16 takes a minute.
_TIMEOUT_SECONDS, _SIMULATED_TIMEOUT_SECONDS = 1.0, 600.0
#: Seconds that a simulated board gets to end.
_END_SECONDS = 5
#: Takes the name of a step of a simulation's compilation, the parts of the step that are done, and all of its parts.
Report = Callable[[str, int, int], object]
#: The board that is simulated. The ports that name it, and the options of ``python -m sim.board`` for each.
_SIMULATED_BOARD = "icebreaker"
OVERLAY_PORT = "sim:overlay"
SIMULATED = {"sim": (), "sim:rom": (), OVERLAY_PORT: ("--weights", "flash")}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Port:
    """An open line, and what a session on it has to know."""

    transport: Transport
    #: What was opened, for people.
    name: str
    #: Seconds without a byte until an answer is given up, and until the device has forgotten a broken frame.
    timeout: float
    silence: float
    #: No other session can have left anything on the line.
    alone: bool = False
    #: Rate in baud; None where bits take no fixed time.
    baud: int | None = None

    @property
    def latency_ms(self) -> int | None:
        """The latency timer of the port's USB bridge in ms; None without one."""
        return self.transport.latency_ms if isinstance(self.transport, SerialTransport) else None


def _interface(port: object) -> int | None:
    """Return the number of the USB interface of a port; None if it is not told."""
    # pyserial tells it at the end of the place: 1-2:1.1.
    match = re.search(r":\d+\.(\d+)$", getattr(port, "location", None) or "")
    return int(match[1]) if match else None


def _plugged_in() -> list[tuple[str, str]]:
    """Return the serial devices whose USB identity is that of a board, with its name."""
    return [(port.device, board) for port in list_ports.comports()
            for (vendor, product, interface), board in USB_IDENTITIES.items()
            if (port.vid, port.pid) == (vendor, product) and interface in (None, _interface(port))]


def find_board() -> tuple[str, str]:
    """Return the serial device of the one board that is plugged in, and the name of the board.

    Raises
    ------
    :exc:`PortError`
        If there is none, or more than one.
    """
    found = _plugged_in()
    if len(found) == 1:
        return found[0]
    if not found:
        raise PortError(f"--port auto must find a board ({', '.join(TITLES.values())}), and none is plugged in: plug "
                        "it in, name its port, or use --port sim")
    seen = ", ".join(sorted(f"{device} ({TITLES[board]})" for device, board in found))
    raise PortError(f"--port auto must find one board, not {len(found)}: use one of {seen}")


def is_simulated(port: str) -> bool:
    """Whether a port is a board that is simulated for the session."""
    return port.partition(":")[0] == "sim"


def board_at(port: str) -> str | None:
    """Return the name of the board at a port, if its USB identity tells it; for ``auto`` as :func:`find_board`."""
    if is_simulated(port):
        return _SIMULATED_BOARD
    if port == "auto":
        return find_board()[1]
    device = os.path.realpath(port)
    return next((board for name, board in _plugged_in() if os.path.realpath(name) == device), None)


class SimulatedBoard(SerialTransport):
    """A simulated board that is started for this session and ends with it."""

    def __init__(self, options: Sequence[str], report: Report) -> None:
        # In a session of its own: Ctrl-C is for this program, which then ends the simulation.
        self._process = subprocess.Popen([sys.executable, "-m", "sim.board", "--json", "--board", _SIMULATED_BOARD,
                                          *options],
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        try:
            super().__init__(self._started(report), DEFAULT_BAUD)
        except BaseException:
            # It looks at its standard input only when it has started.
            self._process.terminate()
            self._end()
            raise

    def _gone(self) -> PortError:
        return PortError("simulated board has ended before the command: run the command again, and see that nobody "
                         "ends its processes, python -m sim.board and the simulation")

    def _started(self, report: Report) -> str:
        """Wait until the simulation has started; return its port."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = json.loads(line)
            if "port" in said:
                return str(said["port"])
            report(said["step"], said["done"], said["total"])
        # What is wrong, the program has said on standard error.
        raise PortError(f"simulated board must start, not end with exit status {self._process.wait()}: see what it "
                        "says, or run python -m sim.board by itself")

    def close(self) -> None:
        """Close the line and end the simulation."""
        super().close()
        self._end()

    def _end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            # The simulation that it has started, too.
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._process.stdout.close()


def listed(numbers: Sequence[int]) -> str:
    """Return numbers as a sentence names them: 1, 2 or 3."""
    *most, last = numbers
    return f"{', '.join(map(str, most))} or {last}"


def check_baud(baud: object, name: str = "baud") -> None:
    """Raise :exc:`PortError` if ``baud`` is none of :data:`arch.link.BAUD_RATES`."""
    if not isinstance(baud, int) or baud not in BAUD_RATES:
        raise PortError(f"{name} must be {listed(BAUD_RATES)}, not {baud!r}")


def _say_nothing(step: str, done: int, total: int) -> None:
    """Be the report of who does not ask for one."""


def open_port(port: str, baud: int | None = None, *, networks: Sequence[pathlib.Path] = (),
              image: pathlib.Path | None = None, report: Report = _say_nothing) -> Port:
    """Open what ``port`` names; see the table above.

    Parameters
    ----------
    port : :class:`str`
    baud : :class:`int`, optional
        Rate of the line (default: :data:`DEFAULT_BAUD`); it has none if the board is simulated.
    networks : sequence of :class:`pathlib.Path`
        Networks of a simulated board, in place of the shipped ones.
    image : :class:`pathlib.Path`, optional
        Image of models in the flash of ``sim:overlay``, in place of one of the shipped networks.
    report : callable, optional
        Told of every step of the compilation of a simulated board, if it was not compiled before.

    Raises
    ------
    :exc:`PortError`
        If that cannot be done.
    """
    if not isinstance(port, str) or not port:
        raise PortError("port must be the name of a serial device, auto, sim:rom, sim:overlay or pipe:COMMAND, not "
                        f"{port!r}")
    scheme = port.partition(":")[0]
    if scheme in ("sim", "pipe") and baud is not None:
        raise PortError(f"--baud must be left out for a simulated board, not {baud}: it has no line")
    if is_simulated(port):
        if port not in SIMULATED:
            raise PortError(f"--port must be one of {', '.join(SIMULATED)} for a simulated board, not {port}")
        options = (*SIMULATED[port], *([] if image is None else ["--image", str(image)]), *map(str, networks))
        return Port(transport=SimulatedBoard(options, report), name="simulated board", alone=True,
                    timeout=_SIMULATED_TIMEOUT_SECONDS, silence=_SIMULATED_SILENCE_SECONDS)
    if networks:
        raise PortError(f"networks must be given for a simulated board only, not for --port {port}")
    if scheme == "pipe":
        return Port(transport=PipeTransport(_command_line(port)), name=port, timeout=_TIMEOUT_SECONDS,
                    silence=_SILENCE_SECONDS)
    rate = DEFAULT_BAUD if baud is None else baud
    check_baud(rate)
    device = find_board()[0] if port == "auto" else port
    return Port(transport=SerialTransport(device, rate), name=device, timeout=_TIMEOUT_SECONDS, baud=rate,
                silence=max(_SILENCE_SECONDS, 1.5 * TIMEOUT_BITS / rate))


def _command_line(port: str) -> list[str]:
    try:
        command = shlex.split(port.removeprefix("pipe:"))
    except ValueError as error:
        raise PortError(f"--port pipe: must be followed by a command line, not one with an error: {error}") from None
    if not command:
        raise PortError("--port pipe: must be followed by a program")
    return command
