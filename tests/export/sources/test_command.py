"""``python -m export`` with NIR graphs: what it prints, writes and refuses."""

import json
import pathlib
import shutil

import numpy as np
import pytest

from arch import network_file
from export.command import main
from reference.network import Reference
from tests.export.sources.nir.test_importing import DATA

GRAPH = str(DATA / "snntorch-conv-if.nir")
STATED = ["--package", "snntorch", "--reset", "subtract", "--timesteps", "4", "--encoding", "pixels", "--scale",
          "1/256"]
CHECKPOINT = str(pathlib.Path(__file__).parents[3] / "models" / "mnist-conv.checkpoint.safetensors")

ONLY = f"must be given with a NIR graph: {CHECKPOINT} says itself what it computes"


def test_a_graph_becomes_a_certified_network(tmp_path, capsys):
    with np.load(DATA / "snntorch-conv-if.npz") as arrays:
        np.save(tmp_path / "images.npy", arrays["pixels"])
        expected = arrays["pixels-1"].sum(axis=1)
    output = tmp_path / "net.safetensors"
    assert main([GRAPH, *STATED, "-o", str(output), "--calibration", str(tmp_path / "images.npy")]) == 0
    said = capsys.readouterr()
    assert "verify: 0 of " in said.err
    assert ("read by the rule of snnTorch: a membrane > its threshold spikes, reset minus the threshold, timesteps of "
            "0.0001 s\nscores: spikes of the last neurons, counted\nexact: yes, every spike of every layer, for every "
            "input\n") in said.out
    network = network_file.load(output)
    assert network.metadata["training"]["file"] == "snntorch-conv-if.nir"
    assert network.metadata["training"]["stated"] == {
        "version": 1, "from": "snntorch", "reset": "subtract", "timesteps": 4, "encoding": "pixels", "scale": "1/256"}

    assert np.array_equal(Reference(network).run(np.load(tmp_path / "images.npy")).scores, expected)


def test_a_leaky_graph_is_not_certified(tmp_path, capsys):
    graph = str(DATA / "spikingjelly-fc-lif.nir")
    # The older spelling of --package.
    assert main([graph, "--from", "spikingjelly", *STATED[4:], "-o", str(tmp_path / "net"), "-q"]) == 0
    assert "exact: not certified (leaky): node_0, node_2" in capsys.readouterr().out


def test_a_graph_goes_into_flash(tmp_path, capsys):
    assert main([GRAPH, *STATED, "-o", str(tmp_path / "net"), "--flash", str(tmp_path / "image"), "-q", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["flash"]["written"] == str(tmp_path / "image")
    assert (tmp_path / "image").stat().st_size > 0


@pytest.mark.parametrize(("arguments", "line"), [
    ([GRAPH, "--timesteps", "0"], "--timesteps must be 1 to 64, not 0"),
    ([GRAPH, "--zero-point", "7"], "--zero-point must be 0 or 128, not 7"),
    ([GRAPH, "--dt", "fast"], "--dt must be a positive number such as 1e-4, 0.5 or 1/255, not 'fast'"),
    ([GRAPH, "--input", "28"], (f"{GRAPH}: spikes must be decided by more than NIR says: give --compare ge or gt, "
                                f"--reset subtract or zero, --spikes one or several, or the package that wrote it "
                                f"with --package")),
    ([CHECKPOINT, "--package", "norse"], f"--package {ONLY}"),
    ([CHECKPOINT, "--readout", "spikes", "--dt", "1"], f"--dt {ONLY}"),
    ([CHECKPOINT, CHECKPOINT, "--flash", "image", "--scale", "2"], f"--scale {ONLY}"),
])
def test_errors_are_one_line(tmp_path, capsys, monkeypatch, arguments, line):
    monkeypatch.chdir(tmp_path)
    assert main([*arguments, "-q"]) == 1
    assert capsys.readouterr().err == f"ERROR: {line}\n"
    assert not list(tmp_path.iterdir())


def test_into_takes_exported_networks_only(tmp_path, capsys):
    assert main([GRAPH, "--into", str(tmp_path)]) == 1
    assert capsys.readouterr().err == (
        f"ERROR: {GRAPH}: must be an exported network for --into, not a NIR graph: export it first, with "
        f"python -m export {GRAPH} -o NETWORK\n")


def test_the_graph_is_no_output(tmp_path, capsys):
    path = tmp_path / "net.nir"
    shutil.copy(GRAPH, path)
    before = path.read_bytes()
    assert main([str(path), *STATED, "-o", str(path), "-q"]) == 1
    assert str(path) in capsys.readouterr().err
    assert path.read_bytes() == before


def test_every_option_reaches_the_network(tmp_path):
    """All facts stated one by one, where the file is of a package that is not named."""
    graph = str(DATA / "spikingjelly-fc-if.nir")
    output = tmp_path / "net"
    assert main([graph, "--compare", "ge", "--reset", "subtract", "--spikes", "one", "--dt", "1e-4", "--timesteps", "3",
                 "--encoding", "pixels", "--scale", "1/8", "--zero-point", "128", "--input", "1x6x6", "--readout",
                 "spikes", "-o", str(output), "-q"]) == 0
    network = network_file.load(output)
    assert (network.timesteps, network.input.shape, network.input.zero_point) == (3, (1, 6, 6), 128)
    assert network.metadata["training"]["stated"] == {
        "version": 1, "compare": "ge", "reset": "subtract", "spikes": "one", "dt": "1/10000", "timesteps": 3,
        "encoding": "pixels", "scale": "1/8", "zero_point": 128, "input": [1, 6, 6], "readout": "spikes"}


@pytest.mark.parametrize(("option", "value", "line"), [
    ("--spikes", "several", "node 5: a neuron must spike at most once in a timestep"),
    ("--readout", "currents", "node 4: the last weights must have one scale for all classes"),
])
def test_options_that_a_network_does_not_bear(capsys, option, value, line):
    assert main([str(DATA / "sinabs-conv-iaf.nir"), "--package", "sinabs", *STATED[2:], "--spikes", "one", option,
                 value, "--dry-run", "-q"]) == 1
    assert f"sinabs-conv-iaf.nir: {line}" in capsys.readouterr().err
