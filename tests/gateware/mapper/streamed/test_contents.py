import numpy as np
import pytest

from arch.images import image_bytes
from arch.network import Convolution, Encoding, Input, Network, OrPool, Projection, Readout
from gateware.mapper.streamed.allocation import Allocation, lifetimes
from gateware.mapper.streamed.lowering import lower
from gateware.mapper.streamed.passes import IMAGE
from gateware.mapper.streamed.plan import StreamedPlan
from reference.generate import random_images, random_neurons, random_weights
from reference.network import Reference
from tests.streamed_networks import CIRCUITS, draw
from tests.twins.streamed import Engine, read_map

SEED = 0x14
#: The last one draws a layer in tiles, for the smallest ring.
SEEDS = (*range(16), 57)


def values_of(network, image):
    return np.frombuffer(image_bytes(network, image), np.uint8).reshape(
        network.input.height, network.input.width, network.input.channels)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", CIRCUITS)
def test_programs_compute_what_the_reference_computes(name, seed):
    plan, rng = draw(CIRCUITS[name], (SEED, seed), max_side=7, max_channels=12)
    images = random_images(plan.network, rng, 3)[1:]
    expected = Reference(plan.network).run(images)
    engine = Engine(plan, rng)
    for number, image in enumerate(images):
        buffer = number % plan.allocation.buffers
        assert engine.run(values_of(plan.network, image), buffer=buffer) == expected.scores[number].tolist()


def or_pools_alone():
    """A network of or-pools that no layer before them can take: behind summed currents, and behind a shared map."""
    rng = np.random.default_rng(SEED)
    layers = (
        Convolution(weights=random_weights(rng, 5, 2, 3, 3), padding=1, pool=2, neurons=random_neurons(rng, 5, 300.0)),
        OrPool(size=2),
        Convolution(weights=random_weights(rng, 5, 5, 3, 3), padding=1, neurons=random_neurons(rng, 5, 3.0)),
        OrPool(size=3),
        Convolution(weights=random_weights(rng, 6, 5, 1, 1), neurons=random_neurons(rng, 6, 2.0),
                    projection=Projection(source=2, weights=random_weights(rng, 6, 5, 1, 1), stride=3)),
        Readout(weights=random_weights(rng, 3, 6)),
    )
    return Network(input=Input(encoding=Encoding.PIXELS, channels=2, height=12, width=12), layers=layers, timesteps=6)


def laid_apart(network, config):
    """Lay a network out with a place of its own for every map, so that all can be read after an inference."""
    passes, addresses, words = lower(network, config), {}, 0
    maps = {life.map.layer: life.map for life in lifetimes(passes)}
    # The image is the first one, and has to be.
    for layer in sorted(maps):
        addresses[layer] = words
        words += maps[layer].total_words
    assert addresses[IMAGE] == 0
    assert words <= config.spike_words
    return StreamedPlan(network=network, config=config, passes=passes,
                        allocation=Allocation(addresses=addresses, buffers=1, words=words))


def test_or_pools_alone():
    network = or_pools_alone()
    plan = laid_apart(network, CIRCUITS["P2-W4-T4"])
    assert [item.kind for item in plan.passes].count("or-pool") == 2
    rng = np.random.default_rng(SEED)
    images = random_images(network, rng, 3)[1:]
    engine = Engine(plan, rng)
    expected = Reference(network).run(images, spikes=True)
    for number, image in enumerate(images):
        assert engine.run(values_of(network, image)) == expected.scores[number].tolist()
        for layer in (0, 1, 2, 3):
            assert (read_map(engine, layer) == expected.spikes[layer][number]).all()


def test_every_kind_of_pass_is_drawn():
    """The networks above have every kind of pass."""
    seen = set()
    for config in CIRCUITS.values():
        for seed in SEEDS:
            plan, _ = draw(config, (SEED, seed), max_side=7, max_channels=12)
            layers = [item.layer for item in plan.passes]
            for item in plan.passes:
                seen |= {
                    kind for kind, found in {
                        "parts": item.parts > 1, "tiles": layers.count(item.layer) > 1, "blocks": item.blocks > 1,
                        "sum": item.reuse and not item.pixels, "slices": item.reuse and item.pixels,
                        "identity": item.second is not None and item.second.group_slots == 1,
                        "projection": item.second is not None and not item.reuse and not item.second.group_slots,
                        "average pool": item.summed, "or-pool": item.pool > 1 and not item.summed,
                        "strided": item.first.stride > 1}.items() if found}
    assert seen == {"parts", "tiles", "blocks", "sum", "slices", "identity", "projection", "average pool", "or-pool",
                    "strided"}
