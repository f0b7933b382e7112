"""The netlist of a build: ``netlist.zip``, with all that place and route reads, by the names that it has there."""

import hashlib
import pathlib
from collections.abc import Mapping

from boards import Board
from gateware.reports.archive import MAX_BYTES, unpack
from gateware.reports.folder import NETLIST, REPORT
from support.errors import InputError
from support.files import read_file

__all__ = ["NetlistError", "load_netlist", "read_netlist"]


class NetlistError(InputError):
    """A folder has no netlist of this version, or that of another bitstream."""


def read_netlist(folder: pathlib.Path, *, sha256: str | None) -> bytes:
    """Return the content of the file; arguments and errors are those of :func:`load_netlist`."""
    path = folder / NETLIST
    try:
        content = read_file(path, limit=MAX_BYTES)
    except FileNotFoundError:
        raise NetlistError(f"{folder}: must have the {NETLIST} of its build, which is missing: build the folder again "
                           f"with python -m gateware.build") from None
    if (there := hashlib.sha256(content).hexdigest()) != sha256:
        raise NetlistError(f"{path}: must be the one of the {REPORT} beside it, whose sha256 is {sha256}, not {there}: "
                           f"build the folder again")
    return content


def load_netlist(folder: pathlib.Path, board: Board, *, sha256: str | None) -> Mapping[str, bytes]:
    """Read the netlist in the folder of a build.

    Parameters
    ----------
    folder : :class:`pathlib.Path`
    board : :class:`boards.Board`
        For which the build is.
    sha256 : :class:`str`, optional
        The file's SHA-256, as the report says it.

    Raises
    ------
    :exc:`NetlistError`
        If there is none, or it is not that of the report.
    :exc:`OSError`
        If it cannot be read.
    """
    content = read_netlist(folder, sha256=sha256)
    try:
        return unpack(content, board.fpga.place(seed=1, clock_hz=board.default_clock_hz).inputs)
    except ValueError as error:
        raise NetlistError(f"{folder / NETLIST}: must be a {NETLIST} of this version of python -m gateware.build: "
                           f"{error}: build the folder again") from None
