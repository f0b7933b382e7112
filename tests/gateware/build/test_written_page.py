"""The page beside the report: written where its packages are, and else one line that says what to install."""

import builtins
import sys

import pytest

from gateware.build.written_page import write_page
from gateware.reports.folder import PAGE
from tests.gateware.build.page.conftest import overlay_report, report_of


@pytest.mark.parametrize("report", [report_of(), overlay_report()])
def test_the_page_is_written(tmp_path, report):
    assert write_page(tmp_path, report, network=None) == f"wrote {tmp_path}/report.html, the report as a page"
    assert b"<h1>" in (tmp_path / PAGE).read_bytes()


def without(monkeypatch, package):
    """Let ``package`` be missing where modules of the page are imported anew."""
    for name in [name for name in sys.modules if name.startswith("gateware.build.page")]:
        monkeypatch.delitem(sys.modules, name)
    real = builtins.__import__

    def importing(name, *arguments, **options):
        if name.partition(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", importing)


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_without_a_package_one_line_says_what_to_install(tmp_path, monkeypatch, package):
    without(monkeypatch, package)
    assert write_page(tmp_path, report_of(), network=None) == (
        f"no report.html was written, because {package} is not installed: pip install '.[report]', and then python -m "
        f"gateware.build.page {tmp_path}")
    assert list(tmp_path.iterdir()) == []


def test_another_missing_module_is_a_mistake_of_ours(tmp_path, monkeypatch):
    without(monkeypatch, "PIL")
    with pytest.raises(ModuleNotFoundError):
        write_page(tmp_path, report_of(), network=None)
