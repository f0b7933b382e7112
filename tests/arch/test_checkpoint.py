import copy
import json
import pathlib
import re

import numpy as np
import pytest
import safetensors.numpy

from arch import checkpoint
from arch.checkpoint import Checkpoint, CheckpointError, layer_shapes, shortcut_sources, weighted_layers

NEURONS = {"reset": "subtract", "leak_shift": None, "epsilon": 1e-5}
ARCHITECTURE = {
    "input": {"encoding": "pixels", "channels": 1, "height": 7, "width": 6, "zero_point": 0, "scale": 0.5},
    "timesteps": 4,
    "layers": [{"kind": "convolution", "name": "conv1", "channels": 2, "kernel": 3, "stride": 1, "padding": 0,
                **NEURONS},
               {"kind": "or-pool", "size": 2},
               {"kind": "fully-connected", "name": "fc1", "neurons": 3, **NEURONS},
               {"kind": "readout", "name": "readout", "classes": 4}]}
REMOVE = object()


def made_tensors():
    generator = np.random.default_rng(1)
    tensors = {}
    for name, (layer, shape) in weighted_layers(ARCHITECTURE).items():
        tensors[f"{name}.weight"] = generator.standard_normal(shape, dtype=np.float32)
        tensors[f"{name}.ternary"] = generator.integers(-1, 2, shape, dtype=np.int8)
        if layer["kind"] == "readout":
            tensors[f"{name}.alpha"] = np.array(0.25, np.float32)
            continue
        for part in ("alpha", "gamma", "beta", "mean", "variance"):
            tensors[f"{name}.{part}"] = generator.random(shape[0], dtype=np.float32)
        tensors[f"{name}.theta"] = np.array(1.0, np.float32)
        tensors[f"{name}.initial"] = np.array(0.5, np.float32)
    return tensors


def changed(path, value):
    """Return the architecture with the entry at ``path`` replaced or removed."""
    architecture = copy.deepcopy(ARCHITECTURE)
    at = architecture
    for key in path[:-1]:
        at = at[key]
    if value is REMOVE:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return architecture


def saved(tmp_path, **metadata):
    """Write a file with the metadata changed, past all checks; return its path."""
    path = tmp_path / "made.safetensors"
    header = {"sterna_checkpoint": "1", "architecture": json.dumps(ARCHITECTURE), "provenance": "{}", **metadata}
    header = {key: value for key, value in header.items() if value is not None}
    safetensors.numpy.save_file(made_tensors(), path, header)
    return path


def test_checkpoint_survives_a_file(tmp_path):
    tensors = {**made_tensors(), "conv1.bias": np.array([0.5, -1], np.float32),
               "fc1.theta": np.array([1, 2, 3], np.float32)}
    made = Checkpoint(architecture=ARCHITECTURE, tensors=tensors, provenance={"seed": 3, "command": "x"})
    made.save(tmp_path / "a.safetensors")
    loaded = Checkpoint.load(tmp_path / "a.safetensors")
    assert loaded.architecture == ARCHITECTURE
    assert loaded.provenance == {"seed": 3, "command": "x"}
    assert set(loaded.tensors) == set(tensors)
    for name, array in tensors.items():
        assert np.array_equal(loaded.tensors[name], array)
        assert loaded.tensors[name].dtype == array.dtype
        assert not loaded.tensors[name].flags.writeable
    loaded.save(tmp_path / "b.safetensors")
    assert (tmp_path / "b.safetensors").read_bytes() == (tmp_path / "a.safetensors").read_bytes()


def test_shapes_follow_the_layers():
    assert [(before, after) for _, before, after in layer_shapes(ARCHITECTURE)] == [
        ((1, 7, 6), (2, 5, 4)), ((2, 5, 4), (2, 2, 2)), ((2, 2, 2), (3, 1, 1)), ((3, 1, 1), (4, 1, 1))]
    assert {name: shape for name, (_, shape) in weighted_layers(ARCHITECTURE).items()} == {
        "conv1": (2, 1, 3, 3), "fc1": (3, 8), "readout": (4, 3)}


def graph():
    """A pool behind a convolution, and a layer that adds the spikes of an or-pool with a name."""
    same = {"kind": "convolution", "channels": 2, "kernel": 1, "stride": 1, "padding": 0, **NEURONS}
    first, _, inner, readout = copy.deepcopy(ARCHITECTURE["layers"])
    first |= {"padding": 1, "pool": 3}
    layers = [first, {"kind": "or-pool", "size": 2, "name": "pool1"}, same | {"name": "conv2"},
              same | {"name": "conv3", "shortcut": "pool1"}, inner, readout]
    return ARCHITECTURE | {"layers": layers}


def test_graphs_have_shapes_and_sources():
    architecture = graph()
    assert [after for _, _, after in layer_shapes(architecture)] == [
        (2, 2, 2), (2, 1, 1), (2, 1, 1), (2, 1, 1), (3, 1, 1), (4, 1, 1)]
    assert shortcut_sources(architecture) == {3: 1}
    assert shortcut_sources(ARCHITECTURE) == {}
    assert list(weighted_layers(architecture)) == ["conv1", "conv2", "conv3", "fc1", "readout"]


def test_the_previous_layer_is_no_shortcut():
    architecture = graph()
    architecture["layers"][3]["shortcut"] = "conv2"
    with pytest.raises(CheckpointError, match=r"^layer 3 shortcut must be a layer before the previous one, not "
                                              r"'conv2': that map is the input$"):
        list(layer_shapes(architecture))


@pytest.mark.parametrize("name", ["mnist-conv", "fashion-conv"])
def test_shipped_checkpoints_keep_their_bytes(name, tmp_path):
    path = pathlib.Path(__file__).parents[2] / "models" / f"{name}.checkpoint.safetensors"
    Checkpoint.load(path).save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(("path", "value", "text"), [
    (("timesteps",), 0, "timesteps must be an integer from 1 to 64, not 0"),
    (("layers",), [], "layers must be a list that ends in a readout"),
    (("layers",), REMOVE, "architecture must have the keys input, timesteps, layers, not input, timesteps"),
    (("input",), 5, "input must be an object, not int"),
    (("input", "encoding"), "sound", "input encoding must be pixels or events, not 'sound'"),
    (("input", "zero_point"), 7, "input zero point must be 0 or 128 for pixels, not 7"),
    (("input", "scale"), 0, "input scale must be a positive number, not 0"),
    (("input", "channels"), 65, "input channels must be an integer from 1 to 64, not 65"),
    (("layers", 0, "kind"), "pool",
     "layer 0 must be of kind convolution, or-pool, fully-connected, readout, not 'pool'"),
    (("layers", 0, "kind"), [], "layer 0 must be of kind convolution, or-pool, fully-connected, readout, not []"),
    (("layers", 1, "stride"), 2, "layer 1 must have the keys kind, size and may have name, not kind, size, stride"),
    (("layers", 1, "name"), "conv1",
     "layer 1 name must be a word of letters, digits, - and _ that no other layer has, not 'conv1'"),
    (("layers", 3, "shortcut"), "conv1",
     "layer 3 must have the keys kind, name, classes, not kind, name, classes, shortcut"),
    (("layers", 0, "pool"), 0, "layer 0 pool must be an integer from 1 to 7, not 0"),
    (("layers", 0, "pool"), 5, "layer 0 pool must fit in the currents of 5 x 4, not be 5"),
    (("layers", 0, "shortcut"), "x", "layer 0 shortcut must add to spikes, not be 'x': this layer sees the input"),
    (("layers", 2, "shortcut"), 0, "layer 2 shortcut must be the name of an earlier layer (conv1), not 0"),
    (("layers", 2, "shortcut"), "fc1", "layer 2 shortcut must be the name of an earlier layer (conv1), not 'fc1'"),
    (("layers", 2, "shortcut"), None, "layer 2 shortcut must be the name of an earlier layer (conv1), not None"),
    (("layers", 2, "shortcut"), "conv1",
     "layer 2 shortcut must have a map of (2, 2, 2) like the input, not that of conv1, (2, 5, 4)"),
    (("layers", 0), {"kind": "or-pool", "size": 2}, "layer 0 must have weights, not be an or-pool"),
    (("layers", 3), REMOVE, "layer 2 must be a readout: a network has one, at its end"),
    (("layers", 1), {"kind": "readout", "name": "r", "classes": 2},
     "layer 1 must not be a readout: a network has one, at its end"),
    (("layers", 0, "name"), "fc1",
     "layer 2 name must be a word of letters, digits, - and _ that no other layer has, not 'fc1'"),
    (("layers", 0, "name"), "a.b",
     "layer 0 name must be a word of letters, digits, - and _ that no other layer has, not 'a.b'"),
    (("layers", 0, "reset"), "hard", "layer 0 reset must be subtract or zero, not 'hard'"),
    (("layers", 0, "leak_shift"), 0, "layer 0 leak shift must be an integer from 1 to 31, not 0"),
    (("layers", 0, "epsilon"), -1.0, "layer 0 epsilon must be a positive number, not -1.0"),
    (("layers", 0, "padding"), 3, "layer 0 padding must be an integer from 0 to 2, not 3"),
    (("layers", 0, "kernel"), 7, "layer 0 kernel must fit in the padded map of 7 x 6, not be 7"),
    (("layers", 1, "size"), 5, "layer 1 size must fit in the map of 5 x 4, not be 5"),
    (("layers", 3, "classes"), 1, "layer 3 classes must be an integer from 2 to 1024, not 1"),
])
def test_wrong_architectures_are_named(path, value, text):
    with pytest.raises(CheckpointError) as caught:
        Checkpoint(architecture=changed(path, value), tensors=made_tensors())
    assert str(caught.value) == text


@pytest.mark.parametrize(("name", "value", "text"), [
    ("conv1.ternary", REMOVE, "tensor conv1.ternary is missing"),
    ("conv9.weight", np.zeros(1, np.float32), "tensor conv9.weight belongs to no layer"),
    ("readout.bias", np.zeros(4, np.float32), "tensor readout.bias belongs to no layer"),
    ("conv1.mean", np.zeros(2), "tensor conv1.mean must be float32, not float64"),
    ("conv1.mean", [0, 0], "tensor conv1.mean must be float32, not list"),
    ("conv1.mean", np.zeros(3, np.float32), "tensor conv1.mean must have shape (2,), not (3,)"),
    ("conv1.theta", np.ones(3, np.float32), "tensor conv1.theta must have shape (2,) or (), not (3,)"),
    ("conv1.theta", np.array(0, np.float32), "tensor conv1.theta must be positive"),
    ("conv1.variance", np.array([1, -1], np.float32), "tensor conv1.variance must not be negative"),
    ("conv1.gamma", np.array([1, np.nan], np.float32), "tensor conv1.gamma must be finite"),
    ("fc1.ternary", np.full((3, 8), 2, np.int8), "tensor fc1.ternary must hold only -1, 0 and +1"),
    ("readout.alpha", np.ones(4, np.float32), "tensor readout.alpha must have shape (), not (4,)"),
])
def test_wrong_tensors_are_named(name, value, text):
    tensors = made_tensors()
    if value is REMOVE:
        del tensors[name]
    else:
        tensors[name] = value
    with pytest.raises(CheckpointError) as caught:
        Checkpoint(architecture=ARCHITECTURE, tensors=tensors)
    assert str(caught.value) == text


@pytest.mark.parametrize(("provenance", "text"), [
    ([], "provenance must be an object, not list"),
    ({"loss": float("nan")}, "provenance must hold only finite JSON values"),
    ({"path": object()}, "provenance must hold only finite JSON values"),
])
def test_wrong_provenance_is_named(provenance, text):
    with pytest.raises(CheckpointError) as caught:
        Checkpoint(architecture=ARCHITECTURE, tensors=made_tensors(), provenance=provenance)
    assert str(caught.value) == text


@pytest.mark.parametrize(("metadata", "text"), [
    ({"sterna_checkpoint": None}, "not a Sterna checkpoint: the metadata names no version"),
    ({"sterna_checkpoint": "2"}, "version must be 1, not '2'"),
    ({"architecture": "{"}, "metadata must hold architecture and provenance as JSON"),
    ({"provenance": None}, "metadata must hold architecture and provenance as JSON"),
    ({"architecture": "[" * 100000}, "metadata must hold architecture and provenance as JSON"),
    ({"architecture": "[]"}, "architecture must be an object, not list"),
])
def test_files_with_wrong_metadata_are_named(tmp_path, metadata, text):
    path = saved(tmp_path, **metadata)
    with pytest.raises(CheckpointError) as caught:
        Checkpoint.load(path)
    assert str(caught.value) == f"{path}: {text}"


def test_truncated_and_foreign_files_are_named(tmp_path):
    path = saved(tmp_path)
    content = path.read_bytes()
    for wrong in (content[:-1], content[:100], b"", b"hello", bytes(1000)):
        path.write_bytes(wrong)
        with pytest.raises(CheckpointError,
                           match=f"^{re.escape(str(path))}: not a safetensors file, or truncated: [^\n]*$"):
            Checkpoint.load(path)


def test_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        Checkpoint.load(tmp_path / "none.safetensors")


def test_folder_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=f"^{re.escape(str(tmp_path))}: must be a file, as the NAME.safetensors "
                                              f"that a training leaves$"):
        Checkpoint.load(tmp_path)


def test_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    path = saved(tmp_path)
    size = path.stat().st_size
    monkeypatch.setattr(checkpoint, "MAX_BYTES", 100)
    with pytest.raises(CheckpointError, match=f"^{re.escape(str(path))}: file must be at most 100 bytes, not {size}$"):
        Checkpoint.load(path)


def test_interrupted_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = saved(tmp_path)
    content = path.read_bytes()

    def fail(handle):
        raise OSError("disk full")

    monkeypatch.setattr(checkpoint.os, "fsync", fail)
    with pytest.raises(OSError, match=r"^disk full$"):
        Checkpoint(architecture=ARCHITECTURE, tensors=made_tensors()).save(path)
    assert path.read_bytes() == content
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
