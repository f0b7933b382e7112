"""The examples of docs/examples that need nothing from a board: they run as the pages say."""

import gzip
import importlib.util
import pathlib

import numpy as np
import pytest

from export.sources.nir.loading import load

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "docs" / "examples"


@pytest.fixture
def example(monkeypatch, tmp_path):
    """The example of snnTorch with a data set of 40 and 20 images: a bar on the left is class 0, one on the right 1."""
    pytest.importorskip("snntorch")
    spec = importlib.util.spec_from_file_location("snntorch_mnist", EXAMPLES / "snntorch_mnist.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "BATCH", 8)
    monkeypatch.setattr(module, "VALIDATION", 8)
    for part, count in (("train", 40), ("t10k", 20)):
        images, labels = np.zeros((count, 28, 28), np.uint8), np.arange(count, dtype=np.uint8) % 2
        images[labels == 0, 4:24, 6:9] = 255
        images[labels == 1, 4:24, 19:22] = 255
        for name, header, content in (("images-idx3", 16, images), ("labels-idx1", 8, labels)):
            path = tmp_path / f"{part}-{name}-ubyte.gz"
            path.write_bytes(gzip.compress(bytes(header) + content.tobytes()))
    return module


def test_the_network_of_snntorch_learns(example, monkeypatch, tmp_path, capsys):
    exported = []
    monkeypatch.setattr(example, "export", lambda network, path: exported.append((network, path)))
    monkeypatch.setattr("sys.argv", ["snntorch_mnist.py", str(tmp_path), "net.nir", "--epochs", "6"])
    example.main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7
    assert lines[-2].startswith("epoch 6/6: ")
    assert lines[-1] == "100.00 % of the test images"
    ((network, path),) = exported
    assert path == "net.nir"
    assert example.count_spikes(network, example.load(tmp_path, "t10k")[0]).shape == (20, 10)


# snnTorch's exporter calls a function that nirtorch will rename.
@pytest.mark.filterwarnings("ignore:nirtorch.extract_nir_graph:DeprecationWarning")
def test_the_graph_of_snntorch_is_read(example, tmp_path):
    path = str(tmp_path / "net.nir")
    network = example.make()
    # A network that has run has membranes, which are no part of the graph.
    example.count_spikes(network, example.load(tmp_path, "t10k")[0])
    example.export(network, path)
    assert {node.kind for node in load(path).nodes.values()} >= {"Conv2d", "AvgPool2d", "LIF", "Flatten"}
