import math

import pytest
import torch

from tests.train.methods.stage import batch_of, images_and_labels, made_training
from train.methods.method import MethodError
from train.methods.temporal import TemporalLoss


def begun(tmp_path, label_smoothing=0.0, **options):
    method = TemporalLoss(**options)
    method.begin(made_training(tmp_path, label_smoothing=label_smoothing))
    return method


def test_loss_is_the_mean_of_the_cross_entropies_by_hand(tmp_path):
    # One image of class 0; probabilities of it 1/2 and 3/4.
    batch = batch_of([[[0.0, 0.0]], [[math.log(3), 0.0]]], [0])
    wanted = (math.log(2) + math.log(4 / 3)) / 2
    assert begun(tmp_path).replace_loss(batch).item() == pytest.approx(wanted, rel=1e-6)
    # The mean scores have another cross-entropy, a smaller one.
    assert wanted > math.log(1 + 1 / math.sqrt(3))


def test_second_term_draws_all_scores_to_the_target(tmp_path):
    batch = batch_of([[[0.0, 0.0]], [[math.log(3), 0.0]]], [0])
    first = (math.log(2) + math.log(4 / 3)) / 2
    second = (3 * 4 + (math.log(3) - 2) ** 2) / 4
    loss = begun(tmp_path, lamb=0.25, target=2.0).replace_loss(batch)
    assert loss.item() == pytest.approx(0.75 * first + 0.25 * second, rel=1e-6)


def test_one_timestep_has_the_plain_loss_with_the_recipes_smoothing(tmp_path):
    generator = torch.Generator().manual_seed(3)
    scores, labels = torch.randn(1, 5, 4, generator=generator), [0, 3, 1, 2, 2]
    wanted = torch.nn.functional.cross_entropy(scores[0], torch.tensor(labels), label_smoothing=0.2)
    loss = begun(tmp_path, label_smoothing=0.2).replace_loss(batch_of(scores, labels))
    assert torch.allclose(loss, wanted)


def test_gradient_is_that_of_finite_differences(tmp_path):
    method = begun(tmp_path, label_smoothing=0.1, lamb=0.3, target=0.5)
    scores = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(4), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: method.replace_loss(batch_of(z, [0, 4, 2, 2])), scores)


def test_training_has_the_loss_of_every_timestep(tmp_path):
    training = made_training(tmp_path, methods=({"kind": "temporal-loss"},))
    images, labels = images_and_labels(16, 6)
    loss, scores = training.loss(images, labels)
    by_step = training.network(images, by_step=True)
    wanted = [torch.nn.functional.cross_entropy(step, labels) for step in by_step]
    assert len(wanted) == 4
    assert torch.allclose(loss, torch.stack(wanted).mean())
    assert torch.allclose(scores, by_step.mean(0))
    assert training.run_epoch()["exportable"]


@pytest.mark.parametrize(("options", "text"), [
    ({"lamb": 1.1}, r"lamb of temporal-loss must be a number from 0 to 1, not 1\.1"),
    ({"lamb": None}, r"lamb of temporal-loss must be a number from 0 to 1, not None"),
    ({"target": math.nan}, r"target of temporal-loss must be a number from -1000 to 1000, not nan")])
def test_wrong_options_are_named(options, text):
    with pytest.raises(MethodError, match=f"^{text}$"):
        TemporalLoss(**options)
