"""Estimates of energy: toggles are counted as they are, and every number follows from the coefficients."""

import dataclasses
import json
import pathlib
import re

import pytest

from boards import BOARDS
from gateware.build.energy import activity as counting
from gateware.build.energy.activity import Activity, read_activity
from gateware.build.energy.command import main
from gateware.build.energy.model import COEFFICIENTS, Coefficients, Interval, Resources, estimate
from support.errors import InputError
from tests.gateware.build.page.conftest import report_of
from tests.gateware.build.waveforms import CHANGES, HEADER, STREAMED_HEADER
from tests.gateware.reports.overlays import made_report


@pytest.fixture
def waveform(tmp_path):
    path = tmp_path / "image.vcd"
    path.write_text(HEADER + CHANGES)
    return path


def test_toggles_are_counted_once_for_the_block_that_declares_the_net_deepest(waveform):
    assert read_activity(waveform) == Activity(
        inference_clocks=3, other_clocks=3,
        # The bit of busy that rises is one of the inference; the one that falls comes behind it.
        inference_toggles={"top": 1, "accelerator.spikes": 4 + 1 + 1 + 1},
        other_toggles={"top": 1, "accelerator": 2, "link": 2 + 3 + 1})


@pytest.fixture
def streamed_waveform(tmp_path):
    path = tmp_path / "streamed.vcd"
    path.write_text(STREAMED_HEADER + CHANGES)
    return path


PART = "it has not all of an image and its result: record it again, without --from and --to"


@pytest.mark.parametrize(("change", "reason"), [
    (lambda text: text.replace("#0\n", "#7\n", 1), PART),
    (lambda text: text.replace('\n0"\nb0011', "\nb0011"), PART),
    (lambda text: text.replace('1"', '0"'), PART),
    (lambda text: text.replace(" busy ", " idle "), "it has no signal TOP.sterna.busy"),
    (lambda text: text.replace("module sterna", "module top"), "it has no signal TOP.sterna.clk"),
    (lambda text: text.partition("$enddefinitions")[0],
     "it ends early, before the end of its definitions: record it again"),
    (lambda text: text.partition("x$1 ")[0], "it ends early, in the middle of a line: record it again"),
    (lambda text: text.rpartition("1110001 c")[0], "it ends early, in the middle of a line: record it again"),
    (lambda text: text.rpartition("b11110001 c")[0], PART),
    (lambda text: text.rpartition("b01 f")[0], PART),
    (lambda text: text.rpartition("#50")[0], PART),
    (lambda text: text.replace("b00 f\n", ""), PART),
    (lambda text: text.replace("result_slot", "slot"), "it has no signal TOP.sterna.link.transmitter.result_slot"),
    (lambda text: "", "it has no definitions of signals"),
    (lambda text: "# Sterna\n\nA network.\n", "it has no definitions of signals"),
    (lambda text: text.replace("#0\n", "#x\n", 1), "it is no VCD"),
    (lambda text: text.replace("b0111 b", "b0111"), "it is no VCD"),
    (lambda text: text.replace("word", "w\u00f6rd"), "it is no VCD"),
    (lambda text: text.replace("$upscope $end", "$upscope $end\n$upscope $end"), "it is no VCD"),
])
def test_what_is_no_waveform_of_a_whole_image_is_one_line(waveform, change, reason):
    waveform.write_text(change(waveform.read_text()))
    with pytest.raises(InputError) as caught:
        read_activity(waveform)
    assert str(caught.value) == f"{waveform}: activity must be a waveform of python -m sim --vcd, but {reason}"


def exactly(value):
    return Interval(value, value, value)


#: Of powers of two, so that sums are exact.
PLAIN = Coefficients(static=exactly(1.0), pll=exactly(0.5), clock=exactly(0.25), flip_flop=exactly(0.125),
                     ebr=exactly(2.0), spram=exactly(4.0), dsp=exactly(8.0), toggle=Interval(1.0, 2.0, 4.0),
                     flip_flops=Interval(0.5, 1.0, 1.0))
ACTIVITY = Activity(inference_clocks=8, other_clocks=32, inference_toggles={"a": 3, "b": 5}, other_toggles={"a": 7})
RESOURCES = Resources(clock_hz=4.0, lc=16, ebr=2, spram=1, dsp=1)


def test_every_part_is_its_coefficient_times_what_there_is():
    result = estimate(RESOURCES, ACTIVITY, PLAIN)
    assert list(result.parts) == ["static and PLL", "clock network", "flip-flops' clocks", "block RAM",
                                  "single-port RAM", "multipliers", "b", "a"]
    assert result.parts == {
        "static and PLL": exactly(1.5 / 4 * 8), "clock network": exactly(0.25 * 8),
        "flip-flops' clocks": Interval(0.5 * 16 * 0.125 * 8, 16 * 0.125 * 8, 16 * 0.125 * 8),
        "block RAM": exactly(2.0 * 2 * 8), "single-port RAM": exactly(4.0 * 8), "multipliers": exactly(8.0 * 8),
        "b": Interval(5, 10, 20), "a": Interval(3, 6, 12)}
    assert result.inference == Interval(149, 165, 181)
    assert result.transfer == Interval(7, 14, 28)
    # Eight clocks take two seconds.
    assert result.computing == result.inference * 0.5
    assert result.idle == Interval(141 / 2, 149 / 2, 149 / 2)
    # At the highest rate, an inference follows the other, and what comes with the images is on top.
    assert result.average(0.5) == result.computing + result.transfer * 0.5
    assert result.average(0.25) == result.idle + Interval(15, 30, 60) * 0.25


def test_every_coefficient_is_an_interval_around_its_value():
    for field in dataclasses.fields(COEFFICIENTS):
        interval = getattr(COEFFICIENTS, field.name)
        assert 0 < interval.low < interval.value < interval.high, field.name


def test_the_page_has_every_coefficient():
    page = (pathlib.Path(__file__).parents[3] / "docs" / "energy.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]*?) \|", page, re.MULTILINE))
    scales = {"µW": 1e6, "mW": 1e3, "pJ": 1e12, "fJ": 1e15, "": 1}
    assert set(rows) == {field.name for field in dataclasses.fields(COEFFICIENTS)}
    for name, row in rows.items():
        value, low, high, unit = re.fullmatch(r"([\d.]+) \(([\d.]+) to ([\d.]+)\) ?(\w*)", row).groups()
        interval = getattr(COEFFICIENTS, name) * scales[unit]
        assert (interval.low, interval.value, interval.high) == pytest.approx((float(low), float(value), float(high)))


@pytest.fixture
def build(tmp_path):
    """The folder of a build: of an overlay, whose report has the same cells and the same clock."""
    folder = tmp_path / "build"
    folder.mkdir()

    def write(**changed):
        report = dataclasses.replace(made_report(), **changed)
        (folder / "report.json").write_bytes(report.to_json())
        return report

    write()
    return folder, write


def test_the_command_prints_what_the_model_says(build, streamed_waveform, capsys):
    folder, write = build
    report = write()
    arguments = [str(folder), "--activity", str(streamed_waveform), "--rate", "1000"]
    expected = estimate(Resources(clock_hz=report.clock_mhz * 1e6, lc=report.lc, ebr=report.ebr, spram=report.spram,
                                  dsp=report.dsp), read_activity(streamed_waveform))
    assert main([*arguments, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["evidence"], printed["inference_cycles"], printed["images_per_second"]) == ("estimated", 3, 1000)
    for key, interval, scale in (("inference_uj", expected.inference, 1e6), ("idle_mw", expected.idle, 1e3),
                                 ("computing_mw", expected.computing, 1e3), ("transfer_uj", expected.transfer, 1e6),
                                 ("average_mw", expected.average(1000), 1e3)):
        assert printed[key] == {bound: pytest.approx(scale * getattr(interval, bound), rel=1e-3)
                                for bound in ("low", "value", "high")}
    assert list(printed["parts_uj"]) == list(expected.parts)
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == ("estimated from simulated activity and published measurements of other designs, not measured; "
                        "FPGA core and PLL supplies only")
    assert [line for line in lines if line.startswith("power at 1000 images/s ")]
    assert lines[-1].startswith("largest uncertainty: ")
    assert lines[-1].partition(": ")[2] in expected.parts


@pytest.mark.parametrize(("changed", "options", "message"), [
    ({}, ["--rate", "0"], "--rate must be more than 0, not 0"),
    ({}, ["--rate", "nan"], "--rate must be more than 0, not nan"),
    ({"clock_mhz": 48.0}, ["--rate", "1.7e7"],
     "--rate must be at most 16000000.0, because an inference takes 3 clocks, not 17000000"),
    ({"clock_mhz": 48.0}, ["--rate", "16000000.5"],
     "--rate must be at most 16000000.0, because an inference takes 3 clocks, not 16000000.5"),
    *(({"board": board}, [],
       (f"{{report}}: board must have an iCE40 UltraPlus, the only FPGA whose currents are known, not that of the "
        f"{board}: build for the icebreaker")) for board in ("other", "nowhere")),
    ({"lc": None}, [],
     ("{report}: build must have been placed and routed, so that its cells are counted: run python -m gateware.build "
      "without --dry-run")),
])
def test_bad_input_is_one_line(build, streamed_waveform, capsys, monkeypatch, changed, options, message):
    folder, write = build
    there = BOARDS["icebreaker"]
    # It has single-port RAMs too: the device alone says which currents it takes.
    monkeypatch.setitem(BOARDS, "other", dataclasses.replace(
        there, name="other", fpga=dataclasses.replace(there.fpga, device="iCE40HX8K-CT256")))
    write(**changed)
    assert main([str(folder), "--activity", str(streamed_waveform), *options]) == 1
    assert capsys.readouterr().err == f"ERROR: {message.format(report=folder / 'report.json')}\n"


def test_the_waveform_is_one_of_the_network_of_the_build(tmp_path, waveform, capsys):
    for cycles, code in ((4, 0), (5, 1), (3, 1)):
        (tmp_path / "report.json").write_bytes(report_of(cycles_per_inference=cycles).to_json())
        assert main([str(tmp_path), "--activity", str(waveform)]) == code
        assert capsys.readouterr().err == ("" if code == 0 else (
            f"ERROR: {waveform}: activity must be of the network of the build, whose inference takes {cycles} clocks, "
            f"not 4: record it with python -m sim --vcd and that network\n"))


def test_the_waveform_is_one_of_the_kind_of_circuit_of_the_build(build, waveform, streamed_waveform, tmp_path, capsys):
    (tmp_path / "report.json").write_bytes(report_of(cycles_per_inference=4).to_json())
    kinds = ["a circuit with baked weights", "a circuit with weights from flash"]
    for folder, right, wrong, (kind, other), weights in (
            (tmp_path, waveform, streamed_waveform, kinds, "baked"),
            (build[0], streamed_waveform, waveform, kinds[::-1], "flash")):
        assert main([str(folder), "--activity", str(right)]) == 0
        assert capsys.readouterr().err == ""
        assert main([str(folder), "--activity", str(wrong)]) == 1
        assert capsys.readouterr().err == (
            f"ERROR: {wrong}: activity must be of {kind}, as the build is, not of {other}: record it with python -m "
            f"sim --vcd and --weights {weights}\n")


def test_the_rate_is_one_that_the_link_carries(waveform, tmp_path, capsys):
    (tmp_path / "report.json").write_bytes(
        report_of(cycles_per_inference=4, images_per_second_link=379.3, baud=3_000_000).to_json())
    arguments = [str(tmp_path), "--activity", str(waveform), "--rate"]
    assert main([*arguments, "379.3"]) == 0
    capsys.readouterr()
    # All digits that decide are in the line.
    for rate in ("379.4", "379.30001"):
        assert main([*arguments, rate]) == 1
        assert capsys.readouterr().err == ("ERROR: --rate must be at most 379.3, the images per second that the build "
                                           f"takes at 3000000 baud, not {rate}\n")


def test_missing_files_are_one_line(build, waveform, tmp_path, capsys):
    folder, _ = build
    assert main([str(tmp_path / "no"), "--activity", str(waveform)]) == 1
    assert capsys.readouterr().err == (
        f"ERROR: {tmp_path}/no: must be a folder in which python -m gateware.build has built a bitstream, with a "
        f"report.json, which is missing: build it, or give another folder\n")
    assert main([str(folder), "--activity", str(tmp_path / "no.vcd")]) == 1
    assert capsys.readouterr().err == f"ERROR: {tmp_path}/no.vcd: No such file or directory\n"
    assert main([str(folder), "--activity", str(folder)]) == 1
    assert capsys.readouterr().err == f"ERROR: {folder}: input must be a file, not a folder\n"


def test_only_blocks_of_the_engine_are_told_apart():
    assert counting._block(["TOP", "sterna", "link", "receiver"]) == "link"
    assert counting._block(["TOP", "sterna", "accelerator", "array", "dot0_1"]) == "accelerator.array"
    assert counting._block(["TOP"]) == "top"
