import dataclasses
import re

import numpy as np
import pytest

import models
from arch.flash import image
from arch.flash.errors import ImageError
from tests.flash_models import SMALL, circuit_of, random_model

SHAPES = [(1, 1), (2, 3)]
BASE = image.BASE
#: Bytes of a seal and of a stream.
LENGTH = 256 + 256 + 16 + 2 + 4 + 256 + 2 * (16 + 6) + 4
MODELS = [random_model(seed, SMALL, SHAPES) for seed in range(3)]


def test_an_image_comes_back():
    found = image.parse_image(image.build_image(MODELS), circuit=SMALL)
    assert [stored.number for stored in found] == [0, 1, 2]
    for stored, model in zip(found, MODELS, strict=True):
        header = stored.header
        assert (header.info, header.name, header.digest, header.buffers) == (
            model.info, model.name, model.digest, model.buffers)
        assert header.address == BASE + (stored.number + 1) * 65536
        assert len(stored.sections) == len(model.sections)
        for left, right in zip(stored.sections, model.sections, strict=True):
            assert np.array_equal(left.weights, right.weights)


def test_sixteen_models_of_different_arrays():
    models = [random_model(seed, SMALL if seed % 2 else circuit_of(), [(1, 1)]) for seed in range(16)]
    data = image.build_image(models, base=0)
    assert len(image.parse_image(data, base=0)) == 16
    with pytest.raises(ImageError, match=r"^model 1: lanes must be 8, not 2: make the image for this circuit$"):
        image.parse_image(data, base=0, circuit=circuit_of())


def test_what_no_model_fills_is_erased():
    data = image.build_image(MODELS)
    first = BASE + 65536
    assert set(data[3 * 256 : first - BASE]) == {0xFF}


@pytest.mark.parametrize(("models", "options", "message"), [
    ([], {}, "image must have 1 to 16 models, not 0"),
    (MODELS * 6, {}, "image must have 1 to 16 models, not 18"),
    (MODELS, {"base": 4096}, "base of an image must be a multiple of 65536 below 2^24, not 4096"),
    (MODELS, {"flash_bytes": BASE + 2 * 65536 + 8},
     (f"model 1 'model 1': stream must end at or before 0x120008, the end of the flash, not at {0x120000 + LENGTH:#x}: "
     "leave a model out, or take a smaller network")),
    ([dataclasses.replace(MODELS[0], circuit=circuit_of(4, 4))], {},
     "model 0 'model 0': section 0: rows must be 4 x 4 weights, not 2 x 4"),
    ([dataclasses.replace(MODELS[0], info=dataclasses.replace(MODELS[0].info, name=""))], {},
     "model 0 '': name of a model must be 1 to 32 bytes of printable UTF-8, not ''"),
])
def test_impossible_images_are_refused(models, options, message):
    with pytest.raises(ImageError, match=f"^{re.escape(message)}$"):
        image.build_image(models, **options)


DATA = image.build_image(MODELS)


def altered(place, value):
    return DATA[:place] + value + DATA[place + len(value):]


@pytest.mark.parametrize(("data", "options", "message"), [
    (b"", {}, "directory must have 4096 bytes, not 0: the image is truncated"),
    (DATA[:4095], {}, "directory must have 4096 bytes, not 4095: the image is truncated"),
    (b"\xff" * 4096, {}, "directory must have a model, not 16 empty headers"),
    (altered(0, b"\xff" * 256), {}, "model 0: header must come before that of model 1, not be empty"),
    (DATA, {"base": 0}, (f"model 0: stream must lie in the image, 0x1000 to {0x30000 + LENGTH:#x}, "
                        f"not from 0x110000 to {0x110000 + LENGTH:#x}: the image is truncated or for another base")),
    (DATA, {"base": 0x110000}, (f"model 0: stream must lie in the image, 0x111000 to {0x140000 + LENGTH:#x}, "
                               f"not from 0x110000 to {0x110000 + LENGTH:#x}: "
                                "the image is truncated or for another base")),
    (DATA[:-1], {}, (f"model 2: stream must lie in the image, 0x101000 to {0x12FFFF + LENGTH:#x}, "
                    f"not from 0x130000 to {0x130000 + LENGTH:#x}: the image is truncated or for another base")),
    (DATA + b"\xff", {}, (f"image must end at {0x30000 + LENGTH:#x}, behind its last stream, "
                          f"not at {0x30001 + LENGTH:#x}")),
    (altered(5000, b"\xfe"), {}, "byte at 0x1388, between streams, must be 0xff, not 0xfe"),
    (altered(0x20002, bytes((DATA[0x20002] ^ 0x40,))), {},
     (f"model 1: byte at 0x20002, in the seal of the stream, must be {DATA[0x1FE]:#04x}, "
      f"not {DATA[0x1FE] ^ 0x40:#04x}: make the image again with python -m export")),
    (altered(0x200FF, b"\0"), {}, ("model 1: byte at 0x200ff, in the seal of the stream, must be 0xff, not 0x00: "
                                  "make the image again with python -m export")),
    (altered(0, DATA[256:512]), {}, "model 0 'model 1': stream must begin at 0x110000, not at 0x120000"),
    (altered(4, b"\x02"), {}, ("model 0: byte 4, the version, must be 1, not 2: "
                              "make the image with the release that made the bitstream")),
])
def test_other_images_are_refused(data, options, message):
    with pytest.raises(ImageError, match=f"^{re.escape(message)}$"):
        image.parse_image(data, **options)


def test_a_file_comes_back_and_is_named_when_it_is_damaged(tmp_path):
    path = tmp_path / "models.bin"
    image.save_image(path, DATA)
    assert len(image.load_image(path, circuit=SMALL)) == 3
    image.save_image(path, DATA[:-1] + b"\0")
    with pytest.raises(ImageError, match=rf"^{re.escape(str(path))}: model 2: section 1: CRC-32 at "
                       rf"{0x30000 + LENGTH - 4:#x} must be \w{{8}}, not \w{{8}}: make the image again with "
                       rf"python -m export$"):
        image.load_image(path)


@pytest.mark.parametrize(("file", "what"), [("mnist-conv.safetensors", "a network"),
                                            ("mnist-conv.checkpoint.safetensors", "a checkpoint")])
def test_what_an_image_is_made_of_is_no_image(file, what):
    with pytest.raises(ImageError, match=rf"^not an image of models but {what}: make an image of it with python -m "
                                         rf"export and --flash IMAGE$"):
        image.parse_image((models.FOLDER / file).read_bytes())
