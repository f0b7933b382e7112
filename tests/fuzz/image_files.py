"""Images and labels: idx, npy, npz, PNG, and what is packed with gzip."""

import gzip
import pathlib
import random
import re
import struct
import zlib
from typing import Any

import numpy as np

from arch.images import load_images, load_labels
from arch.network import Encoding
from tests.fuzz.archives import forge_archive, repacked
from tests.fuzz.kinds import Kind, Sample
from tests.fuzz.mutations import damage_bytes, hostile_integer
from tests.image_files import chunk, idx, make_network, npy, npz, png, raw_png

__all__ = ["KINDS"]

_RNG = np.random.default_rng(0xF17E)
_PIXELS = _RNG.integers(0, 256, (3, 4, 5), dtype=np.uint8)
_COLOURS = _RNG.integers(0, 256, (4, 5, 3), dtype=np.uint8)
_EVENTS = _RNG.integers(0, 2, (2, 2, 2, 4, 5), dtype=np.uint8)
_LABELS = np.array([3, 0, 9, 1], dtype=np.uint8)
_CLASSES = 10


def _images(content: bytes, **network: Any) -> Sample:
    takes = make_network(**network)
    events = takes.input.encoding is Encoding.EVENTS

    def check(found: Any, content: bytes) -> None:
        assert found.dtype == (np.bool_ if events else np.uint8)
        assert found.shape[1:] == ((takes.timesteps, *takes.input.shape) if events else takes.input.shape)
        assert 1 <= len(found) <= 1000
        assert not events or set(np.unique(found.view(np.uint8))) <= {0, 1}

    return Sample(content=content, read=lambda path: load_images(path, takes), check=check,
                  identity=lambda found: (found.shape, found.tobytes()))


def _labels(content: bytes) -> Sample:
    def check(found: Any, content: bytes) -> None:
        assert found.dtype == np.int64
        assert found.ndim == 1
        assert len(found) <= 10_000
        assert ((found >= 0) & (found < _CLASSES)).all()

    return Sample(content=content, read=lambda path: load_labels(path, classes=_CLASSES), check=check,
                  identity=lambda found: found.tolist())


def _idx(folder: pathlib.Path) -> list[Sample]:
    return [_images(idx(_PIXELS)), _images(idx(_EVENTS), encoding=Encoding.EVENTS, channels=2), _labels(idx(_LABELS)),
            _labels(idx(_LABELS.astype(">i4"), code=0x0C))]


def _forge_idx(rng: random.Random, content: bytes) -> bytes:
    """Give a dimension another size, often one whose product overflows, or the file another number of dimensions."""
    header = bytearray(content[:4 + 4 * content[3]])
    for _ in range(rng.choice((1, 1, 2, 3))):
        if rng.randrange(4) == 0:
            header[rng.choice((2, 3))] = rng.choice((0, 1, 3, 5, 6, 8, 9, 0x0B, 0x0C, 0x0D, 0x0E, 255))
        else:
            at = 4 + 4 * rng.randrange(content[3])
            header[at:at + 4] = struct.pack(">I", hostile_integer(rng) % 2**32)
    return bytes(header) + content[len(header):]


def _npy(folder: pathlib.Path) -> list[Sample]:
    return [_images(npy(_PIXELS)), _images(npy(np.asfortranarray(_PIXELS), version=(2, 0))),
            _images(npy(_EVENTS.astype(bool)), encoding=Encoding.EVENTS, channels=2), _labels(npy(_LABELS)),
            _labels(npy(_LABELS.astype(">i8")))]


_DESCRIPTIONS = ("|u1", "<u2", ">i8", "|b1", "<f8", "|O", "|V8", "<U4", "|S3", "<m8[ns]", "u1,u1", "(3,)u1", "", "x",
                 "|u0", "<c16", "[('a', '<i4')]", "|u1" * 300, "\x00", "é")


def _shape(rng: random.Random) -> str:
    sizes = [str(hostile_integer(rng)) for _ in range(rng.choice((0, 1, 2, 3, 4, 33, 65, 400)))]
    return rng.choice((f"({', '.join(sizes)},)", f"({', '.join(sizes)})", f"[{', '.join(sizes)}]", "None", "3", "'3'",
                       "(3.0, 4, 5)", "(True, 4, 5)", "(3, (4, 5))", f"({'9' * 5000},)", "(" * 150 + ")" * 150,
                       "(-3, -4, 5)", "(3, 4, 5) if 1 else ()", "(10**9,)", "(3, 4, 5, 0, 4611686018427387904)"))


def _forge_npy(rng: random.Random, content: bytes) -> bytes:
    """Alter type, order, shape or text of the header, and mend its length."""
    two = content[6] == 2
    start = 12 if two else 10
    end = start + int.from_bytes(content[8:start], "little")
    text = content[start:end].decode("latin1")
    how = rng.randrange(5)
    if how == 0:
        text = re.sub(r"'descr': '[^']*'", lambda _: f"'descr': {rng.choice(_DESCRIPTIONS)!r}", text)
    elif how == 1:
        text = text.replace("False", rng.choice(("True", "None", "0", "'x'"))).replace("True", "False")
    elif how == 2:
        text = damage_bytes(rng, text.encode("latin1")).decode("latin1")
    else:
        text = re.sub(r"'shape': \(.*\)", lambda _: f"'shape': {_shape(rng)}", text)
    header = text.encode("latin1", "replace")[:60_000]
    return content[:8] + len(header).to_bytes(4 if two else 2, "little") + header + content[end:]


def _npz(folder: pathlib.Path) -> list[Sample]:
    return [_images(npz(anything=_PIXELS)), _images(npz(images=_PIXELS, labels=_LABELS)), _labels(npz(labels=_LABELS)),
            _images(npz(images=_EVENTS), encoding=Encoding.EVENTS, channels=2)]


def _forge_member(rng: random.Random, content: bytes) -> bytes:
    """Alter an array of the archive, and mend its CRC."""
    return repacked(content, rng, lambda data: rng.choice((_forge_npy, damage_bytes))(rng, data))


def _packed(folder: pathlib.Path) -> list[Sample]:
    return [_images(gzip.compress(idx(_PIXELS), mtime=0)), _images(gzip.compress(npy(_PIXELS), mtime=0)),
            _labels(gzip.compress(idx(_LABELS), mtime=0))]


def _forge_packed(rng: random.Random, content: bytes) -> bytes:
    """Alter what is packed, or pack twice, or append another member or a bomb of zeros."""
    inner = gzip.decompress(content)
    how = rng.randrange(6)
    if how == 0:
        return content + gzip.compress(inner, mtime=0)
    if how == 1:
        return gzip.compress(content, mtime=0)
    if how == 2:
        return content + gzip.compress(bytes(rng.choice((1, 2**16, 2**23))), compresslevel=1, mtime=0)
    forge = damage_bytes if how == 3 else _forge_npy if inner.startswith(b"\x93") else _forge_idx
    return gzip.compress(forge(rng, inner), compresslevel=1, mtime=0)


def _png(folder: pathlib.Path) -> list[Sample]:
    rows = [list(range(number, number + 5)) for number in range(4)]
    colour = {"channels": 3}
    return [_images(png(_PIXELS[0])), _images(png(_COLOURS), **colour), _images(raw_png(rows, size=(5, 4))),
            _images(raw_png([[1, 2, 3] * 5] * 4, size=(5, 4), colour=2, extra=chunk(b"tEXt", b"a\0b")), **colour)]


def _chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 8
    while at < len(content):
        size = int.from_bytes(content[at:at + 4], "big")
        found.append((content[at + 4:at + 8], content[at + 8:at + 8 + size]))
        at += 12 + size
    return found


#: Chunks that a decoder looks into, with contents that are too short, too long or none (PNG, section 11.3).
_EXTRA = (b"tRNS", b"PLTE", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"tEXt", b"zTXt", b"iTXt", b"bKGD", b"pHYs", b"sBIT",
          b"sPLT", b"hIST", b"tIME", b"eXIf", b"acTL", b"fcTL", b"fdAT", b"cICP", b"CgBI", b"ABCD", b"abcd",
          b"\0\0\0\0", b"IHDR", b"IEND", b"IDAT")


def _extra(rng: random.Random) -> tuple[bytes, bytes]:
    packed = b"name\0\0" + zlib.compress(bytes(rng.choice((10, 2**22))), 1)
    return rng.choice(_EXTRA), rng.choice((b"", b"\0", rng.randbytes(rng.randint(1, 40)), packed,
                                           b"name\0\1\0\0\0" + packed[6:], b"\xff" * 13, b"\0\0\0\2\0\0\0\0"))


def _forge_png(rng: random.Random, content: bytes) -> bytes:
    """Alter, double, leave out, add or move chunks, or the rows of pixels, and mend CRCs."""
    chunks = _chunks(content)
    for _ in range(rng.choice((1, 1, 2))):
        number = rng.randrange(len(chunks))
        kind, data = chunks[number]
        how = rng.randrange(7)
        if how == 0:
            chunks[number] = kind, damage_bytes(rng, data)
        elif how == 1 and kind == b"IHDR" and len(data) == 13:
            fields = list(struct.unpack(">IIBBBBB", data))
            fields[rng.randrange(7)] = hostile_integer(rng)
            chunks[number] = kind, struct.pack(">IIBBBBB", *(field % (2**32 if place < 2 else 256)
                                                            for place, field in enumerate(fields)))
        elif how == 2:
            chunks.insert(number, _extra(rng))
        elif how == 3:
            chunks.insert(rng.randrange(len(chunks)), chunks[number])
        elif how == 4 and len(chunks) > 1:
            del chunks[number]
        elif how == 5:
            rng.shuffle(chunks)
        else:
            chunks = [(name, _repacked_rows(rng, body) if name == b"IDAT" else body) for name, body in chunks]
    return content[:8] + b"".join(chunk(kind, data) for kind, data in chunks)


def _repacked_rows(rng: random.Random, packed: bytes) -> bytes:
    try:
        rows = zlib.decompress(packed)
    except zlib.error:
        return packed
    made = rng.choice((lambda: damage_bytes(rng, rows), lambda: rows + bytes(2**22), lambda: rows[:-1]))()
    return zlib.compress(made, 1)


KINDS = (
    Kind(name="idx", samples=_idx, forgeries=(_forge_idx,), protected=False),
    Kind(name="npy", samples=_npy, forgeries=(_forge_npy,), protected=False),
    Kind(name="npz", samples=_npz, forgeries=(_forge_member, forge_archive), suffix=".npz"),
    Kind(name="gzip", samples=_packed, forgeries=(_forge_packed,), suffix=".gz"),
    Kind(name="png", samples=_png, forgeries=(_forge_png,), suffix=".png"),
)
