"""What does not fit a streamed circuit: every limit, each in one line."""

import contextlib
import dataclasses
import re

import numpy as np
import pytest

from arch.network import Convolution, Encoding, Input, Network, Neurons, Readout
from gateware.engine.pif import constants_layout
from gateware.mapper.packing import pack_columns, pack_modular
from gateware.mapper.streamed.allocation import allocate, most_alive
from gateware.mapper.streamed.choice import StreamedFitError, lay_out
from gateware.mapper.streamed.lowering import lower
from reference.generate import random_network
from tests.streamed_networks import CIRCUITS, OVERLAY


def sparse(*shape):
    """Few weights, so that sums and membranes stay small."""
    return (np.arange(np.prod(shape)) % 101 == 0).astype(np.int8).reshape(shape)


def convolution(into, out, kernel, **options):
    ones = np.ones(out, np.int64)
    neurons = Neurons(threshold=ones * options.pop("threshold", 5), bias=ones, initial=0 * ones)
    return Convolution(weights=sparse(out, into, kernel, kernel), neurons=neurons, **options)


def network(side, channels, *layers, **options):
    source = Input(encoding=Encoding.PIXELS, channels=channels, height=side, width=side)
    shape = source.shape
    for layer in layers:
        shape = layer.output_shape(shape)
    readout = Readout(weights=sparse(2, int(np.prod(shape))))
    return Network(input=source, layers=(*layers, readout), timesteps=options.pop("timesteps", 4))


def findings_of(made, config=OVERLAY):
    with pytest.raises(StreamedFitError) as caught:
        lay_out(made, config)
    assert str(caught.value) == str(caught.value.findings[0])
    return [str(finding) for finding in caught.value.findings]


def test_every_limit_is_found():
    """Of the network, of layers that cannot be cut, of passes and of the spike memory."""
    made = network(8, 3, convolution(3, 600, 1, threshold=1 << 30), convolution(600, 8, 7, padding=3),
                   convolution(8, 600, 1), convolution(600, 8, 7, padding=3), timesteps=40)
    assert findings_of(made) == [
        "network: timesteps must be at most 32, not 40",
        "layer 0 (convolution): membrane bits must be at most 20, not 36",
        "layer 1 (convolution): weight rows of a kernel row must be at most 252, not 266",
        "layer 3 (convolution): weight rows of a kernel row must be at most 252, not 266",
    ]


def test_constants_that_are_too_wide_can_be_moved_and_currents_cannot():
    moves = "export the checkpoint with --fit BOARD, which moves constants and says what that costs"

    def remedies(channels, kernel, *, threshold=5, bias=1, fraction=0):
        ones = np.ones(8, np.int64)
        neurons = Neurons(threshold=threshold * ones, bias=bias * ones, initial=ones, fraction=fraction)
        layer = Convolution(weights=-np.ones((8, channels, kernel, kernel), np.int8), neurons=neurons)
        with pytest.raises(StreamedFitError) as caught:
            lay_out(network(6, 2, convolution(2, channels, 1), layer, timesteps=32), OVERLAY)
        return [(finding.problem.partition(" must")[0], finding.remedy) for finding in caught.value.findings]

    assert remedies(24, 1, fraction=5) == [("fractional bits", moves)]
    assert remedies(24, 1, bias=-2000) == [("membrane bits", moves)]
    # A neuron that never spikes comes to 32 x 1,024 below 0, in units of 1/16: just in the range without a bias.
    assert remedies(64, 4, threshold=2000) == [("membrane bits", moves)]
    # What helps here is tried: test_advice.py.
    assert remedies(41, 5, bias=0) == [("membrane bits", "")]


def test_limits_of_passes_and_of_the_memory_are_found_together():
    made = network(64, 3, convolution(3, 48, 3, padding=1), convolution(48, 16, 3, stride=2))
    assert findings_of(made) == [
        "layer 0 (convolution): side of its maps must be at most 63, not 65",
        "layer 1 (convolution): side of its maps must be at most 63, not 64",
        "layer 1 (convolution): words of the maps in use must be at most 16384, not 21441",
    ]


def test_a_circuit_without_pixels_says_so():
    config = dataclasses.replace(CIRCUITS["P2-W4-T4"], pixels=False)
    assert findings_of(network(6, 1, convolution(1, 3, 3)), config) == [
        "network: its input must be events for this circuit, not pixels"]


def test_maps_that_lie_badly_are_no_shortage():
    """As many words as are in use at a time, and no order of the maps for them."""
    config = dataclasses.replace(CIRCUITS["P2-W4-T4"], spike_words=16)
    made = random_network(np.random.default_rng([7, 54]), shortcuts=True, pools=True, projections=True, layers=7,
                          max_side=6, max_channels=8)
    (found,) = findings_of(made, config)
    assert re.fullmatch(r"layer \d \(convolution\): the 16 words of the maps in use must lie in the 16 words of the "
                        r"spike memory, and no order of the maps was found in which they do", found)


def test_words_in_use_are_those_of_the_maps_alive():
    made = network(40, 4, convolution(4, 16, 3, padding=1), convolution(16, 32, 1, stride=2), convolution(32, 32, 1))
    config = dataclasses.replace(OVERLAY, spike_words=4096)
    passes = lower(made, OVERLAY)
    assert most_alive(passes) == (1, 5600)
    assert allocate(passes, 5600) is not None
    assert allocate(passes, 5599) is None
    assert findings_of(made, config) == [
        "layer 1 (convolution): words of the maps in use must be at most 4096, not 5600"]


@pytest.mark.parametrize("seed", range(20))
def test_random_networks_fit_or_say_why(seed):
    rng = np.random.default_rng([0x14, seed])
    tiny = dataclasses.replace(CIRCUITS["P2-W4-T4"], spike_words=128, max_side=8, max_run=8, weight_rows=16)
    made = random_network(rng, shortcuts=True, pools=True, projections=True)
    with contextlib.suppress(StreamedFitError):
        assert lay_out(made, tiny).allocation.words <= tiny.spike_words


@pytest.mark.parametrize("name", CIRCUITS)
def test_columns_are_packed_as_entries_are(name):
    layout = constants_layout(CIRCUITS[name])
    rng = np.random.default_rng(3)
    limits = np.iinfo(np.int64)
    columns = {field: np.array([0, -1, limits.min, limits.max, *rng.integers(-(1 << 40), 1 << 40, 20)])
               for field, _ in layout}
    rows = [dict(zip(columns, map(int, row), strict=True)) for row in zip(*columns.values(), strict=True)]
    assert pack_columns(layout, columns) == [pack_modular(layout, row) for row in rows]
