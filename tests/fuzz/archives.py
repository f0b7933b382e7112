"""Zip archives that somebody altered who knows the format (PKWARE APPNOTE 6.3.10, sections 4.3.7, 4.3.12, 4.3.16)."""

import io
import random
import struct
import zipfile
from collections.abc import Callable

from tests.fuzz.mutations import hostile_integer

__all__ = ["forge_archive", "repacked"]

_Members = list[tuple[zipfile.ZipInfo, bytes]]
_NAMES = ("images.npy", "labels.npy", "../../images.npy", "/etc/passwd", "images.npy/", "", "a\nb.npy", "\x1b[2J.npy",
          "é.npy", "x" * 5000, "circuit.json", "sterna.asc", "C:\\a.npy", "\u202e.npy")
#: Offsets in an entry of the central directory, each with the bytes of the field.
_FIELDS = ((4, 2), (6, 2), (8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (32, 2), (34, 2), (38, 4),
           (42, 4))


def _members(content: bytes) -> _Members:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [(info, archive.read(info)) for info in archive.infolist()]


def _packed(members: _Members) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for old, data in members:
            info = zipfile.ZipInfo(old.filename, (1980, 1, 1, 0, 0, 0))
            info.external_attr = old.external_attr
            archive.writestr(info, data, old.compress_type, compresslevel=1)
    return made.getvalue()


def repacked(content: bytes, rng: random.Random, change: Callable[[bytes], bytes], name: str | None = None) -> bytes:
    """Change one member of the archive, that with a ``name`` or any, and pack all again with right CRCs."""
    members = _members(content)
    number = rng.choice([number for number, (info, _) in enumerate(members) if name in (None, info.filename)])
    info, data = members[number]
    members[number] = info, change(data)
    return _packed(members)


def _forge_members(rng: random.Random, content: bytes) -> bytes:
    """Name a member otherwise, add one, leave one out, make one a link or a bomb, or pack it in another way."""
    members = _members(content)
    number = rng.randrange(len(members))
    info, data = members[number]
    how = rng.randrange(6)
    if how == 0:
        info.filename = rng.choice(_NAMES)
    elif how == 1:
        members += [(zipfile.ZipInfo(f"{rng.choice(_NAMES)}{count or ''}"), data)
                    for count in range(rng.choice((1, 2, 50)))]
    elif how == 2:
        del members[number]
    elif how == 3:
        info.external_attr = 0o120777 << 16
    elif how == 4:
        members[number] = info, data + bytes(rng.choice((1, 2**16, 2**23)))
    else:
        info.compress_type = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    # zipfile warns of a name that is there twice.
    names: set[str] = set()
    return _packed([(info, data) for info, data in members
                    if info.filename not in names and not names.add(info.filename)])  # type: ignore[func-returns-value]


def _forge_directory(rng: random.Random, content: bytes) -> bytes:
    """Alter a field of the central directory, of the local headers or of the last record."""
    made = bytearray(content)
    how = rng.randrange(8)
    if how == 0:
        at = content.rindex(b"PK\5\6") + rng.choice((4, 6, 8, 10, 12, 14, 16, 18, 20))
        size = min(rng.choice((2, 4)), len(content) - at)
    elif how == 1:
        at, size = content.index(b"PK\3\4") + rng.choice((4, 6, 8, 14, 18, 22, 26, 28)), 2
    else:
        entries = [at for at in range(len(content) - 46) if content[at:at + 4] == b"PK\1\2"]
        offset, size = rng.choice(_FIELDS)
        at = rng.choice(entries) + offset
    old = int.from_bytes(content[at:at + size], "little")
    new = rng.choice((hostile_integer(rng), old + 1, old - 1, old ^ 1, 1, 8, 12, 14, 98, 99))
    made[at:at + size] = struct.pack("<Q", new % 2**64)[:size]
    return bytes(made)


def forge_archive(rng: random.Random, content: bytes) -> bytes:
    """Alter the members of an archive or what its headers say of them."""
    return rng.choice((_forge_members, _forge_directory))(rng, content)
