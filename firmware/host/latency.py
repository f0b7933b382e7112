"""What the latency timer of an FTDI bridge costs, and how it is set.

Boards speak to USB through a bridge of FTDI. The bridge collects what the board sends, and hands it on when a USB
packet is full or when its latency timer ends, which is set to 16 ms when the device is plugged in. A result is much
smaller than a packet, and the host has no more than two images on their way: so it hears of two images at a time, once
in the time of the timer.

Source: FTDI, AN232B-04 "Data Throughput, Latency and Handshaking", section 3.3.
"""

import contextlib
import pathlib
from typing import Any

from arch.link import CRC_BYTES, HEADER_BYTES, RESULT_HEADER_WORDS

__all__ = ["BEST_MS", "PACKET_BYTES", "WINDOW", "images_per_second", "lower", "timer_of"]

#: Images that may be on their way: one computes while the next arrives.
WINDOW = 2
#: The smallest latency, in ms.
BEST_MS = 1
#: Bytes from the board in a full USB packet of a high-speed bridge (FT2232H, FT232H): 512, less two of status.
PACKET_BYTES = 510
#: Bytes of a frame around its payload: header and CRC.
_FRAME_BYTES = HEADER_BYTES + CRC_BYTES
#: Bits of a byte on the line, with start and stop bit.
_BITS = 10
_TTY = pathlib.Path("/sys/class/tty")


def images_per_second(image_bytes: int, classes: int, *, baud: int, latency_ms: float,
                      inference_seconds: float = 0.0) -> float:
    """Return how many images per second the line, the engine and the latency timer allow at most.

    The line needs ``10 (image_bytes + 7) / baud`` seconds for an image, while which the engine computes the one before;
    and of :data:`WINDOW` images the results come in one period of the timer, unless they fill a packet.

    Parameters
    ----------
    image_bytes : :class:`int`
        Payload of a CLASSIFY.
    classes : :class:`int`
        Classes of the network: a RESULT has as many words, and four more.
    baud : :class:`int`
        Rate of the line, in baud.
    latency_ms : :class:`float`
        The timer, in ms, from 1.
    inference_seconds : :class:`float`
        Time of an inference, if it is longer than that of an image on the line.

    >>> round(images_per_second(784, 10, baud=3_000_000, latency_ms=1)), round(
    ...     images_per_second(784, 10, baud=3_000_000, latency_ms=16))
    (379, 125)
    """
    line = min(baud / (_BITS * (image_bytes + _FRAME_BYTES)), 1 / max(inference_seconds, 1e-9))
    result_bytes = 4 * (RESULT_HEADER_WORDS + classes) + _FRAME_BYTES
    if WINDOW * result_bytes >= PACKET_BYTES:
        return line
    return min(line, 1000 * WINDOW / latency_ms)


def timer_of(device: str, tty: pathlib.Path = _TTY) -> pathlib.Path | None:
    """Return the file of Linux in which the latency timer of ``device`` stands; None if it has none."""
    file = tty / pathlib.Path(device).resolve().name / "device" / "latency_timer"
    return file if file.exists() else None


def _read(file: pathlib.Path) -> int | None:
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def lower(port: Any, tty: pathlib.Path = _TTY) -> int | None:
    """Set the latency timer of an open port to 1 ms, where that is allowed.

    Parameters
    ----------
    port : :class:`serial.Serial`
        The port.
    tty : Path
        Folder of the terminals that Linux knows.

    Returns
    -------
    int or None
        The timer in ms as it is now; None where there is none, or where it cannot be known.
    """
    file = timer_of(port.name, tty)
    if file is None or (now := _read(file)) is None or now <= BEST_MS:
        return now if file is not None else None
    # The driver sets its timer for programs that ask for low latency; an older one, or one without that, has the file.
    with contextlib.suppress(OSError, ValueError, AttributeError, NotImplementedError):
        port.set_low_latency_mode(True)
    if (_read(file) or 0) > BEST_MS:
        with contextlib.suppress(OSError):
            file.write_text(str(BEST_MS), encoding="ascii")
    return _read(file)
