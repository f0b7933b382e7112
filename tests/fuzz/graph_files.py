"""NIR graphs, which anybody's package writes: damaged files, and files of which a number or a text was changed."""

import contextlib
import io
import os
import pathlib
import random
import select
import signal
import warnings
from typing import BinaryIO

import h5py
import numpy as np

from arch import network_file
from arch.network import Reset
from export import steps
from export.folding import fold
from export.sources.chain import SourceError
from export.sources.nir.exporting import FORMAT, graph_of
from export.sources.nir.file import dumps, parse
from export.sources.nir.importing import network_of, source_of
from export.sources.nir.sidecar import Facts
from export.sources.rational import RationalNetwork
from tests.export.sources.nir.networks import network
from tests.fuzz.kinds import Kind, Sample
from tests.fuzz.mutations import damage_json, hostile_integer

__all__ = ["KINDS"]

#: What a process may take to read a graph, also on a busy computer.
_SECONDS = 20

_WORDS = (b"", b"LIF", b"CubaLIF", b"NIRGraph", b"Conv2d", b"\xff\xfe", b"x" * 300)
_REALS = (np.nan, np.inf, -np.inf, 0.0, -1.0, 1e-37, 1e38, 0.5)


def _samples(folder: pathlib.Path) -> list[Sample]:
    return [Sample(content=dumps(graph_of(network(seed, reset=reset)), FORMAT),
                   read=_read, identity=id, check=_check)
            for seed, reset in enumerate(Reset)]


def _parse_all(requests: BinaryIO, answers: BinaryIO) -> None:
    """Parse what comes, each behind its length, and answer with a byte when HDF5 has come to an end."""
    while length := requests.read(8):
        # Whatever it raises, the other process sees it, too.
        with contextlib.suppress(Exception):
            parse(requests.read(int.from_bytes(length)))
        answers.write(b".")


class _Parser:
    """A process that parses files. When HDF5 hangs or crashes on one, it is ended, and another one begins."""

    def __init__(self) -> None:
        self._child = 0

    def _begin(self) -> None:
        (theirs, self._requests), (self._answers, ours) = os.pipe(), os.pipe()
        with warnings.catch_warnings():
            # That a process with threads forks: pytest's have nothing to do with HDF5.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._child = os.fork()
        if self._child == 0:
            try:
                # Pipes of others too: who waits for their end would wait for this process.
                low, high = sorted((theirs, ours))
                for begin, end in ((3, low), (low + 1, high), (high + 1, os.sysconf("SC_OPEN_MAX"))):
                    os.closerange(begin, end)
                _parse_all(os.fdopen(theirs, "rb"), os.fdopen(ours, "wb", buffering=0))
            finally:
                os._exit(0)
        os.close(theirs)
        os.close(ours)

    def comes_to_an_end(self, content: bytes) -> bool:
        """Whether HDF5 reads a file at all."""
        if not self._child:
            self._begin()
        request = memoryview(len(content).to_bytes(8) + content)
        while request:
            request = request[os.write(self._requests, request):]
        ready, _, _ = select.select([self._answers], [], [], _SECONDS)
        if ready and os.read(self._answers, 1):
            return True
        os.kill(self._child, signal.SIGKILL)
        os.waitpid(self._child, 0)
        os.close(self._requests)
        os.close(self._answers)
        self._child = 0
        return False


_PARSER = _Parser()


def _read(path: pathlib.Path) -> RationalNetwork:
    """Do what :func:`export.sources.nir.importing.import_nir` does, whose process takes 0.3 s to start."""
    content = path.read_bytes()
    if not _PARSER.comes_to_an_end(content):
        raise SourceError(f"{path}: not a NIR graph, or damaged")
    try:
        return network_of(source_of(parse(content), str(path), Facts()))
    except SourceError as error:
        raise SourceError(f"{path}: {error}") from None


def _check(found: RationalNetwork, content: bytes) -> None:
    """What was read has layers that the export can work on, with one code for each weight."""
    folded = fold(found)
    assert all(set(np.unique(layer.weights)) <= {-1, 0, 1} for layer in folded if layer.weights is not None)
    if found.architecture["timesteps"] <= 8:
        certified = steps.certify(found, folded, max_fraction=2)
        network_file.loads(steps.pack(steps.assemble(found, certified, {})))


def _datasets(opened: h5py.File) -> list[str]:
    names: list[str] = []
    opened.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return names


def _forge_value(rng: random.Random, content: bytes) -> bytes:
    """Change one dataset: some of its numbers, its shape or its type, or leave it out."""
    buffer = io.BytesIO(content)
    with h5py.File(buffer, "r+") as opened:
        name = rng.choice(_datasets(opened))
        value = opened[name][()]
        del opened[name]
        how = rng.randrange(6)
        if how == 0:
            return _closed(opened, buffer)
        if isinstance(value, bytes) or how == 1:
            opened[name] = rng.choice(_WORDS)
        elif how == 2:
            opened[name] = np.asarray(value).reshape(-1)[:rng.randrange(5)]
        elif how == 3:
            opened[name] = np.asarray(value)[None]
        else:
            array = np.array(value)
            if array.dtype.kind == "O":
                opened[name] = [rng.choice(_WORDS) for _ in range(4)]
            else:
                flat = array.reshape(-1)
                place = rng.randrange(max(flat.size, 1))
                if array.dtype.kind == "f":
                    flat[place:place + rng.choice((1, flat.size))] = rng.choice(_REALS)
                else:
                    flat[place:place + 1] = hostile_integer(rng) % 2**62 * rng.choice((1, -1))
                opened[name] = array
        return _closed(opened, buffer)


def _closed(opened: h5py.File, buffer: io.BytesIO) -> bytes:
    opened.close()
    return buffer.getvalue()


def _forge_sidecar(rng: random.Random, content: bytes) -> bytes:
    buffer = io.BytesIO(content)
    with h5py.File(buffer, "r+") as opened:
        text = opened["node/metadata/sterna"].asstr()[()]
        del opened["node/metadata/sterna"]
        opened["node/metadata/sterna"] = damage_json(rng, text).encode("utf-8", "replace").replace(b"\0", b"")
        return _closed(opened, buffer)


#: HDF5 has no checksum over its numbers: what is damaged may be another network.
KINDS = [Kind(name="nir-graph", samples=_samples, forgeries=(_forge_value, _forge_value, _forge_sidecar),
              protected=False, suffix=".nir")]
