import copy
import itertools
import types

import numpy as np
import pytest
import torch

from arch.checkpoint import Checkpoint, CheckpointError
from arch.network import Encoding, Input
from export import steps
from export.folding import fold
from reference.latency import accuracy_over_time, cumulated_scores
from reference.network import Reference
from tests.train.methods.anns import SEED, activations, ann, made_images, refused
from tests.train.test_training import made
from train import exact, methods
from train.datasets import Split
from train.finishing import finish
from train.layers import Convolution, FullyConnected, Readout
from train.methods import conversion
from train.methods.activations import ann_accuracy, least_error_maxima
from train.methods.conversion import Conversion, convert_network, sweep_percentiles
from train.methods.method import MethodError
from train.network import SpikingNetwork
from train.neurons import PIF, Mode
from train.quantisers import Binary, Float, Ternary, make_quantiser
from train.recipe import Recipe
from train.training import Training

NEURONS = {"reset": "subtract", "leak_shift": None, "epsilon": 1e-5}
ARCHITECTURE = {
    "input": {"encoding": "pixels", "channels": 1, "height": 8, "width": 8, "zero_point": 0, "scale": 1 / 256},
    "timesteps": 16,
    "layers": [{"kind": "convolution", "name": "conv1", "channels": 6, "kernel": 3, "stride": 2, "padding": 1,
                **NEURONS},
               {"kind": "convolution", "name": "conv2", "channels": 8, "kernel": 3, "stride": 1, "padding": 1,
                **NEURONS},
               {"kind": "fully-connected", "name": "fc1", "neurons": 12, **NEURONS},
               {"kind": "readout", "name": "readout", "classes": 3}]}


@pytest.mark.parametrize("timesteps", [4, 16, 64])
@pytest.mark.parametrize("weights", ["binary", "ternary"])
def test_rate_under_constant_input_is_the_activation_over_its_maximum(timesteps, weights):
    network, images = ann(weights=weights), made_images(20)
    maps, _ = activations(network, images)
    for initial, low, high in ((0.0, -1e-4, 1.0), (0.5, -0.5, 0.5)):
        converted = convert_network(network, images, percentile=100, timesteps=timesteps, initial=initial)
        assert converted.architecture["timesteps"] == timesteps
        count = exact.forward(converted, images)[1][0].sum(0)
        wanted = maps[0] / maps[0].max() * timesteps
        # Rounded down, or to the nearest: a count is less than one spike below, or at most half a spike off.
        missing = (wanted - count)[wanted < timesteps - 1e-3]
        assert low - 1e-4 < missing.min() < missing.max() < high + 1e-4
        assert missing.max() - missing.min() > 0.9


@pytest.mark.parametrize(("timesteps", "initial"), [(4, 0.5), (32, 0.5), (8, 0.0)])
def test_converted_by_least_error_says_what_was_found(timesteps, initial):
    network, images = ann(), made_images(120)
    converted = convert_network(network, images, percentile=conversion.LEAST_ERROR, timesteps=timesteps,
                                initial=initial)
    found = least_error_maxima(network, images, timesteps=timesteps, initial=initial)
    assert converted.provenance["conversion"]["maxima"] == found
    assert converted.provenance["conversion"]["percentile"] == "least error"


def test_activation_above_the_percentile_fires_all_the_time():
    network, images = ann(), made_images(20)
    maps, _ = activations(network, images)
    converted = convert_network(network, images, percentile=90, timesteps=8)
    count = exact.forward(converted, images)[1][0].sum(0)
    above = maps[0] > converted.provenance["conversion"]["maxima"]["conv1"] * 1.0001
    assert 0.09 < above.float().mean() < 0.11
    assert (count[above] == 8).all()
    assert converted.provenance["conversion"]["percentile"] == 90
    assert converted.provenance["conversion"]["calibration_images"] == 20


def test_deeper_layers_and_scores_approach_those_of_the_ann():
    network, images = ann(pool=False), made_images(20)
    maps, scores = activations(network, images)
    errors = []
    for timesteps in (4, 16, 64):
        converted = convert_network(network, images, percentile=100, timesteps=timesteps, initial=0.5)
        sums, spikes = exact.forward(converted, images)
        errors.append([float((count.float().mean(0) - values / values.max()).abs().mean())
                       for count, values in zip(spikes, maps, strict=True)])
        ours = sums * float(converted.tensors["readout.alpha"]) / timesteps
        errors[-1].append(float((ours - scores).abs().mean() / scores.std()))
    for coarse, fine in itertools.pairwise(errors):
        assert all(b < 0.6 * a for a, b in zip(coarse, fine, strict=True)), errors
    assert max(errors[-1]) < 0.05


def test_largest_of_a_window_is_approached_from_above():
    # OR of spikes that do not coincide: the reason to pool before the neurons.
    network, images = ann(), made_images(20)
    maps, _ = activations(network, images)
    spikes = exact.forward(convert_network(network, images, percentile=100, timesteps=64), images)[1]
    pooled = spikes[2].float().mean(0)
    largest = torch.nn.functional.max_pool2d(spikes[1].float().mean(0), 2)
    assert (pooled >= largest).all()
    assert (pooled > largest + 1e-6).any()
    assert maps[2].shape == pooled.shape


def test_pooled_currents_are_converted_and_exact():
    torch.manual_seed(SEED)
    source = Input(encoding=Encoding.PIXELS, channels=2, height=12, width=12)
    network = SpikingNetwork(source, [Convolution(2, 5, 3, padding=1, pool=2), Convolution(5, 6, 3, padding=1, pool=3),
                                      FullyConnected(24, 7), Readout(7, 4)])
    for part in network.synapses():
        part.quantiser = make_quantiser("binary")
    for layer in network.chain:
        if isinstance(layer, Convolution | FullyConnected):
            layer.norm.running_var.mul_(0.01)
    images = torch.from_numpy(np.random.default_rng(SEED).integers(0, 256, (20, 2, 12, 12), dtype=np.uint8))
    maps, _ = activations(network, images)
    assert [tuple(values.shape[1:]) for values in maps] == [(5, 6, 6), (6, 2, 2), (7, 1, 1)]
    converted = convert_network(network, images, percentile=100, timesteps=16)
    scores, spikes = exact.forward(converted, images)
    missing = maps[0] / maps[0].max() * 16 - spikes[0].sum(0)
    assert -1e-3 < missing.min() < missing.max() < 1 + 1e-3
    integer = steps.assemble(converted, steps.certify(converted, fold(converted), max_fraction=16), {})
    assert integer.metadata["exact"]
    assert np.array_equal(Reference(integer).run(images.numpy()).scores, scores.numpy())


@pytest.mark.parametrize("timesteps", [8, 32])
def test_means_of_windows_are_converted_and_exact(timesteps):
    """Average pooling before a convolution, and global average pooling before the readout: linear, as in the ANN."""
    torch.manual_seed(SEED)
    source = Input(encoding=Encoding.PIXELS, channels=2, height=12, width=12)
    network = SpikingNetwork(source, [Convolution(2, 5, 3, padding=1), Convolution(5, 6, 3, padding=1, input_pool=2),
                                      Readout(6, 4, input_pool=6)])
    for part in network.synapses():
        part.quantiser = make_quantiser("binary")
    for layer in network.chain[:-1]:
        layer.norm.running_var.mul_(0.01)
    images = torch.from_numpy(np.random.default_rng(SEED).integers(0, 256, (20, 2, 12, 12), dtype=np.uint8))
    maps, wanted = activations(network, images)
    converted = convert_network(network, images, percentile=100, timesteps=timesteps, initial=0.5)
    scores, spikes = exact.forward(converted, images)
    rates = spikes[1].float().mean(0)
    assert float((rates - maps[1] / maps[1].max()).abs().mean()) < 1 / timesteps
    assert float((scores * converted.score_scale / timesteps - wanted).abs().mean() / wanted.std()) < 8 / timesteps
    integer = steps.assemble(converted, steps.certify(converted, fold(converted), max_fraction=16), {})
    assert integer.metadata["exact"]
    assert set(np.unique(integer.layers[1].weights)) == {-1, 1}
    assert (integer.layers[1].kernel, integer.layers[2].weights.shape) == (6, (4, 216))
    result = Reference(integer).run(images.numpy(), spikes=True)
    assert np.array_equal(result.scores, scores.numpy())
    assert all(np.array_equal(ours, theirs.movedim(0, 1).numpy())
               for ours, theirs in zip(result.spikes, spikes, strict=True))


@pytest.mark.parametrize(("weights", "events", "timesteps"), [
    ("binary", False, 12), ("ternary", False, 12), ("binary", True, 4), ("ternary", True, 4), ("binary", False, 32),
    ("binary", False, 64)])
def test_converted_network_exports_and_the_reference_repeats_it(weights, events, timesteps):
    network = ann(weights=weights, encoding=Encoding.EVENTS if events else Encoding.PIXELS)
    images = made_images(20, events=events)
    converted = convert_network(network, images, percentile=99.7, timesteps=timesteps)
    assert set(np.unique(converted.tensors["conv2.ternary"])) == ({-1, 1} if weights == "binary" else {-1, 0, 1})
    certified = steps.certify(converted, fold(converted), max_fraction=16)
    integer = steps.assemble(converted, certified, {})
    assert integer.metadata["exact"]
    seen = images.numpy().astype(bool) if events else images.numpy()
    assert not sum(steps.verify(converted, steps.pack(integer), seen).mismatches)
    scores, spikes = exact.forward(converted, images)
    result = Reference(integer).run(seen, spikes=True)
    assert np.array_equal(result.scores, scores.numpy())
    for ours, theirs in zip(result.spikes, spikes, strict=True):
        assert np.array_equal(ours, theirs.movedim(0, 1).numpy())
    # Any number of timesteps from one export.
    short = convert_network(network, images, percentile=99.7, timesteps=3)
    seen_first = images[:, :3] if events else images
    assert np.array_equal(cumulated_scores(integer, seen)[:, 2], exact.forward(short, seen_first)[0].numpy())


@pytest.fixture(scope="module", autouse=True)
def _known():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(methods.METHODS, "conversion", Conversion)
        yield


def train(folder, **options):
    """Train a small ANN; return its training."""
    recipe = Recipe(name="tiny", dataset="mnist", architecture=ARCHITECTURE, epochs=4, batch_size=16,
                    learning_rate=0.01, calibration_images=0,
                    methods=({"kind": "conversion", "calibration_images": 60, **options},))
    training = Training(recipe=recipe, train=made(96, 1), validation=made(60, 2), folder=folder)
    training.run()
    return training


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return train(tmp_path_factory.mktemp("conversion"), percentile=99.7, initial=0.5)


def test_training_reports_the_accuracies_of_both_networks(trained):
    assert not any(entry["exportable"] for entry in trained.history)
    test = made(80, 3)
    result = finish(trained, test)
    best = max(entry["validation_accuracy"] for entry in trained.history)
    assert result["float_validation_accuracy"] == best
    assert result["float_test_accuracy"] == ann_accuracy(trained.network, test.images, test.labels) > 0.9
    checkpoint = Checkpoint.load(trained.files.checkpoint)
    assert result["test_accuracy"] == exact.accuracy(checkpoint, test.images, test.labels) > 0.9
    assert set(np.unique(checkpoint.tensors["conv1.ternary"])) == {-1, 1}
    images = trained.train.images[:60]
    alone = convert_network(trained.network, images, percentile=99.7, timesteps=16, initial=0.5)
    assert all(np.array_equal(value, checkpoint.tensors[name]) for name, value in alone.tensors.items())


def test_accuracy_grows_over_time_to_that_of_the_whole_network(trained):
    finish(trained, made(80, 3))
    checkpoint, test = Checkpoint.load(trained.files.checkpoint), made(80, 4)
    integer = steps.assemble(checkpoint, steps.certify(checkpoint, fold(checkpoint), max_fraction=16), {})
    shares = accuracy_over_time(integer, test.images.numpy(), test.labels.numpy())
    assert len(shares) == 16
    assert shares[-1] == exact.accuracy(checkpoint, test.images, test.labels)
    assert shares[0] < shares[-1]


def test_sweep_takes_the_first_of_the_best_percentiles(trained):
    images, validation = trained.train.images[:60], trained.validation
    sweep = sweep_percentiles(trained.network, images, validation, percentiles=(70, 99, 100), timesteps=6)
    assert list(sweep.accuracies) == [70, 99, 100]
    for percentile, accuracy in sweep.accuracies.items():
        alone = convert_network(trained.network, images, percentile=percentile, timesteps=6)
        assert accuracy == exact.accuracy(alone, validation.images, validation.labels)
        if percentile == sweep.percentile:
            assert all(np.array_equal(value, sweep.checkpoint.tensors[name]) for name, value in alone.tensors.items())
            assert sweep.checkpoint.provenance == alone.provenance
    best = max(sweep.accuracies.values())
    assert sweep.percentile == next(key for key, value in sweep.accuracies.items() if value == best)
    assert sweep.ann_accuracy == ann_accuracy(trained.network, validation.images, validation.labels)


@pytest.mark.parametrize("compared", [1000, 12])
def test_percentile_is_chosen_if_none_is_given(tmp_path, compared):
    training = train(tmp_path, percentile=None, timesteps=6, sweep_images=compared)
    result = finish(training, made(80, 3))
    split = Split(images=training.validation.images[:compared], labels=training.validation.labels[:compared])
    wanted = sweep_percentiles(training.network, training.train.images[:60], split, timesteps=6)
    checkpoint = Checkpoint.load(training.files.checkpoint)
    assert checkpoint.architecture["timesteps"] == 6
    assert result["threshold_sweep"] == {
        "images": len(split), "ann_accuracy": wanted.ann_accuracy,
        "accuracies": {str(key): value for key, value in wanted.accuracies.items()}}
    assert all(np.array_equal(value, checkpoint.tensors[name]) for name, value in wanted.checkpoint.tensors.items())


def test_latent_weights_are_centred_and_clamped(trained):
    first, second, third, last = (part.weight.detach() for part in trained.network.synapses())
    for weight in (second, third):
        assert weight.mean(1).abs().max() < 1e-6
    assert first.flatten(1).std() > 0
    assert last.mean(1).abs().max() > 1e-4
    assert all(weight.abs().max() <= 1 for weight in (first, second, third, last))


def begun(network, **options):
    method = Conversion(calibration_images=10, **options)
    method.begin(types.SimpleNamespace(
        network=network, train=made(10, 1), recipe=types.SimpleNamespace(architecture=network.architecture)))
    with torch.no_grad():
        for part in network.synapses():
            part.weight.copy_(3 * torch.randn(part.weight.shape, generator=torch.Generator().manual_seed(SEED)))
    before = [part.weight.detach().clone() for part in network.synapses()]
    method.after_step()
    return before, [part.weight.detach() for part in network.synapses()]


def test_centring_and_clamping_by_hand():
    before, after = begun(ann())
    for index, (old, new) in enumerate(zip(before, after, strict=True)):
        centred = old - old.mean(1, keepdim=True) if index in (1, 2) else old
        assert torch.allclose(new, centred.clamp(-1, 1), atol=1e-6)
    before, after = begun(ann(), centre=False)
    assert all(torch.equal(old.clamp(-1, 1), new) for old, new in zip(before, after, strict=True))
    before, after = begun(ann(), centre=False, clamp=False)
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))
    before, after = begun(ann(), weights="float")
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))


@pytest.mark.parametrize(("weights", "kind"), [("binary", Binary), ("ternary", Ternary), ("float", Float)])
def test_beginning_chooses_neurons_and_weights(weights, kind):
    network = ann()
    begun(network, weights=weights)
    assert all(isinstance(part.quantiser, kind) for part in network.synapses())
    assert all(module.mode is Mode.RELU for module in network.modules() if isinstance(module, PIF))
    assert not network.exportable


def test_first_and_last_layer_may_have_other_weights():
    network = ann()
    begun(network, outer_weights="ternary")
    assert [type(part.quantiser) for part in network.synapses()] == [Ternary, Binary, Binary, Ternary]


def test_float_network_is_not_converted(tmp_path):
    training = train(tmp_path, weights="float")
    result = finish(training, made(80, 3))
    assert "float_test_accuracy" in result
    assert "checkpoint" not in result
    message = "weights must be ternary or binary for a checkpoint, not float"
    with pytest.raises(CheckpointError, match=f"^{message}$"):
        convert_network(training.network, made(5, 1).images)


@pytest.mark.parametrize(("place", "change", "text"), [
    (0, {"reset": "zero"}, "conv1 must subtract its threshold and not leak to be converted: "),
    (0, {"leak_shift": 2}, "conv1 must subtract its threshold and not leak to be converted: "),
    (1, {"shortcut": "conv1", "channels": 5}, "conv2 must not add the spikes of conv1 to be converted: "),
    (1, {"projection": {"source": "conv1", "stride": 1, "weights": "trained"}},
     "conv2 must not see the spikes of conv1 beside its input to be converted: "),
])
def test_what_cannot_be_converted_is_refused_before_the_training(place, change, text):
    described = copy.deepcopy(dict(ann().architecture))
    layers = [layer for layer in described["layers"] if layer["kind"] == "convolution"]
    layers[place] |= change
    recipe = types.SimpleNamespace(architecture=described)
    with pytest.raises(MethodError, match=f"^{text}"):
        Conversion(calibration_images=10).begin(types.SimpleNamespace(network=ann(), train=made(10, 1), recipe=recipe))


def test_timesteps_of_events_are_those_of_their_frames():
    described = copy.deepcopy(dict(ann().architecture))
    described["input"]["encoding"] = "events"
    training = types.SimpleNamespace(network=ann(), train=made(10, 1),
                                     recipe=types.SimpleNamespace(architecture=described))
    own = described["timesteps"]
    with pytest.raises(MethodError, match=f"^conversion timesteps must be the architecture's {own} or null, "
                                          f"not {own + 1}: that is how many frames of events there are$"):
        Conversion(calibration_images=10, timesteps=own + 1).begin(training)
    for timesteps in (None, own):
        Conversion(calibration_images=10, timesteps=timesteps).begin(training)


def test_what_has_no_rates_is_refused():
    network, images = ann(), made_images(5)
    refused("calibration must have images and percentiles, not 0 and 1", lambda: convert_network(network, images[:0]))
    refused("calibration must have images and percentiles, not 5 and 0",
            lambda: sweep_percentiles(network, images, made(5, 1), percentiles=()))
    refused("percentile must be a number from 0 to 100 or 'least error', not 'least'",
            lambda: convert_network(ann(), images, percentile="least"))
    refused("percentile must be a number from 0 to 100, not 101",
            lambda: convert_network(network, images, percentile=101))
    with pytest.raises(CheckpointError, match=r"^timesteps must be an integer from 1 to 64, not 0$"):
        convert_network(network, images, timesteps=0)


def test_sum_of_two_layers_is_refused():
    torch.manual_seed(SEED)
    source = Input(encoding=Encoding.PIXELS, channels=2, height=4, width=4)
    chain = [Convolution(2, 5, 3, padding=1), Convolution(5, 5, 3, padding=1),
             Convolution(5, 5, 3, padding=1, shortcut=0), Readout(80, 4)]
    network = SpikingNetwork(source, chain)
    images = torch.full((3, 2, 4, 4), 200, dtype=torch.uint8)
    refused("conv3 must not add the spikes of conv1 to be converted: spikes of two layers stand for different "
            "activations", lambda: convert_network(network, images))


@pytest.mark.parametrize(("options", "message"), [
    ({"weights": "edge-ternary"}, "conversion weights must be binary or ternary or float, not 'edge-ternary'"),
    ({"outer_weights": "float"}, "conversion outer_weights must be binary or ternary, not 'float'"),
    ({"weights": "float", "outer_weights": "ternary"},
     "conversion outer_weights must be null when the others are float: nothing of the network is exported"),
    ({"percentile": 101}, "conversion percentile must be a number from 0 to 100, not 101"),
    ({"timesteps": 65}, "conversion timesteps must be an integer from 1 to 64, not 65"),
    ({"timesteps": 2.5}, "conversion timesteps must be an integer from 1 to 64, not 2.5"),
    ({"initial": 1.5}, "conversion initial must be a number from 0 to 1, not 1.5"),
    ({"calibration_images": 0}, "conversion calibration_images must be an integer from 1, not 0"),
    ({"sweep_images": 0}, "conversion sweep_images must be an integer from 1, not 0"),
    ({"centre": 1}, "conversion centre must be true or false, not 1"),
    ({"clamp": None}, "conversion clamp must be true or false, not None"),
])
def test_wrong_option_is_named(options, message):
    refused(message, lambda: Conversion(**options))


def test_more_calibration_images_than_there_are_is_refused():
    training = types.SimpleNamespace(network=ann(), train=made(10, 1))
    refused("conversion calibration_images must be at most 10, the training images, not 11",
            lambda: Conversion(calibration_images=11).begin(training))
