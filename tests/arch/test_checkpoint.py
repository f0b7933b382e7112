import errno
import io
import json
import math
import os
import pathlib
import re
import zipfile

import numpy as np
import pytest
import safetensors.numpy

from arch import checkpoint
from arch.architecture import weighted_layers
from arch.checkpoint import Checkpoint, CheckpointError
from tests.arch.test_architecture import ARCHITECTURE, NEURONS, REMOVE, changed, residual


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


def residual_checkpoint(**changes):
    """A network with an identity and a projection; ``changes`` of its tensors by name, with __ for the dot."""
    generator = np.random.default_rng(2)
    architecture = residual()
    tensors = {}
    for name, (layer, shape) in weighted_layers(architecture).items():
        tensors[f"{name}.weight"] = generator.standard_normal(shape, dtype=np.float32)
        tensors[f"{name}.ternary"] = generator.integers(-1, 2, shape, dtype=np.int8)
        tensors[f"{name}.alpha"] = np.array(0.25, np.float32)
        if layer["kind"] != "readout":
            for part in ("alpha", "mean", "variance"):
                tensors[f"{name}.{part}"] = generator.random(shape[0], dtype=np.float32)
            tensors[f"{name}.theta"] = np.array(1.0, np.float32)
            tensors[f"{name}.initial"] = np.array(0.5, np.float32)
    tensors |= {"conv3.projection_weight": generator.standard_normal((5, 2, 1, 1), dtype=np.float32),
                "conv3.projection_ternary": generator.integers(-1, 2, (5, 2, 1, 1), dtype=np.int8)}
    for name, value in changes.items():
        if value is REMOVE:
            del tensors[name.replace("__", ".")]
        else:
            tensors[name.replace("__", ".")] = value
    return Checkpoint(architecture=architecture, tensors=tensors)


def test_projections_have_codes_of_their_own_and_identities_none(tmp_path):
    made = residual_checkpoint()
    made.save(tmp_path / "a.safetensors")
    loaded = Checkpoint.load(tmp_path / "a.safetensors")
    assert [found is None for found in map(loaded.projection, range(6))] == [True, False, False, True, True, True]
    assert loaded.projection(1).tolist() == [[[[1]], [[0]]], [[[0]], [[1]]]]
    assert np.array_equal(loaded.projection(2), made.tensors["conv3.projection_ternary"])
    assert loaded.projection(1).dtype == loaded.projection(2).dtype == np.int8


def test_real_scores_are_of_means_and_integer_ones_of_sums():
    made = residual_checkpoint()
    assert made.score_scale == 0.25
    readout = {**made.architecture["layers"][-1], "input_pool": 2}
    pooled = {**made.architecture, "layers": [*made.architecture["layers"][:3], readout]}
    tensors = {name: value for name, value in made.tensors.items() if name.split(".")[0] not in ("conv4", "fc1")}
    tensors |= {"readout.weight": np.ones((4, 5), np.float32), "readout.ternary": np.ones((4, 5), np.int8)}
    assert Checkpoint(architecture=pooled, tensors=tensors).score_scale == 0.0625


def test_the_digest_of_a_checkpoint_depends_on_its_projection():
    changed_codes = residual_checkpoint(conv3__projection_ternary=np.zeros((5, 2, 1, 1), np.int8))
    assert residual_checkpoint().digest() == residual_checkpoint().digest() != changed_codes.digest()


@pytest.mark.parametrize(("changes", "text"), [
    ({"conv3__projection_ternary": REMOVE}, "tensor conv3.projection_ternary is missing"),
    ({"conv3__projection_weight": REMOVE}, "tensor conv3.projection_weight is missing"),
    ({"conv3__projection_ternary": np.zeros((5, 3, 1, 1), np.int8)},
     "tensor conv3.projection_ternary must have shape (5, 2, 1, 1), not (5, 3, 1, 1)"),
    ({"conv3__projection_ternary": np.full((5, 2, 1, 1), 2, np.int8)},
     "tensor conv3.projection_ternary must be -1, 0 or +1, not 2 in channel 0"),
    ({"conv3__projection_weight": np.zeros((5, 2, 1, 1), np.float64)},
     "tensor conv3.projection_weight must be float32, not float64"),
    ({"conv2__projection_ternary": np.zeros((2, 2, 1, 1), np.int8)},
     "tensor conv2.projection_ternary belongs to no layer"),
    ({"conv1__projection_weight": np.zeros((2, 1, 1, 1), np.float32)},
     "tensor conv1.projection_weight belongs to no layer"),
])
def test_wrong_projections_are_refused(changes, text):
    with pytest.raises(CheckpointError) as caught:
        residual_checkpoint(**changes)
    assert str(caught.value) == text


def saved(tmp_path, **metadata):
    """Write a file with the metadata changed, past all checks; return its path."""
    path = tmp_path / "made.safetensors"
    # Version 1, which has no hashes.
    header = {"sterna_checkpoint": "1", "architecture": json.dumps(ARCHITECTURE), "provenance": "{}", **metadata}
    header = {key: header[key] for key in sorted(header) if header[key] is not None}
    content = safetensors.numpy.save(made_tensors(), header)
    path.write_bytes(checkpoint._canonical(content))
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


@pytest.mark.parametrize("name", ["mnist-conv", "fashion-conv"])
def test_shipped_checkpoints_keep_their_bytes(name, tmp_path):
    path = pathlib.Path(__file__).parents[2] / "models" / f"{name}.checkpoint.safetensors"
    Checkpoint.load(path).save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(("path", "value", "text"), [
    (("timesteps",), 0, "timesteps must be an integer from 1 to 64, not 0"),
    (("layers", 3), REMOVE, "layer 2 must be a readout: a network has one, at its end"),
    (("layers", 0, "epsilon"), float("nan"), "architecture must hold only finite JSON values"),
])
def test_wrong_architecture_is_refused(path, value, text):
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
    ("conv1.theta", np.array(0, np.float32), "tensor conv1.theta must be positive, not 0.0"),
    ("conv1.variance", np.array([1, -1], np.float32), "tensor conv1.variance must be 0 or more, not -1.0 in channel 1"),
    ("conv1.gamma", np.array([1, np.nan], np.float32), "tensor conv1.gamma must be finite, not nan in channel 1"),
    ("fc1.ternary", np.full((3, 8), 2, np.int8), "tensor fc1.ternary must be -1, 0 or +1, not 2 in channel 0"),
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
    ({"sterna_checkpoint": None}, ("not a Sterna checkpoint: its metadata name no version of a checkpoint: "
                                  "docs/your-network.md shows how to bring a network into a checkpoint")),
    ({"sterna_checkpoint": "3"}, "version must be 1 or 2, not '3'"),
    ({"sterna_checkpoint": "2"}, ("metadata must have the keys sterna_checkpoint, architecture, provenance, "
                                 "content_sha256, provenance_sha256, not architecture, provenance, sterna_checkpoint")),
    ({"content_sha256": "0"}, ("metadata must have the keys sterna_checkpoint, architecture, provenance, "
                              "not architecture, content_sha256, provenance, sterna_checkpoint")),
    ({"architecture": "{"}, "metadata must hold architecture and provenance as JSON"),
    ({"provenance": None}, ("metadata must have the keys sterna_checkpoint, architecture, provenance, "
                           "not architecture, sterna_checkpoint")),
    ({"provenance": '{"a": 1, "a": 2}'}, "metadata must hold architecture and provenance as JSON"),
    ({"provenance": '{"a": NaN}'}, "metadata must hold architecture and provenance as JSON"),
    ({"provenance": '{"a": 1e400}'}, "metadata must hold architecture and provenance as JSON"),
    ({"provenance": '{"a": ' + "9" * 5000 + "}"}, "metadata must hold architecture and provenance as JSON"),
    ({"architecture": json.dumps({f"k{number}": 0 for number in range(20000)})},
     ("architecture must have the keys input, timesteps, layers, not k0, k1, k2, k3, k4, k5, k6, k7, k8, k9, k10, k11 "
     "and 19,988 more")),
    ({"architecture": json.dumps({"\x1b[2J": 0})},
     "architecture must have the keys input, timesteps, layers, not '\\x1b[2J'"),
    ({"architecture": "[" * 100000}, "metadata must hold architecture and provenance as JSON"),
    ({"architecture": "[]"}, "architecture must be an object, not list"),
])
def test_files_with_wrong_metadata_are_named(tmp_path, metadata, text):
    path = saved(tmp_path, **metadata)
    with pytest.raises(CheckpointError) as caught:
        Checkpoint.load(path)
    assert str(caught.value) == f"{path}: {text}"


@pytest.mark.parametrize(("cut", "reason"), [
    (lambda content: content[:-1], r"\d+ bytes of tensors, and tensor \w+\.\w+ ends at \d+"),
    (lambda content: content[:100], r"100 bytes, and the header ends at \d+"),
    (lambda content: b"", "file must not be empty: what made or copied it did not end, so make or copy it again"),
    (lambda content: b"hello", "5 bytes, and the first 8 are the header's length"),
    (lambda content: bytes(1000), "header must be a JSON object"),
    (lambda content: b"\xff" * 100, r"header must be at most 16777216 bytes, not \d+"),
    (lambda content: content + b"x", r"data must end after \d+ bytes of tensors, not \d+"),
])
def test_truncated_files_are_named(tmp_path, cut, reason):
    path = saved(tmp_path)
    path.write_bytes(cut(path.read_bytes()))
    with pytest.raises(CheckpointError,
                       match=f"^{re.escape(str(path))}: (not a safetensors file, or truncated: )?{reason}$"):
        Checkpoint.load(path)


def test_other_kinds_of_file_get_the_hint_that_helps(tmp_path):
    bring = "docs/your-network.md shows how to bring a network into a checkpoint"
    models = pathlib.Path(__file__).parents[2] / "models"
    torch_zip = io.BytesIO()
    with zipfile.ZipFile(torch_zip, "w") as file:
        file.writestr("archive/data.pkl", b"")
    arrays = io.BytesIO()
    np.savez(arrays, images=np.zeros(3))
    for content, hint in (
            ((models / "mnist-conv.safetensors").read_bytes(),
             ("it is a network that was exported already: give it to python -m sim or python -m gateware.build, or "
              "make an image of it with --flash")),
            (safetensors.numpy.save({"x": np.zeros(2, np.float32)}),
             f"its metadata name no version of a checkpoint: {bring}"),
            (torch_zip.getvalue(), f"it is a file of torch.save, which may run code when it is read: {bring}"),
            (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.",
             f"it is a file of torch.save, which may run code when it is read: {bring}"),
            (b"\x89HDF\r\n\x1a\n" + bytes(100),
             "it is an HDF5 file: if it is a NIR graph, export it with python -m export GRAPH, as docs/nir.md shows"),
            (b"STFM" + bytes(252),
             "it is an image of models for a flash: give the checkpoint or the networks that it was made of"),
            (arrays.getvalue(), "it holds images or arrays: give the NAME.safetensors that a training leaves")):
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(CheckpointError) as caught:
            Checkpoint.load(tmp_path / "file")
        assert str(caught.value) == f"{tmp_path / 'file'}: not a Sterna checkpoint: {hint}"


def made_file(tmp_path, change):
    """Write a checkpoint of version 1 whose header went through ``change``; return its path."""
    path = saved(tmp_path)
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8:8 + size])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + size:])
    return path


@pytest.mark.parametrize(("change", "text"), [
    (lambda header: header["conv1.alpha"].update(dtype="F8_E4M3"),
     "tensors must be float32 or int8, not F8_E4M3 as tensor conv1.alpha is"),
    (lambda header: header.update({"\x1b[31m": header.pop("conv1.alpha")}), "tensor conv1.alpha is missing"),
    (lambda header: header.update({"\x1b[31m": {"dtype": "I8", "shape": [0], "data_offsets": [0, 0]}}),
     "tensor '\\x1b[31m' belongs to no layer"),
])
def test_malformed_headers_are_named(tmp_path, change, text):
    path = made_file(tmp_path, change)
    with pytest.raises(CheckpointError) as caught:
        Checkpoint.load(path)
    assert str(caught.value) == f"{path}: {text}"


def test_every_damaged_byte_of_tensors_architecture_or_provenance_is_noticed(tmp_path):
    path = tmp_path / "made.safetensors"
    made = Checkpoint(architecture=ARCHITECTURE, tensors=made_tensors(), provenance={"seed": 3})
    made.save(path)
    assert Checkpoint.load(path).protected
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    end = "the file was damaged or altered, copy it again"
    offset = json.loads(content[8:8 + size])["fc1.ternary"]["data_offsets"][0]
    code = 8 + size + offset
    for place, value, text in (
            (code, {0: 1, 1: 0, 255: 0}[content[code]], f"architecture and tensors do not match content_sha256: {end}"),
            (content.index(rb'\"stride\": 1') + 12, ord("2"),
             "tensor fc1.ternary must have shape (3, 2), not (3, 8)"),
            (content.index(rb'\"seed\": 3') + 10, ord("4"), f"provenance does not match provenance_sha256: {end}"),
            (content.index(b'sterna_checkpoint":"2') + 20, ord("1"),
             ("metadata must have the keys sterna_checkpoint, architecture, provenance, not architecture, "
             "content_sha256, provenance, provenance_sha256, sterna_checkpoint"))):
        damaged = bytearray(content)
        assert damaged[place] != value
        damaged[place] = value
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError) as caught:
            Checkpoint.load(path)
        assert str(caught.value) == f"{path}: {text}"
    # Tensors that trade their names have the same data.
    gamma, beta = (made.tensors[f"conv1.{part}"] for part in ("gamma", "beta"))
    swapped = Checkpoint(architecture=ARCHITECTURE,
                         tensors=dict(made.tensors) | {"conv1.gamma": beta, "conv1.beta": gamma})
    assert swapped.digest() != made.digest()


def test_files_of_version_1_are_read_without_protection_and_saved_with(tmp_path):
    path = saved(tmp_path)
    old = Checkpoint.load(path)
    assert not old.protected
    old.save(tmp_path / "new")
    new = Checkpoint.load(tmp_path / "new")
    assert new.protected
    assert new.digest() == old.digest()


def test_files_of_version_1_have_batchnorm_in_every_layer(tmp_path):
    architecture = changed(("layers", 0, "epsilon"), None)
    with pytest.raises(CheckpointError, match=r": tensor conv1\.\w+ belongs to no layer: conv1 has no BatchNorm, as "
                                              r"its epsilon is null$"):
        Checkpoint.load(saved(tmp_path, architecture=json.dumps(architecture)))
    with pytest.raises(CheckpointError, match=r": tensor conv1\.gamma is missing$"):
        Checkpoint.load(made_file(tmp_path, lambda header: header.update(
            {"conv1.bias": header.pop("conv1.gamma")})))


def test_layers_may_lack_batchnorm_or_its_scale_and_shift(tmp_path):
    tensors = {name: array for name, array in made_tensors().items()
               if name not in ("conv1.gamma", "conv1.beta", "fc1.gamma", "fc1.beta", "fc1.mean", "fc1.variance")}
    architecture = changed(("layers", 2, "epsilon"), None)
    Checkpoint(architecture=architecture, tensors=tensors).save(tmp_path / "made")
    loaded = Checkpoint.load(tmp_path / "made")
    assert set(loaded.tensors) == set(tensors)
    assert loaded.architecture["layers"][2]["epsilon"] is None
    with pytest.raises(CheckpointError, match=r"^tensor fc1\.mean is missing$"):
        Checkpoint(architecture=ARCHITECTURE, tensors=tensors)
    with pytest.raises(CheckpointError, match=r"^tensor fc1\.mean belongs to no layer: fc1 has no BatchNorm, as its "
                                              r"epsilon is null$"):
        Checkpoint(architecture=architecture, tensors=tensors | {"fc1.mean": np.zeros(3, np.float32)})


def test_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        Checkpoint.load(tmp_path / "none.safetensors")


def test_what_is_no_file_is_named(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, kind in ((tmp_path, "folder"), (tmp_path / "pipe", "device, pipe or socket")):
        with pytest.raises(CheckpointError, match=f"^{re.escape(str(path))}: input must be a file, not a {kind}$"):
            Checkpoint.load(path)


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
        raise OSError(errno.ENOSPC, "disk full")

    monkeypatch.setattr(checkpoint.os, "fsync", fail)
    with pytest.raises(OSError, match=rf"^\[Errno {errno.ENOSPC}\] disk full: '{re.escape(str(path))}'$"):
        Checkpoint(architecture=ARCHITECTURE, tensors=made_tensors()).save(path)
    assert path.read_bytes() == content
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def wide_checkpoint(count, *, norm=("gamma", "beta", "mean", "variance"), bias=True, epsilon=1e-5, scale=0.7):
    """One fully connected layer of ``count`` neurons behind one pixel, with random float32 numbers."""
    rng = np.random.default_rng(2)
    neurons = {"kind": "fully-connected", "name": "fc", "neurons": count, **NEURONS, "epsilon": epsilon}
    architecture = {"input": {**ARCHITECTURE["input"], "height": 1, "width": 1, "scale": scale}, "timesteps": 1,
                    "layers": [neurons, {**neurons, "name": "fc2"}, {"kind": "readout", "name": "r", "classes": 2}]}
    tensors = {"r.weight": np.ones((2, count), np.float32), "r.ternary": np.ones((2, count), np.int8),
               "r.alpha": np.array(1, np.float32)}
    for name, inputs in (("fc", 1), ("fc2", count)):
        tensors |= {f"{name}.weight": np.ones((count, inputs), np.float32),
                    f"{name}.ternary": np.ones((count, inputs), np.int8),
                    f"{name}.theta": np.array(1, np.float32), f"{name}.initial": np.array(0, np.float32)}
        for part in ("alpha", *norm, *(["bias"] if bias else [])):
            tensors[f"{name}.{part}"] = rng.uniform(0.01, 2, count).astype(np.float32)
    return Checkpoint(architecture=architecture, tensors=tensors)


@pytest.mark.parametrize(("index", "name", "scale"), [(0, "fc", 0.7), (1, "fc2", 1.0)])
def test_gain_and_offset_are_rounded_as_ieee_754_says(index, name, scale):
    """Python's own float64, one operation after the other; PyTorch's square root would differ for some values."""
    made = wide_checkpoint(1000)
    gain, offset = made.gain_and_offset(index)
    assert gain.dtype == offset.dtype == np.float64
    for channel in range(1000):
        alpha, bias, gamma, beta, mean, variance = (
            float(made.tensors[f"{name}.{part}"][channel])
            for part in ("alpha", "bias", "gamma", "beta", "mean", "variance"))
        slope = gamma / math.sqrt(variance + 1e-5)
        assert gain[channel] == scale * alpha * slope
        assert offset[channel] == beta + slope * (bias - mean)


def test_gain_and_offset_without_batchnorm_or_some_of_its_parts():
    plain = wide_checkpoint(4, norm=(), epsilon=None)
    gain, offset = plain.gain_and_offset(0)
    assert gain.tolist() == [0.7 * alpha for alpha in plain.tensors["fc.alpha"].tolist()]
    assert offset.tolist() == plain.tensors["fc.bias"].tolist()
    assert wide_checkpoint(4, norm=(), epsilon=None, bias=False).gain_and_offset(1)[1].tolist() == [0.0] * 4
    bare = wide_checkpoint(4, norm=("mean", "variance"), bias=False)
    gain, offset = bare.gain_and_offset(1)
    for channel in range(4):
        alpha, mean, variance = (float(bare.tensors[f"fc2.{part}"][channel]) for part in ("alpha", "mean", "variance"))
        slope = 1 / math.sqrt(variance + 1e-5)
        assert gain[channel] == alpha * slope
        assert offset[channel] == slope * -mean
