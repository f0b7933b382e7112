import dataclasses
import re

import numpy as np
import pytest

from arch.network import Convolution, FullyConnected, OrPool, Projection, Readout
from gateware.mapper.advice import ImageSize, find_change, nearest_change, resized
from reference.generate import random_images
from reference.network import Reference
from tests.gateware.mapper.networks import conv, make_neurons, network


def weights_at_most(most):
    return lambda net: net.weight_count <= most


NET = network(conv(4, 1), conv(8, 4), OrPool(size=2), shape=(1, 4, 4))


def test_the_layer_that_keeps_most_weights_is_cut():
    # 36 + 288 + 64 weights; a channel less of layer 1 takes 36 + 8 away, one of layer 0 takes 9 + 72.
    assert nearest_change(NET, weights_at_most(387), timesteps=4) == "use at most 7 channels in layer 1 (convolution)"
    assert resized(NET, channels={1: 7}).weight_count == 344


def test_all_layers_are_cut_where_one_is_not_enough():
    fits = weights_at_most(40)
    remedy = nearest_change(NET, fits, timesteps=4)
    share = int(re.fullmatch(r"use at most (\d+) % of the channels of every layer", remedy)[1])
    assert fits(resized(NET, channels={0: max(1, 4 * share // 100), 1: max(1, 8 * share // 100)}))
    assert not any(fits(resized(NET, channels={layer: 1})) for layer in (0, 1))


def test_the_image_is_cut_where_channels_do_not_help():
    net = network(conv(4, 1), conv(8, 4), shape=(1, 20, 10))
    fits = lambda net: net.input.height <= 13  # noqa: E731
    assert nearest_change(net, fits, timesteps=4) == "use images of at most 13 x 6"


def test_both_are_cut_where_neither_is_enough():
    net = network(conv(4, 1), conv(8, 4), shape=(1, 16, 16))
    fits = lambda net: net.input.height <= 10 and net.layers[1].neurons.channels <= 3  # noqa: E731
    assert nearest_change(net, fits, timesteps=4) == (
        "use images of at most 10 x 10 and use at most 3 channels in layer 1 (convolution)")


SIZES = [ImageSize(height=side, width=side, remedy=f"join pixels to {side} x {side}") for side in (8, 4)]


@pytest.mark.parametrize(("sizes", "channels", "remedy"), [
    (SIZES, 8, "join pixels to 4 x 4"),
    (SIZES[:1], 8, None),
    (SIZES, 3, "join pixels to 4 x 4 and use at most 3 channels in layer 1 (convolution)"),
    ((), 8, None)])
def test_images_that_are_given_in_some_sizes_have_no_other(sizes, channels, remedy):
    net = network(conv(4, 1), conv(8, 4), shape=(1, 16, 16))
    fits = lambda net: net.input.height <= 7 and net.layers[1].neurons.channels <= channels  # noqa: E731
    change = find_change(net, fits, timesteps=4, sizes=sizes)
    assert (change and change.text) == remedy
    assert change is None or (change.networks[0].input.height == 4 and fits(change.networks[0]))


def test_no_change_is_said_to_help_when_none_does():
    assert nearest_change(NET, lambda net: False, timesteps=4) == (
        "take layers out, because fewer channels and smaller images are not enough")


def test_neurons_are_those_of_a_full_connection():
    full = FullyConnected(weights=np.ones((9, 16), np.int8), neurons=make_neurons(9))
    assert nearest_change(network(full), weights_at_most(100), timesteps=4) == (
        "use at most 5 neurons in layer 0 (fully-connected)")


def test_what_the_array_does_not_run_is_replaced_first():
    net = network(dataclasses.replace(conv(4, 1), pool=2), conv(4, 4), dataclasses.replace(conv(4, 4), shortcut=0),
                  timesteps=6)
    tried = []

    def fits(candidate):
        tried.append(candidate)
        return candidate.layers[-2].neurons.channels < 4

    assert nearest_change(net, fits, timesteps=4) == (
        "train it with an or-pool instead, train it without the shortcut, train it with 4 timesteps and use at "
        "most 3 channels in layer 3 (convolution)")
    assert [type(layer) for layer in tried[0].layers] == [Convolution, OrPool, Convolution, Convolution, Readout]
    assert all(candidate.timesteps == 4 for candidate in tried)


def test_a_projection_is_left_out():
    net = network(conv(4, 1), dataclasses.replace(conv(4, 4), projection=Projection.identity(0, 4)))
    tried = []
    remedy = nearest_change(net, lambda candidate: tried.append(candidate) or True, timesteps=4)
    assert remedy == "train it without the projection"
    assert [type(layer) for layer in tried[0].layers] == [Convolution, Convolution, Readout]
    assert tried[0].layers[1].projection is None


def test_one_pool_for_two_gives_the_same_spikes():
    net = network(conv(3, 1), OrPool(size=2), OrPool(size=3), shape=(1, 15, 13))
    tried = []
    remedy = nearest_change(net, lambda candidate: tried.append(candidate) or True, timesteps=4)
    assert remedy == "use one or-pool of 6, which gives the same spikes"
    images = random_images(net, np.random.default_rng(3), 5)
    assert (Reference(net).run(images).scores == Reference(tried[0]).run(images).scores).all()


@pytest.mark.parametrize("image", [(3, 3), (2, 4)])
def test_what_is_left_keeps_its_weights(image):
    net = network(conv(4, 2), conv(5, 4), OrPool(size=2), shape=(2, 4, 4))
    smaller = resized(net, channels={0: 3}, image=image)
    assert smaller.input.shape == (2, *image)
    assert (smaller.layers[0].weights == net.layers[0].weights[:3]).all()
    assert (smaller.layers[1].weights == net.layers[1].weights[:, :3]).all()
    rows, columns = image[0] // 2, image[1] // 2
    kept = net.layers[3].weights.reshape(2, 5, 2, 2)[:, :, :rows, :columns]
    assert (smaller.layers[3].weights == kept.reshape(2, -1)).all()


def test_a_map_that_would_vanish_is_none():
    assert resized(network(conv(2, 1), OrPool(size=2)), image=(1, 4)) is None
