"""Reads the file of a NIR graph in a process of its own: on some damaged files, HDF5 2.0 never comes to an end.

A file whose heap of texts ends in a free piece of no bytes is one. The process gets the content of the file, and
answers with the graph as an ``npz`` archive: what is no array is in the JSON text ``structure``, in which an array
stands as its number.
"""

import io
import json
import sys
from typing import Any

import numpy as np

from arch.foreign import EMPTY
from export.sources.chain import SourceError
from export.sources.nir.file import MAX_BYTES, Graph, RawNode, parse
from support.errors import InputError, ToolchainError
from support.files import read_file
from support.guarded import INPUT_ERROR, TOOLCHAIN_ERROR, UnfinishedError, guarded

__all__ = ["load"]

#: What reading may take of the processor, and how many bytes for each second more: 256 MiB of weights take 1.6 s.
_SECONDS, _SECOND_BYTES = 10, 1 << 26


def _packed(graph: Graph) -> bytes:
    """Write a graph as an archive of arrays."""
    arrays: list[np.ndarray] = []

    def numbered(value: Any) -> str | int:
        if isinstance(value, str):
            return value
        arrays.append(value)
        return len(arrays) - 1

    structure = {
        "nodes": [[name, node.kind, {key: numbered(value) for key, value in node.values.items()}]
                  for name, node in graph.nodes.items()],
        "edges": graph.edges, "metadata": dict(graph.metadata),
    }
    buffer = io.BytesIO()
    np.savez(buffer, *arrays, structure=np.frombuffer(json.dumps(structure).encode(), dtype=np.uint8))
    return buffer.getvalue()


def _unpacked(content: bytes) -> Graph:
    """Read what :func:`_packed` has written."""
    with np.load(io.BytesIO(content)) as archive:
        structure = json.loads(archive["structure"].tobytes())
        return Graph(
            nodes={name: RawNode(kind=kind, values={
                key: value if isinstance(value, str) else archive[f"arr_{value}"] for key, value in values.items()})
                for name, kind, values in structure["nodes"]},
            edges=tuple((start, end) for start, end in structure["edges"]), metadata=structure["metadata"])


def load(path: str) -> Graph:
    """Read the graph in the file ``path``.

    Raises
    ------
    :exc:`SourceError`
        If it is no NIR graph, is damaged, or reaches into other files; the line begins with the path.
    :exc:`support.errors.ToolchainError`
        If h5py is missing; the line says how to install it.
    :exc:`OSError`
        If the file cannot be read.
    """
    content = read_file(path, limit=MAX_BYTES)
    if not content:
        raise SourceError(f"{path}: {EMPTY}")
    try:
        return _unpacked(guarded(__name__, content, seconds=_SECONDS + len(content) // _SECOND_BYTES))
    except UnfinishedError as error:
        raise SourceError(f"{path}: not a NIR graph, or damaged: {error}") from None
    except InputError as error:
        raise SourceError(f"{path}: {error}") from None


def _main() -> int:
    """Answer with the graph whose file is the input."""
    try:
        status, answer = 0, _packed(parse(sys.stdin.buffer.read()))
    except InputError as error:
        status, answer = INPUT_ERROR, str(error).encode()
    except ToolchainError as error:
        status, answer = TOOLCHAIN_ERROR, str(error).encode()
    sys.stdout.buffer.write(answer)
    return status


if __name__ == "__main__":
    sys.exit(_main())
