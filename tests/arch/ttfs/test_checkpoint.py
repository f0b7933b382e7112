"""The checkpoint of a network with spike times: its file, and what it refuses."""

import json
import re

import numpy as np
import pytest

from arch.architecture import CheckpointError
from arch.ttfs import checkpoint as checkpoints
from arch.ttfs.checkpoint import Checkpoint, Input
from arch.ttfs.code import TimeCode
from arch.ttfs.network import EarliestPool
from arch.ttfs.trained_layers import Convolution, FullyConnected, Readout
from tests.arch.altered_files import edited
from tests.arch.ttfs.test_trained_layers import norm_of, reals


def made(**changes):
    rng = np.random.default_rng(1)

    def codes(*shape):
        return rng.integers(-15, 16, shape).astype(np.int8)

    layers = (Convolution(name="conv", weights=codes(3, 2, 3, 3), scale=reals(0.5, 0, 2), norm=norm_of(3), stride=2,
                          padding=1),
              EarliestPool(size=2),
              FullyConnected(name="fc", weights=codes(5, 6), scale=reals(*range(5)), norm=norm_of(5)),
              Readout(name="readout", weights=codes(4, 5), scale=reals(0.125)))
    return Checkpoint(**{"input": Input(channels=2, height=5, width=7, scale=1 / 255), "theta0": 0.7, "layers": layers,
                         "code": TimeCode(timesteps=12, tau=2), "provenance": {"command": "none"}, **changes})


def test_a_file_is_read_as_it_was_written(tmp_path):
    written = made()
    path = tmp_path / "made.safetensors"
    written.save(path)
    read = checkpoints.load(path)
    assert checkpoints.dumps(read) == path.read_bytes() == checkpoints.dumps(written)
    assert (read.input, read.code, read.theta0, read.provenance) == (
        written.input, written.code, written.theta0, written.provenance)
    for ours, theirs in zip(read.layers, written.layers, strict=True):
        assert type(ours) is type(theirs)
        if isinstance(ours, EarliestPool):
            assert ours == theirs
            continue
        assert ours.name == theirs.name
        assert ours.weights.dtype == np.int8
        assert (ours.weights == theirs.weights).all()
        assert (ours.scale == theirs.scale).all()
        if not isinstance(ours, Readout):
            assert ours.norm.epsilon == theirs.norm.epsilon
            for part in ("gamma", "beta", "mean", "variance"):
                assert getattr(ours.norm, part).dtype == np.float32
                assert (getattr(ours.norm, part) == getattr(theirs.norm, part)).all()
    assert (read.layers[0].stride, read.layers[0].padding) == (2, 1)


def test_other_tools_can_open_the_file(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    found = safetensors.load(checkpoints.dumps(made()))
    assert (found["0.scale"] == reals(0.5, 0, 2)).all()
    assert len(found) == 2 * 6 + 2


def test_digest_is_of_what_is_computed():
    whole = checkpoints.digest(made())
    assert checkpoints.digest(made(provenance={"command": "another"})) == whole
    assert checkpoints.digest(made(theta0=0.8)) != whole


def test_no_byte_can_be_altered_unseen():
    content = checkpoints.dumps(made())
    for place in range(0, len(content), 7):
        altered = bytearray(content)
        altered[place] ^= 1
        with pytest.raises(CheckpointError):
            checkpoints.loads(bytes(altered))
    for end in (0, 7, 8, 100, len(content) - 1):
        with pytest.raises(CheckpointError):
            checkpoints.loads(content[:end])


def test_file_of_another_kind_or_version_is_named(tmp_path):
    path = tmp_path / "file"
    content = checkpoints.dumps(made())
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8:8 + length])

    def write(**strings):
        kept = {key: value for key, value in {**header["__metadata__"], **strings}.items() if value is not None}
        text = json.dumps({**header, "__metadata__": kept}).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length:])

    for strings, line in (
            ({"sterna_ttfs_checkpoint": "2"}, "version must be 1, not '2'"),
            ({"sterna_ttfs_checkpoint": None},
             ("not a checkpoint but a safetensors file of another program: train the network with the method "
              "conversion-aware, docs/ttfs.md")),
            ({"metadata": "{}"}, "metadata do not match their SHA-256: the file was altered")):
        write(**strings)
        with pytest.raises(CheckpointError, match=f"^{re.escape(f'{path}: {line}')}$"):
            checkpoints.load(path)


def put(*path_and_value):
    *path, key, value = path_and_value

    def edit(description):
        for part in path:
            description = description[part]
        description[key] = value

    return edit


@pytest.mark.parametrize(("edit", "line"), [
    (put("theta0", 10**400), f"theta0 must be a positive number, not {str(10**400)[:37]}..."),
    (put("theta0", "1"), "theta0 must be a positive number, not '1'"),
    (put("theta0", 1), "header is not in canonical form: the file was altered, or written by another program"),
    (put("input", "scale", -1), "input scale must be a positive number, not -1"),
    (put("input", "scale", True), "input scale must be a positive number, not True"),
    (put("layers", 0, "epsilon", 0), "layer 0: epsilon must be a positive number, not 0"),
    (put("layers", 0, "name", "a\x1b[31m"),
     "layer 0: name must be a word of letters, digits, - and _, not 'a\\x1b[31m'"),
    (put("layers", 2, "name", "conv"), "layer 2 name must be one that no other layer has, not 'conv'"),
    (put("layers", 0, "kind", "pool"),
     "layer 0: kind must be convolution, fully-connected, earliest-pool, readout, not 'pool'"),
    (put("layers", 0, "padding", 3), "layer 0: padding must be an integer from 0 to 2, not 3"),
    (put("code", "bits", 4), "layer 0 (conv): weights must be codes from -7 to 7, not "),
    (put("layers", []), "tensor '0.weights' belongs to no layer"),
])
def test_descriptions_that_make_no_sense_are_named(edit, line):
    with pytest.raises(CheckpointError, match=f"^{re.escape(line)}") as error:
        checkpoints.loads(edited(checkpoints.dumps(made()), network=edit))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("layers", "line"), [
    ((), "layers must end in a readout, not be empty"),
    (made().layers[:-1], "layer 2 must be a readout: a network has one, at its end"),
    (made().layers[1:], "layer 0 must have weights, not be an earliest-pool"),
    (made().layers[2:], "layer 0 (fully-connected): weights must have 70 inputs for a map of (2, 5, 7), not 6"),
])
def test_layers_that_do_not_fit_together_are_named(layers, line):
    with pytest.raises(CheckpointError, match=f"^{re.escape(line)}$"):
        made(layers=layers)
