import gzip
import io
import pathlib
import struct
import zipfile

import numpy as np
import PIL.Image
import pytest

from arch import images
from arch.images import ImageError, load_images, load_labels, shape_images
from arch.network import Encoding, Input, Network, Readout

SAMPLES = pathlib.Path(__file__).parents[2] / "models" / "samples"
RNG = np.random.default_rng(5)
PIXELS = RNG.integers(0, 256, (3, 4, 5), dtype=np.uint8)


def make_network(channels=1, height=4, width=5, encoding=Encoding.PIXELS, timesteps=2):
    return Network(input=Input(encoding=encoding, channels=channels, height=height, width=width), timesteps=timesteps,
                   layers=(Readout(weights=np.ones((2, channels * height * width), dtype=np.int8)),))


def idx(array, code=8):
    return bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def npy(array, **options):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, **options)
    return file.getvalue()


def npz(**arrays):
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def png(array, mode=None):
    file = io.BytesIO()
    PIL.Image.fromarray(array).convert(mode or {2: "L", 3: "RGB"}[array.ndim]).save(file, "PNG")
    return file.getvalue()


def read(tmp_path, content, network=None, **options):
    path = tmp_path / "file"
    path.write_bytes(content)
    return load_images(path, network or make_network(), **options)


@pytest.mark.parametrize("content", [
    idx(PIXELS), gzip.compress(idx(PIXELS)), npy(PIXELS), gzip.compress(npy(PIXELS)), npy(np.asfortranarray(PIXELS)),
    npz(anything=PIXELS), npz(images=PIXELS, labels=np.arange(3)), npy(PIXELS, version=(2, 0)), npy(PIXELS[:, None]),
])
def test_every_format_gives_the_same_images(tmp_path, content):
    found = read(tmp_path, content)
    assert found.dtype == np.uint8
    assert (found == PIXELS[:, None]).all()
    assert (read(tmp_path, content, first=2) == PIXELS[:2, None]).all()


def test_png_gives_one_image(tmp_path):
    assert (read(tmp_path, png(PIXELS[0])) == PIXELS[:1, None]).all()
    colours = RNG.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    found = read(tmp_path, png(colours), make_network(channels=3))
    assert (found == colours.transpose(2, 0, 1)[None]).all()


def test_events_are_frames_of_bits(tmp_path):
    events = RNG.integers(0, 2, (3, 2, 2, 4, 5), dtype=np.uint8)
    network = make_network(channels=2, encoding=Encoding.EVENTS)
    for content in (npy(events), npy(events.astype(bool)), idx(events)):
        found = read(tmp_path, content, network)
        assert found.dtype == bool
        assert (found == events).all()
    with pytest.raises(ImageError, match=r"^events must be 0 or 1, not 2$"):
        shape_images(2 * events, network)


def test_labels_are_read(tmp_path):
    path = tmp_path / "labels"
    for content in (idx(np.array([1, 0, 2], dtype=np.uint8)), npy(np.array([1, 0, 2])),
                    npz(images=PIXELS, labels=np.array([1, 0, 2], dtype=np.int32)),
                    idx(np.array([1, 0, 2], dtype=">i4"), 0x0C)):
        path.write_bytes(content)
        found = load_labels(path, classes=3)
        assert found.dtype == np.int64
        assert found.tolist() == [1, 0, 2]
        assert load_labels(path, classes=3, first=1).tolist() == [1]


def test_the_samples_are_the_first_of_the_test_sets():
    network = make_network(height=28, width=28)
    for name, first in (("mnist", [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]), ("fashion-mnist", [9, 2, 1, 1, 6, 1, 4, 6, 5, 7])):
        assert load_images(SAMPLES / f"{name}-images.idx.gz", network).shape == (100, 1, 28, 28)
        labels = load_labels(SAMPLES / f"{name}-labels.idx.gz", classes=10)
        assert (len(labels), labels[:10].tolist()) == (100, first)


class Evil:
    def __reduce__(self):
        return pathlib.Path.touch, (pathlib.Path("/tmp/sterna-evil"),)


def bomb(member):
    """A zip whose member claims a size that it does not have."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", member)
    return file.getvalue()


FORMATS = "must be an idx, idx.gz, npy, npz or PNG file"


@pytest.mark.parametrize(("content", "message"), [
    (b"", FORMATS),
    (b"hello, world", FORMATS),
    (idx(PIXELS)[:-1], "truncated: the header promises 60 bytes, and 59 follow"),
    (idx(PIXELS)[:9], "truncated: the header promises 12 bytes, and 5 follow"),
    (idx(PIXELS) + b"\0", "must end after the 60 bytes that the header promises"),
    (gzip.compress(idx(PIXELS) + b"\0"), "must end after the 60 bytes that the header promises"),
    (gzip.compress(idx(PIXELS)[:-1]), "truncated: the header promises 60 bytes, and 59 follow"),
    (gzip.compress(idx(PIXELS))[:-9], "damaged or truncated compressed file"),
    (gzip.compress(bytes(4)), "idx type must be an integer of 1 to 5 dimensions, not type 0x00 of 0"),
    (idx(PIXELS.astype(">f4"), 0x0D), "idx type must be an integer of 1 to 5 dimensions, not type 0x0d of 3"),
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
    (npz(), FORMATS),
    (npz(a=PIXELS, b=PIXELS), "npz must hold one array, or one named images, not a, b"),
    (npz(images=PIXELS)[:-30], "damaged or truncated compressed file"),
    (bomb(npy(PIXELS) + b"\0"), "must end after the 60 bytes that the header promises"),
    (png(PIXELS[0, :3]), "PNG must be 5 x 4 of mode L, not 5 x 3 of mode L"),
    (png(PIXELS[0], "RGBA"), "PNG must be 5 x 4 of mode L, not 5 x 4 of mode RGBA"),
    (png(PIXELS[0])[:50], "damaged PNG"),
    (idx(PIXELS[:, :3]), "images must have shape (n, 1, 4, 5), not (3, 3, 5)"),
    (idx(PIXELS[0]), "images must have shape (n, 1, 4, 5), not (4, 5)"),
    (idx(PIXELS[:0]), "images must be one or more, not none"),
    (npy(PIXELS.astype(np.int16)), "images must be uint8, not int16"),
], ids=map(str, range(33)))
def test_foreign_files_have_one_line_errors(tmp_path, content, message):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(ImageError) as caught:
        load_images(path, make_network())
    assert str(caught.value) == f"{path}: {message}"
    assert not pathlib.Path("/tmp/sterna-evil").exists()


def test_png_for_other_channels_is_refused(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(png(PIXELS[0]))
    with pytest.raises(ImageError, match=r"PNG serves networks of 1 or 3 channels of pixels, not 2 of pixels$"):
        load_images(path, make_network(channels=2))
    with pytest.raises(ImageError, match=r"labels must be an idx, npy or npz file, not PNG$"):
        load_labels(path, classes=2)


@pytest.mark.parametrize(("labels", "message"), [
    (np.array([0, 3]), "label 1 must be 0 to 2, not 3"),
    (np.array([-1]), "label 0 must be 0 to 2, not -1"),
    (np.array([[0]]), "labels must be integers of shape (n), not int64 of shape (1, 1)"),
    (np.array([True]), "labels must be integers of shape (n), not bool of shape (1,)"),
])
def test_labels_are_checked(tmp_path, labels, message):
    path = tmp_path / "file"
    path.write_bytes(npy(labels))
    with pytest.raises(ImageError) as caught:
        load_labels(path, classes=3)
    assert str(caught.value) == f"{path}: {message}"


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
    original = images._read

    def watched(file, count, *, last=True):
        content = original(file, count, last=last)
        taken.append(file.tell())
        return content

    monkeypatch.setattr(images, "_read", watched)
    with pytest.raises(ImageError, match=r"must end after the 60 bytes that the header promises$"):
        read(tmp_path, gzip.compress(idx(PIXELS) + bytes(10**7)))
    assert max(taken) <= 16
