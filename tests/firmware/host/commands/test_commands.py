"""The commands against a scripted device."""

import dataclasses
import json
import re

import numpy as np
import pytest

from arch import network_file
from arch.link import ErrorCode, InfoReply, LinkCounters, Reply
from arch.network import Encoding, Input, Network, Readout
from firmware.host import command
from firmware.host.ports import Port
from reference.network import Reference
from tests.firmware.host.test_accelerator import Device
from tests.firmware.host.test_link import reply
from tests.image_files import idx
from tests.link_board import expected_result, make_info

SECOND = make_info(height=2, width=3, clock_khz=1000)
SECOND = dataclasses.replace(SECOND, digest=bytes(8))


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a command on a device; returns the exit code and the lines of both outputs."""
    def on(device, *arguments):
        monkeypatch.setattr(command, "open_port", lambda name, baud: Port(
            transport=device, name=name, timeout=0.01, silence=0.01, alone=True, baud=3_000_000))
        code = command.main([*map(str, arguments), "--port", "scripted"])
        output = capsys.readouterr()
        return code, output.out.splitlines(), output.err.splitlines()
    return on


def test_models_are_listed_and_the_selected_one_stays(run):
    device = Device({0: make_info(), 2: ErrorCode.DAMAGED, 3: SECOND, 7: ErrorCode.WRONG_MODEL})
    device.selected = SECOND
    assert run(device, "list") == (0, [
        "  0  sum of pixels: 4 x 5 x 1 unsigned, 3 classes, 4 timesteps, sha256 0001020304050607",
        "  2  damaged",
        "* 3  sum of pixels: 2 x 3 x 1 unsigned, 3 classes, 4 timesteps, sha256 0000000000000000",
        "  7  made for another circuit"], [])
    assert device.selected == SECOND
    _code, out, _ = run(device, "list", "--json")
    rows = [json.loads(line) for line in out]
    assert [(row["model"], row.get("selected"), row.get("fault")) for row in rows] == [
        (0, False, None), (2, None, "damaged"), (3, True, None), (7, None, "made for another circuit")]


def test_the_list_of_a_board_without_flash_is_its_network(run):
    assert run(Device(), "list") == (
        0, ["* -  sum of pixels: 4 x 5 x 1 unsigned, 3 classes, 4 timesteps, sha256 0001020304050607"], [])


def test_a_list_is_printed_where_nothing_is_selected(run):
    device = Device({1: SECOND})
    device.selected = ErrorCode.NO_MODEL
    code, out, err = run(device, "list")
    assert (code, len(out), err) == (0, 1, [])


def test_counters_are_printed_when_they_change(run):
    class Faulty(Device):
        asked = 0

        def answer(self, frame):
            self.asked += 1
            counts = LinkCounters(bad_frames=self.asked // 3, overruns=0, aborted_frames=0)
            return reply(frame, Reply.INFO, InfoReply(info=self.selected, counters=counts).to_bytes())

    code, out, err = run(Faulty(), "monitor", "--every", "0.01", "--count", 5)
    assert (code, err) == (0, [])
    assert [line.partition(" s  ")[2] for line in out] == [
        "bad frames 0, overruns 0, aborted frames 0", "bad frames 1, overruns 0, aborted frames 0"]
    code, out, err = run(Faulty(), "monitor", "--every", "0.01", "--count", 2, "--json")
    row, = map(json.loads, out)
    assert {name: row[name] for name in ("bad_frames", "overruns", "aborted_frames")} == {
        "bad_frames": 0, "overruns": 0, "aborted_frames": 0}


@pytest.fixture
def images(tmp_path):
    """A folder of three images, and the labels, of which two are right."""
    pixels = np.random.default_rng(5).integers(0, 256, (3, 4, 5), dtype=np.uint8)
    folder = tmp_path / "images"
    folder.mkdir()
    for number, image in enumerate(pixels):
        np.save(folder / f"{number}.npy", image)
    (folder / "notes.txt").write_text("not an image")
    labels = [expected_result(image.tobytes(), 200).label for image in pixels]
    labels[1] = 2
    (tmp_path / "labels.idx").write_bytes(idx(np.array(labels, np.uint8)))
    return folder, tmp_path / "labels.idx", pixels


def test_a_folder_is_classified_and_right_classes_are_counted(run, images):
    folder, labels, _ = images
    code, out, err = run(Device(), "classify", folder, "--labels", labels)
    assert (code, err) == (0, [])
    assert [line.partition(":")[0] for line in out[:3]] == [f"{folder}/{number}.npy" for number in range(3)]
    assert out[3] == "accuracy: 66.67 %, 2 of 3 images"
    code, out, err = run(Device(), "classify", folder, "--labels", labels, "--json")
    assert json.loads(out[-1]) == {"images": 3, "right": 2}


def test_an_empty_folder_and_too_few_labels_have_their_line(run, images, tmp_path):
    folder, labels, _ = images
    (tmp_path / "empty").mkdir()
    assert run(Device(), "classify", tmp_path / "empty") == (1, [], [
        f"ERROR: {tmp_path}/empty: folder must have files that end with .png, .npy, .npz, .idx, .gz"])
    code, out, err = run(Device(), "classify", folder, folder / "0.npy", "--labels", labels)
    assert (code, out, len(err)) == (1, [], 1)
    assert "labels" in err[0]


class Computes(Device):
    """Computes what the reference does of a network; ``wrong`` is the image whose last score is one too high."""

    def __init__(self, network, wrong=None):
        super().__init__()
        source = network.input
        self.network, self.reference, self.left = network, Reference(network), wrong
        self.selected = make_info(height=source.height, width=source.width, classes=network.classes)
        self.selected = dataclasses.replace(self.selected, digest=bytes.fromhex(network_file.digest(network))[:8])

    def answer(self, frame):
        if frame.command != 2:
            return super().answer(frame)
        pixels = np.frombuffer(frame.payload, np.uint8).reshape(1, 1, *self.network.input.shape[1:])
        result = self.reference.run(pixels)
        scores = result.scores[0].tolist()
        if self.left == 0:
            scores[-1] += 1
        self.left = None if self.left is None else self.left - 1
        answer = dataclasses.replace(expected_result(b"", 100), label=int(result.classes[0]), scores=tuple(scores))
        return reply(frame, 0x82, answer.to_bytes())


@pytest.fixture
def network(tmp_path):
    weights = np.random.default_rng(2).integers(-1, 2, (3, 20)).astype(np.int8)
    made = Network(input=Input(encoding=Encoding.PIXELS, channels=1, height=4, width=5), timesteps=4,
                   layers=(Readout(weights=weights),))
    network_file.save(made, tmp_path / "net.safetensors")
    return tmp_path / "net.safetensors", made


def test_a_board_is_compared_with_the_reference(run, network):
    path, made = network
    assert run(Computes(made), "verify", path) == (
        0, ["equal: scores and classes of 100 images, 100 to 100 cycles, 0 requests repeated"], [])
    _code, out, _err = run(Computes(made), "verify", path, "--first", 7, "--json")
    assert json.loads(out[0]) == {"images": 7, "equal": True, "cycles": [100], "repeated": 0}


def test_a_file_with_fewer_images_than_were_asked_for_is_refused(run, network, tmp_path):
    path, made = network
    file = tmp_path / "images.npy"
    np.save(file, np.zeros((3, 4, 5), np.uint8))
    assert run(Computes(made), "verify", path, "--images", file, "--first", 4) == (1, [], [
        (f"ERROR: {file}: images must be at least 4 for --first 4, not 3: give --first 3, or leave the option out")])
    assert run(Computes(made), "verify", path, "--images", file, "--first", 3)[0] == 0


def test_the_first_difference_is_named(run, network):
    path, made = network
    code, out, err = run(Computes(made, wrong=5), "verify", path)
    assert (code, out) == (1, [])
    assert re.match(r"^ERROR: board must compute what the reference does: image 5, layer 0 \(readout\)", err[0])


def test_another_network_is_not_compared(run, network):
    path, made = network
    code, out, err = run(Device(), "verify", path)
    digest = network_file.digest(made)[:16]
    assert (code, out, err) == (1, [], [
        (f"ERROR: board must run the network with the sha256 {digest}, not 0001020304050607: name the file of its "
        "network, or select another model")])


@pytest.mark.parametrize(("arguments", "message"), [
    (("verify", "--first", "0"), "--first must be 1 to 1000000, not 0"),
    (("bench", "--count", "0"), "--count must be 1 to 1000000, not 0"),
    (("monitor", "--every", "nan"), "--every must be 0.01 to 3600 seconds, not nan"),
    (("monitor", "--every", "3600.0001"), "--every must be 0.01 to 3600 seconds, not 3600.0001"),
    (("monitor", "--count", "0"), "--count must be 1 or more, not 0")])
def test_numbers_are_checked(run, network, arguments, message):
    path, made = network
    name, *rest = arguments
    assert run(Computes(made), name, *([path] if name == "verify" else []), *rest) == (1, [], [f"ERROR: {message}"])


def test_a_bench_says_where_the_time_goes(run, images, tmp_path):
    code, out, err = run(Device(), "bench", "--count", 9)
    assert (code, err) == (0, [])
    assert re.match(r"^images per second  [0-9.]+, 9 images, one behind the other$", out[0])
    assert [line[:14] for line in out[1:4]] == ["one image, 50 ", "one image, 90 ", "one image, 99 "]
    assert out[4] == "of them the engine 0.004 ms, by its clocks"
    # Image, result and two frames, ten bits a byte.
    assert out[5].startswith(f"and the line       {1000 * (20 + 28 + 14) * 10 / 3e6:.3f} ms, by its rate; ")
    code, out, err = run(Device(), "bench", "--count", 4, "--json")
    report = json.loads(out[0])
    assert (report["images"], report["repeated"], sorted(report["latency_seconds"])) == (4, 0, ["50", "90", "99"])
    assert report["engine_seconds"] == 200 / 48e6
