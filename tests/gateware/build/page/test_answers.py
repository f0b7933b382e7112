"""What python -m sim has printed, read back; and every line of refusal."""

import json
import pathlib

import numpy as np
import pytest

from arch import network_file
from arch.images import load_images
from gateware.build.page.answers import Answers, AnswersError, read_answers
from gateware.build.page.levels import Level
from gateware.build.page.sections.accuracy import _wrong
from sim import command as sim
from support.command_line import EXIT_OK

SHA = "a" * 64


@pytest.fixture
def written(tmp_path):
    def write(**changes):
        path = tmp_path / "answers.json"
        path.write_text(json.dumps({"network_sha256": SHA, "images": 3, "engines": ["reference", "rtl"],
                                    "classes": [0, 2, 2], "labels": [0, 1, 2], "agree": True, **changes}))
        return path
    return write


def test_wrong_images_and_the_confusion_are_counted(written):
    answers = read_answers(written(), network_sha256=SHA)
    assert (answers.level, answers.wrong, answers.correct) == (Level.RTL, [1], 2)
    assert answers.confusion().tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 1]]


def test_what_the_command_prints_is_read(tmp_path, capsys):
    model, samples = "models/fashion-conv.safetensors", "models/samples/fashion-mnist"
    assert sim.main([model, "--images", f"{samples}-images.idx.gz", "--labels", f"{samples}-labels.idx.gz",
                     "--json"]) == EXIT_OK
    path = tmp_path / "answers.json"
    path.write_text(capsys.readouterr().out)
    answers = read_answers(path, network_sha256=json.loads(path.read_text())["network_sha256"])
    assert (answers.level, len(answers.classes), answers.correct) == (Level.COMPUTED, 100, 88)


@pytest.mark.parametrize(("options", "first", "count"), [
    (["--image", "98"], 98, 1), (["--first", "3"], 0, 3), ([], 0, 100)])
def test_the_images_are_those_of_the_run_and_of_no_other(tmp_path, capsys, options, first, count):
    model = pathlib.Path("models/fashion-conv.safetensors")
    network, path, samples = network_file.load(model), tmp_path / "answers.json", pathlib.Path("models/samples")
    images, digits = samples / "fashion-mnist-images.idx.gz", samples / "mnist-images.idx.gz"
    assert sim.main([str(model), "--images", str(images), "--labels", str(samples / "fashion-mnist-labels.idx.gz"),
                     "--json", *options]) == EXIT_OK
    path.write_text(capsys.readouterr().out)
    known = {"network_sha256": network_file.digest(network), "network": network}
    answers = read_answers(path, **known, images=images)
    assert answers.first == first
    np.testing.assert_array_equal(answers.images, load_images(images, network)[first:first + count])
    few = tmp_path / "few.npy"
    np.save(few, load_images(images, network)[:first + count - 1])
    for other in (digits, few):
        with pytest.raises(AnswersError) as caught:
            read_answers(path, **known, images=other)
        assert str(caught.value) == (f"{other}: --images must be the images of the run that {path} is of, and has "
                                     f"others: give the file that python -m sim was given")
    made = json.loads(path.read_text())
    del made["images_sha256"]
    path.write_text(json.dumps(made))
    assert read_answers(path, **known).images is None
    with pytest.raises(AnswersError) as caught:
        read_answers(path, **known, images=images)
    assert str(caught.value) == (f"{path}: must have images_sha256, by which its images are known: run python -m sim "
                                 f"again with --json, or leave --images out")


@pytest.mark.parametrize("picture", [False, True])
def test_an_image_has_the_number_of_its_file(picture):
    images = np.zeros((1, 1, 4, 4), np.uint8) if picture else None
    (part, *_) = _wrong(Answers(source="x", level=Level.COMPUTED, classes=np.array([2]), labels=np.array([1]),
                                images=images, first=98))
    if picture:
        assert [each.description for each in part.pictures] == ["Image 98, of class 1, taken for 2"]
    else:
        assert part.text == "Wrongly classified images, by number from 0: 98 (1 taken for 2)."


@pytest.mark.parametrize(("changes", "message"), [
    ({"network_sha256": "b" * 64}, (f"must be of the network of the build, whose sha256 is {'a' * 16}, not {'b' * 16}: "
                                   f"run python -m sim with that network")),
    ({"labels": [0]}, ("must have a class and a label for each of its images, of which it has 3: run python -m sim "
                      "again with --labels FILE --json")),
    ({"image": 7}, "image must be the number of the only image, not 7 of 3: run python -m sim again"),
    ({"images": 1, "classes": [0], "labels": [0], "image": -1},
     "image must be the number of the only image, not -1 of 1: run python -m sim again"),
    ({"labels": [0, 1, -1]}, "classes and labels must be 0 to 999: run python -m sim again"),
    ({"labels": [0, 1, 1000]}, "classes and labels must be 0 to 999: run python -m sim again"),
    ({"agree": False}, "must be of engines that agree, and tells of a difference: find out why with python -m sim"),
    ({"engines": ["abacus"]}, "engines must end with reference, rtl, netlist, bitstream, not ['abacus']"),
    ({"engines": ["bitstream"], "agree": None},
     ("must be of engines that were compared, not of bitstream alone: run python -m sim with --engine both")),
    ({"engines": ["rtl"], "agree": None},
     ("must be of engines that were compared, not of rtl alone: run python -m sim with --engine both")),
    ({"classes": None}, ("must be what python -m sim NETWORK --images FILE --labels FILE --json prints: classes must "
                        "be a list, not None")),
])
def test_refusals(written, changes, message):
    path = written(**changes)
    with pytest.raises(AnswersError) as caught:
        read_answers(path, network_sha256=SHA)
    assert str(caught.value) == f"{path}: {message}"


def test_the_reference_alone_needs_no_comparison(written):
    assert read_answers(written(engines=["reference"], agree=None), network_sha256=SHA).level is Level.COMPUTED
