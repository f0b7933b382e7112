"""What python -m sim has printed, read back; and every line of refusal."""

import json

import pytest

from gateware.build.page.answers import AnswersError, read_answers
from gateware.build.page.levels import Level
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


@pytest.mark.parametrize(("changes", "message"), [
    ({"network_sha256": "b" * 64}, (f"must be of the network of the build, whose sha256 is {'a' * 16}, not {'b' * 16}: "
                                   f"run python -m sim with that network")),
    ({"labels": [0]}, ("must have a class and a label for each of its images, of which it has 3: run python -m sim "
                      "again with --labels FILE --json")),
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
