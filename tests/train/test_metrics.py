import dataclasses
import math
import pathlib
import re

import numpy as np
import pytest
import torch

from arch import network_file
from arch.checkpoint import Checkpoint
from arch.images import load_images
from arch.network import Convolution, Encoding, Input, Network, Neurons, OrPool, Readout, projection_of, shortcut_of
from boards import BOARDS
from gateware.mapper.choice import plan_for_board
from gateware.mapper.plan import synaptic_operations
from reference.generate import random_images, random_network
from reference.network import Reference
from train import metrics
from train.network import from_checkpoint

MODELS = pathlib.Path(__file__).resolve().parent.parent.parent / "models"

#: Two timesteps, two images, two classes: probabilities 1/2, 1/2 then 3/4, 1/4; and 1/4, 3/4 twice.
SCORES = np.log(np.array([[[1.0, 1.0], [1.0, 3.0]], [[3.0, 1.0], [1.0, 3.0]]]))
MEAN = np.array([[5 / 8, 3 / 8], [1 / 4, 3 / 4]])
LABELS = np.array([1, 1])


def random_scores(seed=3):
    return np.random.default_rng(seed).normal(0, 2, (4, 200, 5))


def test_probabilities_by_hand():
    assert np.exp(metrics.log_probabilities(SCORES)).mean(0) == pytest.approx(MEAN)
    assert np.exp(metrics.log_probabilities(SCORES, 2.0))[1, 0] == pytest.approx([0.9, 0.1])
    assert metrics.log_probabilities(np.array([[[2000, 0]]])).tolist() == [[[0, -2000]]]


def test_accuracy_is_that_of_the_sums_with_the_lowest_index_on_a_tie():
    scores = np.array([[[1, 5, 2], [0, 0, 0]], [[4, 0, 3], [0, 0, 0]]])
    # Sums 5, 5, 5 and 0, 0, 0.
    assert metrics.accuracy(scores, np.array([0, 0])) == 1
    assert metrics.accuracy(scores, np.array([1, 0])) == 0.5


def test_calibration_error_by_hand():
    # Bins of a tenth: confidences 0.95, 0.93 in the last, 0.55 in the sixth.
    probabilities = np.array([[0.95, 0.05], [0.07, 0.93], [0.55, 0.45]])
    # |1 - 1.88| of the two, where one is right, and |1 - 0.55| of the third.
    assert metrics.calibration_error(probabilities, np.array([0, 0, 0]), 10) == pytest.approx((0.88 + 0.45) / 3)
    # One bin: |2 - 2.43|.
    assert metrics.calibration_error(probabilities, np.array([0, 0, 0]), 1) == pytest.approx(0.43 / 3)


def test_confidence_on_an_edge_belongs_to_the_bin_below():
    # Bins of a quarter: 0.5 and 0.45 share the second one, 0.51 is in the third.
    labels = np.array([0, 1])
    below, above = (np.array([[first, 1 - first, 0], [0.45, 0.4, 0.15]]) for first in (0.5, 0.51))
    assert metrics.calibration_error(below, labels, 4) == pytest.approx(abs(1 - 0.95) / 2)
    assert metrics.calibration_error(above, labels, 4) == pytest.approx((0.49 + 0.45) / 2)
    # Whole confidence, and what rounding makes of it, is in the last bin.
    sure = np.array([[1.0, 0.0], [1 + 2e-16, 0.0]])
    assert metrics.calibration_error(sure, np.array([0, 0])) == pytest.approx(0, abs=1e-12)


def test_calibrated_predictions_have_a_small_error_and_sharpened_ones_a_large_one():
    rng = np.random.default_rng(8)
    scores = rng.normal(0, 1.5, (1, 20000, 4))
    probabilities = np.exp(metrics.log_probabilities(scores))[0]
    labels = (probabilities.cumsum(1) < rng.random((20000, 1))).sum(1)
    assert metrics.calibration_error(probabilities, labels) < 0.015
    assert metrics.calibration(scores, labels, 3.0).calibration_error > 0.2


def test_likelihood_and_brier_score_by_hand():
    wanted = -(math.log(3 / 8) + math.log(3 / 4)) / 2
    assert metrics.negative_log_likelihood(SCORES, LABELS) == pytest.approx(wanted)
    assert metrics.brier(MEAN, LABELS) == pytest.approx((2 * (5 / 8) ** 2 + 2 * (1 / 4) ** 2) / 2)
    assert metrics.brier(np.array([[0.0, 1.0]]), np.array([0])) == 2


def test_likelihood_is_finite_where_the_probability_underflows():
    scores = np.array([[[4000, 0]], [[2000, 0]]])
    # p = (e^-4000 + e^-2000) / 2.
    assert metrics.negative_log_likelihood(scores, np.array([1])) == pytest.approx(2000 + math.log(2))


def test_entropy_and_mutual_information_by_hand():
    def h(p):
        return -p * math.log(p) - (1 - p) * math.log(1 - p)

    assert metrics.entropy(MEAN) == pytest.approx([h(5 / 8), h(1 / 4)])
    assert metrics.entropy(np.array([[1.0, 0.0]])).tolist() == [0]
    by_step = np.exp(metrics.log_probabilities(SCORES))
    assert metrics.mutual_information(by_step) == pytest.approx([h(5 / 8) - (h(1 / 2) + h(3 / 4)) / 2, 0])
    opposite = np.array([[[1.0, 0.0]], [[0.0, 1.0]]])
    assert metrics.mutual_information(opposite) == pytest.approx([math.log(2)])


def test_calibration_holds_every_measure():
    found = metrics.calibration(SCORES, LABELS)
    assert dataclasses.asdict(found) == pytest.approx({
        "accuracy": 0.5, "predictive_accuracy": 0.5, "confidence": (5 / 8 + 3 / 4) / 2,
        # 5/8 and 3/4 lie in the bins that end at 10/15 and 12/15.
        "calibration_error": (5 / 8 + 1 / 4) / 2,
        "negative_log_likelihood": metrics.negative_log_likelihood(SCORES, LABELS),
        "brier": metrics.brier(MEAN, LABELS), "entropy": metrics.entropy(MEAN).mean(),
        "mutual_information": metrics.mutual_information(np.exp(metrics.log_probabilities(SCORES))).mean()})


def test_sum_and_mean_distribution_may_answer_differently():
    # Sums 6 and 5; the mean of the softmax prefers the second class.
    scores = np.array([[[6.0, 0.0]], [[0.0, 2.5]], [[0.0, 2.5]]])
    found = metrics.calibration(scores, np.array([0]))
    assert (found.accuracy, found.predictive_accuracy) == (1, 0)


def test_integers_with_their_scale_equal_the_real_scores():
    integers = np.random.default_rng(4).integers(-40, 41, (4, 50, 10))
    labels = np.random.default_rng(5).integers(0, 10, 50)
    real = metrics.calibration((0.125 * integers).astype(np.float32), labels)
    assert metrics.calibration(integers, labels, 0.125) == real
    assert metrics.calibration(integers, labels).confidence > real.confidence + 0.1


@pytest.mark.parametrize("factor", [0.2, 1.0, 7.0])
def test_temperature_undoes_a_factor(factor):
    rng = np.random.default_rng(11)
    scores = rng.normal(0, 1.5, (1, 5000, 4))
    probabilities = np.exp(metrics.log_probabilities(scores))[0]
    labels = (probabilities.cumsum(1) < rng.random((5000, 1))).sum(1)
    own = metrics.fit_temperature(scores, labels)
    assert own == pytest.approx(1, abs=0.05)
    fitted = metrics.fit_temperature(factor * scores, labels)
    assert fitted == pytest.approx(factor * own, rel=2e-3)
    least = metrics.negative_log_likelihood(factor * scores, labels, 1 / fitted)
    for other in (0.98 * fitted, 1.02 * fitted):
        assert metrics.negative_log_likelihood(factor * scores, labels, 1 / other) > least


def test_temperature_of_scores_that_are_all_right_is_the_smallest():
    assert metrics.fit_temperature(np.array([[[1.0, 0.0], [0.0, 1.0]]]), np.array([0, 1])) <= 0.03


def test_readout_scores_sum_to_those_of_the_reference():
    for seed in range(10):
        rng = np.random.default_rng([2, seed])
        network = random_network(rng)
        result = Reference(network).run(random_images(network, rng, 5), spikes=True)
        by_step = metrics.readout_scores(network, result.spikes)
        assert by_step.shape == (network.timesteps, 5, network.classes)
        assert by_step.dtype == np.int64
        assert np.array_equal(by_step.sum(0), result.scores), seed


def slow_operations(layer, maps):
    """Spike by spike: non-zero weights, and all synapses, that each place meets; maps ``[T, C, H, W]``."""
    met = slots = 0
    steps, channels, height, width = maps.shape
    if not isinstance(layer, Convolution):
        for t in range(steps):
            for place, spike in enumerate(maps[t].reshape(-1)):
                met += int(spike) * int(np.count_nonzero(layer.weights[:, place]))
        return met, steps * layer.weights.size
    rows = (height + 2 * layer.padding - layer.kernel) // layer.stride + 1
    columns = (width + 2 * layer.padding - layer.kernel) // layer.stride + 1
    rows, columns = (side // layer.pool * layer.pool for side in (rows, columns))
    for out in range(len(layer.weights)):
        for row in range(rows):
            for column in range(columns):
                for c in range(channels):
                    for y in range(layer.kernel):
                        for x in range(layer.kernel):
                            at = row * layer.stride - layer.padding + y, column * layer.stride - layer.padding + x
                            if 0 <= at[0] < height and 0 <= at[1] < width:
                                slots += steps
                                if layer.weights[out, c, y, x]:
                                    met += int(maps[:, c, at[0], at[1]].sum())
    return met, slots


def slow_projected_operations(layer, output, spikes):
    """Spikes of all images that meet a weight of the projection, and its synapses x timesteps."""
    met = slots = 0
    weights = layer.projection.weights[:, :, 0, 0]
    for out, c, row, column in np.ndindex(*weights.shape, output[1] * layer.pool, output[2] * layer.pool):
        if not layer.projection.diagonal or out == c:
            slots += spikes.shape[1]
        if weights[out, c]:
            met += int(spikes[:, :, c, row * layer.projection.stride, column * layer.projection.stride].sum())
    return met, slots


@pytest.mark.parametrize("options", [
    {}, {"layers": 4, "shortcuts": True, "pools": True},
    {"layers": 4, "pools": True, "projections": True}], ids=["chain", "graph", "projections"])
@pytest.mark.parametrize("encoding", list(Encoding))
def test_operations_equal_a_count_spike_by_spike(encoding, options):
    for seed in range(6):
        rng = np.random.default_rng([9, seed])
        network = random_network(rng, encoding=encoding, max_side=6, max_channels=5, **options)
        images = random_images(network, rng, 2)
        spikes = Reference(network).run(images, spikes=True).spikes
        found = metrics.activity(network, images, spikes)
        assert [entry.layer for entry in found] == list(range(len(network.layers)))
        for entry, (layer, shape, output) in zip(found, network.shapes(), strict=True):
            assert entry.kind == layer.kind
            assert entry.neurons == math.prod(output)
            maps = images if not entry.layer else spikes[entry.layer - 1]
            if isinstance(layer, OrPool):
                wanted = 0, 0, 0
            elif encoding is Encoding.PIXELS and not entry.layer:
                _, slots = slow_operations(layer, np.ones((1, *shape), dtype=bool))
                wanted = 0, 0, 8 * slots
            else:
                counts = [slow_operations(layer, image) for image in maps]
                if shortcut_of(layer) is not None:
                    counts = [(met + more, slots + others) for (met, slots), (more, others) in zip(
                        counts, [slow_operations(layer, image) for image in spikes[shortcut_of(layer)]], strict=True)]
                met, slots = sum(met for met, _ in counts), counts[0][1]
                if projection_of(layer) is not None:
                    beside = slow_projected_operations(layer, output, spikes[layer.projection.source])
                    met, slots = met + beside[0], slots + beside[1]
                wanted = met / 2, slots, 0
            assert (entry.event_operations, entry.dense_operations, entry.pixel_operations) == wanted, seed
            if isinstance(layer, Readout):
                assert entry.firing_rate is None
            else:
                assert entry.firing_rate == pytest.approx(spikes[entry.layer].sum() / spikes[entry.layer].size)


def test_operations_by_hand():
    # 3 x 3 events of one channel, kernel 2, one zero in it: the corner meets one weight, the centre three.
    neurons = Neurons(threshold=np.array([1]), bias=np.array([0]), initial=np.array([0]))
    network = Network(
        input=Input(encoding=Encoding.EVENTS, channels=1, height=3, width=3), timesteps=2,
        layers=(Convolution(weights=np.array([[[[1, -1], [0, 1]]]], dtype=np.int8), neurons=neurons),
                Readout(weights=np.ones((2, 4), dtype=np.int8))))
    images = np.zeros((1, 2, 1, 3, 3), dtype=bool)
    images[0, 0, 0, 0, 0] = images[0, 1, 0, 1, 1] = True
    spikes = (np.zeros((1, 2, 1, 2, 2), dtype=bool),)
    spikes[0][0, 1, 0, 0] = True
    assert metrics.activity(network, images, spikes) == [
        metrics.Activity(layer=0, kind="convolution", neurons=4, firing_rate=0.25, event_operations=4.0,
                         dense_operations=4 * 4 * 2, pixel_operations=0),
        metrics.Activity(layer=1, kind="readout", neurons=2, firing_rate=None, event_operations=4.0,
                         dense_operations=8 * 2, pixel_operations=0)]


@pytest.mark.parametrize(("name", "dataset"), [("mnist-conv", "mnist"), ("fashion-conv", "fashion-mnist")])
def test_shipped_network_is_measured_like_the_checkpoint(name, dataset):
    network = network_file.load(MODELS / f"{name}.safetensors")
    checkpoint = Checkpoint.load(MODELS / f"{name}.checkpoint.safetensors")
    images = load_images(MODELS / "samples" / f"{dataset}-images.idx.gz", network, first=20)
    result = Reference(network).run(images, spikes=True)
    by_step = metrics.readout_scores(network, result.spikes)
    # The real scores of the training, from the integers and the readout's alpha.
    with torch.no_grad():
        real = from_checkpoint(checkpoint).eval()(torch.tensor(images), by_step=True).numpy()
    alpha = float(checkpoint.tensors["readout.alpha"])
    assert alpha * by_step == pytest.approx(real, rel=1e-4, abs=1e-4)
    plan = plan_for_board(network, BOARDS["icebreaker"])
    dense = [entry.dense_operations for entry in metrics.activity(network, images, result.spikes)
             if entry.dense_operations]
    assert dense == [synaptic_operations(plan, number) for number in range(1, len(plan.stages))]


@pytest.mark.parametrize(("scores", "labels", "text"), [
    (np.zeros((2, 3)), np.zeros(3, int), r"scores must be \[T, N, classes\] and not empty, not \[2, 3\]"),
    (np.zeros((2, 0, 3)), np.zeros(0, int), r"scores must be \[T, N, classes\] and not empty, not \[2, 0, 3\]"),
    (np.zeros((1, 3, 2)), np.zeros(2, int), r"labels must be 3 integers like the scores' images, not int64 \[2\]"),
    (np.zeros((1, 3, 2)), np.zeros(3), r"labels must be 3 integers like the scores' images, not float64 \[3\]"),
    (np.zeros((1, 3, 2)), np.array([0, 2, 1]), r"label of image 1 must be from 0 to 1, not 2")])
def test_scores_and_labels_that_do_not_fit_are_named(scores, labels, text):
    for function in (metrics.accuracy, metrics.calibration, metrics.negative_log_likelihood, metrics.fit_temperature):
        with pytest.raises(ValueError, match=f"^{text}$"):
            function(scores, labels)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan])
def test_wrong_scale_is_named(scale):
    with pytest.raises(ValueError, match=f"^scale of scores must be positive and finite, not {scale!r}$"):
        metrics.calibration(SCORES, LABELS, scale)


def test_spikes_of_another_network_are_named():
    rng = np.random.default_rng(6)
    network = random_network(rng, encoding=Encoding.EVENTS, timesteps=2, layers=1)
    images = random_images(network, rng, 3)
    spikes = Reference(network).run(images, spikes=True).spikes
    wanted = ", ".join(str(maps.shape[1:]) for maps in spikes)
    shorter = tuple(maps[:, :1] for maps in spikes)
    for wrong, shown in (((), "none"), (shorter, ", ".join(str(maps.shape[1:]) for maps in shorter))):
        text = f"^{re.escape(f'spikes must be maps of {wanted} per image, not {shown}')}$"
        with pytest.raises(ValueError, match=text):
            metrics.activity(network, images, wrong)
        with pytest.raises(ValueError, match=text):
            metrics.readout_scores(network, wrong)
    text = f"^spikes must be of as many images, at least one: 2, not {', '.join('3' * len(spikes))}$"
    with pytest.raises(ValueError, match=text):
        metrics.activity(network, images[:2], spikes)
    bare = dataclasses.replace(network, layers=(Readout(weights=np.ones(
        (2, math.prod(network.input.shape)), dtype=np.int8)),))
    with pytest.raises(ValueError, match=r"^network must have a layer before the readout, "
                                         r"which gets no spikes otherwise$"):
        metrics.readout_scores(bare, ())
    assert metrics.activity(bare, images, ())[0].event_operations == 2 * images.sum() / 3
