"""Files of images and labels: opened, unpacked, and read up to what their header promises.

They are foreign input. Nothing in them is executed, sizes are checked before anything is allocated, and nothing is
unpacked beyond the size that the header promises or :data:`MAX_BYTES`.
"""

import contextlib
import gzip
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import IO

from support.errors import InputError
from support.files import check_regular

__all__ = ["MAX_BYTES", "ImageError", "Progress", "check_size", "opened", "read_exactly", "unpacked"]

#: Most bytes that one file may hold, unpacked.
MAX_BYTES = 2**30
#: Bytes that are read between two reports of progress.
_CHUNK_BYTES = 2**24

#: Told how many bytes of how many have been read.
Progress = Callable[[int, int], None]


class ImageError(InputError):
    """Images or labels are malformed or do not fit the network. The message is one line."""


@contextlib.contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[tuple[IO[bytes], int | None]]:
    """Open a file, through gzip if it is packed.

    Yields
    ------
    The file, and its size in bytes, None if it is packed.

    Raises
    ------
    :exc:`InputError`
        If ``path`` is a folder, a pipe or a device: a reader of the first bytes and then of all needs a file.
    :exc:`OSError`
        If it is missing or must not be read.
    """
    if not os.fspath(path):
        raise InputError("input must be the name of a file, not ''")
    path = pathlib.Path(path)
    status = path.stat()
    # Opening a pipe would wait for a writer: look first.
    check_regular(str(path), status)
    with path.open("rb") as file, unpacked(file, status.st_size) as found:
        yield found


@contextlib.contextmanager
def unpacked(file: IO[bytes], size: int) -> Iterator[tuple[IO[bytes], int | None]]:
    """Look through gzip, if a file of ``size`` bytes is packed with it; yields what :func:`opened` does."""
    packed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    if not packed:
        yield file, size
        return
    with gzip.open(file) as content:
        yield content, None  # type: ignore[misc]


def check_size(size: int | None, promised: int) -> None:
    """Refuse, before allocation, what cannot be in a file of ``size`` bytes; raises :exc:`ImageError`."""
    if size is not None and promised > size:
        raise ImageError(f"truncated: the header promises {promised} bytes, and the file has {size}")


def read_exactly(file: IO[bytes], count: int, *, last: bool = True, progress: Progress | None = None) -> bytearray:
    """Read ``count`` bytes, which a header promises.

    Parameters
    ----------
    file
        The file, unpacked.
    count
        Bytes to read.
    last
        Whether the file must end after them.
    progress
        Told after every 16 MiB.

    Raises
    ------
    :exc:`ImageError`
        If the file is shorter, or longer than that, or ``count`` is more than :data:`MAX_BYTES`.
    """
    if count > MAX_BYTES:
        raise ImageError(f"must hold at most {MAX_BYTES} bytes, not {count}")
    content = bytearray()
    while len(content) < count and (chunk := file.read(min(_CHUNK_BYTES, count - len(content)))):
        content += chunk
        if progress is not None:
            progress(len(content), count)
    if len(content) < count:
        raise ImageError(f"truncated: the header promises {count} bytes, and {len(content)} follow")
    if last and file.read(1):
        raise ImageError(f"must end after the {count} bytes that the header promises")
    return content
