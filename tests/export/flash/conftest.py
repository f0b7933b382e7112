"""Images do not depend on the reports of overlays that ship, but where a test wants one."""

import pytest

from gateware.reports import prebuilt

#: Where the reports are.
SHIPPED = prebuilt.FOLDER


@pytest.fixture(autouse=True)
def no_report_ships(tmp_path, monkeypatch):
    monkeypatch.setattr(prebuilt, "FOLDER", tmp_path / "no reports")
