"""The table of an export, line by line."""

import copy
import dataclasses

from export.report import format_table
from export.steps import LayerReport

ROWS = [
    LayerReport(name="conv1", kind="convolution", shape=(16, 28, 28), weights=1234, sparsity=0.4321, firing=0.0567,
                fraction=3, current_bits=12, membrane_bits=25, exact=False, inexact=(2, 5), bytes=4096,
                compression=9.87, mismatches=7, compared=100),
    LayerReport(name="pool1", kind="or-pool", shape=(16, 14, 14), firing=0.2),
    LayerReport(name="fc", kind="fully-connected", shape=(8, 1, 1), weights=25088, sparsity=0.5, fraction=0,
                current_bits=9, membrane_bits=24, exact=True, bytes=6464, compression=15.5, mismatches=0, compared=50),
    LayerReport(name="lif", kind="fully-connected", shape=(8, 1, 1), weights=64, sparsity=0.5, fraction=6,
                current_bits=5, membrane_bits=30, leaky=True, bytes=208, compression=2.0, mismatches=1, compared=50),
    LayerReport(name="readout", kind="readout", shape=(10, 1, 1), weights=80, sparsity=0.25, current_bits=4, bytes=20,
                compression=16.0),
]
REPORT = {
    "network_sha256": "0123456789abcdef", "bytes": 12345, "written": ["net.safetensors"],
    "metadata": {"export": {"revision": "abc123", "tool_versions": {"python": "3.11", "numpy": "2.4"}}},
    "certificate": "NO, conv1 may differ in 2 channels: 2, 5", "max_fraction": 8, "checkpoint_protected": True,
    "layers": [dataclasses.asdict(row) for row in ROWS], "verified_images": 32, "verified_on": "noise"}


def lines_of(**changes):
    return format_table({**copy.deepcopy(REPORT), **changes}).splitlines()


def test_every_cell_and_line():
    assert lines_of() == [
        "layer             map  weights  zeros  firing  F  current  membrane   exact  differ  bytes  vs float32",
        "conv1    16 x 28 x 28    1,234  43.2%    5.7%  3  12 bits   25 bits  no (2)       7  4,096       9.9 x",
        "pool1    16 x 14 x 14        -      -   20.0%  -        -         -       -       -      -           -",
        "fc          8 x 1 x 1   25,088  50.0%       -  0   9 bits   24 bits     yes       0  6,464      15.5 x",
        "lif         8 x 1 x 1       64  50.0%       -  6   5 bits   30 bits   leaky       1    208       2.0 x",
        "readout    10 x 1 x 1       80  25.0%       -  -   4 bits         -       -       -     20      16.0 x",
        "",
        "exact: NO, conv1 may differ in 2 channels: 2, 5",
        "a larger --max-fraction, 9 to 16, may certify more channels",
        "WIDE: membranes of more than 24 bits in conv1, lif",
        "sha256: 0123456789abcdef",
        "written: net.safetensors",
        "made by: revision abc123, python 3.11, numpy 2.4",
    ]


def test_lines_that_not_every_export_has():
    metadata = {**REPORT["metadata"], "accuracy": 0.98765, "accuracy_images": 10000}
    # No option is named where none helps: all channels of the layers are certified, or F was as large as it can be.
    assert lines_of(max_fraction=16)[8].startswith("WIDE: ")
    assert lines_of(metadata=metadata, layers=REPORT["layers"][2:3], checkpoint_protected=False)[3:] == [
        "exact: NO, conv1 may differ in 2 channels: 2, 5",
        "accuracy: 98.77 % of 10,000 images",
        ("WARNING: the checkpoint is of version 1 and not protected against damage: save it again, as docs/formats.md "
         "says"),
        "sha256: 0123456789abcdef",
        "written: net.safetensors",
        "made by: revision abc123, python 3.11, numpy 2.4",
    ]


def test_a_fit_says_what_it_cost():
    fit = {"board": "icebreaker", "title": "iCEBreaker", "fraction": 4, "membrane_width": 20, "moved_channels": 2,
           "channels": 32}
    measured = {"spikes_changed": 1234, "spikes_compared": 56789, "calibration_images": 200, "trained_accuracy": 0.9871}
    accuracy = {"accuracy": 0.98765, "accuracy_images": 10000}
    circuit = "the iCEBreaker (F at most 4, membranes of 20 bits)"
    # Two channels may differ, and a larger F is no remedy: the circuit has none.
    assert lines_of(metadata={**REPORT["metadata"], **accuracy, "fit": {**fit, **measured}})[7:12] == [
        "exact: NO, conv1 may differ in 2 channels: 2, 5",
        f"fit: 2 of 32 channels moved to the nearest constants that fit {circuit}",
        "fit, spikes: 1,234 of 56,789 differ on 200 calibration images",
        "fit, accuracy: +0.06 points, 98.77 % instead of 98.71 % of 10,000 images",
        "accuracy: 98.77 % of 10,000 images"]
    assert lines_of(metadata={**REPORT["metadata"], "fit": fit})[8:12] == [
        f"fit: 2 of 32 channels moved to the nearest constants that fit {circuit}",
        "fit, spikes: unknown: give --calibration",
        "fit, accuracy: unknown: give --test-images and --test-labels",
        "WIDE: membranes of more than 24 bits in conv1, lif"]
    assert lines_of(metadata={**REPORT["metadata"], "fit": {**fit, "moved_channels": 0}})[8:10] == [
        f"fit: no channel had to be moved for {circuit}",
        "WIDE: membranes of more than 24 bits in conv1, lif"]


def test_what_was_written_is_said_in_printable_characters():
    assert "written: nothing (dry run)" in lines_of(written=[])
    assert "written: a\\x1bb and 2 memory images" in lines_of(written=["a\x1bb", "m/layer0.hex", "m/layer0.bin"])
