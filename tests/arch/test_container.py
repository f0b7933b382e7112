import hashlib
import json
import pathlib
import re

import numpy as np
import pytest

from arch import container
from arch.container import Format, Reader
from arch.network import NetworkError

FORMAT = Format(key="test_network", version=3, stranger="not a test network")
DESCRIPTION = '{"layers":[]}'
LIMITS = {"max_file_bytes": container.MAX_FILE_BYTES, "max_header_bytes": container.MAX_HEADER_BYTES}


def tensors():
    yield "b", "U8", np.array([1, 2, 255], dtype=np.uint8)
    yield "a", "I64", np.array([-5, 2**40], dtype="<i8")


def dumps(form=FORMAT, metadata=None, limit=container.MAX_HEADER_BYTES):
    return container.dumps(form, DESCRIPTION, tensors(), metadata or {"name": "é"}, max_header_bytes=limit)


def test_a_container_reads_back_as_it_was_written():
    description, metadata, reader = container.loads(FORMAT, dumps(), **LIMITS)
    assert (description, metadata) == ({"layers": []}, {"name": "é"})
    assert reader.take("a", "I64", 2).tolist() == [-5, 2**40]
    assert reader.take("b", "U8", 3).tolist() == [1, 2, 255]
    reader.finish()


def test_the_header_is_canonical_and_the_data_are_aligned():
    content = dumps(metadata={"b": 1, "a": [1.5, None]})
    length = int.from_bytes(content[:8], "little")
    assert length % 8 == 0
    header = json.loads(content[8:8 + length])
    assert list(header) == ["__metadata__", "b", "a"]
    assert list(header["__metadata__"]) == sorted(FORMAT.metadata_keys)
    assert header["__metadata__"]["metadata"] == '{"a":[1.5,null],"b":1}'
    assert header["a"] == {"dtype": "I64", "shape": [2], "data_offsets": [3, 19]}
    assert len(content) == 8 + length + 19


def test_the_page_states_the_limits():
    page = (pathlib.Path(__file__).parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")
    header, file = re.search(r"A header has at most 2\^(\d+) bytes, a file at most 2\^(\d+)\.", page).groups()
    assert (1 << int(header), 1 << int(file)) == (container.MAX_HEADER_BYTES, container.MAX_FILE_BYTES)


def test_digest_is_of_the_description_and_the_data():
    data = b"\x01\x02\xff" + (-5).to_bytes(8, "little", signed=True) + (2**40).to_bytes(8, "little")
    assert container.digest(DESCRIPTION, tensors()) == hashlib.sha256(DESCRIPTION.encode() + b"\0" + data).hexdigest()
    header = json.loads(dumps()[8:-19])
    assert header["__metadata__"]["content_sha256"] == container.digest(DESCRIPTION, tensors())


@pytest.mark.parametrize(("form", "message"), [
    (Format(key="other_network", version=3, stranger="not a test network"), "not a test network"),
    (Format(key="test_network", version=4, stranger=""), "version must be 3, not '4'"),
])
def test_files_of_other_formats_and_versions_are_refused(form, message):
    with pytest.raises(NetworkError) as caught:
        container.loads(FORMAT, dumps(form), **LIMITS)
    assert str(caught.value) == message


def test_limits_are_those_of_the_caller():
    content = dumps()
    length = int.from_bytes(content[:8], "little")
    container.loads(FORMAT, content, max_file_bytes=len(content), max_header_bytes=length)
    with pytest.raises(NetworkError, match=rf"^file must be at most {len(content) - 1} bytes$"):
        container.loads(FORMAT, content, max_file_bytes=len(content) - 1, max_header_bytes=length)
    message = rf"^not a test network: its header must be at most {length - 1} bytes, not {length}$"
    with pytest.raises(NetworkError, match=message):
        container.loads(FORMAT, content, max_file_bytes=len(content), max_header_bytes=length - 1)
    assert dumps(limit=length) == content
    message = rf"^header must be at most {length - 1} bytes, not {length}: metadata are too long$"
    with pytest.raises(NetworkError, match=message):
        dumps(limit=length - 1)


def test_load_reads_no_more_than_it_must(tmp_path):
    path = tmp_path / "long"
    path.write_bytes(bytes(100))
    assert container.load(path, len, max_file_bytes=100) == 100
    with pytest.raises(NetworkError, match=f"^{path}: file must be at most 99 bytes, not 100$"):
        container.load(path, len, max_file_bytes=99)

    def refuse(content):
        raise NetworkError("not a network")

    with pytest.raises(NetworkError) as caught:
        container.load(path, refuse, max_file_bytes=100)
    assert str(caught.value) == f"{path}: not a network"


def test_a_tensor_is_given_out_once():
    _, _, reader = container.loads(FORMAT, dumps(), **LIMITS)
    assert reader.take("a", "I64", 2).dtype == np.int64
    with pytest.raises(NetworkError, match=r"^tensor 'a' is missing$"):
        reader.take("a", "I64", 2)
    with pytest.raises(NetworkError, match=r"^tensor 'b' belongs to no layer$"):
        reader.finish()
    with pytest.raises(NetworkError, match=r"^tensor 'b' must be I64, not U8$"):
        reader.take("b", "I64", 3)


def test_a_tensor_of_another_size_is_not_given_out():
    entry = {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]}
    with pytest.raises(NetworkError, match=r"^tensor 'b' must have shape \[4\], not \[3\]$"):
        Reader({"b": entry}, b"abc").take("b", "U8", 4)


def test_only_the_written_form_is_canonical():
    container.check_canonical(b"one", b"one")
    message = r"^header is not in canonical form: the file was altered, or written by another program$"
    with pytest.raises(NetworkError, match=message):
        container.check_canonical(b"one ", b"one")


KEYS = {"pool": ("kind", "size"), "line": ("kind",)}


@pytest.mark.parametrize(("check", "message"), [
    (lambda: container.check_keys("thing", [], ("a",)), "thing must be an object, not []"),
    (lambda: container.check_keys("thing", {"a": 1, "c": 2}, ("a",), ("b",)),
     "thing must have the keys a and may have b, not 'a, c'"),
    (lambda: container.check_keys("thing", {}, ("a", "b")), "thing must have the keys a, b, not ''"),
    (lambda: container.check_list("things", (1,)), "things must be a list, not (1,)"),
    (lambda: container.check_kind({"kind": "dense"}, KEYS), "kind must be pool, line, not 'dense'"),
    (lambda: container.check_kind({"kind": []}, KEYS), "kind must be pool, line, not []"),
    (lambda: container.check_kind({"kind": "pool"}, KEYS), "pool must have the keys kind, size, not 'kind'"),
    (lambda: container.check_kind({"kind": "line", "gap": 1}, KEYS, {"pool": ("gap",)}),
     "line must have the keys kind, not 'kind, gap'"),
    (lambda: container.check_shape([1, 2], 4), "shape must be 4 positive integers, not [1, 2]"),
    (lambda: container.check_shape([1, 0], 2), "shape must be 2 positive integers, not [1, 0]"),
    (lambda: container.check_shape([1, True], 2), "shape must be 2 positive integers, not [1, True]"),
    (lambda: container.check_shape([1, 2**32 + 1], 2), "shape must be 2 positive integers, not [1, 4294967297]"),
    (lambda: container.build_layers([{}, {"kind": "x"}], lambda index, layer: container.check_keys("it", layer, ())),
     "layer 1: it must have the keys , not 'kind'"),
])
def test_what_is_malformed_is_said_in_one_line(check, message):
    with pytest.raises(NetworkError) as caught:
        check()
    assert str(caught.value) == message


def test_what_is_well_formed_is_returned():
    described = {"kind": "pool", "size": 2, "gap": 1}
    assert container.check_keys("thing", described, ("kind", "size"), ("gap",)) is described
    assert container.check_kind(described, KEYS, {"pool": ("gap",)}) == "pool"
    assert container.check_list("things", [described]) == [described]
    assert container.check_shape([1, 2**32], 2) == [1, 2**32]
    assert container.build_layers([3, 4], lambda index, layer: (index, layer)) == ((0, 3), (1, 4))


def test_long_values_are_shortened():
    assert container.short("x" * 38) == repr("x" * 38)
    assert container.short("x" * 39) == "'" + "x" * 36 + "..."
