"""Each report is read as what it is."""

import pytest

from gateware.reports.build import ReportError
from gateware.reports.reader import read_report
from tests.gateware.build.test_report import built
from tests.gateware.reports.overlays import made_report


@pytest.mark.parametrize("report", [built(), made_report()], ids=["network", "overlay"])
def test_a_report_is_read_as_what_it_is(report):
    assert read_report(report.to_json()) == report


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'"flash"', b'{"weights": "flash"}', b'{"weights": "'])
def test_what_is_no_report_is_refused_with_its_name(content):
    with pytest.raises(ReportError, match=r"^build/report\.json: must be a report\.json of python -m gateware\.build"):
        read_report(content, name="build/report.json")
