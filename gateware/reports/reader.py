"""Reads the report of any bitstream: of a network that is built in, or of an overlay."""

from arch import strict_json
from gateware.reports.network import Report
from gateware.reports.overlay import WEIGHTS, OverlayReport

__all__ = ["read_report"]


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
