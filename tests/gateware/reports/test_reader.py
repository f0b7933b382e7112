"""Each report is read as what it is."""

import pytest

from gateware.reports import reader
from gateware.reports.build import ReportError
from gateware.reports.reader import load_report, read_report, report_in
from support.errors import InputError
from tests.gateware.build.test_report import built
from tests.gateware.reports.overlays import made_report


@pytest.mark.parametrize("report", [built(), made_report()], ids=["network", "overlay"])
def test_a_report_is_read_as_what_it_is(report):
    assert read_report(report.to_json()) == report


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'"flash"', b'{"weights": "flash"}', b'{"weights": "'])
def test_what_is_no_report_is_refused_with_its_name(content):
    with pytest.raises(ReportError, match=r"^build/report\.json: must be a report\.json of python -m gateware\.build"):
        read_report(content, name="build/report.json")


def test_a_file_is_read_up_to_a_limit_and_named_in_errors(tmp_path, monkeypatch):
    path = tmp_path / "report.json"
    path.write_bytes(built().to_json())
    assert load_report(path) == report_in(tmp_path) == built()
    monkeypatch.setattr(reader, "_MAX_BYTES", path.stat().st_size - 1)
    with pytest.raises(InputError, match=rf"^{path}: "):
        load_report(path)
    path.write_text("{}")
    with pytest.raises(ReportError, match=rf"^{path}: must be a report\.json of python -m gateware\.build: "):
        load_report(path)


@pytest.mark.parametrize(("options", "end"), [({}, "folder"), ({"option": "--build"}, "folder with --build")])
def test_a_folder_without_a_report_is_said(tmp_path, options, end):
    with pytest.raises(InputError, match=(
            rf"^{tmp_path}: must be a folder in which python -m gateware\.build has built a bitstream, with a "
            rf"report\.json, which is missing: build it, or give another {end}$")):
        report_in(tmp_path, **options)
