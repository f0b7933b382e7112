"""The simulated board, from the host program to the RTL and back."""

import contextlib
import dataclasses
import json
import pathlib
import subprocess
import sys
import types

import numpy as np
import pytest

import models
from arch import network_file
from arch.flash.image import build_image, save_image
from arch.images import load_images
from boards import BOARDS
from firmware.host import command
from firmware.host.accelerator import Accelerator
from gateware.engine.signature import circuit_of
from gateware.mapper.streamed.choice import streamed_config
from reference.engines import ReferenceEngine
from sim import rtl
from sim.board import command as board_command
from sim.board.command import main
from support.errors import InputError
from tests.flash_models import random_model

ROOT = pathlib.Path(__file__).parents[3]
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


def test_other_models_are_put_into_the_flash_of_the_overlay(tmp_path, capsys):
    """By ``swap``, which starts the board a second time, and by a board that stays."""
    circuit = circuit_of(streamed_config(BOARDS["icebreaker"]))
    sent = [random_model(seed, circuit, [(1, 2)]) for seed in (1, 2)]
    image = tmp_path / "models.flash"
    save_image(image, build_image(sent))
    rows = [f"{mark} {number}  model {number + 1}: 3 x 5 x 3 unsigned, 10 classes, 4 timesteps, sha256 "
            f"{sent[number].info.digest.hex()}" for number, mark in enumerate("* ")]
    assert command.main(["swap", str(image), "--port", "sim:overlay"]) == 0
    output = capsys.readouterr()
    assert output.out.splitlines() == rows
    assert output.err.splitlines()[-1] == (
        f"note: the simulated board has ended: python -m sim.board --weights flash --image {image} simulates one that "
        "stays")
    with subprocess.Popen([sys.executable, "-m", "sim.board", "--weights", "flash", "--image", image, "--json"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as board:
        port = json.loads(board.stdout.readline())["port"]
        assert command.main(["list", "--port", port, "--timeout", "60"]) == 0
        assert capsys.readouterr().out.splitlines() == rows
        board.stdin.close()


def test_the_board_ends_with_its_input():
    with subprocess.Popen([sys.executable, "-m", "sim.board"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          cwd=ROOT) as board:
        line = board.stdout.readline()
        assert line.startswith("iCEBreaker, simulated, at /dev/pts/")
        assert line.endswith(": end it with Ctrl-C\n")
        board.stdin.close()
        assert board.wait(20) == 0
        assert board.stdout.read() == (
            "ended with its standard input: to run it in the background, keep that open: tail -f /dev/null | python -m "
            "sim.board &\n")


@pytest.mark.parametrize(("given", "options", "said"), [
    (b"", [], [("ended with its standard input: to run it in the background, keep that open: tail -f /dev/null | "
                "python -m sim.board &")]),
    (b"\n", [], ["ended: there was a line on its standard input"]),
    (b"", ["--json"], []),
])
def test_the_end_says_its_reason(given, options, said, capsys, monkeypatch, tmp_path):
    (tmp_path / "input").write_bytes(given)
    monkeypatch.setattr(board_command, "_board", lambda *_, **__: types.SimpleNamespace(start=contextlib.nullcontext))
    monkeypatch.setattr(board_command, "serve", lambda *_: None)
    with (tmp_path / "input").open() as standard_input:
        monkeypatch.setattr(sys, "stdin", standard_input)
        assert main(options) == 0
    assert capsys.readouterr().out.splitlines()[1:] == said


@pytest.mark.parametrize(("options", "said"), [([], "ERROR: interrupted\n"), (["--json"], "")])
def test_an_interruption_is_told_by_the_program_that_was_started_last(options, said, capsys, monkeypatch):
    """A host that starts a simulated board, and is interrupted, says so itself."""
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(board_command, "_board", interrupt)
    assert main(options) == 130
    assert capsys.readouterr() == ("", said)


def test_steps_of_a_compilation_are_printed_for_programs(capsys, monkeypatch):
    def compiles(*_, report, **__):
        report("compile the simulation", 3, 30)
        raise InputError("this is a test")

    monkeypatch.setattr(board_command, "kept", lambda key: None)
    monkeypatch.setattr(rtl, "power_on", compiles)
    assert main(["--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {"step": "compile the simulation", "done": 3, "total": 30}
    assert main([]) == 1
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("arguments", "message"), [
    ([NETWORK, NETWORK], "NETWORK must be one network, not several, with --weights baked: use --weights flash"),
    (["--image", "models.flash"], "--image must be given with --weights flash: a baked circuit has no models in flash"),
    (["--image", "models.flash", "--weights", "flash", NETWORK],
     "--image must be given without NETWORK: the flash holds the models of the image")])
def test_contradictions_have_their_line(arguments, message, capsys):
    assert main([str(argument) for argument in arguments]) == 1
    assert capsys.readouterr().err == f"ERROR: {message}\n"


def test_an_image_for_another_circuit_is_refused(tmp_path, capsys):
    config = streamed_config(BOARDS["icebreaker"])
    model = random_model(1, dataclasses.replace(circuit_of(config), fingerprint=1), [(1, 2)])
    save_image(tmp_path / "models.flash", build_image([model]))
    assert main(["--weights", "flash", "--image", f"{tmp_path}/models.flash"]) == 1
    assert capsys.readouterr().err == (
        f"ERROR: {tmp_path}/models.flash: model 0: fingerprint must be "
        f"{circuit_of(config).fingerprint}, not 1: make the image for this circuit\n")
