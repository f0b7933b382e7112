"""The report of an overlay: read back as it was written, and what is none."""

import json

import pytest

from boards import BOARDS
from gateware.engine.signature import circuit_of
from gateware.mapper.streamed.choice import streamed_config
from gateware.reports.build import ReportError, StepReport
from gateware.reports.overlay import OverlayReport
from tests.gateware.reports.overlays import made_report

#: Keys that scripts of users read; they stay.
KEYS = {
    "weights", "board", "device", "circuit", "parameters", "revision", "tool_versions", "clock_mhz", "baud", "lanes",
    "width", "timesteps", "membrane_width", "fraction", "sop_per_cycle", "spike_words", "flash_mode", "flash_bytes",
    "models_at", "fmax_mhz", "fmax_median_mhz", "seeds", "seed", "lc", "lc_total", "ebr", "ebr_total", "spram", "dsp",
    "design_sha256", "bitstream_sha256", "bitstream_bytes", "sample_network", "sample_images", "sample_accuracy",
    "sample_cycles", "steps", "build_seconds"}


def test_a_report_is_read_as_it_was_written():
    report = made_report(steps=[StepReport(name="pack", seconds=1.5, kept=False)], build_seconds=70.0)
    assert OverlayReport.from_json(report.to_json()) == report
    assert set(json.loads(report.to_json())) >= KEYS
    assert report.signature == circuit_of(streamed_config(BOARDS["icebreaker"]))


@pytest.mark.parametrize(("changed", "reason"), [
    ({"weights": "baked"}, r"weights must be 'flash', not 'baked'"),
    ({"circuit": "00" * 16}, r"circuit: bytes 0 to 3 must be 53 54 46 4d, not 00 00 00 00: this is no model"),
    ({"circuit": "xx"}, r"circuit must be a signature in hexadecimal digits, not 'xx'"),
    ({"circuit": None}, r"circuit must be a signature in hexadecimal digits, not None"),
    ({"steps": [{"name": "pack"}]}, r"steps 0 has no 'seconds'"),
])
def test_what_is_no_report_of_an_overlay_is_refused(changed, reason):
    content = json.loads(made_report().to_json()) | changed
    with pytest.raises(ReportError, match=rf"^r\.json: must be a report\.json of python -m gateware\.build --weights "
                                          rf"flash: {reason}$"):
        OverlayReport.from_json(json.dumps(content).encode(), name="r.json")


@pytest.mark.parametrize("key", ["weights", "circuit", "parameters"])
def test_a_missing_key_is_named(key):
    content = json.loads(made_report().to_json())
    del content[key]
    with pytest.raises(ReportError, match=rf"^r\.json: must be a report\.json of python -m gateware\.build --weights "
                                          rf"flash: it has no '{key}'$"):
        OverlayReport.from_json(json.dumps(content).encode(), name="r.json")
