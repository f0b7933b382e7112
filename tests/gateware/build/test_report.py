"""The report: one definition of its keys, read back as it was written."""

import dataclasses
import json

import pytest

from arch import network_file
from boards import BOARDS
from gateware.build.request import Request
from gateware.build.steps import report as reports
from gateware.build.steps.plan import find_fit, make_plan
from gateware.build.text import format_report
from gateware.reports.build import ReportError, StepReport
from gateware.reports.network import Report
from gateware.reports.overlay import OverlayReport
from gateware.reports.prebuilt import FOLDER
from models import DEFAULT_NETWORK

#: Keys that scripts of users read; they stay.
KEYS = {
    "network", "board", "network_sha256", "revision", "tool_versions", "lc_total", "clock_mhz", "baud", "lanes",
    "width", "timesteps", "accumulator_width", "membrane_width", "fraction", "sop_per_cycle", "peak_gsops",
    "effective_gsops",
    "cycles_per_inference", "latency_ms", "images_per_second_link", "array_utilisation", "weight_rows", "spike_words",
    "layers", "exact", "accuracy", "accuracy_images", "accuracy_command", "fmax_mhz", "fmax_median_mhz", "seeds", "lc",
    "ebr", "spram", "dsp", "seed", "sample_accuracy", "sample_images", "sample_seconds", "build_seconds"}
LAYER_KEYS = {"index", "kind", "pool", "input", "output", "weights", "weight_rows", "cycles", "synaptic_operations",
              "utilisation", "word_cycles", "bound"}


def planned(**options):
    network = network_file.load(DEFAULT_NETWORK)
    request = Request(**{"network": network, "name": "mnist-conv", "board": BOARDS["icebreaker"], "clock_hz": 48e6,
                         "baud": 12_000_000, "seed_seconds": 300, **options})
    return reports.planned(request, make_plan(find_fit(request).plan))


def built():
    return dataclasses.replace(
        planned(), fmax_mhz=[50.0, 52.0], fmax_median_mhz=51.0, seeds=[1, 3], seeds_out_of_time=[2], lc=4676, ebr=29,
        spram=4, dsp=0, seed=1, steps=[StepReport(name="pack", seconds=1.5, kept=True)], build_seconds=70.0)


def test_seeds_and_the_fmax_of_the_bitstream_are_those_of_the_report():
    report = dataclasses.replace(built(), seeds_unplaced=[4, 5])
    assert (report.seeds_tried, report.bitstream_fmax_mhz) == (5, 50.0)
    assert dataclasses.replace(report, seed=3).bitstream_fmax_mhz == 52.0
    assert (planned().seeds_tried, planned().bitstream_fmax_mhz) == (0, None)


def test_figures_of_the_shipped_network():
    report = planned()
    assert report.sop_per_cycle == 512
    assert report.peak_gsops == pytest.approx(24.576)
    assert report.cycles_per_inference == 10961
    # Two CRC bytes at four clocks a bit, the start, the inference.
    assert report.latency_ms == round((80 + 7 + report.cycles_per_inference) / 48e3, 4)
    assert report.images_per_second_link == pytest.approx(48e6 / ((784 + 7) * 40), abs=0.1)
    assert report.array_utilisation.after_first >= 0.7
    assert (report.lc_total, report.ebr_total, report.spram_total, report.dsp_total) == (5280, 30, 4, 8)
    assert report.ebr_estimate == 29
    assert report.lc_estimate == pytest.approx(4676, rel=0.05)


@pytest.mark.parametrize(("baud", "bit", "start"), [(12_000_000, 4, 7), (3_000_000, 16, 1), (1_000_000, 48, -15)])
def test_latency_has_the_start_of_its_line(baud, bit, start):
    """The starts are those that ``test_system.py`` sees on the pins."""
    report = planned(baud=baud)
    assert report.latency_ms == round((20 * bit + start + report.cycles_per_inference) / 48e3, 4)
    assert report.images_per_second_link == round(48e6 / max((784 + 7) * 10 * bit, report.cycles_per_inference), 1)


def test_keys_that_users_rely_on_are_there():
    content = json.loads(planned().to_json())
    assert set(content) >= KEYS
    assert set(content["array_utilisation"]) == {"layers", "after_first", "total"}
    assert all(set(layer) == LAYER_KEYS for layer in content["layers"])


@pytest.mark.parametrize("report", [planned, built])
def test_a_report_is_read_as_it_was_written(report):
    report = report()
    assert Report.from_json(report.to_json()) == report


def test_words_of_layers_are_those_of_the_cycle_model_and_not_in_older_reports():
    report = built()
    for layer in report.layers:
        assert 0 < layer.word_cycles <= layer.cycles
    # The readout has one sum of 16 words for each of two groups of channels.
    assert report.layers[-1].word_cycles == 2 * 64 * 2 * 2 // 16
    content = json.loads(report.to_json())
    for layer in content["layers"]:
        del layer["word_cycles"]
    read = Report.from_json(json.dumps(content).encode())
    assert [layer.word_cycles for layer in read.layers] == [None] * len(report.layers)


def test_a_newer_key_is_ignored_and_a_missing_one_is_named():
    content = json.loads(built().to_json())
    assert Report.from_json(json.dumps({**content, "of_tomorrow": 1}).encode()) == built()
    del content["layers"]
    with pytest.raises(ReportError, match=r"^r\.json: must be a report\.json of python -m gateware\.build: "
                                          r"it has no 'layers'$"):
        Report.from_json(json.dumps(content).encode(), name="r.json")


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b'{"layers": 1, "array_utilisation": {}}', b"\xff"])
def test_what_is_no_report_gets_one_line(content):
    with pytest.raises(ReportError, match=r"^r\.json: must be a report\.json of python -m gateware\.build: .*$"):
        Report.from_json(content, name="r.json")


@pytest.mark.parametrize(("change", "message"), [
    ({"baud": 3e6}, "baud must be an integer, not 3000000.0"),
    ({"baud": True}, "baud must be an integer, not True"),
    ({"clock_mhz": "48"}, "clock_mhz must be a finite number, not '48'"),
    ({"clock_mhz": 10**400}, f"clock_mhz must be a finite number, not 1{'0' * 36}..."),
    ({"board": None}, "board must be a string, not None"),
    ({"fmax_mhz": [50.5, "51"]}, "fmax_mhz 1 must be a finite number, not '51'"),
    ({"tool_versions": {"a": 1}}, "tool_versions a must be a string, not 1"),
    ({"exact": "yes"}, "exact must be true or false or null, not 'yes'"),
    ({"swap": []}, "swap must be an object, not []"),
    ({"swap": {"into": "a"}}, "swap has no 'network'"),
    ({"layers": [1]}, "layers 0 must be an object, not 1"),
    ({"steps": {}}, "steps must be a list, not {}"),
    ({"certified": "maybe"}, "certified must be exact or inexact or not certified or unknown, not 'maybe'"),
    ({"certified": ["exact"]}, "certified must be exact or inexact or not certified or unknown, not ['exact']"),
])
def test_a_value_of_another_type_is_refused(change, message):
    content = json.dumps({**json.loads(built().to_json()), **change}).encode()
    with pytest.raises(ReportError) as caught:
        Report.from_json(content, name="r.json")
    assert str(caught.value) == f"r.json: must be a report.json of python -m gateware.build: {message}"


@pytest.mark.parametrize(("old", "new", "message"), [
    (b'"fmax_median_mhz"', b'"baud"', "a key appears twice"),
    (b'"seed": 1,', b'"seed": NaN,', "NaN is not JSON"),
])
def test_a_report_is_strict_json(old, new, message):
    content = built().to_json()
    assert content.count(old) == 1
    with pytest.raises(ReportError, match=rf"^r: must be a report\.json of python -m gateware\.build: {message}$"):
        Report.from_json(content.replace(old, new), name="r")


@pytest.mark.parametrize(("circuit", "message"), [
    ("", "circuit: signature of a circuit must have 16 bytes, not 0"),
    ("5354464d", "circuit: signature of a circuit must have 16 bytes, not 4"),
    ("53 54", "circuit must be a signature in hexadecimal digits, not '53 54'"),
    (5, "circuit must be a signature in hexadecimal digits, not 5"),
])
def test_a_report_of_no_circuit_is_refused(circuit, message):
    content = json.loads((FOLDER / "icebreaker.json").read_bytes()) | {"circuit": circuit}
    with pytest.raises(ReportError) as caught:
        OverlayReport.from_json(json.dumps(content).encode())
    assert str(caught.value) == f"report: must be a report.json of {OverlayReport.command}: {message}"


def test_text_says_only_what_was_done():
    text = format_report(built())
    assert "exact, by the cycle model; not simulated here" in text
    assert "accuracy on samples" not in text
    assert "51.00 MHz of 2" in text
    simulated = dataclasses.replace(built(), sample_images=100, sample_accuracy=1.0, sample_dataset="mnist")
    text = format_report(simulated)
    assert "exact; equal in simulation of 100 images" in text
    assert "100.00% of 100   simulated: RTL of this build, mnist" in text


def test_text_of_a_network_without_accuracy_has_no_such_line():
    assert "accuracy" not in format_report(dataclasses.replace(built(), accuracy=None))


#: Lines that a report has whatever was done, as of the shipped network.
FIGURES = [
    "  array P x W x T                          8 x 16 x 4   512 synaptic operations per clock",
    "  peak, effective               24.576, 19.206 GSOP/s   at this clock",
]
SPEED = [
    "  latency                                   0.2302 ms   last pixel to class",
    "  images per second                            1517.1   with the host link",
    "  utilisation                                   96.3%   of the array, layers after the first",
    ("  accuracy                            99.42% of 10000   exported integers on t10k-images-idx3-ubyte.gz, says the "
     "network's file"),
]


def test_text_of_a_dry_run_has_estimates_alone():
    assert format_report(planned()).splitlines() == [
        "mnist-conv on icebreaker, 48 MHz, host link 12000000 baud",
        "  logic cells                             4478 / 5280   estimated",
        "  block RAM                                        29   estimated",
        *FIGURES,
        "  cycles per image                              10961   exact, by the cycle model; not simulated here",
        *SPEED,
        "  exact in every channel                          yes   certificate of the export",
    ]


def test_text_of_a_build_has_what_was_placed_and_simulated():
    report = dataclasses.replace(built(), sample_images=100, sample_accuracy=0.995, sample_dataset="mnist",
                                 certified="not certified")
    assert format_report(report).splitlines() == [
        "mnist-conv on icebreaker, 48 MHz, host link 12000000 baud",
        "  logic cells                             4676 / 5280   place and route",
        "  block RAM, SPRAM, DSP                      29, 4, 0   place and route",
        "  Fmax, median of seeds                51.00 MHz of 2   place and route",
        *FIGURES,
        "  cycles per image                              10961   exact; equal in simulation of 100 images",
        *SPEED,
        "  accuracy on samples                   99.50% of 100   simulated: RTL of this build, mnist",
        "  exact in every channel        not certified (leaky)   certificate of the export",
    ]


def test_text_of_an_accuracy_without_images_or_file():
    report = dataclasses.replace(planned(), accuracy_images=None, accuracy_file=None)
    assert ("  accuracy                                     99.42%   exported integers on images, says the network's "
            "file") in format_report(report).splitlines()
