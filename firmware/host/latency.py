"""How late results come, how many images on their way hide that, and how the latency timer of an FTDI bridge is set.

Boards speak to USB through a bridge of FTDI. The bridge collects what the board sends, and hands it on when a USB
packet is full or when its latency timer ends, which is set to 16 ms when the device is plugged in. A result is much
smaller than a packet: so the host hears of all images on their way at a time, once in the time of the timer.

The device has room for two images: one computes while the next arrives. Where an inference takes less time than an
image on the line, there is always room for the image that comes next, and the host need not wait for results: it keeps
as many images on their way as the line brings while a result is late, and the line is never empty.

Source: FTDI, AN232B-04 "Data Throughput, Latency and Handshaking", section 3.3.
"""

import contextlib
import math
import pathlib
from typing import Any

from arch.link import CRC_BYTES, HEADER_BYTES, RESULT_HEADER_WORDS

__all__ = ["BEST_MS", "PACKET_BYTES", "WINDOW", "images_on_their_way", "images_per_second", "lower", "timer_of"]

#: Images for which the device has room: one computes while the next arrives.
WINDOW = 2
#: Most images on their way: a quarter of the tags, so that a late answer cannot be taken for another's.
_MOST = 64
#: Share of an image's time on the line that an inference may take, for more than two images: the clock of the device
#: and the rate of the line may differ by some percent.
_SHARE = 0.9
#: How late a busy computer may look at a result, in seconds.
_HOST_SECONDS = 0.005
#: The smallest latency, in ms.
BEST_MS = 1
#: Bytes from the board in a full USB packet of a high-speed bridge (FT2232H, FT232H): 512, less two of status.
PACKET_BYTES = 510
#: Bytes of a frame around its payload: header and CRC.
_FRAME_BYTES = HEADER_BYTES + CRC_BYTES
#: Bits of a byte on the line, with start and stop bit.
_BITS = 10
_TTY = pathlib.Path("/sys/class/tty")


def _line_seconds(payload_bytes: int, baud: int) -> float:
    """Return the time of a frame on the line."""
    return _BITS * (payload_bytes + _FRAME_BYTES) / baud


def _result_bytes(classes: int) -> int:
    return 4 * (RESULT_HEADER_WORDS + classes)


def images_on_their_way(image_bytes: int, classes: int, *, baud: int, latency_ms: float,
                        inference_seconds: float) -> int:
    """Return how many images may be sent before the first of them has its result.

    That is :data:`WINDOW`, unless a device has always finished an image before the next but one begins: then it is as
    many more as the line brings while a result is late. Arguments are those of :func:`images_per_second`.

    >>> images_on_their_way(784, 10, baud=3_000_000, latency_ms=16, inference_seconds=10_961 / 48e6)
    10
    >>> images_on_their_way(784, 10, baud=3_000_000, latency_ms=16, inference_seconds=0.0026)
    2
    """
    line = _line_seconds(image_bytes, baud)
    if max(inference_seconds, _line_seconds(_result_bytes(classes), baud)) > _SHARE * line:
        return WINDOW
    return min(_MOST, WINDOW + math.ceil((latency_ms / 1000 + _HOST_SECONDS) / line))


def images_per_second(image_bytes: int, classes: int, *, baud: int, latency_ms: float,
                      inference_seconds: float = 0.0, window: int = WINDOW) -> float:
    """Return how many images per second the line, the engine and the latency timer allow at most.

    The line needs ``10 (image_bytes + 7) / baud`` seconds for an image, while which the engine computes the one before;
    and of ``window`` images the results come in one period of the timer, unless they fill a packet.

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
    window : :class:`int`
        Images on their way.

    >>> round(images_per_second(784, 10, baud=3_000_000, latency_ms=1)), round(
    ...     images_per_second(784, 10, baud=3_000_000, latency_ms=16))
    (379, 125)
    """
    line = 1 / max(_line_seconds(image_bytes, baud), inference_seconds)
    if window * (_result_bytes(classes) + _FRAME_BYTES) >= PACKET_BYTES:
        return line
    return min(line, 1000 * window / latency_ms)


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
