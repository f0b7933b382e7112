"""Each report is read as what it is."""

import dataclasses

import pytest

from arch.strict_json import short
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


@pytest.mark.parametrize(("changes", "reason"), [
    ({"clock_mhz": 0.0}, "clock_mhz must be 0.001 to 10000, not 0.0"),
    ({"clock_mhz": 1e308}, "clock_mhz must be 0.001 to 10000, not 1e+308"),
    ({"clock_mhz": 5e-324}, "clock_mhz must be 0.001 to 10000, not 5e-324"),
    ({"fmax_mhz": [50.0, 0.0]}, "fmax_mhz 1 must be 0.001 to 10000, not 0.0"),
    *(({key: 0}, f"{key} must be 1 to 1e+15, not 0") for key in ("lc_total", "lanes", "width", "timesteps", "baud",
                                                                "sop_per_cycle")),
    ({"lc": -1}, "lc must be 0 to 1e+15, not -1"),
    ({"lc": 10**400}, f"lc must be 0 to 1e+15, not {short(10**400)}"),
])
@pytest.mark.parametrize("report", [built(), made_report()], ids=["network", "overlay"])
def test_a_number_out_of_its_range_is_one_line(report, changes, reason):
    content = dataclasses.replace(report, **changes).to_json()
    with pytest.raises(ReportError) as caught:
        read_report(content, name="it")
    assert str(caught.value) == f"it: must be a report.json of {report.command}: {reason}"


def test_clocks_have_a_range():
    report = built()
    with pytest.raises(ReportError, match=r": cycles_per_inference must be 1 to 1e\+15, not 0$"):
        read_report(dataclasses.replace(report, cycles_per_inference=0).to_json())
    layers = [*report.layers[:-1], dataclasses.replace(report.layers[-1], cycles=0)]
    with pytest.raises(ReportError, match=rf": layers {len(layers) - 1} cycles must be 1 to 1e\+15, not 0$"):
        read_report(dataclasses.replace(report, layers=layers).to_json())


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
    file = tmp_path / "README.md"
    file.touch()
    with pytest.raises(InputError, match=rf"^{file}: must be a folder in which .* give another {end}$"):
        report_in(file, **options)
