"""The simulated board, from the host program to the RTL and back."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import models
from arch import network_file
from arch.images import load_images
from firmware.host import command
from firmware.host.accelerator import Accelerator
from reference.engines import ReferenceEngine
from sim.board import command as board_command
from sim.board.command import main
from support.errors import InputError

NETWORK = models.FOLDER / "mnist-conv.safetensors"
IMAGES = models.SAMPLES / "mnist-images.idx.gz"

pytestmark = pytest.mark.rtl


def test_one_program_runs_on_the_reference_and_on_the_board():
    network = network_file.load(NETWORK)
    images = load_images(str(IMAGES), network, first=4)
    expected = ReferenceEngine(network).classify(images)
    with Accelerator.open("sim") as chip:
        actual = chip.classify(images)
        assert chip.info.digest.hex() == network_file.digest(network)[:16]
        assert chip.repeated == 0
    assert np.array_equal(actual.scores, expected.scores)
    assert np.array_equal(actual.classes, expected.classes)
    assert actual.cycles.tolist() == [10_961 + stalls for stalls in actual.stall_cycles]


def test_models_of_the_overlay_are_listed_and_verified(capsys):
    assert command.main(["list", "--port", "sim:overlay", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    digests = [network_file.digest(network_file.load(models.FOLDER / f"{name}-conv.safetensors"))[:16]
               for name in ("mnist", "fashion")]
    assert [(row["model"], row["selected"], row["digest"]) for row in rows] == [
        (0, True, digests[0]), (1, False, digests[1])]
    assert command.main(["verify", str(NETWORK), "--port", "sim:overlay", "--images", str(IMAGES), "--first", "2",
                         "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["images"], report["equal"], report["repeated"]) == (2, True, 0)
    # The second image comes while the first is computed, and its pixels take clocks of the spike memory.
    assert report["cycles"][0] == 46_638


def test_the_board_ends_with_its_input():
    with subprocess.Popen([sys.executable, "-m", "sim.board"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          cwd=pathlib.Path(__file__).parents[3]) as board:
        line = board.stdout.readline()
        assert line.startswith("iCEBreaker, simulated, at /dev/pts/")
        assert line.endswith(": end it with Ctrl-C\n")
        board.stdin.close()
        assert board.wait(20) == 0


def test_several_networks_need_the_overlay(capsys):
    assert main([str(NETWORK), str(NETWORK)]) == 1
    assert capsys.readouterr().err == ("ERROR: NETWORK must be one network, not several, with --weights baked: use "
                                       "--weights flash\n")


def test_steps_of_a_compilation_are_printed_for_programs(capsys, monkeypatch):
    def compiles(*_, report, **__):
        report("compile the simulation", 3, 30)
        raise InputError("this is a test")

    monkeypatch.setattr(board_command, "RtlEngine", compiles)
    assert main(["--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {"step": "compile the simulation", "done": 3, "total": 30}
    assert main([]) == 1
    assert capsys.readouterr().out == ""
