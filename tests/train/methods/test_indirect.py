import pytest
import torch

from tests.train.methods.stage import images_and_labels, made_training
from train import quantisers
from train.finishing import finish
from train.methods.indirect import Indirect, projected
from train.methods.method import MethodError
from train.synapses import ProjectedConv2d, TernaryLinear

EPOCHS = 10


def begun(tmp_path, **options):
    training = made_training(tmp_path)
    method = Indirect(**{"period": 2, "final_epochs": 3, **options})
    method.begin(training)
    return method, training


def values_of(weight):
    """Number of magnitudes of each output channel."""
    return [row.abs().unique().numel() for row in weight.detach().flatten(1)]


@pytest.mark.parametrize(("options", "epochs"), [
    ({"period": 2}, [2, 4, 6]), ({"period": 7}, [7]),
    # Periods of 4, 2, 1 and 1 epochs.
    ({"period": 4, "shrink": 0.5}, [4, 6, 7]), ({"period": 5, "shrink": 0}, [5, 6, 7]),
    ({"period": 3, "shrink": 0.9}, [3, 5, 6, 7])])
def test_weights_are_projected_after_each_period(tmp_path, options, epochs):
    method, training = begun(tmp_path, **options)
    assert method.projections(EPOCHS - 3) == epochs
    network = training.network
    for epoch in range(EPOCHS):
        with torch.no_grad():
            for part in network.synapses():
                part.weight += 0.1 * torch.randn(part.weight.shape)
        before = [part.weight.detach().clone() for part in network.synapses()]
        method.begin_epoch(epoch)
        for part, weight in zip(network.synapses(), before, strict=True):
            assert torch.equal(part.weight, weight) == (epoch not in epochs), epoch
            if epoch in epochs:
                assert max(values_of(part.weight)) <= 2, epoch
            assert isinstance(part.quantiser, quantisers.Ternary if epoch >= 7 else quantisers.Float), epoch


def test_a_filter_is_projected_with_its_shortcut():
    """One scale and one threshold for all its weights: those of the kernel and those that see an earlier map."""
    part = ProjectedConv2d(1, 1, 1, beside=3)
    part.weight.data = torch.tensor([[3.0, -1.0, 0.0, 0.0]])
    assert projected(part, quantisers.Ternary()).tolist() == [[2.0, -2.0, 0.0, 0.0]]


def test_projection_by_hand():
    part = TernaryLinear(4, 2)
    part.weight.data = torch.tensor([[3.0, -1.0, 0.0, 0.0], [2.0, 4.0, -6.0, 1.0]])
    # Thresholds 0.7 and 2.275; scales 2 and 5.
    assert projected(part, quantisers.Ternary()).tolist() == [[2, -2, 0, 0], [0, 5, -5, 0]]
    part.per_channel = False
    # One threshold, 0.7 * 17 / 8 = 1.4875; one scale, (3 + 2 + 4 + 6) / 4.
    assert projected(part, quantisers.Ternary()).tolist() == [[3.75, 0, 0, 0], [3.75, 3.75, -3.75, 0]]


def test_period_that_never_ends_is_refused(tmp_path):
    text = (r"^period of indirect must be at most the 7 epochs before the final ones, not 8: nothing would be "
            r"projected$")
    with pytest.raises(MethodError, match=text):
        begun(tmp_path, period=8)


def test_projected_network_computes_the_same_float_and_quantised(tmp_path):
    method, training = begun(tmp_path)
    network, images = training.network.eval(), images_and_labels(8, 2)[0]
    method.begin_epoch(1)
    float_scores = network(images)
    method.begin_epoch(2)
    projected_scores = network(images)
    assert not network.exportable
    method.begin_epoch(9)
    assert network.exportable
    assert torch.allclose(network(images), projected_scores, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(float_scores, projected_scores, rtol=1e-2)


def test_float_epochs_have_the_plain_gradient(tmp_path):
    method, training = begun(tmp_path)
    method.begin_epoch(0)
    readout = training.network.chain[-1].synapses
    inputs = torch.randn(5, 12, generator=torch.Generator().manual_seed(3))
    readout(inputs).sum().backward()
    assert torch.allclose(readout.weight.grad, inputs.sum(0).expand(3, 12), atol=1e-5)


def test_resumed_training_equals_an_uninterrupted_one(tmp_path):
    def training(name):
        return made_training(tmp_path / name, epochs=5, learning_rate=0.01,
                             methods=({"kind": "indirect", "period": 1, "final_epochs": 2},))

    whole = training("whole")
    whole.run()
    for epoch in range(5):
        part = training("parts")
        assert part.resume() == (epoch > 0)
        part.run_epoch()
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, part.network.state_dict()[name]), name
    assert [entry["quantisation_error"] for entry in part.history] == [
        entry["quantisation_error"] for entry in whole.history]
    assert [entry["exportable"] for entry in whole.history] == [False, False, False, True, True]
    # What is kept as the best is one of the quantised epochs.
    assert finish(whole, whole.validation)["epoch"] >= 4


def test_distance_from_ternary_is_noted(tmp_path):
    method, training = begun(tmp_path)
    parts = list(training.network.synapses())
    for part in parts:
        part.weight.data.zero_()
    # |W|^2 is 3 * (9 + 1), the distance 3 * (1 + 1).
    parts[-1].weight.data[:, 0], parts[-1].weight.data[:, 1] = 3.0, -1.0
    entry = {}
    method.end_epoch(entry)
    assert entry == {"quantisation_error": pytest.approx(0.2)}


def test_recipe_chooses_the_quantiser(tmp_path):
    training = made_training(tmp_path)
    for part in training.network.synapses():
        part.quantiser = quantisers.Binary()
    method = Indirect(period=1, final_epochs=1)
    method.begin(training)
    method.begin_epoch(1)
    for part in training.network.synapses():
        assert set(values_of(part.weight)) == {1}
    method.begin_epoch(9)
    assert all(isinstance(part.quantiser, quantisers.Binary) for part in training.network.synapses())


def test_float_weights_cannot_be_projected(tmp_path):
    training = made_training(tmp_path)
    next(training.network.synapses()).quantiser = quantisers.Float()
    with pytest.raises(MethodError, match=r"^weights must be ternary or binary for indirect, not float$"):
        Indirect(period=1, final_epochs=1).begin(training)


def test_recipe_without_a_float_epoch_is_refused(tmp_path):
    with pytest.raises(MethodError, match=r"^final_epochs of indirect must be below the recipe's 10 epochs, not 10$"):
        Indirect(period=1, final_epochs=10).begin(made_training(tmp_path))


@pytest.mark.parametrize(("options", "text"), [
    ({"period": 0}, r"period of indirect must be an integer from 1, not 0"),
    ({"period": 1.5}, r"period of indirect must be an integer from 1, not 1\.5"),
    ({"final_epochs": 0}, r"final_epochs of indirect must be an integer from 1, not 0"),
    ({"shrink": 1.5}, r"shrink of indirect must be a number from 0 to 1, not 1\.5")])
def test_wrong_options_are_named(options, text):
    with pytest.raises(MethodError, match=f"^{text}$"):
        Indirect(**{"period": 2, "final_epochs": 3, **options})
