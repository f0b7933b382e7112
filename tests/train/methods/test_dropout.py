import pytest
import torch

from tests.train.methods.stage import images_and_labels, made_training
from train.methods.dropout import Dropout
from train.methods.method import MethodError


def seen_by(layer):
    """Maps that the layer computes with, after hooks."""
    maps = []
    layer.register_forward_hook(lambda module, inputs, output: maps.append(inputs[0].detach()))
    return maps


def test_a_share_of_the_spikes_is_dropped_before_the_classifier_and_the_others_grow(tmp_path):
    training = made_training(tmp_path)
    method = Dropout(share=0.25)
    method.begin(training)
    _, pool, connected, readout = training.network.chain
    given, hidden, kept, last = [], [], seen_by(connected), seen_by(readout)
    pool.register_forward_hook(lambda module, inputs, output: given.append(output.detach()))
    connected.register_forward_hook(lambda module, inputs, output: hidden.append(output.detach()))
    method.begin_epoch(0)
    images, _ = images_and_labels(200, 4)
    training.network.train()(images)
    spikes, left = given[0], kept[0]
    assert left.unique().tolist() == pytest.approx([0, 4 / 3])
    assert (left[spikes == 0] == 0).all()
    assert (left[spikes == 1] > 0).float().mean().item() == pytest.approx(0.75, abs=0.01)
    same = (left > 0) == (spikes > 0)
    both = (spikes[0] > 0) & (spikes[1] > 0)
    # Timesteps are dropped on their own: of spikes in both, 2 x 1/4 x 3/4 survive in one only.
    assert (same[0] != same[1])[both].float().mean().item() == pytest.approx(0.375, abs=0.02)
    assert torch.equal(hidden[0], last[0])


def test_nothing_is_dropped_in_evaluation(tmp_path):
    training = made_training(tmp_path)
    images, _ = images_and_labels(8, 4)
    before = training.network.eval()(images)
    method = Dropout(share=0.5)
    method.begin(training)
    method.begin_epoch(0)
    assert torch.equal(training.network.eval()(images), before)


def test_epochs_draw_differently_and_again_the_same(tmp_path):
    training = made_training(tmp_path)
    method = Dropout(share=0.5)
    method.begin(training)
    maps = seen_by(training.network.chain[2])
    images, _ = images_and_labels(32, 4)
    for epoch in (0, 1, 0):
        method.begin_epoch(epoch)
        training.network.train()(images)
    assert not torch.equal(maps[0], maps[1])
    assert torch.equal(maps[0], maps[2])


def test_processes_draw_differently(tmp_path, monkeypatch):
    training = made_training(tmp_path)
    method = Dropout(share=0.5)
    method.begin(training)
    maps = seen_by(training.network.chain[2])
    images, _ = images_and_labels(32, 4)
    for rank in (0, 1):
        monkeypatch.setattr("train.distributed.rank", lambda rank=rank: rank)
        method.begin_epoch(0)
        training.network.train()(images)
    assert not torch.equal(maps[0], maps[1])


def test_resumed_training_is_the_uninterrupted_one(tmp_path):
    methods = [{"kind": "dropout", "share": 0.3}]
    whole = made_training(tmp_path / "whole", methods=methods, epochs=2)
    whole.run()
    first = made_training(tmp_path / "parts", methods=methods, epochs=2)
    first.run_epoch()
    second = made_training(tmp_path / "parts", methods=methods, epochs=2)
    assert second.resume()
    second.run()
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name]), name
    plain = made_training(tmp_path / "plain", epochs=2)
    plain.run()
    assert not torch.equal(plain.network.chain[2].synapses.weight, whole.network.chain[2].synapses.weight)


def test_wrong_share_is_named():
    with pytest.raises(MethodError, match=r"^share of dropout must be a number from 0 to 0\.99, not 1$"):
        Dropout(share=1)
