"""The protocol between a host and the accelerator, at byte level.

The line is a full-duplex UART, 8N1 (a start bit, eight data bits with the least significant first, a stop bit), at 1, 3
or 12 Mbaud where the device's clock divides. All integers are little-endian. Both directions carry frames:

======  ====  ================================================================================
offset  size  field
======  ====  ================================================================================
0       1     sync byte, A5h
1       1     command (requests, from the host) or reply code (replies, from the device)
2       1     tag: any value the host chooses; the reply carries the same one
3       2     length of the payload in bytes, 0 to 65,535
5       n     payload
5 + n   2     CRC of bytes 1 to 4 + n (command, tag, length, payload; not the sync byte)
======  ====  ================================================================================

The CRC is CRC-16/MCRF4XX: polynomial x^16 + x^12 + x^5 + 1, bits taken in the order of the line, initial value FFFFh,
no final inversion, low byte first; the CRC of ``123456789`` is 6F91h, and a CRC that runs over the two CRC bytes as
well ends at 0. Every odd number of wrong bits, every burst of up to 16 bits and, up to 4,095 bytes, every pair of wrong
bits is found.

Requests:

* ``01h INFO``, no payload. The reply is ``81h INFO``, :class:`InfoReply`: the 64 bytes of the info block,
  :class:`Info`, and four bytes of counters, :class:`LinkCounters`.
* ``02h CLASSIFY``. The payload is one image: :attr:`Info.image_bytes` bytes in the order row, column, channel. With
  images as input a byte is a pixel's value; with events it is the spikes of one (row, column, channel), bit t that of
  timestep t. The reply is ``82h RESULT`` with ``4 + classes`` 32-bit words: the class; the clocks from the last pixel
  to the class; the clocks in which the engine stood still because a pixel of another image was written; the clocks in
  which it waited for the flash, 0 where the weights are in the bitstream; then the score of each class, in two's
  complement. A second image may be sent before the first result came, a third may not; results come in order.
* ``03h SELECT``, on devices that read models from a flash. The payload is one byte, the number of a model. The device
  reads what the flash says of the model; then the reply is ``81h INFO`` with the model's info block and the counters,
  or an error, and then no model is selected. Until that reply a host sends nothing: other frames are swallowed without
  an answer.

What goes wrong is answered with ``84h ERROR``, one byte of payload:

* 1, bad CRC: the frame was altered on the wire (a missing stop bit counts as that). Its tag may be altered too.
* 2, wrong length for this command (for a CLASSIFY: not one image).
* 3, unknown command; SELECT too, on a device whose network is in the bitstream.
* 4, busy: there was no free image buffer when the frame's header came, or, for a SELECT, an image without a result.
* 5, overrun: the device could not take a pixel in time.
* 6, no model: the flash has none of this number, or none is selected.
* 7, wrong model: it was made for another circuit, or in another version of the format.
* 8, damaged: a CRC in the flash is wrong, or an inference did not end.
* 9, flash: the flash does not answer.

An error is reported at the end of its frame, whose payload is swallowed, and the first of this list that holds is
reported. The last four answer a SELECT that failed, and from then on every INFO and CLASSIFY, whatever the length of
the image, until a SELECT succeeds. They also come in place of a RESULT, in the order of the results and under the tag
of the image, when the flash fails during an inference; the next image is tried again. While an INFO or ERROR reply
waits for its turn on the line, a further reply of these kinds is dropped, and the SELECT that it would answer is not
carried out: a host waits for it.

Versions: magic and version are the first five bytes of every reply INFO, whatever its size, so a host looks at them
first and can name both versions.

Resynchronisation: the receiver skips bytes until a sync byte. When 65,536 bit times pass inside a frame without a byte,
the device forgets the frame without an answer and looks for a sync byte again. A byte whose stop bit is missing keeps
its place in the frame; if the line is still low in the middle of the bit that follows, this is the next start bit. A
host that misses its answer therefore keeps silent for longer than the 65,536 bit times, discards what it received, and
sends again under a new tag. Frames under a tag that it does not wait for are the late answers of requests that it gave
up: it ignores them.
"""

from arch.link.frame import (
    BAUD_RATES,
    BYTE_BITS,
    CRC_BYTES,
    CRC_INIT,
    CRC_POLYNOMIAL,
    HEADER_BYTES,
    MAX_MODEL,
    MAX_PAYLOAD_BYTES,
    SYNC,
    TIMEOUT_BITS,
    Command,
    ErrorCode,
    Frame,
    FrameReader,
    LinkError,
    Reply,
    crc16,
)
from arch.link.info import (
    INFO_BYTES,
    INFO_REPLY_BYTES,
    MAGIC,
    MAX_COUNT,
    MAX_EVENT_TIMESTEPS,
    MAX_IMAGE_BYTES,
    NAME_BYTES,
    VERSION,
    Info,
    InfoReply,
    InputEncoding,
    LinkCounters,
    cut_name,
)
from arch.link.result import RESULT_HEADER_WORDS, Result

__all__ = [
    "BAUD_RATES", "BYTE_BITS", "CRC_BYTES", "CRC_INIT", "CRC_POLYNOMIAL", "HEADER_BYTES", "INFO_BYTES",
    "INFO_REPLY_BYTES", "MAGIC", "MAX_COUNT", "MAX_EVENT_TIMESTEPS", "MAX_IMAGE_BYTES", "MAX_MODEL",
    "MAX_PAYLOAD_BYTES", "NAME_BYTES", "RESULT_HEADER_WORDS", "SYNC", "TIMEOUT_BITS", "VERSION", "Command",
    "ErrorCode", "Frame", "FrameReader", "Info", "InfoReply", "InputEncoding", "LinkCounters", "LinkError", "Reply",
    "Result", "crc16", "cut_name",
]  # fmt: skip
