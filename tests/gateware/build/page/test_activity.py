"""Activity by the reference: rates, silent neurons, thresholds and membranes."""

import numpy as np
import pytest

from arch import network_file
from arch.images import Samples, samples_of
from gateware.build.page.activity import EDGES, activity_of
from models import DEFAULT_NETWORK, SAMPLES
from reference.network import Reference
from tests.gateware.build.conftest import small_network


def test_rates_are_those_of_the_reference():
    network = network_file.load(DEFAULT_NETWORK)
    samples = samples_of(network, SAMPLES)
    # Not a multiple of the batch.
    samples = Samples(dataset="mnist", images=samples.images[:13], labels=samples.labels[:13])
    found = activity_of(network, samples)
    result = Reference(network).run(samples.images, spikes=True)
    assert (found.images, found.classes, found.labels) == (13, result.classes.tolist(), samples.labels.tolist())
    assert [layer.index for layer in found.layers] == [0, 1, 3]
    for layer in found.layers:
        spikes = result.spikes[layer.index]
        assert layer.neurons == spikes[0, 0].size
        assert layer.rate == pytest.approx(spikes.mean(), abs=1e-5)
        assert layer.rate_of_steps == pytest.approx(spikes.mean(axis=(0, 2, 3, 4)), abs=1e-5)
        assert layer.silent == pytest.approx(1 - spikes.any(axis=(0, 1)).mean(), abs=1e-5)
        # What is at the threshold or above it, and only that, is a spike.
        assert sum(layer.membranes[np.searchsorted(EDGES, 1 - 1e-9):]) == pytest.approx(layer.rate, abs=1e-3)
        assert sum(layer.membranes) == pytest.approx(1, abs=1e-3)
    assert found.layers[0].thresholds == [float(one) / 8 for one in network.layers[0].neurons.threshold]
    assert found.layers[0].zero_weights == pytest.approx((network.layers[0].weights == 0).mean())


def test_thresholds_are_in_units_of_the_current():
    images = np.zeros((1, 1, 4, 4), np.uint8)
    found = activity_of(small_network(), Samples(dataset="x", images=images, labels=np.array([0])))
    assert found.layers[0].thresholds == [1.0] * 8
    assert (found.layers[0].rate, found.layers[0].silent) == (0.0, 1.0)
