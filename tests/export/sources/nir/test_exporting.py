"""NIR graphs of Sterna's networks: read back here and in other packages, they give the same spikes."""

import dataclasses
import json

import numpy as np
import pytest

from arch import network_file
from arch.network import Convolution, Encoding, FullyConnected, Network, Neurons, OrPool, Readout, Reset
from export import steps
from export.command import main
from export.folding import fold
from export.sources.chain import SourceError
from export.sources.nir import file, sidecar
from export.sources.nir.exporting import FORMAT, graph_of
from export.sources.nir.importing import import_nir
from export.sources.nir.sidecar import Facts
from export.sources.rules import Comparison
from models import DEFAULT_NETWORK
from reference.generate import random_images
from reference.network import Reference
from tests.export.sources.nir.networks import READ_BACK, network
from tests.export.sources.nir.test_importing import DATA


def write():
    """Write the graphs that ``record_readback.py`` runs in other packages."""
    for package, given in READ_BACK.items():
        (DATA / f"read-{package}.nir").write_bytes(file.dumps(graph_of(given), FORMAT))


def back(path, stated):
    trained = import_nir(str(path), stated)
    return steps.assemble(trained, steps.certify(trained, fold(trained), max_fraction=8), {})


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize("reset", Reset)
@pytest.mark.parametrize("seed", range(3))
def test_a_graph_is_read_back_without_options(tmp_path, seed, reset, encoding):
    given = network(seed, reset=reset, encoding=encoding)
    (tmp_path / "net.nir").write_bytes(file.dumps(graph_of(given), FORMAT))
    found = back(tmp_path / "net.nir", Facts())
    assert found.metadata["exact"] is True
    images = random_images(given, np.random.default_rng(seed), 50)
    ours, theirs = (Reference(each).run(images, spikes=True) for each in (given, found))
    assert ours.spikes[2].any()
    assert all(np.array_equal(*pair) for pair in zip(ours.spikes, theirs.spikes, strict=True))
    assert np.array_equal(ours.scores, theirs.scores)


def test_a_hard_reset_does_not_depend_on_the_comparison(tmp_path):
    given = network(1, reset=Reset.ZERO, initial=False)
    (tmp_path / "net.nir").write_bytes(file.dumps(graph_of(given), FORMAT))
    images = random_images(given, np.random.default_rng(1), 50)
    expected = Reference(given).run(images, spikes=True).spikes
    for comparison in Comparison:
        spikes = Reference(back(tmp_path / "net.nir", Facts(comparison=comparison))).run(images, spikes=True).spikes
        assert all(np.array_equal(*pair) for pair in zip(expected, spikes, strict=True))


@pytest.mark.parametrize("package", READ_BACK)
def test_other_packages_compute_the_same(package):
    given = READ_BACK[package]
    graph, stored = graph_of(given), file.parse((DATA / f"read-{package}.nir").read_bytes())
    assert (graph.edges, graph.metadata) == (stored.edges, stored.metadata)
    for name, node in graph.nodes.items():
        for key, value in node.values.items():
            assert np.array_equal(stored.nodes[name].values[key], value)
    with np.load(DATA / f"read-{package}.npz") as arrays:
        result = Reference(given).run(arrays["pixels"], spikes=True)
        for index, spikes in enumerate(result.spikes):
            assert 0.01 < spikes.mean() < 0.99
            assert np.array_equal(spikes.reshape(*spikes.shape[:2], -1), arrays[f"spikes-{index}"].reshape(16, 4, -1))
        assert np.array_equal(result.scores, arrays["scores"])


def neurons(channels, **more):
    constants = {"threshold": np.full(channels, 3), "bias": np.zeros(channels, dtype=np.int64),
                 "initial": np.zeros(channels, dtype=np.int64)}
    return Neurons(**(constants | more))


def changed(**more):
    """A small network with other fields of its second layer."""
    given = network(0, reset=Reset.SUBTRACT, pool=False)
    first, second, *rest = given.layers
    return dataclasses.replace(given, layers=(first, dataclasses.replace(second, **more), *rest))


@pytest.mark.parametrize(("given", "line"), [
    (changed(neurons=neurons(6, leak_shift=2)), ("layer 1 (convolution) must have no leak for a NIR graph: that of the "
     "integers rounds downwards, which NIR does not say")),
    (changed(neurons=neurons(6, reset=Reset.ZERO)), ("layer 1 (convolution) must have the reset of the layers before "
                                                     "it "
     "for a NIR graph, which has one for all")),
])
def test_refused_with_the_layer(given, line):
    with pytest.raises(SourceError) as error:
        graph_of(given)
    assert str(error.value) == line


def test_maps_beside_the_chain_and_pooled_currents_are_refused():
    first, *_ = network(0, pool=False).layers
    again = Convolution(weights=np.ones((4, 4, 3, 3), dtype=np.int8), padding=1, neurons=neurons(4))
    beside = r"^layer 2 \(convolution\) must see one map for a NIR graph: shortcuts and projections are not written$"
    pooled = (r"^layer 0 \(convolution\) must have no pool of currents for a NIR graph: a bias behind it is not "
              r"written$")
    for layers, line in (((first, again, dataclasses.replace(again, shortcut=0)), beside),
                         ((dataclasses.replace(first, pool=2),), pooled)):
        inputs = 4 * 16 if len(layers) == 1 else 4 * 64
        given = Network(input=network().input, timesteps=4,
                        layers=(*layers, Readout(weights=np.ones((2, inputs), dtype=np.int8))))
        with pytest.raises(SourceError, match=line):
            graph_of(given)


def test_large_constants_are_exact():
    """2^30 and one is no float32."""
    layer = FullyConnected(weights=np.ones((2, 64), dtype=np.int8),
                           neurons=neurons(2, threshold=np.array([2**30 + 1, 5]), fraction=3))
    given = Network(input=network().input, timesteps=4,
                    layers=(layer, Readout(weights=np.ones((2, 2), dtype=np.int8))))
    threshold = graph_of(given).nodes["if0"].values["v_threshold"]
    assert threshold.dtype == np.float64
    assert (threshold * 8).tolist() == [2**30 + 1, 5]


def test_the_command_writes_a_graph_that_gives_the_same_file(tmp_path, capsys):
    graph, again = tmp_path / "net.nir", tmp_path / "again.safetensors"
    assert main([str(DEFAULT_NETWORK), "--nir", str(graph), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    shipped = network_file.load(DEFAULT_NETWORK)
    assert report == {"network_sha256": network_file.digest(shipped), "nodes": 14, "bytes": graph.stat().st_size,
                      "written": str(graph)}
    assert main([str(graph), "-o", str(again), "-q"]) == 0
    assert network_file.digest(network_file.load(again)) == network_file.digest(shipped)
    capsys.readouterr()
    assert main([str(DEFAULT_NETWORK), "--nir", str(tmp_path / "none.nir"), "--dry-run"]) == 0
    assert "written: nothing (dry run)" in capsys.readouterr().out
    assert not (tmp_path / "none.nir").exists()


UNEXPORTED = ("{graph}: must be an exported network for --nir, not a NIR graph: export it first, with python -m export "
              "{graph} -o NETWORK")


@pytest.mark.parametrize(("arguments", "line"), [
    (["{network}", "--nir", "{out}", "--name", "x"],
     "--name must be given with a checkpoint: --nir writes a network as it is"),
    (["{network}", "--nir", "{out}", "--flash", "x"], "--flash has no effect with --nir: leave one of the two out"),
    (["{network}", "--nir", "{out}", "--into", "x"], "--into has no effect with --nir: leave one of the two out"),
    (["{network}", "{network}", "--nir", "{out}"], "--nir must have one network, not 2: write one graph at a time"),
    (["{network}", "--nir", "{out}", "--package", "norse"],
     "--package must be given with a NIR graph: {network} says itself what it computes"),
    (["{graph}", "--nir", "{out}"], UNEXPORTED),
    # A graph with options of a graph is no reason to say that it is none.
    (["{graph}", "--nir", "{out}", "--package", "norse"], UNEXPORTED),
])
def test_errors_of_the_command(tmp_path, capsys, arguments, line):
    names = {"network": DEFAULT_NETWORK, "out": tmp_path / "out.nir", "graph": DATA / "norse-fc-if.nir"}
    assert main([argument.format(**names) for argument in arguments]) == 1
    assert capsys.readouterr().err == f"ERROR: {line.format(**names)}\n"
    assert not (tmp_path / "out.nir").exists()


def test_first_membranes_must_name_neurons(tmp_path):
    given = network(0)
    graph = graph_of(given)
    values = json.loads(graph.metadata["sterna"]) | {"initial": {"conv0": ["1"]}}
    path = tmp_path / "net.nir"
    path.write_bytes(file.dumps(dataclasses.replace(graph, metadata={"sterna": json.dumps(values)}), FORMAT))
    with pytest.raises(SourceError) as error:
        import_nir(str(path), Facts())
    assert str(error.value) == f"{path}: metadata sterna: initial must name nodes of neurons (if0, if2, if3), not conv0"
    for wrong in ([], *({"if0": value} for value in ([], [1], ["1e9"], ["1/0"], ["x" * 50], "ab"))):
        with pytest.raises(SourceError, match="initial must be lists of numbers as text"):
            sidecar.parse({"sterna": json.dumps(values | {"initial": wrong})})


def test_an_or_pool_is_the_sum_above_one_half():
    assert network(0).layers[1] == OrPool(size=2)
    total, threshold = list(graph_of(network(0)).nodes.values())[3:5]
    assert (total.kind, total.values["kernel_size"].tolist(), total.values["stride"].tolist()) == ("SumPool2d", [2, 2],
                                                                                                   [2, 2])
    assert (threshold.kind, set(threshold.values["threshold"].ravel().tolist())) == ("Threshold", {0.5})
