import json

import pytest

from arch.foreign import Kind, kind_of


def safetensors_file(header):
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text


TENSOR = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}


@pytest.mark.parametrize(("content", "kind"), [
    (safetensors_file({"__metadata__": {"sterna_checkpoint": "9"}}), Kind.CHECKPOINT),
    (safetensors_file({"__metadata__": {"sterna_network": "1"}, "x": TENSOR}), Kind.NETWORK),
    (safetensors_file({"__metadata__": {"sterna_ttfs_network": "1"}}), Kind.TTFS_NETWORK),
    (safetensors_file({"__metadata__": {"format": "pt"}, "x": TENSOR}), Kind.TENSORS),
    (safetensors_file({"x": TENSOR}), Kind.TENSORS),
    (safetensors_file({"x": 5}), None), (safetensors_file({}), None),
    (safetensors_file({"__metadata__": 5}), None),
    (safetensors_file({"x": TENSOR})[:-1], None),
    ((2**60).to_bytes(8, "little") + b"{}", None), ((3).to_bytes(8, "little") + b"{x}", None),
    (b"", None), (b"{}", None), (b"PK\x03\x04", Kind.TORCH), (b"\x1f\x8b\x08", Kind.DATA),
    (b"STFM\x01" + bytes(251), Kind.FLASH),
])
def test_files_are_told_by_their_first_bytes(content, kind):
    assert kind_of(content) is kind
