import numpy as np
import pytest
import torch

from arch.checkpoint import Checkpoint
from tests.train.methods.stage import ARCHITECTURE, images_and_labels, made_training
from train import exact
from train.finishing import finish
from train.folder import load_trained
from train.methods.folded import FoldedTime
from train.methods.method import MethodError
from train.neurons import PIF, Mode


def modes_of(network):
    return {module.mode for module in network.modules() if isinstance(module, PIF)}


@pytest.mark.parametrize(("epochs", "folded"), [(0, 0), (3, 3), (10, 10), (-1, 10)])
def test_first_epochs_have_rates_and_the_others_spikes(tmp_path, epochs, folded):
    training = made_training(tmp_path)
    method = FoldedTime(epochs=epochs)
    method.begin(training)
    for epoch in range(10):
        method.begin_epoch(epoch)
        assert modes_of(training.network) == {Mode.RATES if epoch < folded else Mode.SPIKES}, epoch


def test_epoch_decides_alone_so_a_resumed_training_needs_no_state(tmp_path):
    for epoch, steps in ((2, 1), (3, 4)):
        training = made_training(tmp_path)
        method = FoldedTime(epochs=3)
        method.begin(training)
        method.begin_epoch(epoch)
        assert method.state() == {}
        assert training.network(images_and_labels(5, 1)[0], by_step=True).shape == (steps, 5, 3)


def test_first_layer_of_rates_counts_its_spikes(tmp_path):
    training = made_training(tmp_path)
    method = FoldedTime(epochs=1)
    method.begin(training)
    images = images_and_labels(6, 1)[0].float()[None].movedim(2, -1) / 256
    with torch.no_grad():
        method.begin_epoch(0)
        rates = training.network.chain[0](images)
        method.begin_epoch(1)
        spikes = training.network.chain[0](images)
    assert rates.unique().numel() > 2
    assert torch.equal(rates[0], spikes.mean(0))


@pytest.mark.parametrize("change", [{"reset": "zero"}, {"leak_shift": 3}])
def test_neurons_without_such_a_rate_are_not_folded(tmp_path, change):
    first, *others = ARCHITECTURE["layers"]
    training = made_training(tmp_path, {**ARCHITECTURE, "layers": [{**first, **change}, *others]})
    with pytest.raises(MethodError, match=r"^conv1 must subtract its threshold and not leak to be folded: "):
        FoldedTime(epochs=1).begin(training)
    FoldedTime(epochs=0).begin(training)


def test_more_largest_epochs_than_the_recipe_has_are_refused(tmp_path):
    text = r"^largest of folded-time must be at most the recipe's 10 epochs, not 11: -1 takes all$"
    with pytest.raises(MethodError, match=text):
        FoldedTime(epochs=-1, largest=11).begin(made_training(tmp_path))
    FoldedTime(epochs=-1, largest=10).begin(made_training(tmp_path))


@pytest.mark.parametrize(("largest", "first"), [(0, 0), (2, 2), (3, 3), (-1, 10)])
def test_pools_take_the_largest_rate_in_the_first_epochs(tmp_path, largest, first):
    training = made_training(tmp_path)
    method = FoldedTime(epochs=3, largest=largest)
    method.begin(training)
    pool = training.network.chain[1]
    maps = torch.full((1, 1, 2, 2, 1), 0.5)
    for epoch in range(10):
        method.begin_epoch(epoch)
        expected = 1 - 0.5**4 if first <= epoch < 3 else 0.5
        assert pool(maps).item() == expected, epoch


def test_statistics_are_those_of_the_mean_over_time_in_all_epochs(tmp_path):
    training = made_training(tmp_path)
    assert not training.network.norm_over_mean
    FoldedTime(epochs=1).begin(training)
    assert training.network.norm_over_mean


@pytest.mark.parametrize("methods", [(), ({"kind": "folded-time", "epochs": 1},)])
def test_measured_statistics_are_of_the_kind_of_the_training(tmp_path, methods, monkeypatch):
    seen = []
    monkeypatch.setattr(exact, "recalibrate", lambda checkpoint, _, *, over_mean: seen.append(over_mean) or checkpoint)
    training = made_training(tmp_path, epochs=2, calibration_images=8, methods=methods)
    training.run()
    finish(training, training.validation)
    assert seen == [bool(methods)]


def test_network_of_rates_is_exported_with_spikes(tmp_path):
    training = made_training(tmp_path, epochs=2, methods=({"kind": "folded-time", "epochs": -1},))
    training.run()
    assert modes_of(training.network) == {Mode.RATES}
    assert not training.files.checkpoint.exists()
    result = finish(training, training.validation)
    checkpoint = Checkpoint.load(training.files.checkpoint)
    assert result["checkpoint"] == training.files.checkpoint.name
    assert result["test_accuracy"] == exact.accuracy(checkpoint, training.validation.images,
                                                     training.validation.labels)
    trained = load_trained(tmp_path)
    assert modes_of(trained) == {Mode.RATES}
    for name, part in (("conv1", trained.chain[0]), ("fc1", trained.chain[2])):
        assert np.array_equal(checkpoint.tensors[f"{name}.weight"], part.synapses.weight.detach().numpy())
        assert np.array_equal(checkpoint.tensors[f"{name}.mean"], part.norm.running_mean.numpy())


def test_float_network_of_rates_is_not_exported(tmp_path):
    training = made_training(tmp_path, epochs=1, weights="float", methods=({"kind": "folded-time", "epochs": -1},))
    training.run()
    assert "checkpoint" not in finish(training, training.validation)
    assert modes_of(load_trained(tmp_path)) == {Mode.RATES}


@pytest.mark.parametrize(("largest", "form"), [(-1, "rates largest float"), (1, "rates float")])
def test_trained_network_comes_back_with_its_pools(tmp_path, largest, form):
    folded = {"kind": "folded-time", "epochs": -1, "largest": largest}
    training = made_training(tmp_path, epochs=2, weights="float", methods=(folded,))
    training.run()
    # Not finish(): it would let the network pass on spikes.
    training.files.result.write_text("{}")
    assert [entry["form"] for entry in training.history] == ["rates largest float", form]
    trained = load_trained(tmp_path)
    assert trained.form == form
    training.network.load_state_dict(trained.state_dict())
    images = training.validation.images
    with torch.no_grad():
        scores = training.network.eval()(images)
        assert torch.equal(trained(images), scores)
        trained.use_independent_rates(largest == -1)
        assert not torch.equal(trained(images), scores)


def test_more_epochs_of_largest_rates_than_of_rates_are_refused():
    with pytest.raises(MethodError, match=r"^largest of folded-time must be at most its 3 epochs, not 4: -1 "):
        FoldedTime(epochs=3, largest=4)
    with pytest.raises(MethodError, match=r"^largest of folded-time must be an integer from -1, not 1.5$"):
        FoldedTime(epochs=3, largest=1.5)
    FoldedTime(epochs=-1, largest=4)


@pytest.mark.parametrize("epochs", [-2, 1.0, True, "all"])
def test_wrong_number_of_epochs_is_named(epochs):
    with pytest.raises(MethodError, match=f"^epochs of folded-time must be an integer from -1, not {epochs!r}$"):
        FoldedTime(epochs=epochs)


def test_more_epochs_than_the_recipe_are_refused(tmp_path):
    text = r"^epochs of folded-time must be at most the recipe's 10, not 11: -1 folds all$"
    with pytest.raises(MethodError, match=text):
        FoldedTime(epochs=11).begin(made_training(tmp_path))
