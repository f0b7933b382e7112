"""Files of NIR graphs: what is written is read, and every other file is refused in one line."""

import io
import pathlib

import h5py
import numpy as np
import pytest

from export.sources.chain import SourceError
from export.sources.nir import file, loading
from export.sources.nir.loading import load
from tests.export.sources.nir.graphs import chained, layers, node
from tests.export.sources.nir.test_importing import DATA


def write(path, change=lambda opened: None, content=None):
    """Write a small graph, changed in place, to ``path``; return its name."""
    buffer = io.BytesIO(file.dumps(chained(layers()), "1.0.8") if content is None else content)
    with h5py.File(buffer, "r+") as opened:
        change(opened)
    path.write_bytes(buffer.getvalue())
    return str(path)


def test_what_is_written_is_read(tmp_path):
    graph = chained(layers(), metadata={"sterna": "{}", "other": "text with ä"})
    (tmp_path / "net.nir").write_bytes(file.dumps(graph, "1.0.8"))
    back = load(str(tmp_path / "net.nir"))
    assert (back.edges, back.metadata) == (graph.edges, graph.metadata)
    assert set(back.nodes) == set(graph.nodes)
    for name, stored in graph.nodes.items():
        assert back.nodes[name].kind == stored.kind
        assert set(back.nodes[name].values) == set(stored.values)
        for key, value in stored.values.items():
            assert np.array_equal(back.nodes[name].values[key], value)


@pytest.mark.parametrize("values", [
    np.ones((3, 16), dtype=bool), np.full((3, 16), -128, dtype=np.int8), np.full((3, 16), 255, dtype=np.uint8),
    np.full((3, 16), 2**53, dtype=np.uint64), np.full((3, 16), 0.25, dtype=np.longdouble),
    np.full((3, 16), np.nan, dtype=np.longdouble)])
def test_narrow_integers_and_wide_floats_become_those_that_are_computed_with(tmp_path, values):
    """The magnitude of -128 is no int8, and a bool has no sign."""
    graph = chained(layers(fc=node("Linear", weight=values)))
    (tmp_path / "net.nir").write_bytes(file.dumps(graph, "1.0.8"))
    found = load(str(tmp_path / "net.nir")).nodes["fc"].values["weight"]
    assert found.dtype == (np.float64 if values.dtype.kind == "f" else np.int64)
    assert np.array_equal(found, values, equal_nan=values.dtype.kind == "f")


@pytest.mark.parametrize(("values", "kind"), [
    (np.full((3, 16), 2**53 + 1, dtype=np.int64), "int64"), (np.full((3, 16), 2**64 - 1, dtype=np.uint64), "uint64"),
    (np.full((3, 16), -2**63, dtype=np.int64), "int64"),
    (np.full((3, 16), np.longdouble(1) / 3), str(np.dtype(np.longdouble)))])
def test_no_number_is_rounded(values, kind):
    content = file.dumps(chained(layers(fc=node("Linear", weight=values))), "1.0.8")
    with pytest.raises(SourceError) as error:
        file.parse(content)
    assert str(error.value) == (f"not a NIR graph that can be read: /node/nodes/fc/weight must hold numbers that a "
                                f"float of 64 bits holds exactly, not others of {kind}: write them as float64")


@pytest.mark.parametrize("name", ["norse-fc-if", "snntorch-conv-if", "rockpool-fc-lif-float"])
def test_files_of_every_version_are_read(name):
    """Version 1.0.4 of the package nir wrote the first and the last of them, 1.0.8 the other."""
    graph = load(str(DATA / f"{name}.nir"))
    assert "output" in graph.nodes
    assert len(graph.edges) == len(graph.nodes) - 1


def replace(name, value):
    def change(opened):
        del opened[name]
        opened[name] = value
    return change


def outside(opened):
    del opened["node/nodes/fc/weight"]
    opened["node/nodes/fc/weight"] = h5py.ExternalLink("/etc/hostname", "/x")


def soft(opened):
    del opened["node/nodes/fc"]
    opened["node/nodes/fc"] = h5py.SoftLink("/node/nodes/conv")


def external_storage(opened):
    del opened["node/nodes/fc/weight"]
    opened.create_dataset("node/nodes/fc/weight", (3, 16), "f4", external=[("/etc/hostname", 0, 192)])


def virtual(opened):
    del opened["node/nodes/fc/weight"]
    layout = h5py.VirtualLayout(shape=(3, 16), dtype="f4")
    layout[:] = h5py.VirtualSource("/etc/hostname", "x", shape=(3, 16))
    opened.create_virtual_dataset("node/nodes/fc/weight", layout)


def huge(opened):
    del opened["node/nodes/fc/weight"]
    opened.create_dataset("node/nodes/fc/weight", (2**30, 4), "f4", chunks=(2**20, 1), compression="gzip")


@pytest.mark.parametrize(("change", "line"), [
    (lambda opened: opened.move("node", "nodes"), ("not a NIR graph that can be read: /node must be in the file, it is "
                                                  "missing")),
    (replace("node/type", "LIF"), ("not a NIR graph that can be read: node must be a NIRGraph: this file has a single "
                                  "node")),
    (replace("node/nodes", 3), "not a NIR graph that can be read: /node/nodes must be a group of HDF5"),
    (replace("node/edges", [b"input", b"conv"]), "not a NIR graph that can be read: edges must be pairs of names"),
    (lambda opened: opened.move("node/nodes/fc/type", "node/nodes/fc/kind"), ("not a NIR graph that can be read: "
     "/node/nodes/fc/type must be in the file, it is missing")),
    (replace("node/nodes/fc/type", 3), ("not a NIR graph that can be read: /node/nodes/fc/type must be a text, not "
                                       "numbers")),
    (replace("node/nodes/fc/weight", [b"a", b"b"]), ("not a NIR graph that can be read: /node/nodes/fc/weight must "
                                                     "hold "
                                                    "numbers or a text, not object")),
    (outside, "not a NIR graph that can be read: /node/nodes/fc/weight must be in the file, not a link"),
    (soft, "not a NIR graph that can be read: /node/nodes/fc must be in the file, not a link"),
    (external_storage, ("not a NIR graph that can be read: /node/nodes/fc/weight must hold its numbers in this file, "
                        "not in "
                       "another")),
    (virtual, ("not a NIR graph that can be read: /node/nodes/fc/weight must hold its numbers in this file, not in "
              "another")),
    (huge, "not a NIR graph that can be read: numbers must be at most 2147483648 bytes in all"),
])
def test_refused_files(tmp_path, change, line):
    path = write(tmp_path / "net.nir", change)
    with pytest.raises(SourceError) as error:
        file.parse(pathlib.Path(path).read_bytes())
    assert str(error.value) == line


def test_names_cannot_command_the_terminal(tmp_path):
    def change(opened):
        opened.move("node/nodes/fc", "node/nodes/f\n\x1b[2Jc")
        del opened["node/nodes/f\n\x1b[2Jc/type"]

    with pytest.raises(SourceError) as error:
        load(write(tmp_path / "net.nir", change))
    assert str(error.value).isprintable()


def test_an_empty_file_is_called_empty(tmp_path):
    path = tmp_path / "net.nir"
    path.touch()
    with pytest.raises(SourceError) as refused:
        load(str(path))
    assert str(refused.value) == (
        f"{path}: file must not be empty: what made or copied it did not end, so make or copy it again")


def test_damaged_files_are_refused_or_read(tmp_path):
    """Whatever byte is altered, there is a graph or one line; HDF5 has no hash of its own."""
    content = bytearray(file.dumps(chained(layers()), "1.0.8"))
    rng = np.random.default_rng(0)
    lines = []
    for place in [*range(0, 96, 3), *rng.integers(0, len(content), 150)]:
        damaged = bytearray(content)
        damaged[place] ^= int(rng.integers(1, 256))
        try:
            file.parse(bytes(damaged))
        except SourceError as error:
            lines.append(str(error))
    assert len(lines) > 30
    assert not [line for line in lines if "\n" in line or not line.startswith("not a NIR graph")]
    path = tmp_path / "net.nir"
    path.write_bytes(content[:len(content) // 2])
    with pytest.raises(SourceError, match=r"net\.nir: not a NIR graph, or damaged: "):
        load(str(path))


def without_free_space(content):
    """Let the heap of texts end in a free piece of no bytes, at which HDF5 never comes to an end."""
    begin = content.index(b"GCOL") + 16
    while number := int.from_bytes(content[begin:begin + 2], "little"):
        begin += 16 + (int.from_bytes(content[begin + 8:begin + 16], "little") + 7) // 8 * 8
        assert number < 100
    return content[:begin + 8] + bytes(8) + content[begin + 16:]


def test_a_file_on_which_hdf5_hangs_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "_SECONDS", 2)
    path = tmp_path / "net.nir"
    path.write_bytes(without_free_space(file.dumps(chained(layers()), "1.0.8")))
    with pytest.raises(SourceError) as error:
        load(str(path))
    assert str(error.value) == f"{path}: not a NIR graph, or damaged: reading it takes more than 2 s"
