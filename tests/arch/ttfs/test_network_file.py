import pathlib
import re

import numpy as np
import pytest
import safetensors.numpy

from arch import network_file as rate_network_file
from arch.network import NetworkError
from arch.ttfs import checkpoint as checkpoints
from arch.ttfs import network_file
from arch.ttfs.code import TimeCode
from arch.ttfs.network import Convolution, EarliestPool, FullyConnected, Input, Network, Readout
from tests.arch.altered_files import drop, edited, join, parts, put, set_long
from tests.arch.ttfs.test_checkpoint import made as made_checkpoint

MODELS = pathlib.Path(__file__).resolve().parents[3] / "models"
TRAIN = "train the network with the method conversion-aware and export that, docs/ttfs.md"


def make_network(**overrides):
    codes = (np.arange(18) % 7 - 3).astype(np.int8)
    falling = np.array([[300, 20, -7], [4, 4, 2], [2**53, 0, -2**53]])
    return Network(**({
        "input": Input(channels=1, height=6, width=5, threshold=np.array([256, 100, 1])),
        "code": TimeCode(timesteps=3, tau=2, p=3, bits=3, fraction=9),
        "layers": (Convolution(weights=codes.reshape(2, 1, 3, 3), threshold=falling[:2], padding=1, stride=1),
                   EarliestPool(size=2),
                   FullyConnected(weights=np.ones((3, 12), dtype=np.int8), threshold=falling),
                   Readout(weights=-np.eye(3, dtype=np.int8))),
        "metadata": {"name": "é", "accuracy": 0.25}} | overrides))


def assert_same(left, right):
    assert (left.code, dict(left.metadata)) == (right.code, dict(right.metadata))
    assert left.input.shape == right.input.shape
    assert (left.input.threshold == right.input.threshold).all()
    for one, other in zip(left.layers, right.layers, strict=True):
        assert type(one) is type(other)
        if isinstance(one, EarliestPool):
            assert one == other
            continue
        assert (one.weights == other.weights).all()
        if isinstance(one, Convolution):
            assert (one.stride, one.padding) == (other.stride, other.padding)
        if not isinstance(one, Readout):
            assert (one.threshold == other.threshold).all()


def test_a_file_reads_back_as_it_was_written(tmp_path):
    network = make_network()
    network_file.save(network, tmp_path / "network.safetensors")
    again = network_file.load(tmp_path / "network.safetensors")
    assert_same(network, again)
    assert network_file.dumps(again) == (tmp_path / "network.safetensors").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["network.safetensors"]


def test_safetensors_reads_the_tensors(tmp_path):
    network = make_network()
    network_file.save(network, tmp_path / "network.safetensors")
    tensors = safetensors.numpy.load_file(tmp_path / "network.safetensors")
    assert set(tensors) == {"threshold", "0.weights", "0.threshold", "2.weights", "2.threshold", "3.weights"}
    assert tensors["0.weights"].view(np.int8).tolist() == network.layers[0].weights.reshape(-1).tolist()
    assert (tensors["2.threshold"].reshape(3, 3) == network.layers[2].threshold).all()
    with safetensors.safe_open(tmp_path / "network.safetensors", framework="numpy") as file:
        assert file.metadata()["content_sha256"] == network_file.digest(network)


def test_digest_is_of_what_is_computed():
    network = make_network()
    assert network_file.digest(network) == network_file.digest(make_network(metadata={"name": "other"}))
    for other in (make_network(code=TimeCode(timesteps=3, tau=2, p=3, bits=3, fraction=10)),
                  make_network(input=Input(channels=1, height=6, width=5, threshold=np.array([256, 100, 2]))),
                  make_network(layers=(*network.layers[:-1], Readout(weights=np.eye(3, dtype=np.int8))))):
        assert network_file.digest(network) != network_file.digest(other)


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


KEYS = "sterna_ttfs_network, network, content_sha256, metadata, metadata_sha256"
#: Bytes of the tensors before the weights of layer 0, those of it, and all.
FIRST, WEIGHTS, TOTAL = 24, 18, 24 + 18 + 48 + 36 + 72 + 9


@pytest.mark.parametrize(("content", "message"), [
    (b"", "file must not be empty: what made or copied it did not end, so make or copy it again"),
    (b"1234567", "file is truncated: 7 bytes, and the first 8 are the header's length"),
    (b"\xff" * 20, ("not a network with time-to-first-spike coding: its header must be at most 16777216 bytes, not "
                    "18446744073709551615")),
    ((50).to_bytes(8, "little") + b"{}", "file is truncated: 10 bytes, and the header ends at 58"),
    ((2).to_bytes(8, "little") + b"{]", "header must be a JSON object: not a network file, or altered"),
    ((7).to_bytes(8, "little") + b'{"a":1}',
     "not a network with time-to-first-spike coding: the header names no version of one"),
    (edit(header=put("sterna_ttfs_network", "2", "__metadata__")), "version must be 1, not '2'"),
    (edit(header=put("sterna_ttfs_network", 1, "__metadata__")),
     "header 'sterna_ttfs_network' must be a string, not 1"),
    (edit(header=put("more", "", "__metadata__")),
     f"header must have the keys {KEYS}, not 'content_sha256, metadata, metadata_s..."),
    (edit(header=put("dtype", "F32", "0.weights")), "tensor '0.weights' must be U8 or I64, not 'F32'"),
    (edit(header=put("shape", [2**60], "0.weights")),
     "tensor '0.weights' must have one dimension, not shape [1152921504606846976]"),
    (edit(data=lambda data: data[:-1]),
     f"file is truncated: {TOTAL - 1} bytes of tensors, and the header promises {TOTAL}"),
    (edit(data=lambda data: data + b"\0"), f"file must end after {TOTAL} bytes of tensors, not {TOTAL + 1}"),
    (edit(network=drop(1, "layers")), "layer 1: tensor '1.weights' is missing"),
    (edit(network=drop(-1, "layers")), "tensor '3.weights' belongs to no layer"),
    (edit(network=put("shape", [2, 1, 3, 2], "layers", 0)),
     "layer 0: tensor '0.weights' must have shape [12], not [18]"),
    (edit(network=put("shape", [2, 1, 3], "layers", 0)),
     "layer 0: shape must be 4 positive integers, not [2, 1, 3]"),
    (edit(network=put("shape", [3, 1, 2, 3], "layers", 0)),
     "layer 0: tensor '0.threshold' must have shape [9], not [6]"),
    (edit(network=put("kind", "or-pool", "layers", 1)),
     "layer 1: kind must be convolution, fully-connected, earliest-pool, readout, not 'or-pool'"),
    (edit(network=put(1, None, "layers")),
     "layer 1: kind must be convolution, fully-connected, earliest-pool, readout, not None"),
    (edit(network=put("more", 1, "layers", 1)),
     "layer 1: earliest-pool must have the keys kind, size, not 'kind, more, size'"),
    (edit(network=put("size", 9, "layers", 1)), "layer 1: pool size must be an integer from 2 to 7, not 9"),
    (edit(network=put("stride", "1", "layers", 0)), "layer 0: stride must be an integer from 1 to 7, not '1'"),
    (edit(network=put("layers", {})), "layers must be a list, not {}"),
    (edit(network=drop("input")), "network must have the keys input, code, layers, not 'code, layers'"),
    (edit(network=drop("tau", "code")),
     "code must have the keys timesteps, tau, p, bits, fraction, not 'bits, fraction, p, timesteps'"),
    (edit(network=put("tau", 65, "code")), "tau must be an integer from 1 to 64, not 65"),
    (edit(network=put("timesteps", 4, "code")), "tensor 'threshold' must have shape [4], not [3]"),
    (edit(network=put("timesteps", [3], "code")), "timesteps must be an integer from 1 to 255, not [3]"),
    (edit(network=put("bits", 2, "code")),
     "layer 0 (convolution): weights must be codes from -1 to 1, not -3 at (0, 0, 0, 0)"),
    (edit(network=put("height", 4, "input")),
     "layer 2 (fully-connected): weights must have 8 inputs for a map of (2, 2, 2), not 12"),
    (edit(data=lambda data: data[:FIRST] + b"\x80" + data[FIRST + 1:]),
     "layer 0 (convolution): weights must be codes from -3 to 3, not -128 at (0, 0, 0, 0)"),
    (edit(data=set_long(16, 0)), "input threshold of time 2 must be from 1 to 256, not 0"),
    (edit(data=set_long(FIRST + WEIGHTS, -2**63)),
     "layer 0: threshold of channel 0 must be within +-2^53, not -9223372036854775808"),
    (edit(data=set_long(FIRST + WEIGHTS, 19)),
     "layer 0: threshold of channel 0 must never rise, not go from 19 to 20 at time 1"),
    (edit(header=put("metadata", "[1]", "__metadata__")), "metadata must be a JSON object, not [1]"),
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


def test_files_of_the_two_kinds_of_network_are_told_apart():
    text = r"^not a network of rates but one with times to first spike: docs/ttfs\.md says what runs it$"
    with pytest.raises(NetworkError, match=text):
        rate_network_file.loads(network_file.dumps(make_network()))


def test_altered_contents_do_not_match_their_hashes():
    header, data = parts(network_file.dumps(make_network()))
    with pytest.raises(NetworkError, match=r"^network does not match its SHA-256: the file was altered$"):
        network_file.loads(join(header, data[:-1] + b"\0", rehash=False))
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


def test_every_altered_byte_is_noticed():
    content = network_file.dumps(make_network())
    rng = np.random.default_rng(6)
    for offset, byte in enumerate(content):
        for flip in {1, 0x80, int(rng.integers(1, 256)), byte ^ 0x20 or 1}:
            altered = bytearray(content)
            altered[offset] ^= flip
            assert refused(bytes(altered)), f"byte {offset} ^ {flip:#x}"


@pytest.mark.parametrize(("content", "hint"), [
    (checkpoints.dumps(made_checkpoint()),
     "not a network but a checkpoint: export it first, python -m export.ttfs CHECKPOINT -o NETWORK"),
    ((MODELS / "mnist-conv.checkpoint.safetensors").read_bytes(),
     "not a network with time-to-first-spike coding but a checkpoint of one of rates: give it to python -m export"),
    ((MODELS / "mnist-conv.safetensors").read_bytes(),
     ("not a network with time-to-first-spike coding but one of rates: give it to python -m sim or "
      "python -m gateware.build")),
    (safetensors.numpy.save({"x": np.zeros(2, np.float32)}),
     f"not a network but a safetensors file of another program: {TRAIN}"),
    (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", f"not a network but a file of torch.save: {TRAIN}"),
    (b"\x89HDF\r\n\x1a\n" + bytes(100), f"not a network but an HDF5 file: {TRAIN}"),
    (b"\x93NUMPY" + bytes(100),
     "not a network but images or arrays: give the network that python -m export.ttfs wrote"),
], ids=["checkpoint", "checkpoint of rates", "network of rates", "safetensors", "torch", "hdf5", "numpy"])
def test_other_kinds_of_file_get_the_hint_that_helps(tmp_path, content, hint):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(NetworkError, match=f"^{re.escape(str(tmp_path / 'file'))}: {re.escape(hint)}$"):
        network_file.load(tmp_path / "file")
