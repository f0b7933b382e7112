"""Files of a build in one archive: the same files are the same bytes."""

import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping

from support.errors import first_line

__all__ = ["MAX_BYTES", "pack", "unpack"]

#: Largest archive that is read, and largest content of one.
MAX_BYTES = 1 << 28

_DATE = (1980, 1, 1, 0, 0, 0)


def pack(files: Mapping[str, bytes]) -> bytes:
    """Return an archive (zip) of files, by name, in their order."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, _DATE), data, zipfile.ZIP_DEFLATED, compresslevel=1)
    return content.getvalue()


def unpack(content: bytes, names: Iterable[str]) -> dict[str, bytes]:
    """Return files of an archive, by name; raises :exc:`ValueError` if one is missing, or it is no archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES:
                raise ValueError(f"its files have more than {MAX_BYTES} bytes")
            there = archive.namelist()
            for name in names:
                if name not in there:
                    raise ValueError(f"it has no {name!r}")
            return {name: archive.read(name) for name in names}
    # Beside what it documents, zipfile raises whatever the fields of its records provoke.
    except (RuntimeError, OSError, EOFError, OverflowError, struct.error, zipfile.BadZipFile, zlib.error,
            lzma.LZMAError) as error:
        raise ValueError(first_line(error)) from None
