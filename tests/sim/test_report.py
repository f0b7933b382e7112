"""The report of a simulation: every line and every key, with and without labels, clocks and a comparison."""

import dataclasses
import json

import numpy as np

from reference.engines import Difference, EngineResult
from sim.report import Circuit, Comparison, Report, Weights

SCORES = np.array([[3, -1, 2], [0, 7, 7], [-4, -9, -3]])
RESULT = EngineResult(scores=SCORES, classes=np.array([0, 1, 2]))
CLOCKED = dataclasses.replace(RESULT, cycles=np.array([1234, 1234, 1250]), stall_cycles=np.array([0, 0, 0]),
                              flash_stall_cycles=np.array([0, 0, 0]))
BAKED = Circuit(weights=Weights.BAKED, chosen=False, board="icebreaker", board_title="iCEBreaker", lanes=8, width=16,
                timesteps=4, clock_hz=48e6)
DIFFERENCE = Difference(image=1, layer=2, kind="readout", score=1, expected=8, actual=7)
MADE_BY = "made by: revision abc123, python 3.11, numpy 2.4"


def report(**changes):
    return Report(**{"network": "net.safetensors", "network_sha256": "0123456789abcdef" * 4,
                     "images_sha256": "fedcba9876543210" * 4,
                     "images_per_second": {"reference": 1234.5678}, "result": RESULT, "labels": None,
                     "comparison": None, "circuit": None, "revision": "abc123",
                     "tool_versions": {"python": "3.11", "numpy": "2.4"},
                     **changes})


def test_text_of_an_engine_alone():
    assert report().agree
    assert report().to_text().splitlines() == [
        "net.safetensors (sha256 0123456789abcdef), 3 images, reference",
        " image   class  scores",
        "     0       0  3 -1 2",
        "     1       1  0 7 7",
        "     2       2  -4 -9 -3",
        "images per second: reference 1,234.6",
        MADE_BY,
    ]


def test_text_with_labels_clocks_and_a_comparison():
    both = report(result=CLOCKED, labels=np.array([0, 2, 2]), images_per_second={"reference": 50.0, "rtl": 33.94},
                  circuit=BAKED, comparison=Comparison(spikes_compared=True, difference=None))
    assert (both.agree, both.correct) == (True, 2)
    assert both.to_text().splitlines() == [
        "net.safetensors (sha256 0123456789abcdef), 3 images, reference and rtl",
        " image   class   label  cycles  scores",
        "     0       0       0    1234  3 -1 2",
        "     1       1       2    1234  0 7 7",
        "     2       2       2    1250  -4 -9 -3",
        "accuracy: 66.67 % (2 of 3)",
        "circuit: baked, weights in its memories, 8 x 16 x 4, iCEBreaker",
        "cycles per image: 1,234 to 1,250, of them waiting for pixels 0; 0.02571 to 0.02604 ms at 48 MHz",
        "images per second: reference 50.0, rtl 33.9",
        "agreement: scores, classes and every layer's spikes of 3 images are equal",
        MADE_BY,
    ]


def test_text_says_what_was_compared_and_where_the_engines_differ():
    scores_alone = report(comparison=Comparison(spikes_compared=False, difference=None)).to_text()
    assert "\nagreement: scores and classes of 3 images are equal\n" in scores_alone
    wrong = report(comparison=Comparison(spikes_compared=True, difference=DIFFERENCE))
    assert not wrong.agree
    assert "\nDIFFERENCE: image 1, layer 2 (readout), score 1: 8 expected, not 7\n" in wrong.to_text()
    assert "agreement" not in wrong.to_text()


def test_clocks_that_waited_for_the_flash_are_told_where_there_are_any():
    waited = dataclasses.replace(CLOCKED, flash_stall_cycles=np.array([0, 5, 1000]))
    assert "\ncycles per image: 1,234 to 1,250, of them waiting for pixels 0, for the flash 0 to 1,000\n" in report(
        result=waited).to_text()
    assert "\ncycles per image: 1,234 to 1,250, of them waiting for pixels 0\n" in report(result=CLOCKED).to_text()
    assert report(result=waited).to_json()["flash_stall_cycles"] == [0, 5, 1000]


def test_the_circuit_is_named_with_why_it_was_chosen():
    streamed = dataclasses.replace(BAKED, weights=Weights.FLASH)
    for circuit, line in (
            (dataclasses.replace(BAKED, chosen=True),
             "baked, weights in its memories, 8 x 16 x 4, iCEBreaker (chosen: the network fits it)"),
            (streamed, "streamed, weights from flash, 8 x 16 x 4, iCEBreaker"),
            (dataclasses.replace(streamed, chosen=True),
             "streamed, weights from flash, 8 x 16 x 4, iCEBreaker (chosen: the network does not fit the baked one)")):
        assert f"\ncircuit: {line}\n" in report(circuit=circuit).to_text()
    # The streamed circuit could have waited for its flash.
    assert ("\ncycles per image: 1,234 to 1,250, of them waiting for pixels 0, for the flash 0; 0.02571 to 0.02604 ms "
            "at 48 MHz\n") in report(result=CLOCKED, circuit=streamed).to_text()
    same = dataclasses.replace(CLOCKED, cycles=np.array([908_428] * 3))
    assert "; 18.93 ms at 48 MHz\n" in report(result=same, circuit=streamed).to_text()
    assert report(circuit=streamed).to_json()["circuit"] == {
        "weights": "flash", "chosen": False, "board": "icebreaker", "board_title": "iCEBreaker", "lanes": 8,
        "width": 16, "timesteps": 4, "clock_hz": 48e6}


def test_why_spikes_were_not_compared_is_told():
    unseen = report(comparison=Comparison(spikes_compared=False, difference=None, unseen="it is dark"))
    assert ("\nagreement: scores and classes of 3 images are equal; spikes were not compared, because it is dark\n"
            in unseen.to_text())


def test_one_image_is_told_in_the_singular():
    one = EngineResult(scores=SCORES[:1], classes=np.array([0]))
    lines = report(result=one, comparison=Comparison(spikes_compared=False, difference=None)).to_text().splitlines()
    assert lines[0] == "net.safetensors (sha256 0123456789abcdef), 1 image, reference"
    assert lines[-2] == "agreement: scores and classes of 1 image are equal"


def test_text_lists_ten_images():
    for count, more in ((10, []), (11, ["   ...  (1 more; --json lists all)"])):
        result = EngineResult(scores=np.zeros((count, 2), np.int64), classes=np.zeros(count, np.int64))
        lines = report(result=result).to_text().splitlines()
        assert lines[11] == "     9       0  0 0"
        assert lines[12:-2] == more


def test_json_leaves_out_what_is_not_known():
    found = report().to_json()
    assert found == {
        "network": "net.safetensors", "network_sha256": "0123456789abcdef" * 4, "images": 3,
        "images_sha256": "fedcba9876543210" * 4, "engines": ["reference"], "classes": [0, 1, 2],
        "scores": SCORES.tolist(), "images_per_second": {"reference": 1234.568},
        "revision": "abc123", "tool_versions": {"python": "3.11", "numpy": "2.4"}}
    assert json.loads(json.dumps(found)) == found


def test_json_with_labels_clocks_and_a_comparison():
    whole = report(result=CLOCKED, labels=np.array([0, 2, 2]),
                   comparison=Comparison(spikes_compared=True, difference=None))
    found = whole.to_json()
    assert json.loads(json.dumps(found)) == found
    assert {key: found[key] for key in found.keys() - report().to_json().keys()} == {
        "labels": [0, 2, 2], "correct": 2, "accuracy": 2 / 3, "cycles": [1234, 1234, 1250], "stall_cycles": [0, 0, 0],
        "flash_stall_cycles": [0, 0, 0], "agree": True, "spikes_compared": True, "clocks_compared": [],
        "difference": None}
    wrong = report(comparison=Comparison(spikes_compared=False, difference=DIFFERENCE)).to_json()
    assert (wrong["agree"], wrong["spikes_compared"]) == (False, False)
    assert wrong["difference"] == {"image": 1, "layer": 2, "kind": "readout", "place": None, "score": 1, "expected": 8,
                                   "actual": 7, "text": str(DIFFERENCE)}
