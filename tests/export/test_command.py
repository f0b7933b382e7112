import copy
import dataclasses
import errno
import json
import pathlib
import re

import numpy as np
import pytest

from arch import network_file
from arch.checkpoint import Checkpoint
from arch.images import load_images, load_labels
from arch.network import Convolution, Reset, shortcut_of
from export import certificate, steps
from export.command import main
from export.evaluation import layer_currents, layer_spikes
from export.folding import fold, real_neurons
from export.memories import memory_images
from reference.network import Reference

SAMPLES = pathlib.Path(__file__).parents[2] / "models" / "samples"
IMAGES, LABELS = str(SAMPLES / "mnist-images.idx.gz"), str(SAMPLES / "mnist-labels.idx.gz")


def neuron_tensors(rng, name, shape, fan):
    single = np.float32
    return {
        f"{name}.weight": rng.normal(size=shape).astype(single),
        f"{name}.ternary": rng.integers(-1, 2, shape).astype(np.int8),
        f"{name}.alpha": rng.uniform(0.5, 1.5, shape[0]).astype(single),
        f"{name}.gamma": rng.normal(0.3, 1, shape[0]).astype(single),
        f"{name}.beta": rng.normal(0.2, 0.4, shape[0]).astype(single),
        f"{name}.mean": rng.normal(0, 0.5, shape[0]).astype(single),
        f"{name}.variance": rng.uniform(0.5, 2, shape[0]).astype(single) * single(fan),
        f"{name}.theta": np.array(1.0, dtype=single),
        f"{name}.initial": np.array(0.5, dtype=single),
    }


def make_checkpoint(*, zero_point=0, encoding="pixels", reset="subtract", leak_shift=None, side=28, timesteps=3):
    rng = np.random.default_rng(21)
    neurons = {"reset": reset, "leak_shift": leak_shift, "epsilon": 1e-5}
    events = encoding == "events"
    source = {"encoding": encoding, "channels": 1, "height": side, "width": side, "zero_point": zero_point,
              "scale": 1 if events else 1 / 255}
    layers = [
        {"kind": "convolution", "name": "conv1", "channels": 6, "kernel": 5, "stride": 3, "padding": 2, **neurons},
        {"kind": "or-pool", "size": 2},
        {"kind": "convolution", "name": "conv2", "channels": 9, "kernel": 3, "stride": 1, "padding": 1, **neurons},
        {"kind": "fully-connected", "name": "fc", "neurons": 12, **neurons},
        {"kind": "readout", "name": "readout", "classes": 10}]
    pooled = ((side + 4 - 5) // 3 + 1) // 2
    tensors = neuron_tensors(rng, "conv1", (6, 1, 5, 5), 3) | neuron_tensors(rng, "conv2", (9, 6, 3, 3), 20)
    tensors |= neuron_tensors(rng, "fc", (12, 9 * pooled**2), 60)
    tensors["conv1.gamma"][2] = 0
    tensors["conv2.gamma"][1] = -1
    tensors["conv2.bias"] = rng.normal(0, 0.3, 9).astype(np.float32)
    tensors["fc.theta"] = rng.uniform(0.8, 1.2, 12).astype(np.float32)
    tensors |= {"readout.weight": rng.normal(size=(10, 12)).astype(np.float32),
                "readout.ternary": rng.integers(-1, 2, (10, 12)).astype(np.int8),
                "readout.alpha": np.array(0.3, dtype=np.float32)}
    return Checkpoint(architecture={"input": source, "timesteps": timesteps, "layers": layers}, tensors=tensors,
                      provenance={"dataset": "mnist"})


def make_graph(*, encoding="pixels", reset="subtract", leak_shift=None, side=28, timesteps=3):
    """Pools of 2 x 2 pixels' currents and of 3 x 3 currents of a sum; sums with a convolution and with an or-pool."""
    rng = np.random.default_rng(22)
    behaviour = {"reset": reset, "leak_shift": leak_shift, "epsilon": 1e-5}
    events = encoding == "events"
    source = {"encoding": encoding, "channels": 1, "height": side, "width": side, "zero_point": 0,
              "scale": 1 if events else 1 / 255}
    convolution = {"kind": "convolution", "kernel": 3, "stride": 1, "padding": 1, **behaviour}
    dense = {"kind": "fully-connected", **behaviour}
    layers = [
        {**convolution, "name": "conv1", "channels": 6, "stride": 3, "pool": 2},
        {**convolution, "name": "conv2", "channels": 6},
        {**convolution, "name": "conv3", "channels": 9, "kernel": 2, "shortcut": "conv1", "pool": 3},
        {"kind": "or-pool", "size": 2, "name": "pool1"},
        {**dense, "name": "fc1", "neurons": 9},
        {**dense, "name": "fc2", "neurons": 8, "shortcut": "pool1"},
        {"kind": "readout", "name": "readout", "classes": 10}]
    tensors = (neuron_tensors(rng, "conv1", (6, 1, 3, 3), 1) | neuron_tensors(rng, "conv2", (6, 6, 3, 3), 20) |
               neuron_tensors(rng, "conv3", (9, 6, 2, 2), 10) | neuron_tensors(rng, "fc1", (9, 9), 5) |
               neuron_tensors(rng, "fc2", (8, 9), 8))
    tensors["conv3.gamma"][1] = -1
    tensors |= {"readout.weight": rng.normal(size=(10, 8)).astype(np.float32),
                "readout.ternary": rng.integers(-1, 2, (10, 8)).astype(np.int8),
                "readout.alpha": np.array(0.3, dtype=np.float32)}
    return Checkpoint(architecture={"input": source, "timesteps": timesteps, "layers": layers}, tensors=tensors,
                      provenance={"dataset": "mnist"})


def make_residual(*, encoding="pixels", reset="subtract", leak_shift=None, timesteps=3):
    """An identity, a projection with a stride and a pool, and means of windows before each kind of layer."""
    rng = np.random.default_rng(25)
    behaviour = {"reset": reset, "leak_shift": leak_shift, "epsilon": 1e-5}
    events = encoding == "events"
    source = {"encoding": encoding, "channels": 1, "height": 28, "width": 28, "zero_point": 0,
              "scale": 1 if events else 1 / 255}
    convolution = {"kind": "convolution", "kernel": 3, "stride": 1, "padding": 1, **behaviour}
    layers = [
        {**convolution, "name": "conv1", "channels": 6, "input_pool": 2},
        {**convolution, "name": "conv2", "channels": 6,
         "projection": {"source": "conv1", "stride": 1, "weights": "identity"}},
        {"kind": "or-pool", "size": 2, "name": "pool1"},
        {**convolution, "name": "conv3", "channels": 9, "kernel": 1, "padding": 0, "pool": 3,
         "projection": {"source": "conv1", "stride": 2, "weights": "trained"}},
        {**convolution, "name": "conv4", "channels": 8, "kernel": 2, "padding": 1, "input_pool": 2},
        {"kind": "fully-connected", "name": "fc", "neurons": 9, **behaviour, "input_pool": 2},
        {"kind": "readout", "name": "readout", "classes": 10}]
    tensors = (neuron_tensors(rng, "conv1", (6, 1, 3, 3), 1) | neuron_tensors(rng, "conv2", (6, 6, 3, 3), 20) |
               neuron_tensors(rng, "conv3", (9, 6, 1, 1), 3) | neuron_tensors(rng, "conv4", (8, 9, 2, 2), 3) |
               neuron_tensors(rng, "fc", (9, 8), 1))
    tensors["conv2.gamma"][:3] = 0.8, -1, 0
    tensors["conv3.gamma"][:2] = -1, 1
    tensors |= {"conv3.projection_weight": rng.normal(size=(9, 6, 1, 1)).astype(np.float32),
                "conv3.projection_ternary": rng.integers(-1, 2, (9, 6, 1, 1)).astype(np.int8),
                "readout.weight": rng.normal(size=(10, 9)).astype(np.float32),
                "readout.ternary": rng.integers(-1, 2, (10, 9)).astype(np.int8),
                "readout.alpha": np.array(0.3, dtype=np.float32)}
    return Checkpoint(architecture={"input": source, "timesteps": timesteps, "layers": layers}, tensors=tensors,
                      provenance={"dataset": "mnist"})


#: Networks of every kind of layer and connection, by name.
MAKERS = {"chain": make_checkpoint, "graph": make_graph, "residual": make_residual}


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    make_checkpoint().save(path)
    return str(path)


def real_spikes(checkpoint, images):
    """The real-valued network from end to end, on its own spikes."""
    source = checkpoint.architecture["input"]
    maps = images if images.dtype == bool else images[:, None].astype(int) - source["zero_point"]
    found, outputs = [], {}
    for index, layer in enumerate(checkpoint.architecture["layers"][:-1]):
        if "shortcut" in layer:
            maps = maps.astype(int) + outputs[layer["shortcut"]]
        if layer["kind"] == "or-pool":
            size = layer["size"]
            height, width = (side // size * size for side in maps.shape[3:])
            cut = maps[..., :height, :width]
            maps = cut.reshape(*cut.shape[:3], height // size, size, width // size, size).any(axis=(4, 6))
        else:
            beside = outputs[layer["projection"]["source"]] if "projection" in layer else None
            maps = layer_spikes(checkpoint, index, maps, beside)
        found.append(maps)
        outputs[layer.get("name")] = maps
    layer = checkpoint.architecture["layers"][-1]
    return found, layer_currents(checkpoint.tensors["readout.ternary"], layer, maps).sum(axis=1).reshape(len(maps), -1)


@pytest.mark.parametrize("options", [
    {}, {"zero_point": 128}, {"reset": "zero"}, {"encoding": "events", "side": 14}, {"timesteps": 1},
    {"encoding": "events", "side": 14, "reset": "zero", "timesteps": 5},
    *({"make": make, **options} for make in ("graph", "residual") for options in (
        {}, {"reset": "zero"}, {"encoding": "events"}, {"encoding": "events", "reset": "zero", "timesteps": 5})),
], ids=str)
def test_the_integer_network_equals_the_real_one_from_end_to_end(options):
    options = dict(options)
    checkpoint = MAKERS[options.pop("make", "chain")](**options)
    certified = steps.certify(checkpoint, fold(checkpoint), max_fraction=8)
    network = network_file.loads(steps.pack(steps.assemble(checkpoint, certified, {})))
    assert network.metadata["exact"] is True
    rng = np.random.default_rng(1)
    if "encoding" in options:
        images = rng.random((20, network.timesteps, *network.input.shape)) < 0.3
    else:
        images = load_images(IMAGES, network)
    spikes, scores = real_spikes(checkpoint, images)
    result = Reference(network).run(images, spikes=True)
    for layer, (expected, found) in enumerate(zip(spikes, result.spikes, strict=True)):
        assert 0.01 < found.mean() < 0.99, layer
        assert (expected == found).all()
    assert (scores == result.scores).all()


@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize(("beside", "timesteps", "family"), [
    ({"shortcut": "conv1"}, 1, 23), ({"shortcut": "conv1"}, 2, 23),
    ({"projection": {"source": "conv1", "stride": 1, "weights": "trained"}}, 2, 26),
], ids=["shortcut-1", "shortcut-2", "projection-2"])
def test_a_certified_graph_equals_the_real_one_on_every_input(beside, timesteps, family, reset):
    """All event frames of 2 x 2, so that every sum that can occur does: of a window, and of what is beside it."""
    behaviour = {"kind": "convolution", "kernel": 1, "stride": 1, "padding": 0, "reset": reset, "leak_shift": None,
                 "epsilon": 1e-5}
    source = {"encoding": "events", "channels": 1, "height": 2, "width": 2, "zero_point": 0, "scale": 1}
    layers = [{**behaviour, "name": "conv1", "channels": 2}, {**behaviour, "name": "conv2", "channels": 2},
              {**behaviour, "name": "conv3", "channels": 12, "pool": 2, **beside},
              {"kind": "readout", "name": "readout", "classes": 2}]
    bits = np.arange(2**(4 * timesteps))[:, None] >> np.arange(4 * timesteps) & 1
    frames = bits.reshape(-1, timesteps, 1, 2, 2).astype(bool)
    sums = set()
    for seed in range(8):
        rng = np.random.default_rng([family, seed])
        tensors = (neuron_tensors(rng, "conv1", (2, 1, 1, 1), 1) | neuron_tensors(rng, "conv2", (2, 2, 1, 1), 1) |
                   neuron_tensors(rng, "conv3", (12, 2, 1, 1), 1))
        # The first two layers hand the frames on, so that the third sees all sums of both maps.
        for name in ("conv1", "conv2"):
            tensors |= {f"{name}.{part}": np.full(2, value, np.float32) for part, value in
                        (("alpha", 1), ("gamma", 1.25), ("beta", -0.5), ("mean", 0), ("variance", 1))}
        tensors["conv1.ternary"] = np.ones((2, 1, 1, 1), np.int8)
        tensors["conv2.ternary"] = np.eye(2, dtype=np.int8)[..., None, None]
        tensors["conv3.ternary"] = rng.choice([-1, 1], (12, 2, 1, 1)).astype(np.int8)
        if "projection" in beside:
            tensors |= {"conv3.projection_weight": np.ones((12, 2, 1, 1), np.float32),
                        "conv3.projection_ternary": rng.choice([-1, 1], (12, 2, 1, 1)).astype(np.int8)}
        tensors |= {"readout.weight": np.ones((2, 12), np.float32), "readout.ternary": np.ones((2, 12), np.int8),
                    "readout.alpha": np.array(1, np.float32)}
        checkpoint = Checkpoint(architecture={"input": source, "timesteps": timesteps, "layers": layers},
                                tensors=tensors)
        certified = steps.certify(checkpoint, fold(checkpoint), max_fraction=12)
        network = network_file.loads(steps.pack(steps.assemble(checkpoint, certified, {})))
        assert network.metadata["exact"] is True
        spikes, _ = real_spikes(checkpoint, frames)
        result = Reference(network).run(frames, spikes=True, internals=True)
        for expected, found in zip(spikes, result.spikes, strict=True):
            assert (expected == found).all()
        sums |= set(result.internals[2].currents.reshape(-1).tolist())
    assert min(sums) == -16
    assert max(sums) == 16


def test_a_pool_divides_the_gain_and_leaves_the_offset():
    checkpoint = make_graph()
    layer = checkpoint.architecture["layers"][0]
    pooled = real_neurons(checkpoint, layer, first=True)
    plain = real_neurons(checkpoint, {key: value for key, value in layer.items() if key != "pool"}, first=True)
    assert [neuron.scale * 4 for neuron in pooled] == [neuron.scale for neuron in plain]
    assert [dataclasses.replace(neuron, scale=0) for neuron in pooled] == [
        dataclasses.replace(neuron, scale=0) for neuron in plain]


def test_a_graph_is_exported_and_verified(tmp_path, capsys):
    make_graph().save(tmp_path / "checkpoint")
    assert main([str(tmp_path / "checkpoint"), "-o", str(tmp_path / "net"), "-q", "--calibration", IMAGES, "--json",
                 "--memories", str(tmp_path / "memories")]) == 0
    report = json.loads(capsys.readouterr().out)
    network = network_file.load(tmp_path / "net")
    assert [shortcut_of(layer) for layer in network.layers] == [None, None, 0, None, None, 3, None]
    assert [layer.pool for layer in network.layers if isinstance(layer, Convolution)] == [2, 1, 3]
    assert [row["name"] for row in report["layers"]] == ["conv1", "conv2", "conv3", "pool1", "fc1", "fc2", "readout"]
    assert report["layers"][2]["shape"] == [9, 2, 2]
    assert report["metadata"]["exact"] is True
    assert [row["mismatches"] for row in report["layers"]] == [0, 0, 0, None, 0, 0, None]
    assert all(row["compared"] > 0 for row in report["layers"] if row["mismatches"] is not None)
    assert len(list((tmp_path / "memories").iterdir())) == 5 * 6 + 3


def test_a_residual_network_is_exported_and_verified(tmp_path, capsys):
    make_residual().save(tmp_path / "checkpoint")
    assert main([str(tmp_path / "checkpoint"), "-o", str(tmp_path / "net"), "-q", "--calibration", IMAGES, "--json",
                 "--memories", str(tmp_path / "memories")]) == 0
    report = json.loads(capsys.readouterr().out)
    network = network_file.load(tmp_path / "net")
    first, second, _, third, fourth, dense, _ = network.layers
    assert [layer.kernel for layer in (first, second, third, fourth)] == [6, 3, 1, 4]
    assert [(layer.stride, layer.padding) for layer in (first, second, third, fourth)] == [(2, 2), (1, 1), (1, 0),
                                                                                          (2, 2)]
    assert (second.projection.source, second.projection.stride, second.projection.diagonal) == (0, 1, True)
    # The signs of the gains are in the identity too.
    assert np.diag(second.projection.weights[:, :, 0, 0])[:3].tolist() == [1, -1, 0]
    assert (third.projection.source, third.projection.stride, third.pool) == (0, 2, 3)
    assert dense.weights.shape == (9, 32)
    assert report["metadata"]["exact"] is True
    assert all(row["mismatches"] == 0 for row in report["layers"] if row["compared"])
    rows = {row["name"]: row for row in report["layers"]}
    # Trained weights, not copies of them nor an identity; bytes of what is stored.
    assert [rows[name]["weights"] for name in ("conv1", "conv2", "conv3", "conv4", "fc", "readout")] == [
        54, 324, 54 + 54, 288, 72, 90]
    assert rows["conv1"]["bytes"] == 6 * 36 // 4 + 24 * 6
    assert rows["conv2"]["bytes"] == 324 // 4 + 36 // 4 + 24 * 6
    assert rows["conv3"]["bytes"] == 14 + 14 + 24 * 9
    assert rows["conv3"]["compression"] == 4 * (108 + 3 * 9) / rows["conv3"]["bytes"]
    zeros = [*third.weights.reshape(-1), *third.projection.weights.reshape(-1)].count(0)
    assert rows["conv3"]["sparsity"] == zeros / 108
    assert rows["conv2"]["sparsity"] == np.mean(second.weights == 0)
    names = {path.name for path in (tmp_path / "memories").iterdir()}
    assert names >= {"layer1-projection.bin", "layer3-projection.hex"}


def test_leaky_graphs_differ_in_few_spikes():
    checkpoint = make_graph(leak_shift=3)
    certified = steps.certify(checkpoint, fold(checkpoint), max_fraction=8)
    network = steps.assemble(checkpoint, certified, {})
    verification = steps.verify(checkpoint, steps.pack(network), load_images(IMAGES, network))
    share = sum(verification.mismatches) / sum(verification.compared)
    assert 0 <= share < 0.02


def test_folding_negates_and_empties_channels():
    checkpoint = make_checkpoint()
    first, pool, second, _, readout = fold(checkpoint)
    codes = {name: checkpoint.tensors[f"{name}.ternary"] for name in ("conv1", "conv2", "readout")}
    assert (pool.weights, pool.neurons) == (None, None)
    assert first.zeroed == 1
    assert not first.weights[2].any()
    signs = np.sign(checkpoint.tensors["conv2.gamma"]).astype(int)
    assert (second.weights == codes["conv2"] * signs[:, None, None, None]).all()
    assert second.negated == (signs < 0).sum() > 0
    assert (readout.weights == codes["readout"]).all()
    assert readout.neurons is None


def test_export_writes_a_certified_network(checkpoint, tmp_path, capsys):
    output = tmp_path / "net.safetensors"
    arguments = [checkpoint, "-o", str(output), "--calibration", IMAGES, "--calibration-images", "20",
                 "--test-images", IMAGES, "--test-labels", LABELS, "--memories", str(tmp_path / "memories"), "--json"]
    assert main(arguments) == 0
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    network = network_file.load(output)
    assert report["network_sha256"] == network_file.digest(network)
    assert report["bytes"] == output.stat().st_size
    metadata = network.metadata
    expected = Reference(network).run(load_images(IMAGES, network)).classes
    assert metadata["accuracy"] == np.mean(expected == load_labels(LABELS, classes=10))
    assert metadata["accuracy_images"] == 100
    assert metadata["accuracy_command"].startswith("python -m export ")
    assert metadata["name"] == "net"
    assert metadata["training"] == {"dataset": "mnist"}
    assert metadata["exact"] is True
    assert metadata["export"]["command"] == metadata["accuracy_command"]
    assert [entry["exact"] for entry in metadata["certificate"]["layers"]] == [True] * 3
    conv, pool, _, _, readout = report["layers"]
    assert (conv["name"], conv["shape"], conv["weights"]) == ("conv1", [6, 10, 10], 150)
    assert conv["sparsity"] == np.mean(network.layers[0].weights == 0)
    assert (conv["bytes"], conv["compression"]) == (38 + 144, 4 * (150 + 18) / 182)
    assert [layer["mismatches"] for layer in report["layers"]] == [0, None, 0, 0, None]
    assert all(layer["compared"] > 0 for layer in report["layers"] if layer["mismatches"] is not None)
    assert 0 < conv["firing"] < 1
    assert (pool["weights"], pool["mismatches"]) == (None, None)
    assert (readout["exact"], readout["membrane_bits"], readout["firing"]) == (None, None, None)
    assert len(list((tmp_path / "memories").iterdir())) == 3 * (3 + 4)
    steps_named = [line.split(":")[0] for line in captured.err.splitlines()]
    assert list(dict.fromkeys(steps_named)) == ["load", "ternarise", "fold", "certify", "size", "verify", "pack"]


def test_the_same_checkpoint_gives_the_same_network(checkpoint, tmp_path, capsys):
    digests = set()
    for name in ("a", "b"):
        assert main([checkpoint, "-o", str(tmp_path / name), "-q"]) == 0
        digests.add(network_file.digest(network_file.load(tmp_path / name)))
    assert len(digests) == 1


def test_the_table_has_a_row_per_layer(checkpoint, tmp_path, capsys):
    assert main([checkpoint, "-o", str(tmp_path / "net"), "-q", "--calibration", IMAGES]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert captured.err == ""
    assert lines[0].split() == ["layer", "map", "weights", "zeros", "firing", "F", "current", "membrane", "exact",
                                "differ", "bytes", "vs", "float32"]
    assert [line.split()[0] for line in lines[1:6]] == ["conv1", "or-pool", "conv2", "fc", "readout"]
    assert lines[7] == "exact: yes, every spike of every layer, for every input"
    assert f"written: {tmp_path / 'net'}" in lines


def test_dry_run_writes_nothing(checkpoint, tmp_path, capsys):
    before = sorted(tmp_path.iterdir())
    assert main([checkpoint, "-o", str(tmp_path / "net"), "--memories", str(tmp_path / "m"), "--dry-run", "-q"]) == 0
    assert sorted(tmp_path.iterdir()) == before
    assert "written: nothing (dry run)\n" in capsys.readouterr().out


@pytest.mark.parametrize("made", [False, True])
def test_the_network_is_no_file_of_the_memories(checkpoint, tmp_path, capsys, made):
    """One of the two would be lost, and the other read back in its place."""
    memories = tmp_path / "m"
    if made:
        memories.mkdir()
    path = tmp_path / "m" / ".." / "m" / "layer0-weights.bin" if made else tmp_path / "layer0-weights.bin"
    folder = memories if made else tmp_path
    before = sorted(folder.iterdir())
    assert main([checkpoint, "-o", str(path), "--memories", str(folder), "-q"]) == 1
    assert capsys.readouterr().err == (f"ERROR: {path}: output must not be one of the files of --memories: give "
                                       f"another name\n")
    assert sorted(folder.iterdir()) == before


def test_inexact_channels_are_named(checkpoint, tmp_path, capsys):
    assert main([checkpoint, "-o", str(tmp_path / "net"), "--max-fraction", "0"]) == 0
    captured = capsys.readouterr()
    network = network_file.load(tmp_path / "net")
    assert network.metadata["exact"] is False
    inexact = [entry for entry in network.metadata["certificate"]["layers"] if not entry["exact"]]
    assert inexact
    assert all(entry["inexact_channels"] for entry in inexact)
    channels = inexact[0]["inexact_channels"]
    few = ", ".join(map(str, channels[:8]))
    assert f"exact: NO, {inexact[0]['name']} may differ in {len(channels)} channels: {few}" in captured.out
    first = inexact[0]
    assert f"certify: {first['name']} NOT exact in {len(first['inexact_channels'])} channels: " in captured.err


def test_leaky_layers_are_defined_by_their_integers(tmp_path, capsys):
    make_checkpoint(leak_shift=3).save(tmp_path / "leaky")
    assert main([str(tmp_path / "leaky"), "-o", str(tmp_path / "net"), "-q", "--json", "--max-fraction", "6"]) == 0
    report = json.loads(capsys.readouterr().out)
    network = network_file.load(tmp_path / "net")
    assert [entry["exact"] for entry in network.metadata["certificate"]["layers"]] == [None] * 3
    assert network.metadata["exact"] is None
    assert {layer.neurons.leak_shift for layer in network.layers if isinstance(layer, Convolution)} == {3}
    assert {layer.neurons.reset for layer in network.layers if isinstance(layer, Convolution)} == {Reset.SUBTRACT}
    # The integer leak rounds, so a few spikes differ from the float one: counted, and no error.
    differ = [layer["mismatches"] / layer["compared"] for layer in report["layers"] if layer["compared"]]
    assert 0 <= max(differ) < 0.05


def test_a_certified_layer_that_differs_is_an_error(checkpoint, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(steps, "layer_spikes", lambda *arguments: ~layer_spikes(*arguments))
    assert main([checkpoint, "-o", str(tmp_path / "net"), "-q"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("ERROR: layer conv1, channel 0: spikes must equal those of the real-valued layer, which "
                            "they are certified to, but ")
    assert not (tmp_path / "net").exists()


@pytest.mark.parametrize(("arguments", "message"), [
    (["--max-fraction", "17"], "--max-fraction must be 0 to 16, not 17"),
    (["--calibration", IMAGES, "--calibration-images", "0"], "--calibration-images must be 1 or more, not 0"),
    (["--calibration", IMAGES, "--calibration-images", "101"],
     (f"{IMAGES}: images must be at least 101 for --calibration-images 101, not 100: give --calibration-images 100, or "
      "leave the option out")),
    (["--calibration-images", "5"], "--calibration-images must be given with --calibration: it has no effect alone"),
    (["--memory-width", "32"], "--memory-width must be given with --memories: it has no effect alone"),
    (["--memories", "m", "--memory-width", "12"], "--memory-width must be a multiple of 8 from 8 to 1024, not 12"),
    (["--memories", "m", "--memory-width", "1032"], "--memory-width must be a multiple of 8 from 8 to 1024, not 1032"),
    (["--memories", "m", "--memory-width", "0"], "--memory-width must be a multiple of 8 from 8 to 1024, not 0"),
    (["--memories", ""], "output must be the name of a folder, not ''"),
    (["-o", ""], "output must be the name of a file, not ''"),
    (["--memories", IMAGES], f"{IMAGES}: output must be a folder, not a file"),
    (["--name", ""], "--name must be one line of printable text, not ''"),
    (["--name", "a\x1b[2J"], "--name must be one line of printable text, not 'a\\x1b[2J'"),
    (["-o", "a\nb.safetensors"],
     "--name must be one line of printable text, not 'a\\nb': give one, as that of the output is none"),
    (["-o", "/dev/null", "--name", "x"], "/dev/null: output must be a file, not a device, pipe or socket"),
    (["--test-labels", LABELS], "--test-images and --test-labels must be given together"),
    (["--test-images", IMAGES], "--test-images and --test-labels must be given together"),
    (["--calibration", "nowhere"], "nowhere: No such file or directory"),
    (["--test-images", IMAGES, "--test-labels", IMAGES],
     f"{IMAGES}: labels must be integers of shape (n), not uint8 of shape (100, 28, 28)"),
    (["-o", "/nowhere/net"], "/nowhere/net: folder /nowhere must exist"),
    (["-o", "/tmp"], "/tmp: output must be a file, not a folder"),
    (["-o", "", "--name", "x"], "output must be the name of a file, not ''"),
])
def test_bad_input_is_one_line_and_writes_nothing(checkpoint, tmp_path, capsys, arguments, message):
    output = tmp_path / "net"
    assert main([checkpoint, "-o", str(output), *arguments, "-q"]) == 1
    assert capsys.readouterr().err == f"ERROR: {message}\n"
    assert not output.exists()


def test_bad_checkpoints_are_one_line(tmp_path, capsys):
    path = tmp_path / "checkpoint"
    path.write_bytes(b"\x80\x04K\x01.")  # a pickle
    assert main([str(path), "-q"]) == 1
    assert capsys.readouterr().err == (
        f"ERROR: {path}: not a Sterna checkpoint: it is a file of torch.save, which may run code when it is read: "
        f"docs/your-network.md shows how to bring a network into a checkpoint\n")


@pytest.mark.parametrize("options", [[], ["--package", "snntorch"], ["--nir", "graph.nir"]])
def test_an_empty_file_is_called_empty(tmp_path, monkeypatch, capsys, options):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.nir").touch()
    assert main(["empty.nir", "-q", *options]) == 1
    assert capsys.readouterr().err == (
        "ERROR: empty.nir: file must not be empty: what made or copied it did not end, so make or copy it again\n")


def test_empty_layers_are_refused(tmp_path, capsys):
    checkpoint = make_checkpoint()
    empty = dict(checkpoint.tensors) | {"fc.ternary": np.zeros_like(checkpoint.tensors["fc.ternary"])}
    Checkpoint(architecture=checkpoint.architecture, tensors=empty).save(tmp_path / "empty")
    assert main([str(tmp_path / "empty"), "-q", "-o", str(tmp_path / "net")]) == 1
    assert capsys.readouterr().err == "ERROR: layer fc must have a weight that is not zero\n"


@pytest.mark.parametrize("option", [None, "--calibration", "--test-images", "--test-labels"])
def test_no_output_is_written_over_an_input(checkpoint, tmp_path, capsys, option):
    output = pathlib.Path(checkpoint)
    arguments = []
    if option is not None:
        output = tmp_path / "precious"
        output.write_bytes(pathlib.Path(LABELS if option == "--test-labels" else IMAGES).read_bytes())
        arguments = [option, str(output)]
        if option.startswith("--test"):
            other = {"--test-images": ("--test-labels", LABELS), "--test-labels": ("--test-images", IMAGES)}[option]
            arguments += other
    before = output.read_bytes()
    (tmp_path / "link").symlink_to(output)
    for name in (output, tmp_path / "link"):
        assert main([checkpoint, "-o", str(name), *arguments, "-q"]) == 1
        assert capsys.readouterr().err == (
            f"ERROR: {name}: output must not be the input {output}: give another name\n")
    assert output.read_bytes() == before
    # A memory image is an output as well.
    (tmp_path / "memories").mkdir()
    (tmp_path / "memories" / "layer0-weights.bin").symlink_to(output)
    assert main([checkpoint, "-o", str(tmp_path / "net"), "--memories", str(tmp_path / "memories"), *arguments,
                 "-q"]) == 1
    assert capsys.readouterr().err == (f"ERROR: {tmp_path}/memories/layer0-weights.bin: output must not be the input "
                                       f"{output}: give another name\n")
    assert output.read_bytes() == before
    assert not (tmp_path / "net").exists()


def test_network_and_memories_are_written_all_or_none(checkpoint, tmp_path, capsys, monkeypatch):
    (tmp_path / "net").write_bytes(b"old")
    arguments = [checkpoint, "-o", str(tmp_path / "net"), "--memories", str(tmp_path / "new" / "memories"), "-q"]
    before = sorted(tmp_path.iterdir())
    replace = pathlib.Path.replace

    def fail(path, target):
        if target.name == "layer2-constants.mem":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return replace(path, target)

    monkeypatch.setattr(pathlib.Path, "replace", fail)
    assert main(arguments) == 1
    assert capsys.readouterr().err == (f"ERROR: {tmp_path}/new/memories/layer2-constants.mem: "
                                       f"No space left on device\n")
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "net").read_bytes() == b"old"
    monkeypatch.undo()
    assert main(arguments) == 0
    network = network_file.load(tmp_path / "net")
    images = memory_images(network)
    assert {path.name: path.read_bytes() for path in (tmp_path / "new" / "memories").iterdir()} == images
    assert f"written: {tmp_path / 'net'} and {len(images)} memory images\n" in capsys.readouterr().out


def test_a_folder_where_a_memory_belongs_leaves_nothing_behind(checkpoint, tmp_path, capsys):
    (tmp_path / "memories" / "layer3-weights.hex").mkdir(parents=True)
    assert main([checkpoint, "-o", str(tmp_path / "net"), "--memories", str(tmp_path / "memories"), "-q"]) == 1
    assert capsys.readouterr().err == (f"ERROR: {tmp_path}/memories/layer3-weights.hex: output must be a file, "
                                       f"not a folder\n")
    assert not (tmp_path / "net").exists()


def test_links_are_followed(checkpoint, tmp_path, capsys):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    assert main([checkpoint, "-o", str(tmp_path / "link"), "-q"]) == 0
    assert (tmp_path / "link").is_symlink()
    assert network_file.load(tmp_path / "target").metadata["name"] == "link"


def test_leaky_layers_are_called_leaky(tmp_path, capsys):
    made = make_checkpoint(leak_shift=3)
    made.save(tmp_path / "leaky")
    assert main([str(tmp_path / "leaky"), "-o", str(tmp_path / "net")]) == 0
    captured = capsys.readouterr()
    assert "exact: not certified (leaky): conv1, conv2, fc\n" in captured.out
    assert "certify: conv1 not certified (leaky)\n" in captured.err
    rows = {line.split()[0]: line.split() for line in captured.out.splitlines()[1:6]}
    assert all("leaky" in rows[name] for name in ("conv1", "conv2", "fc"))
    layers = copy.deepcopy(made.architecture["layers"])
    layers[0]["leak_shift"] = layers[2]["leak_shift"] = None
    Checkpoint(architecture={**made.architecture, "layers": layers}, tensors=made.tensors).save(tmp_path / "mixed")
    assert main([str(tmp_path / "mixed"), "-o", str(tmp_path / "net"), "-q"]) == 0
    assert "exact: not certified (leaky): fc\n" in capsys.readouterr().out
    assert network_file.load(tmp_path / "net").metadata["exact"] is None
    assert main([str(tmp_path / "mixed"), "-o", str(tmp_path / "net"), "-q", "--max-fraction", "0"]) == 0
    assert re.search(r"^exact: NO, .*; not certified \(leaky\): fc$", capsys.readouterr().out, re.MULTILINE)
    assert network_file.load(tmp_path / "net").metadata["exact"] is False


def test_a_checkpoint_of_version_1_is_exported_with_a_warning(checkpoint, tmp_path, capsys):
    content = pathlib.Path(checkpoint).read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8:8 + size])
    metadata = header["__metadata__"]
    kept = {key: metadata[key] for key in ("architecture", "provenance")}
    header["__metadata__"] = {"sterna_checkpoint": "1", **kept}
    text = json.dumps(header).encode()
    (tmp_path / "old").write_bytes(len(text).to_bytes(8, "little") + text + content[8 + size:])
    warning = ("WARNING: the checkpoint is of version 1 and not protected against damage: save it again, as "
               "docs/formats.md says\n")
    assert main([str(tmp_path / "old"), "-o", str(tmp_path / "net"), "-q"]) == 0
    assert warning in capsys.readouterr().out
    assert main([checkpoint, "-o", str(tmp_path / "again"), "-q"]) == 0
    assert warning not in capsys.readouterr().out
    assert network_file.digest(network_file.load(tmp_path / "net")) == network_file.digest(
        network_file.load(tmp_path / "again"))
    assert main([str(tmp_path / "old"), "-o", str(tmp_path / "net"), "-q", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["checkpoint_protected"] is False


def damaged(path):
    """Flip one weight code of the checkpoint."""
    content = bytearray(path.read_bytes())
    size = int.from_bytes(content[:8], "little")
    at = 8 + size + json.loads(content[8:8 + size])["conv2.ternary"]["data_offsets"][0]
    content[at] = {0: 1, 1: 255, 255: 0}[content[at]]
    path.write_bytes(content)


def test_a_flipped_code_is_not_exported(checkpoint, tmp_path, capsys):
    damaged(pathlib.Path(checkpoint))
    assert main([checkpoint, "-o", str(tmp_path / "net"), "-q"]) == 1
    assert capsys.readouterr().err == (f"ERROR: {checkpoint}: architecture and tensors do not match content_sha256: "
                                       f"the file was damaged or altered, copy it again\n")
    assert not (tmp_path / "net").exists()


def test_spikes_that_float64_cannot_tell_apart_name_layer_channel_and_remedy(tmp_path, capsys):
    """A gain of 1 / sqrt(1 + 1e-30) is below 1 in exact arithmetic and 1 in float64."""
    made = make_checkpoint(encoding="events", side=14)
    layers = copy.deepcopy(made.architecture["layers"])
    layers[3]["epsilon"] = 1e-30
    single = {"alpha": 1, "gamma": 1, "beta": 0, "mean": 0, "variance": 1, "theta": 2}
    tensors = {**made.tensors, **{f"fc.{part}": np.full(12, value, np.float32) for part, value in single.items()},
               "fc.initial": np.array(0, np.float32)}
    Checkpoint(architecture={**made.architecture, "layers": layers}, tensors=tensors).save(tmp_path / "made")
    assert main([str(tmp_path / "made"), "-o", str(tmp_path / "net"), "-q"]) == 1
    assert re.match(r"^ERROR: layer fc, channel 0: spikes must equal those of the real-valued layer, which they are "
                    r"certified to, but \d+ of 1152 differ: float64 rounds at a threshold\. Give the layer no "
                    r"BatchNorm \(epsilon null\) or a larger epsilon, or change the threshold of the channel "
                    r"slightly\n$", capsys.readouterr().err)


def test_a_bound_that_cannot_be_decided_names_layer_channel_and_remedy(checkpoint, tmp_path, capsys, monkeypatch):
    enclose = certificate._root

    def widely(value):
        low, high, denominator = enclose(value)
        return low - low // 8, high + high // 8, denominator

    monkeypatch.setattr(certificate, "_root", widely)
    assert main([checkpoint, "-o", str(tmp_path / "net"), "-q"]) == 1
    assert re.match(r"^ERROR: layer conv1, channel \d: bound must be decided by 200 bits of the square root, not be "
                    r"\[-?\d+, -?\d+\]: change the variance or the threshold of the channel slightly\n$",
                    capsys.readouterr().err)


def test_control_characters_of_file_names_are_escaped(checkpoint, tmp_path, capsys):
    output = tmp_path / "a\x1b[31mb"
    assert main([checkpoint, "-o", str(output), "--name", "plain"]) == 0
    captured = capsys.readouterr()
    assert f"written: {tmp_path}/a\\x1b[31mb\n" in captured.out
    assert "\x1b" not in captured.out + captured.err
