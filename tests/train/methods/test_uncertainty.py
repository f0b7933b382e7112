import math

import pytest
import torch

from tests.train.methods.stage import ARCHITECTURE, batch_of, images_and_labels, made_training
from train.methods.method import MethodError
from train.methods.uncertainty import (
    TERMS,
    Uncertainty,
    confidence_gap,
    predictive_entropy,
    rate_distance,
    spread_over_time,
)

#: One image, two timesteps, two classes: probabilities 1/2, 1/2 and 3/4, 1/4; their mean is 5/8, 3/8.
SCORES = torch.tensor([[[0.0, 0.0]], [[math.log(3), 0.0]]])


def random_scores(seed=7, dtype=torch.float64):
    return torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def begun(tmp_path, **options):
    method = Uncertainty(**options)
    method.begin(made_training(tmp_path))
    return method


def test_entropy_by_hand():
    wanted = -(5 / 8 * math.log(5 / 8) + 3 / 8 * math.log(3 / 8))
    assert predictive_entropy(SCORES).item() == pytest.approx(wanted, rel=1e-6)
    assert predictive_entropy(torch.zeros(2, 3, 10)).item() == pytest.approx(math.log(10), rel=1e-6)


def test_entropy_of_a_sure_prediction_is_zero_and_has_a_gradient():
    scores = torch.tensor([[[1000.0, 0.0]]], requires_grad=True)
    predictive_entropy(scores).backward()
    assert predictive_entropy(scores).item() == 0
    assert scores.grad.tolist() == [[[0, 0]]]


def test_spread_by_hand():
    # Both classes are 1/8 away from their mean in both timesteps.
    assert spread_over_time(SCORES).item() == pytest.approx(2 / 64, rel=1e-6)
    assert spread_over_time(SCORES[:1]).item() == 0
    opposite = torch.tensor([[[1000.0, 0.0]], [[0.0, 1000.0]]])
    assert spread_over_time(opposite).item() == pytest.approx(0.5)


def test_rate_distance_by_hand():
    quarter, silent = torch.tensor([[1.0, 0.0, 0.0, 0.0]]), torch.zeros(3, 5)
    assert rate_distance([quarter]).item() == pytest.approx(1 / 16)
    assert rate_distance([quarter, silent]).item() == pytest.approx((1 / 16 + 1 / 4) / 2)


def test_rate_of_many_bfloat16_spikes_is_counted_exactly():
    spikes = torch.zeros(4096, dtype=torch.bfloat16)
    spikes[:2049] = 1
    assert rate_distance([spikes]).item() == pytest.approx((1 / 4096) ** 2)


def test_confidence_gap_by_hand():
    # Confidences 5/8 for class 0 and 9/10 for class 1, mean 0.7625; one of two is right.
    scores = torch.cat([SCORES, torch.tensor([[0.0, math.log(9)]]).expand(2, 1, 2)], 1)
    assert confidence_gap(scores, torch.tensor([0, 0])).item() == pytest.approx(0.2625, rel=1e-5)
    assert confidence_gap(scores, torch.tensor([0, 1])).item() == pytest.approx(0.2375, rel=1e-5)
    assert confidence_gap(scores, torch.tensor([1, 0])).item() == pytest.approx(0.7625, rel=1e-5)


@pytest.mark.parametrize("function", [
    predictive_entropy, spread_over_time, lambda scores: rate_distance([scores, scores[0]]),
    lambda scores: confidence_gap(scores, torch.tensor([0, 1, 2, 3]))], ids=TERMS)
def test_gradients_are_those_of_finite_differences(function):
    assert torch.autograd.gradcheck(function, random_scores().requires_grad_())


def test_confidence_goes_down_where_it_is_above_the_accuracy_and_up_where_below():
    confidence = random_scores().softmax(-1).mean(0).max(-1)
    for labels, sign in ((confidence.indices, 1), ((confidence.indices + 1) % 5, -1)):
        scores = random_scores().requires_grad_()
        confidence_gap(scores, labels).backward()
        after = (scores.detach() - 0.1 * scores.grad).softmax(-1).mean(0).max(-1).values.mean()
        assert sign * (after - confidence.values.mean()) > 0


def test_sign_of_the_weight_makes_predictions_sure_or_unsure(tmp_path):
    before = predictive_entropy(random_scores())
    for weight in (2.0, -2.0):
        scores = random_scores().requires_grad_()
        begun(tmp_path, weight=weight, of="entropy").add_loss(batch_of(scores, [0, 1, 2, 3])).backward()
        after = predictive_entropy(scores.detach() - 0.1 * scores.grad)
        assert weight * (after - before) < 0


def test_method_adds_the_weighted_term(tmp_path):
    scores, labels = random_scores(dtype=torch.float32), [0, 1, 2, 3]
    spikes = [torch.full((4, 2, 2, 2, 1), share) for share in (0.9, 0.8, 0.3)]
    wanted = {"entropy": predictive_entropy(scores), "variance": spread_over_time(scores),
              # Not the first layer's and not the pool's.
              "rate": torch.tensor(0.04), "calibration": confidence_gap(scores, torch.tensor(labels))}
    assert tuple(wanted) == TERMS
    for of, value in wanted.items():
        assert value > 0
        term = begun(tmp_path, weight=0.5, of=of).add_loss(batch_of(scores, labels, spikes=spikes))
        assert torch.allclose(term, 0.5 * value), of


@pytest.mark.parametrize("of", TERMS)
def test_training_adds_the_term_to_its_loss(tmp_path, of):
    images, labels = images_and_labels(16, 6)
    # The same seed makes the same network.
    plain, training = made_training(tmp_path), made_training(
        tmp_path, methods=({"kind": "uncertainty", "weight": 0.5, "of": of},))
    spikes = []
    by_step = plain.network(images, spikes, by_step=True)
    term = {"entropy": lambda: predictive_entropy(by_step), "variance": lambda: spread_over_time(by_step),
            "rate": lambda: rate_distance([spikes[2]]), "calibration": lambda: confidence_gap(by_step, labels)}[of]()
    assert term > 0
    loss = training.loss(images, labels)[0]
    assert torch.allclose(loss, plain.loss(images, labels)[0] + 0.5 * term)
    gradients = torch.autograd.grad(loss, list(training.network.parameters()))
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert training.run_epoch()["exportable"]


@pytest.mark.parametrize(("weights", "other"), [
    ("float", {"kind": "conversion-aware"}), ("ternary", {"kind": "conversion", "calibration_images": 8})])
def test_values_that_are_no_rates_are_refused(tmp_path, weights, other):
    methods = [{"kind": "uncertainty", "weight": 1.0, "of": "rate"}, other]
    text = (rf"^uncertainty \(rate\) must have neurons that pass on spikes or rates, not those of {other['kind']}: "
            rf"leave one of the two out of the recipe$")
    with pytest.raises(MethodError, match=text):
        made_training(tmp_path, weights=weights, methods=methods)
    made_training(tmp_path, weights=weights, methods=[{**methods[0], "of": "entropy"}, other])


def test_network_without_a_second_layer_has_no_rates(tmp_path):
    layers = ARCHITECTURE["layers"]
    shallow = {**ARCHITECTURE, "layers": [*layers[:2], layers[3]]}
    method = Uncertainty(weight=1.0, of="rate")
    text = r"^uncertainty \(rate\) must have a layer of neurons after the first, not only one$"
    with pytest.raises(MethodError, match=text):
        method.begin(made_training(tmp_path, shallow))
    Uncertainty(weight=1.0, of="variance").begin(made_training(tmp_path, shallow))


@pytest.mark.parametrize(("options", "text"), [
    ({"weight": 1, "of": "doubt"},
     r"term of uncertainty must be entropy or variance or rate or calibration, not 'doubt'"),
    ({"weight": -1, "of": "rate"}, r"weight of uncertainty \(rate\) must be a number from 0 to 1000, not -1"),
    ({"weight": -1, "of": "calibration"},
     r"weight of uncertainty \(calibration\) must be a number from 0 to 1000, not -1"),
    ({"weight": "1"}, r"weight of uncertainty \(entropy\) must be a number from -1000 to 1000, not '1'")])
def test_wrong_options_are_named(options, text):
    with pytest.raises(MethodError, match=f"^{text}$"):
        Uncertainty(**options)
