import dataclasses
import errno
import io
import json
import os
import pathlib
import re
import zipfile

import numpy as np
import pytest
import safetensors.numpy

from arch import network_file, ternary
from arch.network import (
    Convolution,
    Encoding,
    FullyConnected,
    Input,
    Network,
    NetworkError,
    Neurons,
    OrPool,
    Projection,
    Readout,
    Reset,
    projection_of,
    shortcut_of,
)
from reference.generate import random_network
from tests.arch.altered_files import drop, edited, join, parts, put, set_byte, set_long

MODELS = pathlib.Path(__file__).parents[2] / "models"
#: A value of a foreign file, and what a message shows of it.
LONG, CUT = "x" * 1000, f"'{'x' * 36}..."


def make_neurons(channels, **options):
    values = np.arange(channels, dtype=np.int64)
    return Neurons(threshold=values + 3, bias=-values, initial=2 * values - 1, **options)


def make_network(**overrides):
    weights = (np.arange(18) % 3 - 1).astype(np.int8)
    return Network(**({
        "input": Input(encoding=Encoding.PIXELS, channels=1, height=6, width=5, zero_point=128),
        "timesteps": 3,
        "layers": (Convolution(weights=weights.reshape(2, 1, 3, 3), neurons=make_neurons(2, fraction=2), padding=1),
                   OrPool(size=2),
                   FullyConnected(weights=np.ones((3, 12), dtype=np.int8),
                                  neurons=make_neurons(3, reset=Reset.ZERO, leak_shift=4)),
                   Readout(weights=-np.eye(3, dtype=np.int8))),
        "metadata": {"name": "é", "accuracy": 0.25}} | overrides))


def assert_same(left, right):
    assert left.input == right.input
    assert left.timesteps == right.timesteps
    assert dict(left.metadata) == dict(right.metadata)
    for one, other in zip(left.layers, right.layers, strict=True):
        assert type(one) is type(other)
        if isinstance(one, OrPool):
            assert one == other
            continue
        assert (one.weights == other.weights).all()
        if isinstance(one, Convolution):
            assert (one.stride, one.padding, one.pool) == (other.stride, other.padding, other.pool)
        assert shortcut_of(one) == shortcut_of(other)
        assert (projection_of(one) is None) == (projection_of(other) is None)
        if projection_of(one) is not None:
            assert (one.projection.source, one.projection.stride) == (other.projection.source, other.projection.stride)
            assert (one.projection.weights == other.projection.weights).all()
        if not isinstance(one, Readout):
            for name in ("threshold", "bias", "initial"):
                assert (getattr(one.neurons, name) == getattr(other.neurons, name)).all()
            for name in ("fraction", "reset", "leak_shift"):
                assert getattr(one.neurons, name) == getattr(other.neurons, name)


def test_a_file_reads_back_as_it_was_written(tmp_path):
    network = make_network()
    network_file.save(network, tmp_path / "network.safetensors")
    again = network_file.load(tmp_path / "network.safetensors")
    assert_same(network, again)
    assert network_file.dumps(again) == (tmp_path / "network.safetensors").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["network.safetensors"]


@pytest.mark.parametrize("seed", range(15))
def test_random_networks_read_back(seed):
    network = random_network(np.random.default_rng([3, seed]))
    assert_same(network, network_file.loads(network_file.dumps(network)))


@pytest.mark.parametrize("seed", range(15))
def test_random_graphs_read_back(seed):
    network = random_network(np.random.default_rng([4, seed]), layers=4, shortcuts=True, pools=True)
    assert_same(network, network_file.loads(network_file.dumps(network)))
    network = random_network(np.random.default_rng([5, seed]), layers=4, shortcuts=True, projections=True)
    assert_same(network, network_file.loads(network_file.dumps(network)))


def described(network):
    return json.loads(parts(network_file.dumps(network))[0]["__metadata__"]["network"])["layers"]


def graph():
    """A network with both keys that a plain chain has not."""
    square = np.eye(3, dtype=np.int8)
    pooled = Convolution(weights=np.ones((2, 1, 3, 3), dtype=np.int8), neurons=make_neurons(2), padding=1, pool=2)
    first = FullyConnected(weights=np.ones((3, 12), dtype=np.int8), neurons=make_neurons(3))
    second = FullyConnected(weights=square, neurons=make_neurons(3))
    summed = FullyConnected(weights=square, neurons=make_neurons(3), shortcut=1)
    return make_network(layers=(pooled, first, second, summed, Readout(weights=-square)))


def projected(**options):
    """A network whose second layer sees the first one's map twice: through its kernel, and through a projection."""
    weights = (np.arange(6) % 3 - 1).astype(np.int8).reshape(3, 2, 1, 1)
    first = Convolution(weights=np.ones((2, 1, 3, 3), dtype=np.int8), neurons=make_neurons(2), padding=1)
    second = Convolution(weights=np.ones((3, 2, 3, 3), dtype=np.int8), neurons=make_neurons(3), stride=2, padding=1,
                         projection=Projection(**({"source": 0, "weights": weights, "stride": 2} | options)))
    return make_network(layers=(first, second, Readout(weights=np.ones((2, 27), dtype=np.int8))))


def test_a_projection_is_a_key_and_a_tensor_behind_the_weights():
    network = projected()
    header, data = parts(network_file.dumps(network))
    assert [layer.get("projection") for layer in described(network)] == [
        None, {"shape": [3, 2, 1, 1], "source": 0, "stride": 2}, None]
    names = [name for name in header if name != "__metadata__"]
    assert names[4:6] == ["1.weights", "1.projection"]
    begin, end = header["1.projection"]["data_offsets"]
    assert (header["1.projection"]["dtype"], header["1.projection"]["shape"]) == ("U8", [2])
    # -1, 0, 1, -1, 0, 1, least significant bits first.
    assert bytes(data[begin:end]) == bytes([0b11_01_00_11, 0b0000_01_00])
    assert_same(network, network_file.loads(network_file.dumps(network)))


def test_the_digest_depends_on_every_part_of_a_projection():
    weights = np.ones((3, 2, 1, 1), dtype=np.int8)
    made = [projected(), projected(weights=weights), make_network(layers=(
        *projected().layers[:1], Convolution(weights=np.ones((3, 2, 3, 3), dtype=np.int8), neurons=make_neurons(3),
                                             stride=2, padding=1), projected().layers[2]))]
    assert len({network_file.digest(network) for network in made}) == 3


def test_keys_of_graphs_are_written_only_where_a_layer_has_them():
    keys = [set(layer) & {"pool", "shortcut", "projection"} for layer in described(graph())]
    assert keys == [{"pool"}, set(), set(), {"shortcut"}, set()]
    assert not any(set(layer) & {"pool", "shortcut", "projection"} for layer in described(make_network()))


@pytest.mark.parametrize("name", ["mnist-conv", "fashion-conv"])
def test_shipped_networks_keep_their_bytes(name):
    content = (pathlib.Path(__file__).parents[2] / "models" / f"{name}.safetensors").read_bytes()
    assert network_file.dumps(network_file.loads(content)) == content


def test_safetensors_reads_the_tensors(tmp_path):
    network = make_network()
    network_file.save(network, tmp_path / "network.safetensors")
    tensors = safetensors.numpy.load_file(tmp_path / "network.safetensors")
    assert set(tensors) == {"0.weights", "0.threshold", "0.bias", "0.initial", "2.weights", "2.threshold", "2.bias",
                            "2.initial", "3.weights"}
    assert (tensors["0.weights"] == ternary.pack_array(network.layers[0].weights)).all()
    assert (tensors["2.bias"] == network.layers[2].neurons.bias).all()
    with safetensors.safe_open(tmp_path / "network.safetensors", framework="numpy") as file:
        assert file.metadata()["content_sha256"] == network_file.digest(network)


def test_digest_is_of_what_is_computed():
    network = make_network()
    assert network_file.digest(network) == network_file.digest(make_network(metadata={"name": "other"}))
    assert network_file.digest(network) != network_file.digest(make_network(timesteps=4))
    *layers, _ = network.layers
    readout = Readout(weights=np.eye(3, dtype=np.int8))
    assert network_file.digest(network) != network_file.digest(make_network(layers=(*layers, readout)))
    # Pinned: hosts and bitstreams compare it.
    assert network_file.digest(network) == "b337895221a6edd55fe7aa7b480e9a9f5c7131a1296eea5e7707b167811c98a1"


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "network.safetensors"
    path.write_bytes(b"old")

    def fail(*_):
        raise OSError(errno.ENOSPC, "disk full")

    monkeypatch.setattr(pathlib.Path, "replace", fail)
    with pytest.raises(OSError, match=rf"^\[Errno {errno.ENOSPC}\] disk full: '{re.escape(str(path))}'$"):
        network_file.save(make_network(), path)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["network.safetensors"]


def test_metadata_must_be_json():
    for metadata in ({"x": np.int64(3)}, {"x": float("nan")}):
        with pytest.raises(NetworkError, match=r"^metadata must hold only finite JSON values$"):
            network_file.dumps(make_network(metadata=metadata))


def test_long_metadata_are_refused(monkeypatch):
    monkeypatch.setattr(network_file, "MAX_HEADER_BYTES", 4096)
    with pytest.raises(NetworkError, match=r"^header must be at most 4096 bytes, not \d+: metadata are too long$"):
        network_file.dumps(make_network(metadata={"x": "y" * 4096}))


def edit(**changes):
    return edited(network_file.dumps(make_network()), **changes)


TENSOR = {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}
KEYS = "sterna_network, network, content_sha256, metadata, metadata_sha256"


@pytest.mark.parametrize(("content", "message"), [
    (b"", "file must not be empty: what made or copied it did not end, so make or copy it again"),
    (b"1234567", "file is truncated: 7 bytes, and the first 8 are the header's length"),
    (b"\xff" * 20, ("not a network that python -m export writes: its header must be at most 16777216 bytes, not "
                    "18446744073709551615")),
    (b"# Sterna, as text", ("not a network that python -m export writes: its header must be at most 16777216 bytes, "
                            "not 7020674649186050083")),
    ((50).to_bytes(8, "little") + b"{}", "file is truncated: 10 bytes, and the header ends at 58"),
    ((2).to_bytes(8, "little") + b"[]", "header must be a JSON object, not []"),
    ((2).to_bytes(8, "little") + b"{]", "header must be a JSON object: not a network file, or altered"),
    ((2).to_bytes(8, "little") + b"\xff\xff", "header must be a JSON object: not a network file, or altered"),
    ((13).to_bytes(8, "little") + b'{"a":1,"a":2}', "header must be a JSON object: not a network file, or altered"),
    ((7).to_bytes(8, "little") + b'{"a":1}',
     "not a network that python -m export writes: the header names no version of one"),
    ((2**16).to_bytes(8, "little") + b"[" * 2**16, "header must be a JSON object: not a network file, or altered"),
    (edit(header=put("sterna_network", "2", "__metadata__")), "version must be 1, not '2'"),
    (edit(header=put("sterna_network", 1, "__metadata__")), "header 'sterna_network' must be a string, not 1"),
    (edit(header=put("more", "", "__metadata__")),
     f"header must have the keys {KEYS}, not 'content_sha256, metadata, metadata_s..."),
    (edit(header=put("0.weights", 3)), "tensor '0.weights' must be an object, not 3"),
    (edit(header=put("dtype", "F32", "0.weights")), "tensor '0.weights' must be U8 or I64, not 'F32'"),
    (edit(header=put("shape", [1, 5], "0.weights")), "tensor '0.weights' must have one dimension, not shape [1, 5]"),
    (edit(header=put("shape", [2**60], "0.weights")),
     "tensor '0.weights' must have one dimension, not shape [1152921504606846976]"),
    (edit(header=put("shape", [6], "0.weights")), "tensor '0.weights' must be at bytes 0 to 6, not [0, 5]"),
    (edit(header=put("data_offsets", [1, 6], "0.weights")), "tensor '0.weights' must be at bytes 0 to 5, not [1, 6]"),
    (edit(header=put("data_offsets", [0, 5.0], "0.weights")),
     "tensor '0.weights' must be at bytes 0 to 5, not [0, 5.0]"),
    (edit(header=put("data_offsets", [False, 5], "0.weights")),
     "tensor '0.weights' must be at bytes 0 to 5, not [False, 5]"),
    (edit(data=lambda data: data[:-1]), "file is truncated: 136 bytes of tensors, and the header promises 137"),
    (edit(data=lambda data: data + b"\0"), "file must end after 137 bytes of tensors, not 138"),
    (edit(layer=drop(1)), "layer 1: tensor '1.weights' is missing"),
    (edit(header=drop("3.weights"), data=lambda data: data[:-3]), "layer 3: tensor '3.weights' is missing"),
    (edit(header=put("4.weights", {"dtype": "U8", "shape": [0], "data_offsets": [137, 137]})),
     "tensor '4.weights' belongs to no layer"),
    (edit(layer=put("shape", [2, 1, 3, 2], 0)), "layer 0: tensor '0.weights' must have shape [3], not [5]"),
    (edit(layer=put("shape", [2, 1, 3], 0)), "layer 0: shape must be 4 positive integers, not [2, 1, 3]"),
    (edit(layer=put("shape", [2, 1, 3, -3], 0)), "layer 0: shape must be 4 positive integers, not [2, 1, 3, -3]"),
    (edit(layer=put("shape", [3, 1, 2, 3], 0)), "layer 0: tensor '0.threshold' must have shape [3], not [2]"),
    (edit(layer=put("kind", "dense", 0)),
     "layer 0: kind must be convolution, fully-connected, or-pool, readout, not 'dense'"),
    (edit(layer=put(1, 7)), "layer 1: kind must be convolution, fully-connected, or-pool, readout, not None"),
    (edit(layer=put("more", 1, 1)), "layer 1: or-pool must have the keys kind, size, not 'kind, more, size'"),
    (edit(layer=put("size", 9, 1)), "layer 1: pool size must be an integer from 2 to 7, not 9"),
    (edit(layer=put("reset", "none", 0)), "layer 0: reset must be subtract or zero, not 'none'"),
    (edit(layer=put("fraction", -1, 0)), "layer 0: fraction must be an integer from 0 to 16, not -1"),
    (edit(layer=put("stride", "1", 0)), "layer 0: stride must be an integer from 1 to 7, not '1'"),
    (edit(layer=put("groups", 2, 0)),
     ("layer 0: convolution must have the keys kind, shape, stride, padding, fraction, reset, leak_shift and may have "
      "pool, shortcut, projection, not 'fraction, groups, kind, leak_shift, ...")),
    (edit(layer=put("pool", 2, 2)),
     ("layer 2: fully-connected must have the keys kind, shape, fraction, reset, leak_shift and may have shortcut, "
      "not 'fraction, kind, leak_shift, pool, re...")),
    (edit(layer=put("pool", "2", 0)), "layer 0: pool must be an integer from 1 to 7, not '2'"),
    (edit(layer=put("pool", 7, 0)), "layer 0 (convolution): pool 7 must fit in the currents of 6 x 5"),
    (edit(layer=put("shortcut", "conv1", 2)), "layer 2: shortcut must be the index of an earlier layer, not 'conv1'"),
    (edit(layer=put("shortcut", 0, 2)),
     "layer 2 (fully-connected): shortcut must have a map of (2, 3, 2) like the input, not that of layer 0, (2, 6, 5)"),
    (edit(layer=put("pool", 1, 0)),
     "header is not in canonical form: the file was altered, or written by another program"),
    (edit(layer=put("shortcut", None, 2)),
     "header is not in canonical form: the file was altered, or written by another program"),
    (edit(layer=put("leak_shift", 99, 2)), "layer 2: leak shift must be an integer from 1 to 31, not 99"),
    (edit(network=put("layers", {})), "layers must be a list, not {}"),
    (edit(network=put("timesteps", None)), "timesteps must be an integer from 1 to 64, not None"),
    (edit(network=put("timesteps", LONG)), f"timesteps must be an integer from 1 to 64, not {CUT}"),
    (edit(network=put("zero_point", LONG, "input")), f"input zero point must be 0 or 128 for pixels, not {CUT}"),
    (edit(layer=put("shortcut", LONG, 2)),
     f"layer 2: shortcut must be the index of an earlier layer, not {CUT}"),
    (edit(network=drop("input")), "network must have the keys input, timesteps, layers, not 'layers, timesteps'"),
    (edit(network=put("encoding", "sound", "input")), "input encoding must be pixels or events, not 'sound'"),
    (edit(network=put("height", 5, "input")),
     "layer 2 (fully-connected): weights must have 8 inputs for a map of (2, 2, 2), not 12"),
    (edit(data=set_byte(1, 0b10)), "layer 0: weight 4 must not have the reserved code 0b10"),
    (edit(data=set_byte(4, 0b010000)), "layer 0: bits beyond weight 17 must be zero"),
    (edit(data=set_long(5, 0)), "layer 0: threshold of channel 0 must be positive, not 0"),
    (edit(data=set_long(29, 2**47 + 1)),
     "layer 0: bias of channel 1 must be within +-2^47, not 140737488355329"),
    (edit(data=set_long(29, -2**63)),
     "layer 0: bias of channel 1 must be within +-2^47, not -9223372036854775808"),
    (edit(header=put("metadata", "[1]", "__metadata__")), "metadata must be a JSON object, not [1]"),
    (edit(header=put("metadata", '{"a":NaN}', "__metadata__")),
     "metadata must be a JSON object: not a network file, or altered"),
    (edit(header=put("metadata", '{"a":1e999}', "__metadata__")),
     "metadata must be a JSON object: not a network file, or altered"),
    (edit(header=put("metadata", '{ "a":1}', "__metadata__")),
     "header is not in canonical form: the file was altered, or written by another program"),
])
def test_malformed_files_have_one_line_errors(tmp_path, content, message):
    path = tmp_path / "network.safetensors"
    path.write_bytes(content)
    with pytest.raises(NetworkError) as caught:
        network_file.load(path)
    assert str(caught.value) == f"{path}: {message}"


def edit_projected(**changes):
    return edited(network_file.dumps(projected()), **changes)


@pytest.mark.parametrize(("content", "message"), [
    (edit_projected(layer=put("projection", None, 1)), "layer 1: projection must be an object, not None"),
    (edit_projected(layer=drop("stride", 1, "projection")),
     "layer 1: projection must have the keys source, shape, stride, not 'shape, source'"),
    (edit_projected(layer=put("more", 1, 1, "projection")),
     "layer 1: projection must have the keys source, shape, stride, not 'more, shape, source, stride'"),
    (edit_projected(layer=put("shape", [3, 2], 1, "projection")),
     "layer 1: shape must be 4 positive integers, not [3, 2]"),
    (edit_projected(layer=put("shape", [3, 3, 1, 1], 1, "projection")),
     "layer 1: tensor '1.projection' must have shape [3], not [2]"),
    (edit_projected(layer=put("shape", [1, 2, 1, 3], 1, "projection")),
     "layer 1: projection weights must be 1 x 1, not 1 x 3"),
    (edit_projected(layer=put("shape", [2, 3, 1, 1], 1, "projection")),
     "layer 1: projection must have 3 channels like the weights, not 2"),
    (edit_projected(layer=put("source", "conv1", 1, "projection")),
     "layer 1: projection source must be the index of an earlier layer, not 'conv1'"),
    (edit_projected(layer=put("source", LONG, 1, "projection")),
     f"layer 1: projection source must be the index of an earlier layer, not {CUT}"),
    (edit_projected(layer=put("source", 1, 1, "projection")),
     "layer 1 (convolution): projection must be of an earlier layer, not of layer 1"),
    (edit_projected(layer=put("stride", 1, 1, "projection")),
     ("layer 1 (convolution): projection must have currents of (3, 3, 3) like the kernel, not those of layer 0 with "
      "stride 1, (3, 6, 5)")),
    (edit_projected(layer=put("shortcut", 0, 1)),
     "layer 1: shortcut must be None beside a projection, not 0: a filter sees at most two maps"),
    (edit_projected(layer=drop("projection", 1)), "tensor '1.projection' belongs to no layer"),
    # Behind the constants of layer 0, 53 bytes, and the 54 weights of layer 1, 14 bytes.
    (edit_projected(data=set_byte(67, 0b10)), "layer 1: projection: weight 0 must not have the reserved code 0b10"),
    (edit_projected(data=set_byte(68, 0b010000)), "layer 1: projection: bits beyond weight 5 must be zero"),
])
def test_malformed_projections_have_one_line_errors(content, message):
    with pytest.raises(NetworkError) as caught:
        network_file.loads(content)
    assert str(caught.value) == message


def test_altered_graphs_are_noticed():
    content = network_file.dumps(graph())
    assert_same(graph(), network_file.loads(content))
    for old, new in ((rb'\"pool\":2', rb'\"pool\":3'), (rb'\"shortcut\":1', rb'\"shortcut\":0')):
        assert content.count(old) == 1
        with pytest.raises(NetworkError, match=r"^network does not match its SHA-256: the file was altered$"):
            network_file.loads(content.replace(old, new))


@pytest.mark.parametrize(("metadata", "message"), [
    *(({"accuracy": value}, f"accuracy must be a number from 0 to 1, not {shown}") for value, shown in (
        ("0.3", "'0.3'"), ([1], "[1]"), (True, "True"), (2.5, "2.5"), (-1, "-1"), (1e300, "1e+300"))),
    ({"accuracy_images": 0}, "accuracy_images must be an integer from 1 to 9007199254740992, not 0"),
    ({"accuracy_images": "60"}, "accuracy_images must be an integer from 1 to 9007199254740992, not '60'"),
    ({"exact": "yes"}, "exact must be true, false or null, not 'yes'"),
    ({"accuracy_command": ["export"]}, "accuracy_command must be a string, not ['export']")])
def test_facts_that_are_none_are_refused(metadata, message):
    header, data = parts(network_file.dumps(make_network()))
    header["__metadata__"]["metadata"] = json.dumps(metadata, separators=(",", ":"))
    for refused in (lambda: network_file.loads(join(header, data)),
                    lambda: network_file.dumps(make_network(metadata=metadata))):
        with pytest.raises(NetworkError, match=f"^{re.escape(f'metadata: {message}')}$"):
            refused()


@pytest.mark.parametrize("metadata", [
    {"accuracy": None, "accuracy_images": None, "exact": None, "accuracy_command": None},
    {"accuracy": 0, "exact": False}, {"accuracy": 1, "accuracy_images": 1, "exact": True, "accuracy_command": "x"}])
def test_facts_that_are_not_known_or_at_their_limits_are_read(metadata):
    made = network_file.loads(network_file.dumps(make_network(metadata=metadata)))
    assert made.metadata == metadata


def test_altered_contents_do_not_match_their_hashes():
    header, data = parts(network_file.dumps(make_network()))
    altered = data[:5] + b"\x07" + data[6:]
    with pytest.raises(NetworkError, match=r"^network does not match its SHA-256: the file was altered$"):
        network_file.loads(join(header, altered, rehash=False))
    header["__metadata__"]["metadata"] = '{"accuracy":0.99}'
    with pytest.raises(NetworkError, match=r"^metadata do not match their SHA-256: the file was altered$"):
        network_file.loads(join(header, data, rehash=False))


def test_large_files_are_refused(monkeypatch):
    monkeypatch.setattr(network_file, "MAX_FILE_BYTES", 100)
    with pytest.raises(NetworkError, match=r"^file must be at most 100 bytes$"):
        network_file.loads(bytes(101))


def refused(content):
    """Whether the content is refused, in one line."""
    try:
        network_file.loads(content)
    except NetworkError as error:
        return "\n" not in str(error)
    return False


def test_every_truncation_is_noticed():
    content = network_file.dumps(make_network())
    assert all(refused(content[:length]) for length in range(len(content)))
    assert refused(content + b"\0")


def test_every_altered_byte_is_noticed():
    content = network_file.dumps(make_network())
    rng = np.random.default_rng(6)
    for offset, byte in enumerate(content):
        for flip in {1, 0x80, int(rng.integers(1, 256)), byte ^ 0x20 or 1, byte ^ 0x09 or 1}:
            altered = bytearray(content)
            altered[offset] ^= flip
            assert refused(bytes(altered)), f"byte {offset} ^ {flip:#x}"


def test_every_cut_out_and_doubled_stretch_is_noticed():
    content = network_file.dumps(make_network())
    rng = np.random.default_rng(7)
    for _ in range(500):
        start, end = sorted(int(place) for place in rng.integers(0, len(content) + 1, 2))
        if start < end:
            assert refused(content[:start] + content[end:])
            assert refused(content[:end] + content[start:])


def test_random_bytes_are_refused():
    rng = np.random.default_rng(8)
    for _ in range(200):
        noise = rng.bytes(int(rng.integers(0, 200)))
        assert refused(noise)
        assert refused((len(noise)).to_bytes(8, "little") + noise)


BRING = "bring the network into a checkpoint as docs/your-network.md shows, and export that"


def members(**contents):
    """A zip file with these members."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return file.getvalue()


@pytest.mark.parametrize(("content", "hint"), [
    ((MODELS / "mnist-conv.checkpoint.safetensors").read_bytes(),
     "not a network but a checkpoint: export it first, python -m export CHECKPOINT -o NETWORK"),
    (safetensors.numpy.save({"x": np.zeros(2, np.float32)}),
     f"not a network but a safetensors file of another program: {BRING}"),
    (members(**{"archive/data.pkl": b""}), f"not a network but a file of torch.save: {BRING}"),
    (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", f"not a network but a file of torch.save: {BRING}"),
    (b"\x89HDF\r\n\x1a\n" + bytes(100), ("not a network but an HDF5 file: if it is a NIR graph, export it first, "
                                         "python -m "
                                        "export GRAPH -o NETWORK, as docs/nir.md shows")),
    (members(**{"images.npy": b""}),
     "not a network but images or arrays: give the network that python -m export wrote"),
    (b"\x89PNG\r\n\x1a\n", "not a network but images or arrays: give the network that python -m export wrote"),
    (b"STFM" + bytes(252),
     ("not a network but an image of models for a flash: give the network of one of them, and the image with --flash "
      "to python -m sim")),
    (b"\x93NUMPY" + bytes(100), "not a network but images or arrays: give the network that python -m export wrote"),
], ids=lambda value: value[-20:] if isinstance(value, str) else "")
def test_other_kinds_of_file_get_the_hint_that_helps(tmp_path, content, hint):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(NetworkError, match=f"^{re.escape(str(tmp_path / 'file'))}: {re.escape(hint)}$"):
        network_file.load(tmp_path / "file")


def test_what_is_no_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, kind in ((tmp_path / "pipe", "device, pipe or socket"), ("/dev/zero", "device, pipe or socket"),
                       (tmp_path, "folder")):
        with pytest.raises(NetworkError, match=f"^{re.escape(str(path))}: input must be a file, not a {kind}$"):
            network_file.load(path)


def test_a_zero_point_with_a_fraction_is_refused_by_the_reader():
    with pytest.raises(NetworkError, match=r"^input zero point must be 0 or 128 for pixels, not 128\.0$"):
        network_file.loads(edit(network=lambda network: network["input"].update(zero_point=128.0)))


@pytest.mark.parametrize(("metadata", "name"), [
    ({"name": "digits"}, "digits"), ({}, "file"), ({"name": ""}, "file"), ({"name": 3}, "file")])
def test_a_network_is_named_by_its_metadata_and_else_by_its_file(metadata, name):
    network = dataclasses.replace(make_network(), metadata=metadata)
    assert network_file.name_of(network, "folder/file.safetensors") == name
