"""``python -m export --fit``: what is moved, what that costs, and what is refused without it."""

import json
import re

import numpy as np
import pytest

from arch import network_file
from arch.images import load_images, load_labels
from boards import BOARDS, board_named
from export import command, steps
from export.command import main
from export.fitting import Room
from export.flash.room import room_of
from export.folding import fold
from gateware.mapper.streamed.choice import lay_out, streamed_config
from reference.network import Reference
from tests.converted_networks import IMAGES, LABELS, converted
from tests.export.test_command import make_checkpoint

MEASURE = ["--calibration", str(IMAGES), "--calibration-images", "20", "--test-images", str(IMAGES), "--test-labels",
           str(LABELS)]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A binary network by conversion: T = 8 needs more than four fractional bits."""
    path = tmp_path_factory.mktemp("converted") / "checkpoint.safetensors"
    converted(8).save(path)
    return str(path)


@pytest.fixture(scope="module")
def trained():
    """The same network, exact in every channel."""
    made = converted(8)
    network = steps.assemble(made, steps.certify(made, fold(made), max_fraction=16), {})
    assert network.metadata["exact"] is True
    return network


def run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_network_that_does_not_fit_is_refused_with_the_option(checkpoint, tmp_path, capsys):
    output, image = tmp_path / "net.safetensors", tmp_path / "image.bin"
    code, out, err = run(capsys, checkpoint, "-o", output, "--flash", image, "-q")
    assert (code, out) == (1, "")
    lines = err.splitlines()
    for line, layer in zip(lines, (1, 2), strict=False):
        assert re.fullmatch(
            rf"{re.escape(str(output))}: does not fit: layer {layer} \(convolution\): fractional bits must be at most "
            rf"4, not [5-8]: export the checkpoint with --fit BOARD, which moves constants and says what that costs",
            line)
    assert lines[2:] == [(f"ERROR: {output}: network must fit the streamed circuit of the iCEBreaker, not exceed the 2 "
                          f"limits above: export the checkpoint with --fit BOARD, which moves constants and says what "
                          f"that costs")]
    assert sorted(tmp_path.iterdir()) == []


def test_what_moved_and_what_it_costs_is_said_everywhere(checkpoint, trained, tmp_path, capsys):
    """On the screen, in the network's file, and in the report of the image."""
    output, image = tmp_path / "net.safetensors", tmp_path / "image.bin"
    code, out, _ = run(capsys, checkpoint, "-o", output, "--flash", image, "--fit", "icebreaker", *MEASURE)
    assert code == 0
    network = network_file.load(output)
    lay_out(network, streamed_config(board_named("icebreaker")))
    moved = {entry["name"]: entry["inexact_channels"] for entry in network.metadata["certificate"]["layers"]}
    assert moved["conv1"] == []
    assert moved["conv2"]
    assert moved["conv3"]
    images = load_images(IMAGES, network)
    ours, exact = (Reference(made).run(images, spikes=True) for made in (network, trained))
    labels = load_labels(LABELS, classes=10)
    shares = [float(np.mean(result.classes == labels)) for result in (ours, exact)]
    changed = sum(int(np.count_nonzero(mine[:20] != theirs[:20]))
                  for mine, theirs in zip(ours.spikes, exact.spikes, strict=True))
    places = sum(maps[:20].size for maps in ours.spikes)
    count = sum(map(len, moved.values()))
    assert changed > 0
    assert network.metadata["exact"] is False
    assert network.metadata["fit"] == {
        "board": "icebreaker", "title": "iCEBreaker", "fraction": 4, "membrane_width": 20, "moved_channels": count,
        "channels": 36, "spikes_changed": changed, "spikes_compared": places, "calibration_images": 20,
        "trained_accuracy": shares[1]}
    assert network.metadata["accuracy"] == shares[0]
    assert network.metadata["export"]["max_fraction"] == 4
    exactness = (f"exact: NO, conv2 may differ in {len(moved['conv2'])} channels: "
                 f"{', '.join(map(str, moved['conv2'][:8]))}")
    lines = out.splitlines()
    where = next(index for index, line in enumerate(lines) if line.startswith("exact: "))
    assert lines[where].startswith(exactness)
    assert lines[where + 1:where + 5] == [
        (f"fit: {count} of 36 channels moved to the nearest constants that fit the iCEBreaker (F at most 4, membranes "
         f"of 20 bits)"),
        f"fit, spikes: {changed:,} of {places:,} differ on 20 calibration images",
        (f"fit, accuracy: {100 * (shares[0] - shares[1]):+.2f} points, {100 * shares[0]:.2f} % instead of "
         f"{100 * shares[1]:.2f} % of 100 images"),
        f"accuracy: {100 * shares[0]:.2f} % of 100 images"]
    # The image's own report, of the network's file alone.
    code, out, _ = run(capsys, output, "--flash", image, "-q")
    assert code == 0
    assert f"\n{exactness}" in out


def test_what_was_not_measured_is_unknown(checkpoint, tmp_path, capsys):
    code, out, err = run(capsys, checkpoint, "-o", tmp_path / "net", "--fit", "icebreaker", "--dry-run")
    assert code == 0
    assert ("\nfit, spikes: unknown: give --calibration\n"
            "fit, accuracy: unknown: give --test-images and --test-labels\n") in out
    assert re.search(r"^fit: \d+ channels moved to fit the iCEBreaker$", err, re.MULTILINE)
    assert "may certify more channels" not in out


def test_fewer_fractional_bits_may_be_asked_for(checkpoint, tmp_path, capsys):
    assert run(capsys, checkpoint, "-o", tmp_path / "net", "--fit", "icebreaker", "--max-fraction", "1", "-q")[0] == 0
    layers = network_file.load(tmp_path / "net").layers[:-1]
    assert {layer.neurons.fraction for layer in layers} == {1}


def test_nothing_moves_where_all_channels_fit(tmp_path, capsys):
    make_checkpoint(timesteps=3).save(tmp_path / "checkpoint")
    for name, options in (("fitted", ["--fit", "icebreaker"]), ("plain", ["--max-fraction", "4"])):
        code, out, _ = run(capsys, tmp_path / "checkpoint", "-o", tmp_path / name, "-q", *options)
        assert code == 0
        assert ("\nfit: no channel had to be moved for the iCEBreaker (F at most 4, membranes of 20 bits)\n" in
                out) is (name == "fitted")
    fitted, plain = (network_file.load(tmp_path / name) for name in ("fitted", "plain"))
    assert network_file.digest(fitted) == network_file.digest(plain)
    assert fitted.metadata["exact"] is True


def test_the_json_has_the_fit(checkpoint, tmp_path, capsys):
    code, out, _ = run(capsys, checkpoint, "-o", tmp_path / "net", "--fit", "icesugar", "--json", "-q")
    report = json.loads(out)
    assert code == 0
    assert report["metadata"]["fit"]["board"] == "icesugar"
    assert report["metadata"]["fit"]["moved_channels"] == sum(len(row["inexact"]) for row in report["layers"])
    assert report["certificate"].startswith("NO, conv2 may differ in ")


def test_the_board_of_the_fit_is_that_of_the_image(checkpoint, tmp_path, capsys):
    image = tmp_path / "image.bin"
    code, out, _ = run(capsys, checkpoint, "-o", tmp_path / "net", "--fit", "icesugar", "--flash", image, "-q")
    assert code == 0
    assert " in the 8 MiB of flash of the iCESugar, " in out


@pytest.mark.parametrize(("arguments", "message"), [
    (["--fit", "arty"], "board must be one of icebreaker, icesugar, upduino-v3, not 'arty'"),
    (["--fit", "upduino-v3"],
     ("--fit must be a board whose FPGA reads the flash, and the UPduino v3 has its serial port on the pins of the "
      "flash: use another board")),
    (["--fit", "icesugar", "--flash", "IMAGE", "--board", "icebreaker"],
     "--board must be the board of --fit, icesugar, not icebreaker: fit to the board that runs the network")])
def test_bad_options_are_one_line(checkpoint, tmp_path, capsys, arguments, message):
    given = [str(tmp_path / "image") if argument == "IMAGE" else argument for argument in arguments]
    assert run(capsys, checkpoint, "-o", tmp_path / "net", *given, "-q") == (1, "", f"ERROR: {message}\n")
    assert sorted(tmp_path.iterdir()) == []


def test_exported_networks_stay_as_they_are(tmp_path, capsys):
    made = make_checkpoint()
    network_file.save(steps.assemble(made, steps.certify(made, fold(made), max_fraction=8), {}), tmp_path / "net")
    assert run(capsys, tmp_path / "net", "--flash", tmp_path / "image", "--fit", "icebreaker") == (
        1, "", "ERROR: --fit must be given with a checkpoint: exported networks stay as they are\n")


def test_a_channel_that_nothing_fits_is_named(checkpoint, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "room_of", lambda board: Room(board=board.name, title=board.title, fraction=4,
                                                               membrane_width=14))
    code, out, err = run(capsys, checkpoint, "-o", tmp_path / "net", "--fit", "icebreaker", "-q")
    assert (code, out) == (1, "")
    assert re.fullmatch(
        r"ERROR: layer conv1, channel \d+: its membrane of 8 timesteps must fit the 14 bits of the iCEBreaker, not "
        r"need \d+, and no constants near the trained ones make it fit: (train it with at most \d timesteps?; or )?"
        r"train it with so few inputs or pooled positions that currents of the channel are at most -?\d+ to \d+, "
        r"not -?\d+ to \d+\n", err), err


@pytest.mark.parametrize("board", [board for board in BOARDS.values() if board.flash_wiring is not None],
                         ids=lambda board: board.name)
def test_the_room_is_that_of_the_circuit(board):
    config = streamed_config(board)
    assert room_of(board) == Room(board=board.name, title=board.title, fraction=config.fraction,
                                  membrane_width=config.membrane_width)
