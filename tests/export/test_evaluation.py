import numpy as np
import pytest

from arch.network import Encoding, FullyConnected, Input, Network, Neurons, Readout
from export import steps
from export.evaluation import layer_currents


@pytest.mark.parametrize("largest", [1, 255, 2**24, 2**33 + 1])
@pytest.mark.parametrize("stride", [1, 2])
def test_currents_are_exact_at_any_size(largest, stride):
    """Single precision would lose ones above 2^24: sums of odd numbers of that size are odd."""
    rng = np.random.default_rng(3)
    codes = rng.integers(-1, 2, (5, 4, 3, 3)).astype(np.int8)
    maps = rng.integers(-largest, largest + 1, (2, 3, 4, 6, 7))
    layer = {"kind": "convolution", "stride": stride, "padding": 1, "kernel": 3}
    padded = np.pad(maps, ((0, 0), (0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(3, 4))[:, :, :, ::stride, ::stride]
    expected = np.einsum("ntchwyx,ocyx->ntohw", windows, codes.astype(np.int64))
    assert np.array_equal(layer_currents(codes, layer, maps), expected)
    flat = rng.integers(-1, 2, (3, 168)).astype(np.int8)
    sums = maps.reshape(2, 3, 168) @ flat.T.astype(np.int64)
    assert np.array_equal(layer_currents(flat, {"kind": "fully-connected"}, maps)[..., 0, 0], sums)


def chain(neurons):
    """A network of 100 inputs, layers of so many neurons, and four classes."""
    layers, inputs = [], 100
    for count in neurons:
        one = np.ones(count, np.int64)
        layers.append(FullyConnected(weights=np.ones((count, inputs), np.int8),
                                     neurons=Neurons(threshold=one, bias=0 * one, initial=0 * one)))
        inputs = count
    return Network(input=Input(encoding=Encoding.PIXELS, channels=1, height=10, width=10), timesteps=4,
                   layers=(*layers, Readout(weights=np.ones((4, inputs), np.int8))))


def test_a_large_network_is_verified_on_fewer_images(monkeypatch):
    """Weights times timesteps of this one: 4 x (100 x 50 + 50 x 4) = 20,800 operations per image."""
    for operations, images in ((20_800 * 40, 32), (20_800 * 9, 9), (20_800 * 9 - 1, 8), (20_800, 4)):
        monkeypatch.setattr(steps, "_NOISE_OPERATIONS", operations)
        assert steps.noise_images(chain([50])) == images
