"""What ``docs/first-board.md`` prints is what the shipped networks compute and are called."""

import math
import re

import pytest

from arch import network_file
from arch.images import load_images
from arch.link import LinkCounters, Result
from boards import BOARDS
from firmware.host.commands.classify import _print_result
from firmware.host.commands.info import _print_info, print_model
from firmware.host.latency import images_per_second
from gateware.mapper.choice import plan_for_board
from gateware.mapper.cycles import count_cycles
from gateware.mapper.info import info_of
from models import DEFAULT_NETWORK, FOLDER, SAMPLES
from reference.engines import ReferenceEngine
from tests.test_docs import ROOT

TEXT = (ROOT / "docs" / "first-board.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def shipped():
    return network_file.load(DEFAULT_NETWORK)


@pytest.fixture(scope="module")
def clocks(shipped):
    return count_cycles(plan_for_board(shipped, BOARDS["icebreaker"])).total


def test_the_info_is_that_of_the_shipped_network(shipped, capsys):
    board = BOARDS["icebreaker"]
    told = info_of(plan_for_board(shipped, board), clock_hz=board.default_clock_hz)
    _print_info(told, LinkCounters(), as_json=False)
    assert capsys.readouterr().out in TEXT


def test_the_classes_and_scores_are_those_of_the_shipped_network(shipped, clocks, capsys):
    images = load_images(SAMPLES / "mnist-images.idx.gz", shipped, first=2)
    board = BOARDS["icebreaker"]
    told = info_of(plan_for_board(shipped, board), clock_hz=board.default_clock_hz)
    result = ReferenceEngine(shipped).classify(images)
    for index, (label, scores) in enumerate(zip(result.classes.tolist(), result.scores.tolist(), strict=True)):
        _print_result("models/samples/mnist-images.idx.gz", index, Result(
            label=label, cycles=clocks, stalls=0, flash_stalls=0, scores=tuple(scores)), told, as_json=False)
    assert f"--labels models/samples/mnist-labels.idx.gz\n{capsys.readouterr().out}...\naccuracy: " in TEXT


def test_the_models_of_the_overlay_are_listed(capsys):
    board = BOARDS["icebreaker"]
    for number, name in enumerate(("mnist-conv", "fashion-conv")):
        network = network_file.load(FOLDER / f"{name}.safetensors")
        print_model(number, info_of(plan_for_board(network, board), clock_hz=board.default_clock_hz),
                     selected=number == 0, as_json=False)
    assert f"python -m firmware.host list\n{capsys.readouterr().out}$ " in TEXT
    print_model(None, info_of(plan_for_board(network, board), clock_hz=board.default_clock_hz), selected=True,
                as_json=False)
    assert f"build/fashion/sterna.bin\nprogrammed the iCEBreaker\n{capsys.readouterr().out}```" in TEXT


def test_the_example_of_the_measurement_is_calculated_right(clocks):
    """Currents that are invented, times that are not."""
    latency = clocks / BOARDS["icebreaker"].default_clock_hz
    rate = images_per_second(784, 10, baud=3_000_000, latency_ms=1)
    share = rate * latency
    volt, idle, load = 1.2, 10.0e-3, 10.4e-3
    active = idle + (load - idle) / share
    said = (f"at r = {rate:.0f}: d = {share:.4f}, P_active = {volt} V x {active * 1e3:.1f} mA = "
            f"{volt * active * 1e3:.1f} mW, E = {volt * active * latency * 1e6:.1f} microjoules, "
            f"E_all = {volt * load / rate * 1e6:.0f} microjoules")
    assert said in " ".join(TEXT.split())
    assert f"{latency * 1e3:.3f} ms per image of MNIST" in TEXT
    assert f"{100 * share:.1f} % of the time" in TEXT
    fast = images_per_second(784, 10, baud=12_000_000, latency_ms=1)
    assert f"r is up to {fast:,.0f} and d up to {fast * latency:.2f}" in TEXT


def test_the_errors_of_the_measurement_are_calculated_right(clocks):
    latency = clocks / BOARDS["icebreaker"].default_clock_hz

    def error(baud):
        """Relative error of the current while the engine computes, for one of 1 % in each of the two currents."""
        share = images_per_second(784, 10, baud=baud, latency_ms=1) * latency
        active, idle = 14.6, 10.0
        load = idle + (active - idle) * share
        return math.hypot(0.01 * idle, 0.01 * load) / share / active

    assert (round(error(3_000_000), 2), round(error(12_000_000), 2)) == (0.11, 0.03)
    assert re.search(r"moves it by 1\.7 mA,\s+11 %", TEXT)
    assert "about 10 % for E at 3 Mbaud and 3 % at 12 Mbaud" in TEXT
