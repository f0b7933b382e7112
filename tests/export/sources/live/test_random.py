"""Random modules of both packages: every spike is that of the module's own forward, with ties, and every score."""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
import snntorch.utils
import torch
from spikingjelly.activation_based import functional

import export.sources.snntorch
import export.sources.spikingjelly
from reference.network import Reference
from tests.export.sources.live.random_modules import TIMESTEPS, snntorch_case, spikingjelly_case

SEEDS = range(24)
PACKAGES = {"snntorch": (export.sources.snntorch, snntorch_case, snntorch.utils.reset),
            "spikingjelly": (export.sources.spikingjelly, spikingjelly_case, functional.reset_net)}


def exported(bridge, package, case):
    """Export a case; spikes are compared on its images."""
    scale = {"scale": Fraction(1, 256)} if case.encoding == "pixels" else {}
    return getattr(bridge, f"from_{package}")(
        case.module, case.example, timesteps=TIMESTEPS, encoding=case.encoding, images=case.images,
        max_fraction=16 if case.leaky else 8, **scale)


def own_forward(found):
    return found.network.metadata["training"]["own_forward"]


def summed_outputs(case, reset):
    """What the module gives, summed over timesteps: called as a user would, by nothing of the bridge."""
    module = case.module
    values = torch.tensor(case.images, dtype=case.example.dtype)
    steps = values.unsqueeze(0).expand(TIMESTEPS, *values.shape) / 256 if case.encoding == "pixels" else (
        values.swapaxes(0, 1))
    reset(module)
    with torch.no_grad():
        if case.example.dim() == 5:
            return module(steps).sum(0)
        found = module(steps[0])
        if found.dim() == 3:
            return found.sum(0)
        # SpikingJelly's mean over timesteps; else the first of them.
        if type(module).__name__ == "Still":
            return found * TIMESTEPS
        return found + sum(module(step) for step in steps[1:])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("package", PACKAGES)
def test_every_spike_is_the_modules_own(package, seed):
    bridge, make, reset = PACKAGES[package]
    case = make(seed)
    found = exported(bridge, package, case)
    own = own_forward(found)
    assert own["images"] == len(case.images)
    assert own["spikes"] > 0
    assert own["differ"] == 0
    assert found.exact is (None if case.leaky else True)
    result = Reference(found.network).run(case.images)
    share = 3 if "voting" in case.kinds else 1
    assert np.array_equal(result.scores, np.rint(summed_outputs(case, reset).numpy() * share).astype(np.int64))


@pytest.mark.parametrize("package", PACKAGES)
def test_all_kinds_occur(package):
    _, make, _ = PACKAGES[package]
    kinds = frozenset().union(*(make(seed).kinds for seed in SEEDS))
    common = {"BatchNorm of any numbers", "BatchNorm1d", "BatchNorm2d", "dropout", "events", "first membrane", "leak",
              "maximum of spikes", "mean before linear", "mean before neurons", "mean before weights",
              "no convolution", "reset by subtraction", "thresholds per channel"}
    own = {"snntorch": {"functions", "reset at once", "reset to zero", "Sequential", "weights outside the loop"},
           "spikingjelly": {"container", "input that decays", "learnt leak", "multi-step", "single-step",
                            "reset to a number", "reset to another number than 0", "stepped container", "voting",
                            "weights outside"}}
    assert common | own[package] <= kinds


@pytest.mark.parametrize("package", PACKAGES)
def test_the_comparison_decides_spikes(package, monkeypatch):
    """Membranes meet their thresholds: with the other comparison spikes differ, and the report counts them."""
    bridge, make, _ = PACKAGES[package]
    other = next(kind for kind in type(bridge._PACKAGE.comparison) if kind is not bridge._PACKAGE.comparison)
    monkeypatch.setattr(bridge, "_PACKAGE", dataclasses.replace(bridge._PACKAGE, comparison=other))
    cases = [case for case in map(make, range(12)) if not case.leaky]
    differ = [own_forward(exported(bridge, package, case))["differ"] for case in cases]
    assert sum(count > 0 for count in differ) >= 0.7 * len(cases)


@pytest.mark.long
@pytest.mark.parametrize("package", PACKAGES)
def test_a_hundred_modules_are_equal(package):
    bridge, make, _ = PACKAGES[package]
    differ, shares = [], []
    for seed in range(100):
        found = exported(bridge, package, make(seed))
        differ.append(own_forward(found)["differ"])
        shares += [layer["firing"] for layer in found.report["layers"] if layer["compared"]]
    assert differ == [0] * 100
    assert 0.1 < np.mean(shares) < 0.9
