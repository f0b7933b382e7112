import json
import re

import numpy as np
import pytest
import safetensors.numpy

from arch import tensor_file
from arch.tensor_file import TensorFileError

TENSORS = {"a.alpha": np.array([0.5, -2], np.float32), "a.codes": np.array([[1, 0, -1], [0, 1, 1]], np.int8),
           "b": np.array(3, np.float32), "empty": np.zeros((0, 4), np.float32)}


def content_of(change=lambda header: None, data=lambda data: data):
    """A file of TENSORS whose header and data went through these."""
    content = safetensors.numpy.save(TENSORS, {"key": "value"})
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8:8 + size])
    change(header)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data(content[8 + size:])


def test_tensors_are_those_that_the_library_wrote():
    found = tensor_file.loads(content_of())
    assert found.metadata == {"key": "value"}
    assert set(found.tensors) == set(TENSORS)
    for name, array in TENSORS.items():
        assert found.tensors[name].dtype == array.dtype
        assert found.tensors[name].shape == array.shape
        assert (found.tensors[name] == array).all()
        assert not found.tensors[name].flags.writeable


def test_a_file_without_strings_has_none():
    assert tensor_file.loads(safetensors.numpy.save({"b": TENSORS["b"]})).metadata == {}


def alpha(**changes):
    return content_of(lambda header: header["a.alpha"].update(changes))


@pytest.mark.parametrize(("content", "text"), [
    (b"", "0 bytes, and the first 8 are the header's length"),
    (b"hello", "5 bytes, and the first 8 are the header's length"),
    (content_of()[:100], r"100 bytes, and the header ends at \d+"),
    (b"\xff" * 100, "header must be at most 16777216 bytes, not 18446744073709551615"),
    (bytes(1000), "header must be a JSON object"),
    ((2).to_bytes(8, "little") + b"[]", r"header must be a JSON object, not \[\]"),
    (content_of(data=lambda data: data[:-1]), r"17 bytes of tensors, and tensor [\w.]+ ends at 18"),
    (content_of(data=lambda data: data + b"x"), "data must end after 18 bytes of tensors, not 19"),
    (alpha(dtype="F8_E4M3"), "tensors must be float32 or int8, not F8_E4M3 as tensor a.alpha is"),
    (alpha(dtype=["F32"]), r"tensors must be float32 or int8, not \['F32'\] as tensor a.alpha is"),
    (alpha(shape=[True, 2]), r"tensor a.alpha shape must be a list of sizes, not \[True, 2\]"),
    (alpha(shape=[-1, -2]), r"tensor a.alpha shape must be a list of sizes, not \[-1, -2\]"),
    (alpha(shape=2), "tensor a.alpha shape must be a list of sizes, not 2"),
    (alpha(data_offsets=[0.0, 8]), r"tensor a.alpha data_offsets must be a list of sizes, not \[0.0, 8\]"),
    (alpha(shape=[10**300, 2]),
     r"tensor a.alpha of shape \[10{35}\.\.\. must have 4 bytes for each element, not be at \[\d+, \d+\]"),
    (alpha(shape=[2] + [1] * 8),
     r"tensor a.alpha of shape \[2(, 1){8}\] must have 4 bytes for each element, not be at \[\d+, \d+\]"),
    (alpha(data_offsets=[0, 8, 8]),
     r"tensor a.alpha of shape \[2\] must have 4 bytes for each element, not be at \[0, 8, 8\]"),
    (alpha(data_offsets=[80, 88]), "18 bytes of tensors, and tensor a.alpha ends at 88"),
    (alpha(more=1), "tensor a.alpha must be an object of dtype, shape and data_offsets, not .{30,60}"),
    (content_of(lambda header: header.update(x=5)),
     "tensor x must be an object of dtype, shape and data_offsets, not 5"),
    (content_of(lambda header: header.update({"\x1b[31m": 5})),
     r"tensor '\\x1b\[31m' must be an object of dtype, shape and data_offsets, not 5"),
    (content_of(lambda header: header["a.alpha"].update(data_offsets=[1, 9])),
     r"tensor [\w.]+ must begin at byte \d+ of the data, not \d+"),
    (content_of(lambda header: header["__metadata__"].update(more=5)),
     "__metadata__ must hold strings, not {'key': 'value', 'more': 5}"),
    (content_of(lambda header: header.update(__metadata__=[])), r"__metadata__ must hold strings, not \[\]"),
])
def test_files_that_are_none_are_named(content, text):
    with pytest.raises(TensorFileError) as caught:
        tensor_file.loads(content)
    assert re.fullmatch(text, str(caught.value))
    assert len(str(caught.value)) < 200


def test_every_shorter_file_is_refused():
    content = content_of()
    for size in range(len(content)):
        with pytest.raises(TensorFileError):
            tensor_file.loads(content[:size])
