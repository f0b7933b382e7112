"""The file of a NIR graph: an HDF5 file with a group per node, read and written with h5py alone.

The package ``nir`` is not needed, and its version does not count: versions 1.0.4 and 1.0.8 write the same groups, and
the later one refuses files of the earlier one where it infers shapes. In the file are ``version``, and a group ``node``
with ``type`` (``NIRGraph``), ``edges``, an optional group ``metadata``, and ``nodes``, a group for each node: its
``type`` and its numbers. :mod:`export.sources.nir.graph` says what they mean.
"""

import dataclasses
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from export.sources.chain import SourceError
from support.errors import ToolchainError, first_line, printable

__all__ = ["MAX_BYTES", "Graph", "RawNode", "dumps", "parse"]

#: Largest file, and largest amount of numbers in it, in bytes.
MAX_BYTES = 2**31
_MISSING = ("h5py is not installed: it comes with Sterna's extra nir, as in pip install '.[nir]', and with make test")

Value = npt.NDArray[Any] | str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RawNode:
    """A node as it is stored."""

    #: Its type in NIR, as ``Conv2d``.
    kind: str
    #: Its numbers and texts by name.
    values: Mapping[str, Value]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Graph:
    """A graph as it is stored."""

    #: Nodes by name.
    nodes: Mapping[str, RawNode]
    #: Names of the two nodes of each edge, in the order of the data.
    edges: tuple[tuple[str, str], ...]
    #: Texts beside the graph; no package has to keep them.
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)


def _h5py() -> Any:
    try:
        import h5py
    except ImportError:
        raise ToolchainError(_MISSING) from None
    return h5py


def _plain(name: str, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return floats as they are, and others as ``int64``, in which no arithmetic on them is that of a narrow type.

    Raises :exc:`SourceError` for numbers that a float of 64 bits does not hold: it is what they are computed with.
    """
    if array.dtype.kind == "f":
        if array.dtype.itemsize <= 8:
            return array
        with np.errstate(over="ignore"):
            narrow = array.astype(np.float64)
        exact = np.array_equal(narrow.astype(array.dtype), array, equal_nan=True)
    else:
        exact = not array.size or (int(array.min()) >= -2**53 and int(array.max()) <= 2**53)
        narrow = array.astype(np.int64)
    if not exact:
        raise SourceError(f"{name} must hold numbers that a float of 64 bits holds exactly, not others of "
                          f"{array.dtype}: write them as float64")
    return narrow


class _Reader:
    """Reads groups of one file, and counts what they hold."""

    def __init__(self, h5py: Any):
        self._h5py = h5py
        self._left = MAX_BYTES

    def member(self, group: Any, name: str, kind: Any) -> Any:
        """Return the member ``name`` of ``group``, which must be in this very file."""
        where = f"{group.name.rstrip('/')}/{name}"
        if not isinstance(group.get(name, getlink=True), self._h5py.HardLink):
            raise SourceError(f"{where} must be in the file" + (", not a link" if name in group else ", it is missing"))
        found = group[name]
        if not isinstance(found, kind):
            raise SourceError(f"{where} must be a {kind.__name__.lower()} of HDF5")
        return found

    def value(self, group: Any, name: str) -> Value:
        """Read one dataset: a text, or numbers."""
        dataset = self.member(group, name, self._h5py.Dataset)
        if dataset.is_virtual or dataset.external:
            raise SourceError(f"{dataset.name} must hold its numbers in this file, not in another")
        self._left -= dataset.nbytes
        if self._left < 0:
            raise SourceError(f"numbers must be at most {MAX_BYTES} bytes in all")
        found = dataset[()]
        if isinstance(found, bytes):
            return found.decode()
        array = np.asarray(found)
        if array.dtype.kind not in "fiub":
            raise SourceError(f"{dataset.name} must hold numbers or a text, not {array.dtype}")
        return _plain(dataset.name, array)

    def text(self, group: Any, name: str) -> str:
        """Read one dataset that is a text."""
        found = self.value(group, name)
        if not isinstance(found, str):
            raise SourceError(f"{group.name}/{name} must be a text, not numbers")
        return found

    def node(self, group: Any) -> RawNode:
        """Read a node; what is in groups within it (metadata, a graph within the graph) is left out."""
        kind = self.text(group, "type")
        names = [name for name in group if name != "type"]
        return RawNode(kind=kind, values={
            name: self.value(group, name) for name in names
            if kind != "NIRGraph" and isinstance(self.member(group, name, object), self._h5py.Dataset)})

    def graph(self, file: Any) -> Graph:
        """Read the whole file."""
        group = self._h5py.Group
        root = self.member(file, "node", group)
        if self.text(root, "type") != "NIRGraph":
            raise SourceError("node must be a NIRGraph: this file has a single node")
        nodes = self.member(root, "nodes", group)
        edges = self.member(root, "edges", self._h5py.Dataset)
        if edges.size and (edges.ndim != 2 or edges.shape[1] != 2):
            raise SourceError("edges must be pairs of names")
        pairs = tuple((str(start), str(end)) for start, end in edges.asstr()[()]) if edges.size else ()
        metadata = {}
        if "metadata" in root:
            extra = self.member(root, "metadata", group)
            metadata = {name: value for name in extra if isinstance(value := self.value(extra, name), str)}
        return Graph(nodes={name: self.node(self.member(nodes, name, group)) for name in nodes}, edges=pairs,
                     metadata=metadata)


def parse(content: bytes) -> Graph:
    """Read the graph in the content of a file, in this process: :func:`export.sources.nir.loading.load` is safer.

    Raises
    ------
    :exc:`SourceError`
        If it is no NIR graph, is damaged, or reaches into other files.
    :exc:`support.errors.ToolchainError`
        If h5py is missing; the line says how to install it.
    """
    h5py = _h5py()
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            return _Reader(h5py).graph(file)
    except SourceError as error:
        # Names in the file may hold anything.
        raise SourceError(f"not a NIR graph that can be read: {printable(str(error))}") from None
    except (OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError,
            MemoryError) as error:
        raise SourceError(f"not a NIR graph, or damaged: {printable(first_line(error))}") from None


def dumps(graph: Graph, version: str) -> bytes:
    """Content of the file of ``graph``, which says that ``version`` of the package ``nir`` wrote it."""
    h5py = _h5py()
    text = h5py.string_dtype()
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_dataset("version", data=version, dtype=text)
        root = file.create_group("node")
        root.create_dataset("type", data="NIRGraph", dtype=text)
        root.create_dataset("edges", data=[list(map(str.encode, pair)) for pair in graph.edges])
        nodes = root.create_group("nodes")
        for name, node in graph.nodes.items():
            group = nodes.create_group(name)
            group.create_dataset("type", data=node.kind, dtype=text)
            for key, value in node.values.items():
                group.create_dataset(key, data=value, **({"dtype": text} if isinstance(value, str) else {}))
        if graph.metadata:
            extra = root.create_group("metadata")
            for key, value in graph.metadata.items():
                extra.create_dataset(key, data=value, dtype=text)
    return buffer.getvalue()
