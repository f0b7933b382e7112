"""Files of data sets, which come from elsewhere: unpacked up to a limit, compared with a digest, fetched."""

import gzip
import hashlib
import http.client
import pathlib
import tempfile
import urllib.request
import zlib
from collections.abc import Callable

from support.errors import first_line
from train.datasets.dataset import DataError, UnofficialError

__all__ = ["MAX_BYTES", "check_md5", "fetch", "unpacked"]

#: Largest file, packed or unpacked, in bytes: the official ones have up to 185 MB.
MAX_BYTES = 2**28


def unpacked(path: pathlib.Path) -> bytes:
    """Return the content of a file, unpacked if it is gzip; raises :exc:`DataError`."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise DataError(f"{path}: gzip data is truncated or damaged") from None
    if len(content) > MAX_BYTES:
        raise DataError(f"{path}: file must have at most {MAX_BYTES} bytes unpacked")
    return content


def check_md5(path: pathlib.Path, digest: str, content: bytes | None = None) -> None:
    """Raise :exc:`UnofficialError` unless the file, or its unpacked ``content``, has the MD5 ``digest``."""
    if content is None:
        with path.open("rb") as file:
            found, what = hashlib.file_digest(file, _md5).hexdigest(), "file"
    else:
        found, what = _md5(content).hexdigest(), "unpacked file"
    if found != digest:
        raise UnofficialError(path, f"MD5 of the {what} must be {digest}, not {found}")


def _md5(content: bytes = b"") -> "hashlib._Hash":
    # MD5 is what the sources publish; it finds damage, not malice, so that a FIPS build of Python may allow it.
    return hashlib.md5(content, usedforsecurity=False)


def fetch(url: str, path: pathlib.Path, check: Callable[[pathlib.Path], object]) -> None:
    """Download ``url``, let ``check`` look at it, and only then give it the name ``path``; raises :exc:`DataError`."""
    with tempfile.TemporaryDirectory(dir=path.parent) as temporary:
        fetched = pathlib.Path(temporary) / path.name
        try:
            with urllib.request.urlopen(url, timeout=60) as response:
                fetched.write_bytes(response.read(MAX_BYTES))
        # An answer that ends early is no OSError; those of urllib and of sockets are.
        except (OSError, http.client.HTTPException) as error:
            raise DataError(f"{url}: cannot be downloaded ({first_line(error)}); give the files with "
                            f"--data DIR") from None
        try:
            check(fetched)
        except UnofficialError as error:
            raise DataError(f"{url}: {error.fault}; give the official files with --data DIR") from None
        fetched.replace(path)
