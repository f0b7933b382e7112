"""Files: inputs that anybody may have made, and outputs that are whole or not there.

:func:`read_file` opens what a user names as an input. It waits for nothing and reads no more than it was allowed to.

:func:`check_output` is asked before the work begins; :func:`write_atomically`, :func:`write_all` and :func:`write_with`
write at its end. A file is written beside its place under a name of its own, flushed to the disk and renamed, so that
an interruption leaves the old content or none. A symbolic link is followed: its target is replaced, not the link.
"""

import contextlib
import errno
import fcntl
import os
import pathlib
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping

from support.errors import InputError

__all__ = ["check_output", "check_output_folder", "check_regular", "locked", "read_file", "write_all",
           "write_atomically", "write_with"]

_Path = str | os.PathLike[str]

#: Bytes that are read at a time of a file that has more of them than it said.
_CHUNK_BYTES = 2**20


@contextlib.contextmanager
def _named(path: _Path) -> Iterator[None]:
    """Let an operating system's error name the file that the user knows, not the temporary one beside it."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), os.fspath(path)) from error


def read_file(path: _Path, *, limit: int) -> bytes:
    """Return the content of the file ``path``, which may be anything.

    Parameters
    ----------
    path
        The file.
    limit
        Most bytes that it may have; no more are read.

    Raises
    ------
    :exc:`InputError`
        If ``path`` is a folder, a device, a pipe or a socket, or too long.
    :exc:`OSError`
        If it is missing or must not be read; with the name ``path``.
    """
    name = os.fspath(path)
    if not name:
        raise InputError("input must be the name of a file, not ''")
    # Opening a pipe would wait for a writer, and opening a device may do anything: look first.
    check_regular(name, pathlib.Path(name).stat())
    with _named(path), open(name, "rb", opener=lambda file, flags: os.open(file, flags | os.O_NONBLOCK)) as file:
        found = os.fstat(file.fileno())
        check_regular(name, found)
        if found.st_size > limit:
            raise InputError(f"{name}: file must be at most {limit} bytes, not {found.st_size}")
        # Python takes the memory of what may come before it reads, and a limit may be more than the computer has.
        content = file.read(min(found.st_size, limit) + 1)
        while len(content) <= limit and (more := file.read(min(_CHUNK_BYTES, limit + 1 - len(content)))):
            content += more
    if len(content) > limit:
        raise InputError(f"{name}: file must be at most {limit} bytes, and grows")
    return content


def check_regular(name: str, found: os.stat_result) -> None:
    """Raise :exc:`InputError` unless what was found under ``name`` is a file: no folder, device, pipe or socket."""
    if not stat.S_ISREG(found.st_mode):
        kind = "folder" if stat.S_ISDIR(found.st_mode) else "device, pipe or socket"
        raise InputError(f"{name}: input must be a file, not a {kind}")


def check_output(path: _Path, *, inputs: Iterable[_Path] = ()) -> None:
    """Check that a file can be written to ``path``.

    Parameters
    ----------
    path
        Where the file is to be.
    inputs
        Files that the command reads: none of them may be the output, under whatever name.

    Raises
    ------
    :exc:`InputError`
        If ``path`` is a folder, a device, a pipe or a socket, one of the inputs, or in no folder that can be written.
    """
    target = pathlib.Path(path)
    name = os.fspath(path)
    if not name:
        raise InputError("output must be the name of a file, not ''")
    try:
        found = target.stat()
    except FileNotFoundError:
        found = None
    except OSError as error:
        raise InputError(f"{name}: {error.strerror}") from None
    if found is not None and not stat.S_ISREG(found.st_mode):
        kind = "folder" if stat.S_ISDIR(found.st_mode) else "device, pipe or socket"
        raise InputError(f"{name}: output must be a file, not a {kind}")
    for other in inputs:
        if found is not None and pathlib.Path(other).exists() and target.samefile(other):
            raise InputError(f"{name}: output must not be the input {os.fspath(other)}: give another name")
    folder = target.resolve().parent
    if not folder.is_dir():
        raise InputError(f"{name}: folder {folder} must exist")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{name}: folder {folder} must be writable")


def check_output_folder(path: _Path) -> None:
    """Check that ``path`` is a folder that can be written, or can be made; raises :exc:`InputError`."""
    folder = pathlib.Path(path)
    if not os.fspath(path):
        raise InputError("output must be the name of a folder, not ''")
    if folder.is_symlink() and not folder.exists():
        raise InputError(f"{os.fspath(path)}: output must be a folder, not a link to nowhere")
    existing = folder.resolve()
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir():
        what = "output" if existing == folder.resolve() else str(existing)
        raise InputError(f"{os.fspath(path)}: {what} must be a folder, not a file")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(f"{os.fspath(path)}: folder {existing} must be writable")


def _temporary(target: pathlib.Path) -> pathlib.Path:
    return target.with_name(f".{target.name[:64]}.{secrets.token_hex(6)}")


def write_with(path: _Path, write: Callable[[pathlib.Path], object]) -> None:
    """Let ``write`` make a file under the name that it is given, and move it to ``path``.

    The name has the suffix of ``path``, by which libraries choose a format. Raises :exc:`InputError` as of
    :func:`check_output`, and :exc:`OSError` with the name ``path``.
    """
    check_output(path)
    target = pathlib.Path(path).resolve()
    temporary = target.with_name(f".{target.stem[:64]}.{secrets.token_hex(6)}{target.suffix}")
    try:
        with _named(path):
            write(temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: _Path, content: bytes) -> None:
    """Write ``content`` to ``path``; raises as :func:`write_with`."""
    write_with(path, lambda temporary: temporary.write_bytes(content))


def _keep(target: pathlib.Path, copy: pathlib.Path) -> None:
    """Give the content of ``target`` a second name."""
    try:
        os.link(target, copy)
    except OSError:
        # Not every file system has links.
        shutil.copy2(target, copy)


def write_all(contents: Mapping[_Path, bytes]) -> None:
    """Write several files, all or none: what was there before comes back if one of them fails.

    The folders must exist. Raises as :func:`write_with`.
    """
    for path in contents:
        check_output(path)
    targets = {path: pathlib.Path(path).resolve() for path in contents}
    if len(set(targets.values())) < len(targets):
        raise InputError(f"outputs must be different files, not {', '.join(os.fspath(path) for path in contents)}")
    staged: dict[_Path, pathlib.Path] = {}
    kept: dict[_Path, pathlib.Path] = {}
    placed: list[_Path] = []
    try:
        for path, content in contents.items():
            with _named(path):
                staged[path] = _temporary(targets[path])
                with staged[path].open("xb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
        for path, target in targets.items():
            with _named(path):
                if target.exists():
                    kept[path] = _temporary(target)
                    _keep(target, kept[path])
                staged[path].replace(target)
                placed.append(path)
    except BaseException:
        for path in placed:
            if path in kept:
                kept[path].replace(targets[path])
            else:
                targets[path].unlink(missing_ok=True)
        raise
    finally:
        for leftover in (*staged.values(), *kept.values()):
            leftover.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path: _Path, *, busy: str | None = None) -> Iterator[None]:
    """Hold the exclusive lock ``path``, a file that is made if need be and stays.

    Parameters
    ----------
    path
        The lock.
    busy
        What to say if another process holds it, as an :exc:`InputError`; None waits instead.
    """
    with pathlib.Path(path).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy is not None else 0))
        except OSError as error:
            if busy is None or error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            raise InputError(busy) from None
        yield
