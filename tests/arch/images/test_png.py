import struct
import zlib

import numpy as np
import PIL.Image
import pytest

from arch.images import ImageError, load_images, load_labels
from arch.network import Encoding
from tests.image_files import chunk, make_network, picture, png, raw_png

RNG = np.random.default_rng(5)
GREY = RNG.integers(0, 256, (4, 5), dtype=np.uint8)
COLOURS = RNG.integers(0, 256, (4, 5, 3), dtype=np.uint8)
IMAGE = PIL.Image.fromarray(GREY)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "picture.png"


def test_png_gives_one_image(path):
    path.write_bytes(png(GREY))
    assert (load_images(path, make_network()) == GREY[None, None]).all()
    path.write_bytes(png(COLOURS))
    found = load_images(path, make_network(channels=3))
    assert found.dtype == np.uint8
    assert (found == COLOURS.transpose(2, 0, 1)[None]).all()


@pytest.mark.parametrize(("height", "width"), [(4, 5), (15, 13), (1, 1)])
def test_interlaced_pixels_are_the_same(path, height, width):
    pixels = RNG.integers(0, 256, (height, width), dtype=np.uint8)
    # Adam7 (section 8.1): seven passes, each every so many rows and columns from a first one.
    passes = ((0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1))
    rows = [row for top, down, left, right in passes for row in pixels[top::down, left::right] if len(row)]
    path.write_bytes(raw_png(rows, interlace=1, size=(width, height)))
    assert (load_images(path, make_network(height=height, width=width)) == pixels[None, None]).all()


@pytest.mark.parametrize(("content", "found"), [
    (png(GREY[:3]), "5 x 3 of 8-bit grey"),
    (png(GREY, "LA"), "5 x 4 of 8-bit grey with alpha"),
    (png(GREY, "RGB"), "5 x 4 of 8-bit RGB"),
    (png(GREY, "RGBA"), "5 x 4 of 8-bit RGB with alpha"),
    (png(GREY, "P"), "5 x 4 of 8-bit palette"),
    (png(GREY, "1"), "5 x 4 of 1-bit grey"),
    (picture(PIL.Image.fromarray(GREY.astype(np.uint16) * 257)), "5 x 4 of 16-bit grey"),
    (raw_png([[0x12, 0x34, 0x50]] * 4, bits=4, size=(5, 4)), "5 x 4 of 4-bit grey"),
    (raw_png([[0x1B, 0x40]] * 4, bits=2, size=(5, 4)), "5 x 4 of 2-bit grey"),
    (raw_png([bytes(5)] * 4, colour=5, size=(5, 4)), "5 x 4 of 8-bit colour type 5"),
    (raw_png([bytes(5)], size=(60_000, 60_000)), "60000 x 60000 of 8-bit grey"),
])
def test_every_kind_but_8_bit_grey_is_refused_for_one_channel(path, content, found):
    path.write_bytes(content)
    with pytest.raises(ImageError) as caught:
        load_images(path, make_network())
    assert str(caught.value) == f"{path}: PNG must be 5 x 4 of 8-bit grey, not {found}"


@pytest.mark.parametrize(("content", "found"), [
    (png(GREY), "5 x 4 of 8-bit grey"),
    (png(COLOURS, "RGBA"), "5 x 4 of 8-bit RGB with alpha"),
    # Pillow gives 8 bits of these without a word.
    (raw_png([bytes(30)] * 4, bits=16, colour=2, size=(5, 4)), "5 x 4 of 16-bit RGB"),
    (png(COLOURS, "P"), "5 x 4 of 8-bit palette"),
])
def test_every_kind_but_8_bit_rgb_is_refused_for_three_channels(path, content, found):
    path.write_bytes(content)
    with pytest.raises(ImageError) as caught:
        load_images(path, make_network(channels=3))
    assert str(caught.value) == f"{path}: PNG must be 5 x 4 of 8-bit RGB, not {found}"


def test_a_transparent_colour_and_an_animation_are_refused(path):
    path.write_bytes(picture(IMAGE, transparency=7))
    with pytest.raises(ImageError, match=f"^{path}: PNG must be 8-bit grey, not one with a transparent colour$"):
        load_images(path, make_network())
    path.write_bytes(picture(IMAGE, save_all=True, append_images=[PIL.Image.fromarray(255 - GREY)]))
    with pytest.raises(ImageError, match=f"^{path}: PNG must hold one picture, not an animation$"):
        load_images(path, make_network())


def test_black_ink_on_transparent_paper_is_no_black_picture(path):
    """A drawing whose ink is in the alpha channel: without it, all is black."""
    alpha = np.zeros((28, 28), np.uint8)
    alpha[6:22, 10:18] = 255
    path.write_bytes(picture(PIL.Image.merge("LA", [PIL.Image.new("L", (28, 28)), PIL.Image.fromarray(alpha)])))
    with pytest.raises(ImageError) as caught:
        load_images(path, make_network(height=28, width=28))
    assert str(caught.value) == \
        f"{path}: PNG must be 28 x 28 of 8-bit grey, not 28 x 28 of 8-bit grey with alpha"


def test_every_damaged_byte_is_found(path):
    """Pillow does not compare the checksums of the pixels."""
    content = png(GREY)
    for at in range(8, len(content)):
        altered = bytearray(content)
        altered[at] ^= 0x10
        path.write_bytes(altered)
        with pytest.raises(ImageError, match=f"^{path}: damaged PNG$"):
            load_images(path, make_network())


@pytest.mark.parametrize("content", [
    png(GREY)[:50], png(GREY)[:-1], b"\x89PNG\r\n\x1a\n" + chunk(b"IEND", b""),
    b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", bytes(12)) + chunk(b"IEND", b""),
    raw_png([bytes(5)] * 3, size=(5, 4)),
    b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 5, 4, 8, 0, 0, 0, 0)) + chunk(b"IEND", b""),
])
def test_damaged_files_have_their_line(path, content):
    path.write_bytes(content)
    with pytest.raises(ImageError, match=f"^{path}: damaged PNG$"):
        load_images(path, make_network())


def of(*kinds, header=(5, 4, 8, 0, 0, 0, 0)):
    """A picture of these chunks, whose checksums are right."""
    rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in GREY))
    data = {b"IHDR": struct.pack(">IIBBBBB", *header), b"IDAT": rows, b"ID": rows[:9], b"AT": rows[9:]}
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(b"IDAT" if kind in (b"ID", b"AT") else kind, data.get(kind, b"")) for kind in (*kinds, b"IEND"))


@pytest.mark.parametrize("kinds", [
    (b"IHDR", b"IDAT"), (b"IHDR", b"ID", b"AT"), (b"IHDR", b"abCd", b"IDAT", b"tEXt"), (b"IHDR", b"PLTE", b"IDAT"),
    # Pillow ends in an IndexError at this one.
    (b"IHDR", b"IDAT", b"iCCP"),
], ids=str)
def test_chunks_that_show_nothing_change_nothing(path, kinds):
    path.write_bytes(of(*kinds))
    assert (load_images(path, make_network()) == GREY).all()


@pytest.mark.parametrize("content", [
    of(b"IDAT", b"IHDR"), of(b"tEXt", b"IHDR", b"IDAT"), of(b"IHDR", b"IHDR", b"IDAT"),
    of(b"IHDR", b"ID", b"tEXt", b"AT"), of(b"IHDR", b"ABCD", b"IDAT"),
    of(b"IHDR", b"IDAT", header=(5, 4, 8, 0, 1, 0, 0)), of(b"IHDR", b"IDAT", header=(5, 4, 8, 0, 0, 1, 0)),
    of(b"IHDR", b"IDAT", header=(5, 4, 8, 0, 0, 0, 2)),
], ids=["header last", "text first", "two headers", "parts apart", "unknown", "compression", "filter", "interlace"])
def test_chunks_in_no_order_of_the_format_are_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(ImageError, match=f"^{path}: damaged PNG$"):
        load_images(path, make_network())


@pytest.mark.parametrize("more", [b"\n", png(GREY)])
def test_bytes_after_the_end_are_refused(path, more):
    path.write_bytes(png(GREY) + more)
    with pytest.raises(ImageError, match=f"^{path}: PNG must end after its last chunk, not have {len(more)} more "
                                         "bytes: save it again$"):
        load_images(path, make_network())


def test_a_huge_file_is_left_alone(path):
    with path.open("wb") as file:
        file.write(png(GREY))
        file.truncate(2**26 + 1)
    with pytest.raises(ImageError, match=f"^{path}: PNG must have at most 67108864 bytes$"):
        load_images(path, make_network())


def test_png_serves_pixels_of_one_or_three_channels_alone(path):
    path.write_bytes(png(GREY))
    for network, what in ((make_network(channels=2), "2 of pixels"), (make_network(encoding=Encoding.EVENTS),
                                                                     "1 of events")):
        with pytest.raises(ImageError, match=f"^{path}: PNG serves networks of 1 or 3 channels of pixels, not {what}$"):
            load_images(path, network)
    with pytest.raises(ImageError, match=f"^{path}: labels must be an idx, npy or npz file, not PNG$"):
        load_labels(path, classes=2)
