"""Files of networks, and the boards that they belong to."""

import pytest

from arch import network_file
from arch.link import ErrorCode
from firmware.demo.networks import Catalogue
from firmware.host.errors import DeviceError
from firmware.host.models import Model
from models import FOLDER
from tests.firmware.demo.boards import FASHION, MNIST, colour_network, digest_of, info_of

MODELS = [Model(number=0, info=info_of(MNIST, "mnist-conv")), Model(number=1, info=info_of(FASHION, "fashion-conv"))]
STRANGE = colour_network()


@pytest.fixture
def strange(tmp_path):
    network_file.save(STRANGE, tmp_path / "strange.safetensors")
    return tmp_path / "strange.safetensors"


def test_shipped_networks_are_known_by_their_hash():
    catalogue = Catalogue()
    assert catalogue.find(digest_of(MNIST)).path == FOLDER / "mnist-conv.safetensors"
    assert catalogue.find(digest_of(FASHION)).class_names[0] == "T-shirt/top"
    assert catalogue.find(digest_of(MNIST)).class_names == tuple("0123456789")
    assert catalogue.find(digest_of(STRANGE)) is None


def test_a_file_that_is_named_is_known(strange):
    known = Catalogue([strange]).find(digest_of(STRANGE))
    assert (known.path, known.samples, known.class_names[9]) == (strange, None, "9")


def test_files_of_the_boards_networks_are_right(strange):
    Catalogue().check(MODELS[:1])
    Catalogue([FOLDER / "mnist-conv.safetensors"]).check(MODELS)
    Catalogue([strange]).check([*MODELS, Model(number=2, info=info_of(STRANGE, "colours"))])


def test_a_file_of_another_network_is_refused(strange):
    with pytest.raises(DeviceError) as caught:
        Catalogue([strange]).check(MODELS)
    assert str(caught.value) == (
        f"{strange}: file must be of a network of the board, mnist-conv with the sha256 {digest_of(MNIST)} or "
        f"fashion-conv with the sha256 {digest_of(FASHION)}, not of one with the sha256 {digest_of(STRANGE)}: name the "
        "file of the board's network, or none for the shipped ones")


def test_a_board_whose_network_has_no_file_is_refused():
    with pytest.raises(DeviceError) as caught:
        Catalogue().check([Model(number=None, info=info_of(STRANGE, ""))])
    assert str(caught.value) == (
        f"file of the board's network, without a name with the sha256 {digest_of(STRANGE)}, must be known for the "
        "reference, and does not ship: name it, python -m firmware.demo NETWORK")


def test_a_board_without_a_model_is_refused():
    with pytest.raises(DeviceError, match=r"^board must have a model that it can run, and has none: write an image of "
                                          r"models to its flash$"):
        Catalogue().check([Model(number=0, fault=ErrorCode.DAMAGED)])
