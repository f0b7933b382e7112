"""The streamed system whole, in Verilator: models in the flash, images and results on the line."""

import logging
import random

import numpy as np
import pytest

from arch import network_file
from arch.flash.header import SEAL_BYTES
from arch.flash.image import build_image
from arch.images import image_bytes, load_images, samples_of
from arch.link import Command, ErrorCode, InfoReply, Reply, Result
from boards import board_named
from export import steps
from export.flash.room import room_of
from export.folding import fold
from gateware.flash.reader import FlashMode
from gateware.mapper.streamed.choice import lay_out
from gateware.mapper.streamed.cycles import count_cycles
from gateware.mapper.streamed.model import model_of
from models import SAMPLES
from reference.engines import ReferenceEngine, first_difference
from reference.generate import random_images
from reference.network import Reference
from sim.circuits import CLOCK_HZ, circuit_verilog
from sim.rtl import DIVISOR
from sim.streamed_rtl import StreamedRtlEngine
from tests.converted_networks import IMAGES, converted
from tests.link_board import CACHE
from tests.shipped_networks import STREAMED
from tests.streamed_networks import OVERLAY, at_rates, deep_network, draw, firing_rates, six_convolutions, vgg

SEED = 0x5E

logger = logging.getLogger(__name__)


@pytest.fixture(scope="module")
def source():
    return circuit_verilog(OVERLAY, divisor=DIVISOR, folder=CACHE)


def engine_of(plan, source, **options):
    return StreamedRtlEngine(plan.network, config=OVERLAY, source=source, cache=CACHE, **options)


def check_run(engine, images, **timing):
    """Compare scores with the reference, and clocks with the model; each image comes when the rings are full.

    The spikes of every layer are compared too, for the first image.
    """
    plan      = engine.plan
    expected  = Reference(plan.network).run(images)
    predicted = count_cycles(plan.config, plan.passes, clock_hz=CLOCK_HZ, **timing)
    for image, scores, label in zip(images, expected.scores, expected.classes, strict=True):
        engine.simulation.run(limit=predicted.fill)
        result = engine.result_of(image)
        assert (list(result.scores), result.label) == (scores.tolist(), label)
        assert (result.cycles, result.stalls, result.flash_stalls) == (predicted.total, 0, predicted.flash_stalls)
    check_spikes(engine, images[:1])
    return predicted


def check_spikes(engine, images):
    """Compare every layer's spikes with the reference: of each map that a pass writes, no more and no less."""
    network   = engine.plan.network
    reference = ReferenceEngine(network)
    expected, actual = reference.classify(images, spikes=True), engine.classify(images, spikes=True)
    assert actual.unseen is None
    shown = {layer for layer, maps in enumerate(actual.spikes) if maps is not None}
    assert shown == {item.target.layer for item in engine.plan.passes if item.target is not None}
    assert first_difference(network, images, expected, actual, reference, engine) is None


@pytest.mark.parametrize("seed", range(64))
def test_random_networks_are_computed_as_by_the_reference_and_take_the_clocks_of_the_model(source, seed):
    plan, rng = draw(OVERLAY, (SEED, seed), max_side=9, max_channels=24, leak=False)
    images = random_images(plan.network, rng, 4)[1:]
    with engine_of(plan, source, seed=seed + 1) as engine:
        check_run(engine, images)


@pytest.mark.parametrize(("timesteps", "count"), [
    (8, 4), pytest.param(16, 8, marks=pytest.mark.long), pytest.param(32, 8, marks=pytest.mark.long)])
def test_binary_networks_by_conversion_run_in_blocks_of_timesteps(source, timesteps, count):
    """Images of MNIST through a network whose constants were moved to fit."""
    checkpoint = converted(timesteps)
    certified = steps.certify(checkpoint, fold(checkpoint), max_fraction=8, room=room_of(board_named("icebreaker")))
    network = steps.assemble(checkpoint, certified, {})
    assert network.timesteps == timesteps > OVERLAY.timesteps
    assert sum(len(layer.inexact) for layer in certified) > 0
    assert set(np.unique(network.layers[1].weights)) == {-1, 1}
    images = load_images(IMAGES, network, first=count)
    assert len(np.unique(Reference(network).run(images).scores, axis=0)) == count
    with engine_of(lay_out(network, OVERLAY), source) as engine:
        check_run(engine, images)


@pytest.mark.parametrize(("path", "count"), [case for path in STREAMED for case in (
    pytest.param(path, 1, id=path.stem), pytest.param(path, 3, id=f"{path.stem}-3", marks=pytest.mark.long))])
def test_shipped_networks_are_computed_as_by_the_reference(source, path, count):
    network = network_file.load(path)
    assert network.metadata["exact"] is True
    samples = samples_of(network, SAMPLES)
    with engine_of(lay_out(network, OVERLAY), source) as engine:
        predicted = check_run(engine, samples.images[:count])
        if count > 1:
            check_spikes(engine, samples.images[1:count])
    assert predicted.total <= 0.05 * CLOCK_HZ


@pytest.mark.long
@pytest.mark.parametrize(("make", "weights", "clocks"), [
    (six_convolutions, 996_880, 908_428), (vgg, 14_715_584, 7_063_685), (deep_network, 11_241_152, 7_221_908)])
def test_networks_of_many_weights_take_the_clocks_of_the_model(source, make, weights, clocks):
    """They wait for the flash; 5 to 20 % of the neurons of each layer fire in a timestep, and of the or-pools' spikes.

    ``--log-cli-level=info`` shows all rates.
    """
    rng     = np.random.default_rng(SEED)
    drawn   = make(rng)
    images  = random_images(drawn, rng, 2)[1:]
    network = at_rates(drawn, images)
    rates   = firing_rates(network, images)
    logger.info("%s: %d weights, rates of layers in %%: %s", make.__name__, network.weight_count,
                ", ".join(f"{100 * rate:.1f}" for rate in rates))
    assert all(0.05 <= rate <= 0.2 for rate in rates)
    plan = lay_out(network, OVERLAY)
    with engine_of(plan, source) as engine:
        predicted = check_run(engine, images)
    assert (network.weight_count, predicted.total) == (weights, clocks)
    assert predicted.flash_stalls > 100_000


@pytest.mark.long
@pytest.mark.parametrize("mode", [FlashMode.SINGLE, FlashMode.DOUBLE])
def test_other_flash_modes_take_the_clocks_of_the_model(mode):
    source, waited = circuit_verilog(OVERLAY, divisor=DIVISOR, mode=mode, folder=CACHE), 0
    for seed in range(32):
        plan, rng = draw(OVERLAY, (SEED, seed), max_side=9, max_channels=24, leak=False)
        with engine_of(plan, source, mode=mode) as engine:
            waited += check_run(engine, random_images(plan.network, rng, 2)[1:], mode=mode).flash_stalls > 0
    assert waited


def test_models_are_selected(source):
    first, rng = draw(OVERLAY, (SEED, 1), max_side=6, leak=False)
    second, _ = draw(OVERLAY, (SEED, 2), max_side=6, leak=False)
    image = build_image([model_of(plan, name=f"model {number}", clock_hz=CLOCK_HZ)
                         for number, plan in enumerate((first, second))])
    with engine_of(first, source, image=image) as engine:
        for number, plan in ((1, second), (0, first), (1, second)):
            info = engine.request(Command.SELECT, bytes([number]))
            assert info.command == Reply.INFO
            told = InfoReply(info=model_of(plan, name=f"model {number}", clock_hz=CLOCK_HZ).info)
            assert info.payload == told.to_bytes()
            assert engine.request(Command.INFO).payload == info.payload
            for values in random_images(plan.network, rng, 3)[1:]:
                frame = engine.request(Command.CLASSIFY, image_bytes(plan.network, values))
                assert frame.command == Reply.RESULT
                scores = Result.from_bytes(frame.payload, plan.network.classes).scores
                assert list(scores) == Reference(plan.network).run(values[None]).scores[0].tolist()
        missing = engine.request(Command.SELECT, b"\x07")
        assert (missing.command, missing.payload) == (Reply.ERROR, bytes([ErrorCode.NO_MODEL]))
        assert engine.request(Command.SELECT, b"\x00").command == Reply.INFO


def test_damaged_images_are_told(source):
    """Damage is an error, and never a wrong class; behind the CRC of a seal, where bytes mean nothing, it is none."""
    plan, rng = draw(OVERLAY, (SEED, 3), max_side=5, max_channels=10, leak=False)
    good = build_image([model_of(plan, name="model", clock_hz=CLOCK_HZ)])
    values = random_images(plan.network, rng, 2)[1]
    expected = Reference(plan.network).run(values[None]).scores[0].tolist()
    payload = image_bytes(plan.network, values)
    choice = random.Random(SEED)
    begin = 0x10000
    unread = range(begin + 4, begin + SEAL_BYTES)
    places = [choice.randrange(256) for _ in range(6)] + [choice.randrange(begin, len(good)) for _ in range(12)]
    for place in places:
        damaged = bytearray(good)
        damaged[place] ^= 1 << choice.randrange(8)
        with engine_of(plan, source, image=bytes(damaged)) as engine:
            for _ in range(2):
                if place in unread:
                    assert list(engine.result_of(values).scores) == expected
                    continue
                frame = engine.request(Command.CLASSIFY, payload)
                assert frame.command == Reply.ERROR, f"byte {place:#x}"
                assert frame.payload[0] in (ErrorCode.NO_MODEL, ErrorCode.WRONG_MODEL, ErrorCode.DAMAGED)
    with engine_of(plan, source, image=good[:-5]) as engine:
        assert engine.request(Command.CLASSIFY, payload).payload == bytes([ErrorCode.DAMAGED])
    with engine_of(plan, source, image=good) as engine:
        assert list(engine.result_of(values).scores) == expected
