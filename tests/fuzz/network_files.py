"""Networks and checkpoints, of rates and of spike times: safetensors files with hashes."""

import hashlib
import json
import pathlib
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import safetensors.numpy

from arch import network_file
from arch.checkpoint import Checkpoint
from arch.ttfs import checkpoint as ttfs_checkpoint
from arch.ttfs import network_file as ttfs_network_file
from tests.arch import test_checkpoint as checkpoints
from tests.arch import test_network_file as networks
from tests.arch.test_architecture import ARCHITECTURE
from tests.arch.ttfs.test_checkpoint import made as made_ttfs_checkpoint
from tests.arch.ttfs.test_network_file import make_network as make_ttfs_network
from tests.fuzz.kinds import Kind, Sample
from tests.fuzz.mutations import damage_bytes, damage_json

__all__ = ["KINDS"]

_Strings = dict[str, str]
#: Puts right hashes into the strings of a header, given its tensors and the data.
_Mend = Callable[[_Strings, dict[str, Any], bytes], None]


def _split(content: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8:8 + length]), content[8 + length:]


def _joined(header: bytes, data: bytes) -> bytes:
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data


def _mend_container(strings: _Strings, tensors: dict[str, Any], data: bytes) -> None:
    """Put the hashes of :mod:`arch.container` right."""
    strings["content_sha256"] = hashlib.sha256(strings["network"].encode() + b"\0" + data).hexdigest()
    strings["metadata_sha256"] = hashlib.sha256(strings["metadata"].encode()).hexdigest()


def _mend_checkpoint(strings: _Strings, tensors: dict[str, Any], data: bytes) -> None:
    """Put the hashes of :mod:`arch.checkpoint` right, as far as there is something to hash."""
    def canonical(value: Any) -> bytes:
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()

    try:
        architecture, provenance = json.loads(strings["architecture"]), json.loads(strings["provenance"])
        text = canonical({"architecture": architecture, "tensors": {
            name: [{"F32": "float32", "I8": "int8"}[entry["dtype"]], entry["shape"]]
            for name, entry in tensors.items()}})
        digest = hashlib.sha256(text + b"\0")
        for name in sorted(tensors):
            digest.update(data[slice(*tensors[name]["data_offsets"])])
        strings["content_sha256"] = digest.hexdigest()
        strings["provenance_sha256"] = hashlib.sha256(canonical(provenance)).hexdigest()
    except (ValueError, RecursionError):
        return


def _forge_header(rng: random.Random, content: bytes) -> bytes:
    """Alter the header, whatever its hashes say."""
    header, data = _split(content)
    return _joined(damage_json(rng, json.dumps(header, separators=(",", ":"))).encode("utf-8", "surrogatepass"), data)


def _forge_length(rng: random.Random, content: bytes) -> bytes:
    """Alter the length of the header."""
    length = int.from_bytes(content[:8], "little")
    return rng.choice((length - 1, length + 1, length - 8, length + 8, 0, 2, 2**24, 2**24 + 1, 2**63, 2**64 - 1,
                       len(content) - 8, len(content) - 7)).to_bytes(8, "little") + content[8:]


def _forge_data(mend: _Mend) -> Callable[[random.Random, bytes], bytes]:
    """Return a forgery of the tensors' bytes, with right hashes."""
    def forge(rng: random.Random, content: bytes) -> bytes:
        header, data = _split(content)
        strings = header.pop("__metadata__")
        data = damage_bytes(rng, data)
        mend(strings, header, data)
        return _joined(json.dumps({"__metadata__": strings} | header, separators=(",", ":")).encode(), data)
    return forge


def _forge_text(mend: _Mend, *keys: str) -> Callable[[random.Random, bytes], bytes]:
    """Return a forgery of the JSON in one of the header's strings, with right hashes."""
    def forge(rng: random.Random, content: bytes) -> bytes:
        header, data = _split(content)
        strings = header.pop("__metadata__")
        key = rng.choice(keys)
        strings[key] = damage_json(rng, strings[key], sort_keys=True)
        mend(strings, header, data)
        return _joined(json.dumps({"__metadata__": strings} | header, separators=(",", ":")).encode(), data)
    return forge


def _canonical_kind(name: str, contents: Callable[[], list[bytes]], load: Callable[[pathlib.Path], Any],
                    dumps: Callable[[Any], bytes]) -> Kind:
    """A kind of which there is exactly one file for each content: what is read must be written as the same bytes."""
    def check(found: Any, content: bytes) -> None:
        assert dumps(found) == content

    return Kind(name=name, suffix=".safetensors",
                samples=lambda folder: [Sample(content=content, read=load, identity=dumps, check=check)
                                        for content in contents()],
                forgeries=(_forge_header, _forge_length, _forge_data(_mend_container),
                           _forge_text(_mend_container, "network", "network", "metadata")))


def _checkpoint_identity(found: Checkpoint) -> tuple[str, str, bool]:
    return found.digest(), json.dumps(found.provenance, sort_keys=True), found.protected


def _check_checkpoint(found: Checkpoint, content: bytes) -> None:
    strings = _split(content)[0]["__metadata__"]
    assert found.protected == ("content_sha256" in strings)
    if found.protected:
        assert strings["content_sha256"] == found.digest()
    for array in found.tensors.values():
        assert array.dtype in (np.float32, np.int8)
        assert np.isfinite(array).all()
        assert array.dtype == np.float32 or (abs(array.astype(int)) <= 1).all()
    json.dumps(found.provenance, allow_nan=False)


def _saved(folder: pathlib.Path, made: Checkpoint) -> bytes:
    made.save(folder / "made.safetensors")
    return (folder / "made.safetensors").read_bytes()


def _samples(contents: list[bytes]) -> list[Sample]:
    return [Sample(content=content, read=Checkpoint.load, identity=_checkpoint_identity, check=_check_checkpoint)
            for content in contents]


def _checkpoints(folder: pathlib.Path) -> list[Sample]:
    plain = Checkpoint(architecture=ARCHITECTURE, tensors=checkpoints.made_tensors(),
                       provenance={"command": "none", "epochs": 3, "accuracies": [0.5, 0.75]})
    return _samples([_saved(folder, plain), _saved(folder, checkpoints.residual_checkpoint())])


def _first_version(folder: pathlib.Path) -> list[Sample]:
    strings = {"sterna_checkpoint": "1", "architecture": json.dumps(ARCHITECTURE), "provenance": '{"seed":1}'}
    return _samples([safetensors.numpy.save(checkpoints.made_tensors(), strings)])


def _keep(strings: _Strings, tensors: dict[str, Any], data: bytes) -> None:
    """Mend nothing: version 1 has no hashes."""


KINDS = (
    _canonical_kind("network", lambda: [network_file.dumps(network) for network in (
        networks.make_network(), networks.graph(), networks.projected())], network_file.load, network_file.dumps),
    _canonical_kind("network-with-spike-times", lambda: [ttfs_network_file.dumps(make_ttfs_network())],
                    ttfs_network_file.load, ttfs_network_file.dumps),
    _canonical_kind("checkpoint-with-spike-times", lambda: [ttfs_checkpoint.dumps(made_ttfs_checkpoint())],
                    ttfs_checkpoint.load, ttfs_checkpoint.dumps),
    Kind(name="checkpoint", samples=_checkpoints, suffix=".safetensors",
         forgeries=(_forge_header, _forge_length, _forge_data(_mend_checkpoint),
                    _forge_text(_mend_checkpoint, "architecture", "architecture", "provenance"))),
    Kind(name="checkpoint-of-version-1", samples=_first_version, suffix=".safetensors", protected=False,
         forgeries=(_forge_header, _forge_length, _forge_data(_keep),
                    _forge_text(_keep, "architecture", "architecture", "provenance"))),
)
