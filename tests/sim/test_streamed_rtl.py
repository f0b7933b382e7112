"""The engine of the streamed circuit: a trained network with shortcuts on real images, and what it cannot see.

``data/fashion-shortcut.safetensors`` was trained for an epoch on Fashion-MNIST (its metadata have the recipe): summed
spikes, a projection with weights of its own, one of the identity, strides of 2, and a global OR-pool.
"""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from arch import network_file
from arch.flash.image import build_image
from arch.images import load_images, load_labels
from boards import BOARDS
from gateware.mapper.streamed.choice import lay_out, streamed_config
from gateware.mapper.streamed.model import model_of
from models import FOLDER
from reference.engines import ReferenceEngine, first_difference
from reference.network import Reference
from sim.session import RtlError
from sim.streamed_rtl import StreamedRtlEngine
from tests.link_board import CACHE

pytestmark = pytest.mark.rtl

NETWORK = network_file.load(Path(__file__).with_name("data") / "fashion-shortcut.safetensors")
CONFIG  = streamed_config(BOARDS["icebreaker"])
IMAGES  = load_images(FOLDER / "samples" / "fashion-mnist-images.idx.gz", NETWORK)


def model(network, name):
    return model_of(lay_out(network, CONFIG), name=name, clock_hz=48e6)


def altered(network, index):
    """The network with one weight of a layer changed."""
    layers  = list(network.layers)
    weights = layers[index].weights.copy()
    weights[0, 0, 1, 1] = 1 if weights[0, 0, 1, 1] <= 0 else -1
    layers[index] = dataclasses.replace(layers[index], weights=weights)
    return dataclasses.replace(network, layers=tuple(layers))


def compare(engine, images):
    reference = ReferenceEngine(NETWORK)
    actual = engine.classify(images, spikes=True)
    return actual, first_difference(NETWORK, images, reference.classify(images, spikes=True), actual, reference, engine)


def test_a_trained_network_computes_every_spike_of_real_images():
    labels = load_labels(FOLDER / "samples" / "fashion-mnist-labels.idx.gz", classes=10)
    assert (Reference(NETWORK).run(IMAGES).classes == labels).mean() > 0.6
    with StreamedRtlEngine(NETWORK, cache=CACHE) as engine:
        result, difference = compare(engine, IMAGES[:4])
    assert difference is None
    assert result.unseen is None
    # All seven convolutions are seen; the last one only behind its OR-pool. No map is empty or full.
    assert [index for index, maps in enumerate(result.spikes) if maps is not None] == [0, 1, 2, 3, 4, 5, 7]
    assert all(0.1 < maps.mean() < 0.9 for maps in result.spikes if maps is not None)


@pytest.mark.parametrize("layer", [0, 4])
def test_the_first_difference_names_the_layer(layer):
    """The flash has a model with another weight than the network."""
    image = build_image([model(altered(NETWORK, layer), "altered")])
    with StreamedRtlEngine(NETWORK, image=image, cache=CACHE) as engine:
        _, difference = compare(engine, IMAGES[:2])
    assert (difference.layer, difference.kind) == (layer, "convolution")
    assert difference.place is not None


def test_a_model_is_found_by_its_number_in_an_image_of_several():
    other = dataclasses.replace(NETWORK, layers=(*NETWORK.layers[:3], *altered(NETWORK, 3).layers[3:]))
    image = build_image([model(other, "other"), model(NETWORK, "this")])
    with StreamedRtlEngine(NETWORK, image=image, model=1, cache=CACHE) as engine:
        assert compare(engine, IMAGES[:1])[1] is None
    with pytest.raises(RtlError, match=r"^model 2: the circuit must answer with its info, not with the error NO_MODEL "
                                       r"\(6\): make the image in its flash again with python -m export NETWORK "
                                       r"--flash IMAGE$"):
        StreamedRtlEngine(NETWORK, image=image, model=2, cache=CACHE)


def test_a_damaged_stream_is_one_line():
    image = bytearray(build_image([model(NETWORK, "this")]))
    image[-5] ^= 4
    with StreamedRtlEngine(NETWORK, image=bytes(image), cache=CACHE) as engine:
        for spikes in (False, True):
            with pytest.raises(RtlError, match=r"^image 0: the circuit must answer with its result, not with the error "
                                               r"DAMAGED \(8\): the image in its flash is damaged, so make it again "
                                               r"with python -m export NETWORK --flash IMAGE$"):
                engine.classify(IMAGES[:1], spikes=spikes)


def test_spikes_are_not_told_where_maps_may_be_elsewhere():
    """Of an image with another layout, and where the clocks are not those by which maps are read."""
    section, *others = model(NETWORK, "this").sections
    moved = dataclasses.replace(model(NETWORK, "this"), sections=[
        dataclasses.replace(section, program=(*section.program[:14], 1, *section.program[15:])), *others])
    with StreamedRtlEngine(NETWORK, image=build_image([moved]), cache=CACHE) as engine:
        result = engine.classify(IMAGES[:1], spikes=True)
    assert result.unseen == "another release made the image in flash, with its maps in other places"
    assert result.spikes == (None,) * 8
    with StreamedRtlEngine(NETWORK, cache=CACHE) as engine:
        first, *rest = engine.cycles.passes
        total = engine.cycles.total
        engine.cycles = dataclasses.replace(
            engine.cycles, passes=(dataclasses.replace(first, clocks=first.clocks + 1), *rest))
        result = engine.classify(IMAGES[:1], spikes=True)
    assert result.unseen == (f"an inference took {total} clocks and not the {total + 1} of the cycle model, which says "
                             "when the maps can be read")
    assert result.spikes == (None,) * 8
    np.testing.assert_array_equal(result.scores, Reference(NETWORK).run(IMAGES[:1]).scores)
