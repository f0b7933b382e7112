import pathlib
import re

import numpy as np

from arch import network_file
from arch.network import Convolution, Encoding, Input, Network, Neurons, Readout
from export.memories import memory_images

PAGE = (pathlib.Path(__file__).parent.parent / "docs" / "formats.md").read_text()
TINY = Network(
    input=Input(encoding=Encoding.PIXELS, channels=1, height=2, width=2), timesteps=1, metadata={"name": "tiny"},
    layers=(Convolution(weights=np.array([[[[1, -1], [0, 1]]]], dtype=np.int8),
                        neurons=Neurons(threshold=np.array([300]), bias=np.array([-2]), initial=np.array([0]),
                                        fraction=1)),
            Readout(weights=np.array([[1], [-1]], dtype=np.int8))))


def block(kind, number=0):
    """The ``number``-th fenced block of ``kind`` on the page."""
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)[number]


def test_the_network_file_on_the_page_is_the_one_that_is_written():
    header = block("json").replace("\n", "").encode()
    header += b" " * (-len(header) % 8)
    data = bytes.fromhex("".join(line.split("   ")[0] for line in block("text").splitlines()))
    content = network_file.dumps(TINY)
    assert content == len(header).to_bytes(8, "little") + header + data
    assert f"a file of {len(content)} bytes" in PAGE
    assert re.search(rf"has {len(header)} bytes", PAGE)


def test_the_memory_image_on_the_page_is_the_one_that_is_written():
    assert block("text", 1).encode() == memory_images(TINY)["layer0-constants.mem"]


def test_the_weight_code_on_the_page_is_the_one_that_is_written():
    assert "`1, -1, 0, 1` is `01 00 11 01` = `4Dh`" in PAGE
    assert memory_images(TINY)["layer0-weights.bin"] == b"\x4d"
