"""The build command without a toolchain: choices, fit, messages; and once with it, marked ``synth``."""

import dataclasses
import json
import sys

import numpy as np
import pytest

from arch import network_file
from arch.network import Convolution, Encoding, Input, Network, Neurons, Readout
from boards import BOARDS
from gateware.build import __main__ as build
from gateware.mapper.choice import plan_for_board
from gateware.mapper.cycles import count_cycles

MNIST = build.DEFAULT_NETWORK


def run(capsys, *arguments):
    """Run the command; return exit code, standard output and the last line of standard error."""
    code = build.main(["--board", "icebreaker", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err.strip().splitlines()[-1:]


@pytest.fixture(autouse=True)
def log_to_stderr(monkeypatch):
    """Errors go through logging: print them as the command line does, whatever pytest has configured."""
    monkeypatch.setattr(build.logger, "error", lambda text, *values: sys.stderr.write(f"ERROR: {text % values}\n"))


def test_dry_run_prints_the_exact_cycles_and_writes_nothing(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "--dry-run")
    cycles = count_cycles(plan_for_board(network_file.load(MNIST), BOARDS["icebreaker"])).total
    assert (code, err) == (0, [])
    assert f"{cycles}" in out
    assert "estimated" in out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("arguments", "message"), [
    (["--clock", "47.3", "--dry-run"], "ERROR: clock must be one that the PLL makes of 12 MHz, not 47.3 MHz"),
    (["--clock", "37.5", "--dry-run"],
     ("ERROR: clock must be a multiple of one of 1000000, 3000000, 12000000 Hz with eight clocks a bit, "
      "not 37.5 MHz: use --clock with another, or --baud")),
    (["--baud", "9600", "--dry-run"], "ERROR: baud must be one of 1000000, 3000000, 12000000, not 9600"),
    (["--clock", "39", "--baud", "12000000", "--dry-run"],
     "ERROR: baud 12000000 must divide the clock of 39 MHz at least four times"),
    (["--seeds", "0"], "ERROR: seeds must be at least 1, not 0"),
    (["--lanes", "3", "--dry-run"], "ERROR: lanes must be a power of two, not 3"),
    (["--lanes", "16", "--dry-run"],
     ("ERROR: array of 16 x 16: block RAMs must be at most 30, not 45: "
      "use 8 lanes and a width of 16, with which it fits")),
    # 16 x 7 + 32 x 9 + 64 x 18 + 10 x 16 rows.
    (["--lanes", "1", "--dry-run"],
     ("ERROR: network: weight rows of 1 x 16 must be at most 256, not 1712: "
      "use 8 lanes and a width of 16, with which it fits")),
])
def test_bad_choices_get_one_line_and_exit_code_1(capsys, arguments, message):
    code, _, err = run(capsys, *arguments)
    assert (code, err) == (1, [message])


def test_missing_and_damaged_networks_get_one_line(capsys, tmp_path):
    code, _, err = run(capsys, "--network", str(tmp_path / "none.safetensors"))
    assert code == 1
    assert "none.safetensors" in err[0]
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(MNIST.read_bytes()[:-1])
    code, _, err = run(capsys, "--network", str(broken))
    assert code == 1
    assert len(err) == 1


@pytest.mark.parametrize(("last", "message"), [
    ({"shortcut": 0},
     ("ERROR: layer 2 (convolution): adds the spikes of layer 0: summed spikes do not run on the array, only on the "
      "reference: train it without the shortcut")),
    ({"pool": 2},
     ("ERROR: layer 2 (convolution): sums the currents of 2 x 2 windows: pooled currents do not run on the array, only "
      "on the reference: train it with an or-pool instead")),
])
def test_a_network_that_runs_only_on_the_reference_gets_one_line(capsys, tmp_path, last, message):
    one = np.ones(1, dtype=np.int64)
    layer = Convolution(weights=np.ones((1, 1, 1, 1), dtype=np.int8),
                        neurons=Neurons(threshold=one, bias=0 * one, initial=0 * one))
    changed = dataclasses.replace(layer, **last)
    network = Network(input=Input(encoding=Encoding.PIXELS, channels=1, height=4, width=4), timesteps=4,
                      layers=(layer, layer, changed,
                              Readout(weights=np.ones((2, 16 // changed.pool**2), dtype=np.int8))))
    network_file.save(network, tmp_path / "network.safetensors")
    code, out, err = run(capsys, "--network", str(tmp_path / "network.safetensors"), "--dry-run")
    assert (code, out, err) == (1, "", [message])


def test_report_has_the_keys_that_users_rely_on():
    plan = plan_for_board(network_file.load(MNIST), BOARDS["icebreaker"])
    report = build.describe(plan, BOARDS["icebreaker"], count_cycles(plan), 48e6, 12_000_000)
    assert report["sop_per_cycle"] == 512
    assert report["peak_gsops"] == pytest.approx(24.576)
    # Two CRC bytes at four clocks a bit, the start, the inference.
    assert report["latency_ms"] == pytest.approx((80 + 7 + report["cycles_per_inference"]) / 48e3, abs=1e-4)
    assert report["images_per_second_link"] == pytest.approx(48e6 / ((784 + 7) * 40), abs=0.1)
    assert report["array_utilisation"]["after_first"] >= 0.7
    assert set(report) >= {
        "board", "network_sha256", "tool_versions", "lc_total", "clock_mhz", "lanes", "width", "timesteps",
        "sop_per_cycle", "peak_gsops", "effective_gsops", "cycles_per_inference", "latency_ms",
        "images_per_second_link", "array_utilisation", "layers", "exact", "accuracy", "accuracy_images"}


@pytest.mark.synth
@pytest.mark.long
def test_a_small_array_builds_to_a_bitstream_and_a_report(capsys, tmp_path):
    code, _, err = run(capsys, "--lanes", "8", "--clock", "24", "-o", str(tmp_path))
    assert (code, err) == (0, [])
    report = json.loads((tmp_path / "report.json").read_text())
    assert (tmp_path / "sterna.bin").stat().st_size > 100_000
    assert report["sample_images"] == 100
    assert report["lc"] < report["lc_total"]
    assert min(report["fmax_mhz"]) >= 24
