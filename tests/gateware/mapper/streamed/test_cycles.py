import math
import pathlib
import re

import numpy as np
import pytest

from arch.flash.image import build_image
from arch.network import Encoding, FullyConnected, Input, Network, Readout
from gateware.engine.configuration import ConfigError
from gateware.flash.reader import FlashMode
from gateware.mapper.streamed import cycles
from gateware.mapper.streamed.choice import lay_out
from gateware.mapper.streamed.cycles import count_cycles, exceeding_cycles
from gateware.mapper.streamed.model import model_of
from reference.generate import random_neurons, random_weights
from tests.streamed_networks import CIRCUITS, OVERLAY, deep_network, draw, six_convolutions, vgg


@pytest.mark.parametrize(("make", "name"), [
    (six_convolutions, "2x48C3-P2-2x96C3-P2-2x128C3-P2-256-256-10"), (vgg, "VGG-16"), (deep_network, "ResNet-18")])
def test_large_networks_take_what_was_measured(make, name):
    """What docs/overlay.md says of inferences: weights, bytes in flash, clocks, those that waited, and ms."""
    page = (pathlib.Path(__file__).parents[4] / "docs" / "overlay.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| {re.escape(name)}, CIFAR size.* bytes .*\|$", page, re.MULTILINE)
    plan = lay_out(make(np.random.default_rng(1)), OVERLAY)
    counted = count_cycles(OVERLAY, plan.passes)
    image = build_image([model_of(plan, name="model", clock_hz=48e6)])
    assert [cell.strip() for cell in row.strip("|").split("|")][1:] == [
        f"{plan.network.weight_count:,}", f"{len(image):,} bytes", f"{counted.total:,}", f"{counted.flash_stalls:,}",
        f"{counted.total / 48e3:.2f} ms"]
    assert sum(item.words for item in counted.passes) < counted.total - counted.flash_stalls
    assert {item.bound_by_flash for item in counted.passes} == {True, False}


def test_an_identity_shortcut_ends_no_segment_of_its_own():
    plan = lay_out(deep_network(np.random.default_rng(1)), OVERLAY)
    counted = count_cycles(OVERLAY, plan.passes)
    shortcuts = [(item, cycles) for item, cycles in zip(plan.passes, counted.passes, strict=True)
                 if item.second is not None and item.second.run == 1 and cycles.flash_stalls == 0]
    assert [item.first.run for item, _ in shortcuts] == [12, 12, 24]
    assert all(cycles.words > 0.94 * cycles.clocks for _, cycles in shortcuts)


@pytest.mark.parametrize("name", ["P2-W4-T4", "P8-W16-T4"])
@pytest.mark.parametrize("mode", list(FlashMode))
def test_bounds_agree_with_the_replay(monkeypatch, name, mode):
    config = CIRCUITS[name]
    for seed in range(6):
        plan, _ = draw(config, (0xC1, seed), max_side=7, max_channels=12, leak=config.leak)
        image  = plan.image
        clocks = count_cycles(config, plan.passes, mode=mode).total + math.prod(image.shape) * image.planes
        for limit, expected in ((clocks, True), (4 * clocks, True), (16 * clocks, True), (clocks - 1, False),
                                (clocks // 4, False)):
            with monkeypatch.context() as patch:
                patch.setattr(cycles, "MAX_CYCLES", limit)
                found = exceeding_cycles(config, plan.passes, mode=mode)
            assert (found is None) == expected
            assert found is None or limit < found <= clocks


def test_more_clocks_than_are_counted_are_refused():
    rng     = np.random.default_rng(2)
    weights = np.tile(random_weights(rng, 64, 64), (64, 64))
    network = Network(
        input=Input(encoding=Encoding.EVENTS, channels=64, height=8, width=8), timesteps=4,
        layers=(FullyConnected(weights=weights, neurons=random_neurons(rng, 4096, 60)),
                Readout(weights=weights[:2])))
    assert lay_out(network, OVERLAY).weight_rows == 131_328
    with pytest.raises(ConfigError, match=r"^network: clocks of an inference must be at most 16777215, not \d+$"):
        lay_out(network, OVERLAY, mode=FlashMode.SINGLE)
