import gzip
import io
import os
import pathlib
import struct
import zipfile

import numpy as np
import pytest

from arch.images import ImageError, files, formats, load_array, load_images, load_labels
from support.errors import InputError
from tests.image_files import idx, make_network, npy, npz, png

SAMPLES = pathlib.Path(__file__).parents[3] / "models" / "samples"
RNG = np.random.default_rng(5)
PIXELS = RNG.integers(0, 256, (3, 4, 5), dtype=np.uint8)


def read(tmp_path, content, network=None, **options):
    path = tmp_path / "file"
    path.write_bytes(content)
    return load_images(path, network or make_network(), **options)


@pytest.mark.parametrize("content", [
    idx(PIXELS), gzip.compress(idx(PIXELS)), npy(PIXELS), gzip.compress(npy(PIXELS)), npy(np.asfortranarray(PIXELS)),
    gzip.compress(npy(np.asfortranarray(PIXELS))), npz(a=np.asfortranarray(PIXELS)),
    npz(anything=PIXELS), npz(images=PIXELS, labels=np.arange(3)), npy(PIXELS, version=(2, 0)), npy(PIXELS[:, None]),
])
def test_every_format_gives_the_same_images(tmp_path, content):
    found = read(tmp_path, content)
    assert found.dtype == np.uint8
    assert (found == PIXELS[:, None]).all()
    assert (read(tmp_path, content, first=2) == PIXELS[:2, None]).all()


def test_the_samples_are_the_first_of_the_test_sets():
    for name, shape, classes, first in (
            ("mnist", (1, 28, 28), 10, [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]),
            ("fashion-mnist", (1, 28, 28), 10, [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]),
            ("cifar-10", (3, 32, 32), 10, [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]),
            # Not in the official order, as samples/ATTRIBUTION.md says.
            ("cifar-100", (3, 32, 32), 100, [93, 8, 23, 59, 23, 82, 55, 64, 26, 34])):
        network = make_network(channels=shape[0], height=shape[1], width=shape[2])
        assert load_images(SAMPLES / f"{name}-images.idx.gz", network).shape == (100, *shape)
        labels = load_labels(SAMPLES / f"{name}-labels.idx.gz", classes=classes)
        assert (len(labels), labels[:10].tolist()) == (100, first)


class Evil:
    def __reduce__(self):
        return pathlib.Path.touch, (pathlib.Path("/tmp/sterna-evil"),)


def zipped(*members):
    """Return a zip file of names and contents."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


def npy_of(shape, content=b""):
    """An npy file of uint8 with the text of any ``shape``."""
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content


FORMATS = "must be an idx, idx.gz, npy, npz or PNG file"
IDX = "idx file must begin with two zeros, the type of an integer and 1 to 5 dimensions, not "


@pytest.mark.parametrize(("content", "message"), [
    (b"", FORMATS),
    (b"hello, world", FORMATS),
    (idx(PIXELS)[:-1], "truncated: the header promises 60 bytes, and 59 follow"),
    (idx(PIXELS)[:9], "truncated: the header promises 12 bytes, and 5 follow"),
    (idx(PIXELS) + b"\0", "must end after the 60 bytes that the header promises"),
    (gzip.compress(idx(PIXELS) + b"\0"), "must end after the 60 bytes that the header promises"),
    (gzip.compress(idx(PIXELS)[:-1]), "truncated: the header promises 60 bytes, and 59 follow"),
    (gzip.compress(idx(PIXELS))[:-9], "damaged or truncated compressed file"),
    (gzip.compress(bytes(4)), IDX + "00 00 00 00"),
    (idx(PIXELS.astype(">f4"), 0x0D), IDX + "00 00 0d 03"),
    (bytes([0, 0, 8, 3]) + struct.pack(">3I", 2**31, 2**31, 2**31),
     "truncated: the header promises 9903520314283042199192993792 bytes, and the file has 16"),
    (gzip.compress(bytes([0, 0, 8, 3]) + struct.pack(">3I", 2**20, 2**10, 2**10)),
     "must hold at most 1073741824 bytes, not 1099511627776"),
    (gzip.compress(npz(images=PIXELS)), "compressed file must be an idx or npy file"),
    (gzip.compress(png(PIXELS[0])), "compressed file must be an idx or npy file"),
    (npy(PIXELS.astype(float)), "npy must hold integers, not float64"),
    (npy(np.array([Evil()]), allow_pickle=True), "npy must hold integers, not object"),
    (npy(PIXELS)[:-1], "truncated: the header promises 60 bytes, and 59 follow"),
    (npy(PIXELS, version=(3, 0)), "npy version must be 1.0 or 2.0, not 3.0"),
    (npy(PIXELS).replace(b"(3, 4, 5)", b"(3, 4,-5)"), "npy must have a shape of natural numbers, not (3, 4, -5)"),
    (npy(PIXELS).replace(b"(3, 4, 5)", b"(1<<99, )"), "damaged npy header"),
    (npy(PIXELS).replace(b"(3, 4, 5)", b"(9999999)"), "damaged npy header"),
    (npy_of("(True, 60)", bytes(60)), "must have a shape that an array can have, not (True, 60)"),
    (npy_of("(0, 99999999999999999999)"),
     "must have a shape that an array can have, not (0, 99999999999999999999)"),
    (npy_of(f"({'1, ' * 70})", bytes(1)),
     "must have a shape that an array can have, not (1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, ..."),
    (bytes([0, 0, 8, 3]) + struct.pack(">3I", 0, 2**32 - 1, 2**32 - 1),
     "must have a shape that an array can have, not [0, 4294967295, 4294967295]"),
    (npy_of(f"({'-1, ' * 60})"),
     "npy must have a shape of natural numbers, not (-1, -1, -1, -1, -1, -1, -1, -1, -1, ..."),
    (npy(np.zeros(3, dtype=[("a" * 99, "i4")])), "npy must hold integers, not [('" + "a" * 34 + "..."),
    (npy(PIXELS < 99).replace(b"\1", b"\2").replace(b"Y\2", b"Y\1"), "npy of bool must hold the bytes 0 and 1, not 2"),
    (npy(PIXELS).replace(b"|u1", b"|a1"), "npy must hold integers, not |S1"),
    (npz(), FORMATS),
    (npz(a=PIXELS, b=PIXELS), "npz must hold one array, or one named images, not a, b"),
    (npz(images=PIXELS)[:-30], "damaged or truncated compressed file"),
    (npz(images=PIXELS) + b"\0", "npz must end where its zip archive does, not have more bytes: save it again"),
    (npz(images=PIXELS) + npz(images=PIXELS)[:30],
     "npz must end where its zip archive does, not have more bytes: save it again"),
    (zipped(("images.npy", npy(PIXELS) + b"\0")), "must end after the 60 bytes that the header promises"),
    (npz(a=PIXELS, b=PIXELS, c=PIXELS, d=PIXELS, e=PIXELS, f=PIXELS, g=PIXELS),
     "npz must hold one array, or one named images, not a, b, c, d, e and 2 more"),
    (zipped(("a\nb.npy", b""), ("\x1b[2J", b""), ("x" * 5000, b"")),
     rf"npz must hold one array, or one named images, not 'a\nb', '\x1b[2J', '{'x' * 36}..."),
    (zipped(("images.npy", npy(PIXELS)), ("images", npy(PIXELS))),
     "npz must hold one array, or one named images, not images, images"),
    (zipped(("images.npy", b"no array")), "array of an npz must be an npy file: write it with numpy.savez"),
    (idx(PIXELS[:, :3]), "images must have shape (n, 1, 4, 5), not (3, 3, 5)"),
    (idx(PIXELS[0, 0]), "images must have shape (n, 1, 4, 5), not (5,)"),
    (idx(PIXELS[:0]), "images must be one or more, not none"),
    (npy(PIXELS.astype(np.int16)), "images must be uint8, not int16"),
    (npy(PIXELS.astype(">u2")), "images must be uint8, not uint16"),
    (npy(PIXELS > 99), "images must be uint8, not bool"),
], ids=map(str, range(48)))
def test_foreign_files_have_one_line_errors(tmp_path, content, message):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(ImageError) as caught:
        load_images(path, make_network())
    assert str(caught.value) == f"{path}: {message}"
    assert not pathlib.Path("/tmp/sterna-evil").exists()


def test_an_archive_may_have_a_comment(tmp_path):
    path = tmp_path / "images.npz"
    path.write_bytes(npz(images=PIXELS))
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"made by hand"
    assert (load_images(path, make_network()) == PIXELS[:, None]).all()


def message_of(path):
    try:
        load_images(path, make_network())
    except ImageError as error:
        return str(error)
    return ""


def test_corrupt_files_never_raise_anything_else(tmp_path):
    rng = np.random.default_rng(9)
    path = tmp_path / "file"
    for content in (gzip.compress(idx(PIXELS)), npy(PIXELS), npz(images=PIXELS), png(PIXELS[0])):
        for _ in range(300):
            altered = bytearray(content)
            altered[rng.integers(len(altered))] ^= int(rng.integers(1, 256))
            path.write_bytes(altered[:rng.integers(len(altered) + 1)] if rng.random() < 0.3 else altered)
            assert "\n" not in message_of(path)


def test_gzip_is_not_unpacked_beyond_its_promise(tmp_path, monkeypatch):
    """A bomb of zeros behind a short idx file is left alone after one byte."""
    taken = []
    original = formats.read_exactly

    def watched(file, count, **options):
        content = original(file, count, **options)
        taken.append(file.tell())
        return content

    monkeypatch.setattr(formats, "read_exactly", watched)
    with pytest.raises(ImageError, match=r"must end after the 60 bytes that the header promises$"):
        read(tmp_path, gzip.compress(idx(PIXELS) + bytes(10**7)))
    assert max(taken) <= 16


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("layout", [np.ascontiguousarray, np.asfortranarray])
@pytest.mark.parametrize("kind", ["i2", "u2", "i4", "u8"])
def test_integers_of_either_byte_order_and_layout_are_equal(tmp_path, order, layout, kind):
    values = RNG.integers(0, 30_000, (3, 4, 5))
    path = tmp_path / "array.npy"
    path.write_bytes(npy(layout(values.astype(order + kind))))
    found = load_array(path, "images")
    assert (found == values).all()
    assert found.dtype == np.dtype(kind)
    assert found.flags.c_contiguous


def test_idx_integers_are_big_endian(tmp_path):
    path = tmp_path / "array.idx"
    for code, kind in ((0x09, "i1"), (0x0B, ">i2"), (0x0C, ">i4")):
        path.write_bytes(idx(np.array([-3, 100], kind), code))
        assert load_array(path, "labels").tolist() == [-3, 100]


def test_a_pipe_is_refused_before_anybody_waits_for_it(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", pathlib.Path("/dev/zero")):
        with pytest.raises(InputError, match=f"^{path}: input must be a file, not a device, pipe or socket$"):
            load_array(path, "images")


def test_a_folder_and_a_missing_file_are_named(tmp_path):
    with pytest.raises(InputError, match=f"^{tmp_path}: input must be a file, not a folder$"):
        load_array(tmp_path, "images")
    with pytest.raises(FileNotFoundError):
        load_array(tmp_path / "nowhere", "images")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("make", [idx, npy])
def test_progress_is_told_in_bytes(tmp_path, monkeypatch, make, pack):
    monkeypatch.setattr(files, "_CHUNK_BYTES", 25)
    path = tmp_path / "images"
    path.write_bytes(pack(make(PIXELS)))
    told = []
    load_images(path, make_network(), progress=lambda *numbers: told.append(numbers))
    assert told == [(25, 60), (50, 60), (60, 60)]


def test_progress_is_told_every_16_mib(tmp_path):
    path = tmp_path / "images.npy"
    np.save(path, np.zeros((40, 1, 1024, 1024), np.uint8))
    told = []
    load_images(path, make_network(height=1024, width=1024), progress=lambda *numbers: told.append(numbers))
    assert told == [(done * 2**20, 40 * 2**20) for done in (16, 32, 40)]
