"""Writes the page of a build beside its report, where what makes it is installed."""

import pathlib

from gateware.reports.build import BuildReport
from gateware.reports.folder import PAGE
from gateware.reports.network import Report
from gateware.reports.overlay import OverlayReport
from support.errors import printable
from support.files import write_atomically

__all__ = ["write_page"]

#: Packages of the extra ``report``, and one that comes with them.
_PACKAGES = ("jinja2", "markupsafe", "matplotlib")


def write_page(folder: pathlib.Path, report: BuildReport, *, network: pathlib.Path | None) -> str:
    """Write ``report.html`` into the folder of a build.

    Parameters
    ----------
    folder : :class:`pathlib.Path`
    report : :class:`gateware.reports.network.Report` or :class:`gateware.reports.overlay.OverlayReport`
        What is in its ``report.json``.
    network : :class:`pathlib.Path`, optional
        The network that was built in, if the command named one.

    Returns
    -------
    The line that says what was written, or what to install.
    """
    assert isinstance(report, Report | OverlayReport)
    try:
        # Here, because a build needs none of these packages, and its start must not wait for them.
        from gateware.build.page.rendering import render
        from gateware.build.page.subject import Evidence, subject_of
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _PACKAGES:
            raise
        return (f"no {PAGE} was written, because {package} is not installed: pip install '.[report]', and then "
                f"python -m gateware.build.page {printable(str(folder))}")
    text = render(subject_of(folder, report, Evidence(network=network)))
    write_atomically(folder / PAGE, text.encode("utf-8", "backslashreplace"))
    return f"wrote {printable(str(folder / PAGE))}, the report as a page"
