"""Reads the report of any bitstream: of a network that is built in, or of an overlay."""

import pathlib

from arch import strict_json
from gateware.reports.folder import REPORT
from gateware.reports.network import Report
from gateware.reports.overlay import WEIGHTS, OverlayReport
from support.errors import InputError, printable
from support.files import read_file

__all__ = ["load_report", "read_report", "report_in"]

#: Largest report that is read, in bytes.
_MAX_BYTES = 1 << 24


def read_report(content: bytes, *, name: str = "report") -> Report | OverlayReport:
    """Read a ``report.json``.

    Parameters
    ----------
    content
        The file's content.
    name
        The file, for messages.

    Raises
    ------
    :exc:`gateware.reports.build.ReportError`
        If it is no report.
    """
    try:
        values = strict_json.parse(content)
    except ValueError:
        # The reader of reports says what is wrong.
        values = None
    if isinstance(values, dict) and values.get("weights") == WEIGHTS:
        return OverlayReport.from_json(content, name=name)
    return Report.from_json(content, name=name)


def load_report(path: pathlib.Path) -> Report | OverlayReport:
    """Read the file of a report; errors are those of :func:`read_report`, and :exc:`OSError`."""
    return read_report(read_file(path, limit=_MAX_BYTES), name=printable(str(path)))


def report_in(folder: pathlib.Path, *, option: str = "") -> Report | OverlayReport:
    """Read the report in the folder of a build.

    Parameters
    ----------
    folder : :class:`pathlib.Path`
    option : :class:`str`
        The option that gives the folder, for messages.

    Raises
    ------
    :exc:`support.errors.InputError`
        If the folder has no report, or what is there is none.
    :exc:`OSError`
        If it cannot be read.
    """
    try:
        return load_report(folder / REPORT)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{printable(str(folder))}: must be a folder in which python -m gateware.build has built a "
                         f"bitstream, with a {REPORT}, which is missing: build it, or give another folder"
                         f"{option and f' with {option}'}") from None
