import dataclasses
import itertools
import re

import numpy as np
import pytest

from arch.network import Encoding, FullyConnected, Input, Network, Neurons, Readout, Reset
from reference.generate import random_images, random_network
from reference.latency import (
    accuracy_over_time,
    calibrate_margins,
    cumulated_scores,
    exit_early,
)
from reference.network import Reference
from reference.plain import infer

SEED = 41


@pytest.mark.parametrize("encoding", list(Encoding))
@pytest.mark.parametrize("seed", range(6))
def test_every_prefix_equals_a_network_of_fewer_timesteps(encoding, seed):
    rng = np.random.default_rng([SEED, seed])
    network = random_network(rng, max_side=6, max_channels=5, timesteps=5, encoding=encoding)
    images = random_images(network, rng, 70)
    scores = cumulated_scores(network, images)
    assert scores.shape == (70, 5, network.classes)
    for timesteps in range(1, 6):
        short = dataclasses.replace(network, timesteps=timesteps)
        seen = images[:, :timesteps] if encoding is Encoding.EVENTS else images
        assert np.array_equal(scores[:, timesteps - 1], Reference(short).run(seen).scores)
        assert scores[3, timesteps - 1].tolist() == infer(short, seen[3]).scores


@pytest.mark.parametrize("encoding", list(Encoding))
def test_readout_without_layers_before_it_sees_the_input(encoding):
    rng = np.random.default_rng(SEED)
    source = Input(encoding=encoding, channels=2, height=1, width=2,
                   zero_point=128 if encoding is Encoding.PIXELS else 0)
    network = Network(input=source, timesteps=3, layers=(
        Readout(weights=rng.integers(-1, 2, (4, 4), dtype=np.int8)),))
    images = random_images(network, rng, 5)
    scores = cumulated_scores(network, images)
    assert np.array_equal(scores[:, -1], Reference(network).run(images).scores)
    if encoding is Encoding.PIXELS:
        assert np.array_equal(scores, scores[:, :1] * np.arange(1, 4)[:, None])


def counting_network(timesteps):
    """Two neurons that see one pixel each; class c counts the spikes of neuron c."""
    neurons = Neurons(threshold=np.array([100, 100]), bias=np.zeros(2, dtype=np.int64),
                      initial=np.zeros(2, dtype=np.int64), reset=Reset.SUBTRACT)
    eye = np.eye(2, dtype=np.int8)
    return Network(input=Input(encoding=Encoding.PIXELS, channels=2, height=1, width=1), timesteps=timesteps,
                   layers=(FullyConnected(weights=eye, neurons=neurons), Readout(weights=eye)))


def test_accuracy_over_time_by_hand():
    # Spikes of 50 and 34 per step: at 2, 4, 6 and at 3, 6; of 10 and 20: none and at 5; of 0 and 0: none.
    images = np.array([[50, 34], [10, 20], [0, 0]], dtype=np.uint8)[:, :, None, None]
    network = counting_network(6)
    assert cumulated_scores(network, images)[0].tolist() == [[0, 0], [1, 0], [1, 1], [2, 1], [2, 1], [3, 2]]
    assert cumulated_scores(network, images)[1].tolist() == [[0, 0]] * 4 + [[0, 1]] * 2
    labels = np.array([0, 1, 1])
    assert accuracy_over_time(network, images, labels) == pytest.approx([1 / 3] * 4 + [2 / 3] * 2)
    assert accuracy_over_time(network, images, labels, 4) == pytest.approx([1 / 3] * 4)


#: Three images, three timesteps, three classes. Leads: 0 2 4; 3 1 5; 1 4 2.
SCORES = np.array([[[2, 2, 0], [3, 5, 1], [8, 4, 4]],
                   [[0, 4, 1], [4, 5, -9], [1, 9, 4]],
                   [[0, 0, 1], [0, 4, 0], [2, 6, 4]]])


@pytest.mark.parametrize(("margins", "classes", "timesteps"), [
    ([9, 9, 0], [0, 1, 1], [3, 3, 3]),
    ([0, 0, 0], [0, 1, 2], [1, 1, 1]),
    ([1, 0, 0], [1, 1, 2], [2, 1, 1]),
    ([2, 3, 0], [0, 1, 1], [3, 1, 2]),
    ([3, 2, 0], [1, 1, 1], [2, 1, 2]),
    ([4, 9, 9], [0, 1, 1], [3, 3, 3]),
])
def test_exit_by_hand(margins, classes, timesteps):
    exits = exit_early(SCORES, np.array(margins))
    assert exits.classes.tolist() == classes
    assert exits.timesteps.tolist() == timesteps
    assert exits.mean_timesteps == pytest.approx(sum(timesteps) / 3)
    assert exits.accuracy(np.array([0, 1, 1])) == pytest.approx(sum(
        a == b for a, b in zip(classes, [0, 1, 1], strict=True)) / 3)


@pytest.mark.parametrize(("labels", "tolerance", "margins"), [
    # Image 0 is lost in timestep 2 (lead 2), image 2 in timestep 1 (lead 1): just above them, nothing is lost.
    ([0, 1, 1], 0.0, [2, 3, 0]),
    ([0, 1, 1], 0.3, [2, 3, 0]),
    # One lost image is within a third: all margins fall to 0, and only image 2 is lost.
    ([0, 1, 1], 1 / 3, [0, 0, 0]),
    # Nothing right in the end can be lost.
    ([2, 0, 0], 0.0, [0, 0, 0]),
])
def test_margins_by_hand(labels, tolerance, margins):
    assert calibrate_margins(SCORES, np.array(labels), tolerance=tolerance).tolist() == margins


def made_scores(rng, count, timesteps=8, classes=5):
    """Noisy evidence for the label that adds up; labels."""
    labels = rng.integers(0, classes, count)
    steps = rng.integers(-6, 7, (count, timesteps, classes))
    steps[np.arange(count), :, labels] += rng.integers(0, 5, count)[:, None]
    return steps.cumsum(axis=1), labels


@pytest.mark.parametrize("tolerance", [0.0, 0.01, 0.05, 1.0])
def test_calibrated_exits_keep_the_tolerance(tolerance):
    scores, labels = made_scores(np.random.default_rng(SEED), 600)
    full = float((scores[:, -1].argmax(1) == labels).mean())
    margins = calibrate_margins(scores, labels, tolerance=tolerance)
    exits = exit_early(scores, margins)
    assert full > 0.6
    assert exits.accuracy(labels) >= full - tolerance
    assert margins[-1] == 0
    assert exits.mean_timesteps == 1 if tolerance == 1 else 1 < exits.mean_timesteps < 8


def test_more_tolerance_means_fewer_timesteps():
    scores, labels = made_scores(np.random.default_rng(SEED), 600)
    means = [exit_early(scores, calibrate_margins(scores, labels, tolerance=tolerance)).mean_timesteps
             for tolerance in (0.0, 0.01, 0.02, 0.05, 0.1)]
    assert all(a > b for a, b in itertools.pairwise(means))


def wrong(message, call, *arguments, **options):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call(*arguments, **options)


def test_wrong_arguments_are_named():
    network, images = counting_network(2), np.zeros((3, 2, 1, 1), dtype=np.uint8)
    labels = np.zeros(3, dtype=np.int64)
    wrong("timesteps must be 1 to 2, not 3", accuracy_over_time, network, images, labels, 3)
    wrong("timesteps must be 1 to 2, not 0", accuracy_over_time, network, images, labels, 0)
    wrong("labels must be of shape (3,) like the images, at least one, not (2,)", accuracy_over_time, network, images,
          labels[:2])
    wrong("labels must be of shape (0,) like the images, at least one, not (0,)", accuracy_over_time, network,
          images[:0], labels[:0])
    wrong("tolerance must be 0 to 1, not -0.1", calibrate_margins, SCORES, labels, tolerance=-0.1)
    wrong("margins must be of shape (3,) like the timesteps, not (2,)", exit_early, SCORES, labels[:2])
