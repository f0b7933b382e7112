import dataclasses
import itertools
import json
import math
import re

import numpy as np
import pytest
import torch
from torch import nn

from arch.checkpoint import Checkpoint
from export import steps
from export.folding import fold
from tests.train.test_training import made
from train import methods, quantisers, training
from train.finishing import finish
from train.methods import cbp
from train.methods.activations import activation_percentiles
from train.methods.cbp import ConstrainedBackpropagation, constraint, next_granularity, sawtooth
from train.methods.method import MethodError
from train.network import build
from train.recipe import Recipe

SEED = 31
NEURONS = {"reset": "subtract", "leak_shift": None, "epsilon": 1e-5}
ARCHITECTURE = {
    "input": {"encoding": "pixels", "channels": 1, "height": 8, "width": 8, "zero_point": 0, "scale": 1 / 256},
    "timesteps": 4,
    "layers": [{"kind": "convolution", "name": "conv1", "channels": 6, "kernel": 3, "stride": 2, "padding": 1,
                **NEURONS},
               {"kind": "fully-connected", "name": "fc1", "neurons": 12, **NEURONS},
               {"kind": "readout", "name": "readout", "classes": 3}]}


@pytest.fixture
def known(monkeypatch):
    monkeypatch.setitem(methods.METHODS, "cbp", ConstrainedBackpropagation)


def trained(folder, name, **changes):
    values = {"name": name, "dataset": "mnist", "architecture": ARCHITECTURE, "epochs": 3, "batch_size": 16,
              "learning_rate": 0.01, "calibration_images": 0, **changes}
    return training.Training(recipe=Recipe(**values), train=made(96, 1), validation=made(40, 2),
                             folder=folder / name)


def finished(folder, name, **changes):
    run = trained(folder, name, **changes)
    run.run()
    finish(run, made(60, 3))
    return run


def reference_sawtooth(w, levels):
    """The three cases of the paper, as they stand there."""
    if w < levels[0]:
        return -2 * (w - levels[0])
    for low, high in itertools.pairwise(levels):
        if low <= w < high:
            return (high - low) - 2 * abs(w - (low + high) / 2)
    return 2 * (w - levels[-1])


@pytest.mark.parametrize(("ternary", "levels"), [(True, [-0.5, 0, 0.5]), (False, [-0.5, 0.5])])
def test_sawtooth_has_the_papers_three_cases(ternary, levels):
    grid = torch.arange(-64, 65) / 64
    wanted = [reference_sawtooth(w, levels) for w in grid.tolist()]
    assert sawtooth(grid, 0.5, ternary=ternary).tolist() == wanted
    assert max(wanted[32:97]) == (0.5 if ternary else 1.0)


def test_sawtooth_by_hand():
    values = torch.tensor([-1.0, -0.5, -0.375, -0.25, -0.125, 0.0, 0.25, 0.3125, 0.75])
    assert sawtooth(values, 0.5, ternary=True).tolist() == [1, 0, 0.25, 0.5, 0.25, 0, 0.5, 0.375, 0.5]
    assert sawtooth(values, 0.5, ternary=False).tolist() == [1, 0, 0.25, 0.5, 0.75, 1, 0.5, 0.375, 0.5]


def test_window_opens_around_the_medians():
    # Ternary, a = 1/2: medians +-1/4, gap 1/2; g = 2 leaves |w - m| < 1/8 unconstrained.
    values = torch.tensor([0.0, 0.0625, 0.125, 0.1875, 0.25, 0.3125, 0.375, 0.4375, 0.5, 0.75])
    assert constraint(values, 0.5, ternary=True, granularity=1).tolist() == [0] * 9 + [0.5]
    assert constraint(values, 0.5, ternary=True, granularity=2).tolist() == [
        0, 0.125, 0.25, 0, 0, 0, 0.25, 0.125, 0, 0.5]
    # g = 4: |w - m| < 1/16.
    assert constraint(values, 0.5, ternary=True, granularity=4).tolist() == [
        0, 0.125, 0.25, 0.375, 0, 0.375, 0.25, 0.125, 0, 0.5]
    # Binary: median 0, gap 1, g = 2 leaves |w| < 1/4.
    assert constraint(values, 0.5, ternary=False, granularity=2).tolist() == [
        0, 0, 0, 0, 0.5, 0.375, 0.25, 0.125, 0, 0.5]


@pytest.mark.parametrize("ternary", [True, False])
@pytest.mark.parametrize("granularity", [1, 2, 3, 10, 1000])
def test_window_is_that_of_the_paper(ternary, granularity):
    weight = torch.randn(2000, generator=torch.Generator().manual_seed(SEED))
    gap = 0.5 if ternary else 1.0
    median = torch.full_like(weight, 0.25) * weight.sign() if ternary else torch.zeros_like(weight)
    inside = weight.abs() <= 0.5
    free = inside & ((weight - median).abs() < gap / (2 * granularity))
    wanted = torch.where(free, 0, sawtooth(weight, 0.5, ternary=ternary))
    assert torch.equal(constraint(weight, 0.5, ternary=ternary, granularity=granularity), wanted)
    assert 0 < free.sum() < inside.sum() or granularity == 1


@pytest.mark.parametrize("ternary", [True, False])
@pytest.mark.parametrize("granularity", [1, 3, 20])
def test_slope_of_the_constraint_is_its_finite_difference(ternary, granularity):
    weight = (torch.arange(-40, 40) / 37.0 + 0.003).requires_grad_()
    values = constraint(weight, 0.5, ternary=ternary, granularity=granularity)
    (slope,) = torch.autograd.grad(values.sum(), weight)
    step = 2.0**-11
    with torch.no_grad():
        left, right = (constraint(weight + by, 0.5, ternary=ternary, granularity=granularity) for by in (-step, step))
    # The constraint jumps at the edges of a window: at most two per gap.
    smooth = (right - left).abs() < 0.1
    assert smooth.sum() >= 76
    assert torch.allclose(slope[smooth], ((right - left) / (2 * step))[smooth], atol=1e-3)
    assert set(slope.tolist()) <= {-2.0, 0.0, 2.0}
    assert {-2.0, 2.0} <= set(slope.tolist())


def test_granularity_goes_by_one_then_by_ten():
    values = [1]
    for _ in range(13):
        values.append(next_granularity(values[-1]))
    assert values == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 30, 40, 50]


class Plain:
    """What the method sees of a training."""

    def __init__(self):
        self.network = build(ARCHITECTURE)
        self.factors = []

    def load_weights(self, name):
        assert name == "teacher"
        with torch.no_grad():
            for part in self.network.synapses():
                part.weight.fill_(0.25)
                part.weight.view(-1)[:2] = torch.tensor([0.5, 0.0])
        return "spikes float"

    def scale_learning_rate(self, factor):
        self.factors.append(factor)


@pytest.fixture
def begun():
    """A method after its beginning, on a network whose weights are 1/4 but for some that are 1/2 and 0."""

    def make(**options):
        plain = Plain()
        method = ConstrainedBackpropagation(start="teacher", **options)
        method.begin(plain)
        return method, plain

    return make


@pytest.mark.parametrize("levels", ["ternary", "binary"])
def test_beginning_fixes_the_levels_and_raises_the_multipliers_once(begun, levels):
    method, plain = begun(levels=levels, multiplier_rate=0.01)
    for part, multiplier in zip(plain.network.synapses(), method._multipliers, strict=True):
        assert isinstance(part.quantiser, quantisers.Levels)
        assert part.quantiser.scale == pytest.approx(0.25)
        assert part.quantiser.ternary == (levels == "ternary")
        # At g = 1 only the weight outside the levels is constrained; Adam's first step is its learning rate.
        assert multiplier.view(-1)[0] == pytest.approx(0.01, rel=1e-5)
        assert not multiplier.view(-1)[1:].any()


def test_lagrangian_and_its_gradient_by_hand(begun):
    method, plain = begun(multiplier_rate=0.01)
    assert method.add_loss(None).item() == pytest.approx(3 * 0.01 * 0.5, rel=1e-5)
    for multiplier in method._multipliers:
        multiplier.fill_(3.0)
    method._granularity = 2
    with torch.no_grad():
        for part in plain.network.synapses():
            # Nearest levels 1/4, 0, -1/4, and one weight in the window.
            part.weight.view(-1)[:5] = torch.tensor([0.5, 0.046875, -0.203125, 0.125, 0.28125])
    loss = method.add_loss(None)
    # Y: 0.5, 0.09375, 0.09375, (0.25, in the window), 0.0625; all others sit on their level.
    assert loss.item() == pytest.approx(3 * 3 * (0.5 + 0.09375 + 0.09375 + 0.0625), abs=1e-5)
    loss.backward()
    for part in plain.network.synapses():
        assert part.weight.grad.view(-1)[:5].tolist() == [6, 6, 6, 0, 6]
        assert method.failure() == pytest.approx(
            3 * (0.5 + 0.09375 + 0.09375 + 0.25 + 0.0625) / sum(p.weight.numel() for p in method._parts), rel=1e-5)
    method.before_step()
    for part in plain.network.synapses():
        assert part.weight.grad.view(-1)[:5].tolist() == [1, 1, 1, 0, 1]


def test_weights_are_clamped_after_a_step(begun):
    method, plain = begun()
    with torch.no_grad():
        for part in plain.network.synapses():
            part.weight.view(-1)[:3] = torch.tensor([1.5, -7.0, 0.75])
    method.after_step()
    for part in plain.network.synapses():
        assert part.weight.view(-1)[:3].tolist() == [1.0, -1.0, 0.75]


def test_schedule_step_by_step(begun):
    method, plain = begun(patience=3)
    seen = []
    for loss in [5.0, 4.0, 3.0,    # three epochs without an update: patience
                 9.0, 9.0,         # nothing before to compare with, then not below it
                 8.0, 8.5,         # above
                 7.0, 6.0, 6.5,    # patience again
                 1.0, 0.5]:
        entry = {"loss": loss}
        method.end_epoch(entry)
        seen.append((entry["granularity"], method._granularity, method._waited, method._previous))
    assert seen == [(1, 1, 1, 5.0), (1, 1, 2, 4.0), (1, 2, 0, math.inf),
                    (2, 2, 1, 9.0), (2, 3, 0, math.inf),
                    (3, 3, 1, 8.0), (3, 4, 0, math.inf),
                    (4, 4, 1, 7.0), (4, 4, 2, 6.0), (4, 5, 0, math.inf),
                    (5, 5, 1, 1.0), (5, 5, 2, 0.5)]
    assert plain.factors == []


def test_learning_rate_is_cut_once_at_twenty(begun):
    method, plain = begun(patience=1)
    at = []
    for _ in range(14):
        method.end_epoch({"loss": 1.0})
        at.append((method._granularity, len(plain.factors)))
    assert at == [(g, 0) for g in range(2, 11)] + [(20, 1), (30, 1), (40, 1), (50, 1), (60, 1)]
    assert plain.factors == [0.1]


def test_multipliers_grow_by_adam_on_the_constraint_with_the_new_granularity(begun):
    method, plain = begun(patience=1, multiplier_rate=0.01)
    with torch.no_grad():
        for part in plain.network.synapses():
            part.weight.view(-1)[1] = 0.046875
    mirrors = [nn.Parameter(torch.zeros_like(m)) for m in method._multipliers]
    mirror = torch.optim.Adam(mirrors, lr=0.01)

    def minimise(granularity, change=None):
        mirror.zero_grad()
        weights = [part.weight.detach().clone() for part in plain.network.synapses()]
        for weight in weights:
            if change is not None:
                weight.view(-1)[1] = change
        values = [constraint(w, s, ternary=True, granularity=granularity)
                  for w, s in zip(weights, method._scales, strict=True)]
        (-sum((m * v).sum() for m, v in zip(mirrors, values, strict=True))).backward()
        mirror.step()

    minimise(1, change=0.0)
    for granularity in (2, 3, 4):
        method.end_epoch({"loss": 1.0})
        minimise(granularity)
    for ours, theirs in zip(method._multipliers, mirrors, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-6, atol=0)
        assert (ours.view(-1)[:2] > 0.02).all()
    # Between 0 and 1/4 the weight was free at g = 1, so its multiplier has missed one of four steps.
    assert ours.view(-1)[1] < ours.view(-1)[0]


def test_resumed_training_equals_an_uninterrupted_one(tmp_path, known):
    finished(tmp_path, "teacher", weights="float")
    options = {"methods": ({"kind": "cbp", "start": "teacher", "patience": 2, "multiplier_rate": 0.02},), "epochs": 5}
    whole = trained(tmp_path, "whole", **options)
    whole.run()
    for _ in range(5):
        part = trained(tmp_path, "part", **options)
        assert part.resume() == part.files.state.exists()
        part.run_epoch()
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, part.network.state_dict()[name]), name
    ours, theirs = whole.methods[0], part.methods[0]
    assert ours._granularity == theirs._granularity > 1
    for a, b in zip(ours._multipliers, theirs._multipliers, strict=True):
        assert torch.equal(a, b)
        assert a.any()
    metrics = [[{key: value for key, value in json.loads(line).items() if "seconds" not in key}
                for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
               for name in ("whole", "part")]
    assert metrics[0] == metrics[1]
    assert len(metrics[0]) == 5


@pytest.mark.parametrize("levels", ["ternary", "binary"])
def test_constraint_is_met_in_the_end_and_the_network_exports(tmp_path, known, levels):
    finished(tmp_path, "teacher", weights="float", epochs=6)
    run = trained(tmp_path, "student", epochs=30, learning_rate=0.02, optimiser="sgd",
                  methods=({"kind": "cbp", "start": "teacher", "levels": levels, "patience": 2,
                            "multiplier_rate": 0.02},))
    run.run()
    failures = [entry["constraint_failure"] for entry in run.history]
    assert failures[-1] < 0.5 * failures[0]
    assert finish(run, made(60, 3))["test_accuracy"] > 0.9
    checkpoint = Checkpoint.load(run.files.checkpoint)
    allowed = {-1, 0, 1} if levels == "ternary" else {-1, 1}
    for name in ("conv1", "fc1", "readout"):
        assert set(np.unique(checkpoint.tensors[f"{name}.ternary"])) <= allowed
        assert len(np.unique(checkpoint.tensors[f"{name}.alpha"])) == 1
    certified = steps.certify(checkpoint, fold(checkpoint), max_fraction=8)
    network = steps.assemble(checkpoint, certified, {})
    images = made(60, 3).images.numpy()
    assert not sum(steps.verify(checkpoint, steps.pack(network), images).mismatches)


def test_network_made_by_conversion_is_trained_further(tmp_path, known):
    ann = finished(tmp_path, "ann", weights="float", epochs=8, methods=(
        {"kind": "conversion", "weights": "float", "calibration_images": 50},))
    many = {**ARCHITECTURE, "timesteps": 16}
    method = {"kind": "cbp", "start": "ann", "percentile": 99.9, "calibration_images": 50, "patience": 1,
              "multiplier_rate": 0.02}
    run = trained(tmp_path, "student", architecture=many, epochs=6, learning_rate=0.02, optimiser="sgd",
                  methods=(method,))
    weights = [part.weight.detach() for part in ann.network.synapses()]
    maxima = [values[0] for values in activation_percentiles(
        ann.network, ann.train.images[:50], [99.9]).values()]
    for old, part, factor in zip(weights, run.network.synapses(), [1.0, *maxima], strict=True):
        assert torch.allclose(part.weight, factor * old)
        assert part.quantiser.scale == pytest.approx(float(part.weight.detach().abs().mean()))
    for part in run.network.synapses():
        part.quantiser = quantisers.Float()
    images = made(60, 3).images
    with torch.no_grad():
        agreed = (run.network.eval()(images).argmax(1) == ann.network.eval()(images).argmax(1)).float().mean()
    assert agreed > 0.9
    run = trained(tmp_path, "student", architecture=many, epochs=6, learning_rate=0.02, optimiser="sgd",
                  methods=(method,))
    run.run()
    assert finish(run, made(60, 3))["test_accuracy"] > 0.9


def test_too_few_images_to_balance_with_are_named(tmp_path, known):
    finished(tmp_path, "ann", weights="float", epochs=1, methods=(
        {"kind": "conversion", "weights": "float", "calibration_images": 50},))
    text = "^cbp calibration_images must be at most 96, the training images, not 97$"
    with pytest.raises(MethodError, match=text):
        trained(tmp_path, "student", methods=({"kind": "cbp", "start": "ann", "percentile": 99.9,
                                               "calibration_images": 97},))


@pytest.mark.parametrize(("given", "methods", "text"), [
    (99.9, (), "cbp percentile must not be given to start from a network with spikes: it converts ReLU"),
    (None, ({"kind": "conversion", "weights": "float", "calibration_images": 50},),
     "cbp percentile must be given to start from a network with relu: it converts ReLU")])
def test_percentile_is_for_starts_with_relu(tmp_path, known, given, methods, text):
    finished(tmp_path, "first", weights="float", epochs=1, methods=methods)
    with pytest.raises(MethodError, match=f"^{tmp_path}/first: {text}$"):
        trained(tmp_path, "student", methods=({"kind": "cbp", "start": "first", "percentile": given},))


def test_layer_without_reachable_levels_is_refused():
    class Large(Plain):
        def load_weights(self, name):
            nn.init.constant_(next(self.network.synapses()).weight, 1.5)
            return "spikes float"

    message = ("cbp needs weighted layers of a mean magnitude above 0 and up to 1, not 1.5 (layer 0 of teacher)")
    with pytest.raises(MethodError, match=f"^{re.escape(message)}$"):
        ConstrainedBackpropagation(start="teacher").begin(Large())


@pytest.mark.parametrize(("options", "message"), [
    ({"start": ""}, "cbp start must be the name of a recipe, not ''"),
    ({"start": "../other"}, "cbp start must be the name of a recipe, not '../other'"),
    ({"levels": "float"}, "cbp levels must be ternary or binary, not 'float'"),
    ({"multiplier_rate": -1}, "cbp multiplier_rate must be a number from 0, not -1"),
    ({"percentile": 101}, "cbp percentile must be a number from 0 to 100, not 101"),
    ({"calibration_images": 0}, "cbp calibration_images must be an integer from 1, not 0"),
    ({"calibration_images": True}, "cbp calibration_images must be an integer from 1, not True"),
    ({"patience": 0}, "cbp patience must be an integer from 1, not 0"),
    ({"patience": 1.5}, "cbp patience must be an integer from 1, not 1.5"),
])
def test_wrong_option_is_named(options, message):
    with pytest.raises(MethodError, match=f"^{re.escape(message)}$"):
        ConstrainedBackpropagation(**{"start": "teacher", **options})


def test_options_are_those_of_a_recipe():
    fields = {field.name for field in dataclasses.fields(ConstrainedBackpropagation) if field.init}
    assert fields == {"start", "percentile", "calibration_images", "levels", "multiplier_rate", "patience"}
    assert ConstrainedBackpropagation.kind == "cbp"
    assert (cbp.CUT_GRANULARITY, cbp.CUT_FACTOR, cbp.LIMIT) == (20, 0.1, 1.0)
