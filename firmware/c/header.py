"""The constants of the host link as a header for C, made from :mod:`arch.link`."""

import dataclasses
import enum
from collections.abc import Iterator, Mapping

from arch import link
from arch.link import Command, ErrorCode, Info, InfoReply, InputEncoding, LinkCounters, Reply

__all__ = ["field_places", "header"]

#: An info block, and for each field a value that differs from its in every byte.
_LOW = Info(lanes=1, width=1, circuit_timesteps=1, timesteps=1, encoding=InputEncoding.UNSIGNED, channels=1,
            image_height=0x0101, image_width=1, classes=0x0101, clock_khz=0x01010101, digest=bytes(8))
_HIGH: Mapping[str, object] = {
    "lanes": 2, "width": 2, "circuit_timesteps": 2, "timesteps": 2, "encoding": InputEncoding.OFFSET, "channels": 2,
    "image_height": 0x0202, "image_width": 0x0101, "classes": 0x0202, "clock_khz": 0x02020202,
    "digest": bytes(range(1, 9)), "version": link.VERSION + 1, "name": "x" * link.NAME_BYTES,
}
#: The height and the width of the block with which the width is looked for: an image may not have too many bytes.
_NARROW = {"image_height": 1, "image_width": 0x0202}

_HEAD = """\
/* Constants of the protocol between a host and the accelerator (docs/formats.md).
 * Made by `python -m firmware.c` from arch/link: change them there.
 */
#ifndef STERNA_LINK_H
#define STERNA_LINK_H
"""
_TAIL = """
#endif
"""


def field_places() -> dict[str, tuple[int, int]]:
    """Return offset and size in bytes of each field of the reply INFO, in their order.

    They are asked of :meth:`arch.link.InfoReply.to_bytes` itself: a field lies where two replies differ that differ in
    it.

    >>> field_places()["image_height"]
    (10, 2)
    """
    pairs = {}
    for name, other in _HIGH.items():
        first = dataclasses.replace(_LOW, **(_NARROW if name == "image_width" else {}))  # type: ignore[arg-type]
        second = dataclasses.replace(first, **{name: other})  # type: ignore[arg-type]
        pairs[name] = InfoReply(info=first), InfoReply(info=second)
    for counter in dataclasses.fields(LinkCounters):
        counted = LinkCounters(**{counter.name: link.MAX_COUNT})
        pairs[counter.name] = InfoReply(info=_LOW), InfoReply(info=_LOW, counters=counted)
    places = {}
    for name, (one, two) in pairs.items():
        differing = [at for at, (was, now) in enumerate(zip(one.to_bytes(), two.to_bytes(), strict=True)) if was != now]
        places[name] = differing[0], len(differing)
    return dict(sorted(places.items(), key=lambda place: place[1]))


def _defines() -> Iterator[tuple[str, str, str]]:
    """Yield name, value and meaning of each constant."""
    yield "VERSION", str(link.VERSION), "version of the protocol"
    yield "SYNC", f"0x{link.SYNC:02X}", "first byte of every frame"
    yield "HEADER_BYTES", str(link.HEADER_BYTES), "of a frame before its payload"
    yield "CRC_BYTES", str(link.CRC_BYTES), "of a frame behind its payload"
    yield "CRC_INIT", f"0x{link.CRC_INIT:04X}", "CRC-16/MCRF4XX, in the bit order of the line"
    yield "CRC_POLYNOMIAL", f"0x{link.CRC_POLYNOMIAL:04X}", ""
    yield "MAX_IMAGE_BYTES", str(link.MAX_IMAGE_BYTES), "of an image: it is the payload of one frame"
    yield "MAX_CLASSES", str(link.MAX_PAYLOAD_BYTES // 4 - link.RESULT_HEADER_WORDS), "of a network"
    yield "MAX_EVENT_TIMESTEPS", str(link.MAX_EVENT_TIMESTEPS), "of events: a byte has one bit for each"
    yield "RESULT_HEADER_WORDS", str(link.RESULT_HEADER_WORDS), "of a result, before the scores"
    yield "TIMEOUT_BITS", str(link.TIMEOUT_BITS), "of silence, after which the device gives up a frame"
    yield "MAGIC", f"0x{int.from_bytes(link.MAGIC, 'little'):08X}", "first word of the info block"
    yield "INFO_REPLY_BYTES", str(link.INFO_REPLY_BYTES), "of the reply INFO: the info block and counters"
    yield "NAME_BYTES", str(link.NAME_BYTES), "of the name of the network in it"
    yield "MAX_COUNT", str(link.MAX_COUNT), "at which a counter of faults stays"


def _enumeration(name: str, prefix: str, values: type[enum.IntEnum], meaning: str) -> Iterator[str]:
    yield f"\n/* {meaning} */\nenum {name} {{"
    yield from (f"    STERNA_{prefix}_{entry.name} = {entry.value}," for entry in values)
    yield "};"


def header() -> str:
    """Return the text of ``sterna_link.h``, with a line break at its end."""
    lines = [_HEAD]
    for name, value, meaning in _defines():
        lines.append(f"#define STERNA_{name} {value}" + (f" /* {meaning} */" if meaning else ""))
    lines.append("\n/* Where the fields of the reply INFO begin, in bytes. */")
    places = field_places()
    lines += [f"#define STERNA_AT_{name.upper()} {offset}" for name, (offset, _) in places.items()]
    lines.append(f"#define STERNA_DIGEST_BYTES {places['digest'][1]}")
    lines += _enumeration("sterna_command", "ASK", Command, "What a host asks for.")
    lines += _enumeration("sterna_reply", "REPLY", Reply, "What the device answers.")
    lines += _enumeration("sterna_encoding", "ENCODING", InputEncoding, "What a byte of an image means.")
    lines += _enumeration("sterna_refusal", "REFUSED", ErrorCode, "Why the device refuses a request.")
    return "\n".join(lines) + _TAIL
