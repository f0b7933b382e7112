"""The streamed system whole, in Verilator: models in the flash, images and results on the line."""

import random

import pytest

from arch.flash.image import build_image
from arch.images import image_bytes
from arch.link import Command, ErrorCode, Reply, Result
from gateware.mapper.streamed.model import model_of
from sim.generate import random_images
from sim.reference import Reference
from sim.rtl import CLOCK_HZ
from sim.streamed_rtl import StreamedRtlEngine, streamed_verilog
from tests.link_board import CACHE
from tests.streamed_networks import OVERLAY, draw

SEED = 0x5E


@pytest.fixture(scope="module")
def source():
    return streamed_verilog(OVERLAY)


def engine_of(plan, source, **options):
    return StreamedRtlEngine(plan.network, config=OVERLAY, source=source, cache=CACHE, **options)


@pytest.mark.parametrize("seed", range(64))
def test_random_networks_are_computed_as_by_the_reference(source, seed):
    plan, rng = draw(OVERLAY, (SEED, seed), max_side=9, max_channels=24, leak=False)
    images = random_images(plan.network, rng, 4)[1:]
    expected = Reference(plan.network).run(images)
    with engine_of(plan, source, seed=seed + 1) as engine:
        result = engine.run(images)
    assert (result.scores == expected.scores).all()
    assert (result.classes == expected.classes).all()


def test_models_are_selected(source):
    first, rng = draw(OVERLAY, (SEED, 1), max_side=6, leak=False)
    second, _ = draw(OVERLAY, (SEED, 2), max_side=6, leak=False)
    image = build_image([model_of(plan, name=f"model {number}", clock_hz=CLOCK_HZ)
                         for number, plan in enumerate((first, second))])
    with engine_of(first, source, image=image) as engine:
        for number, plan in ((1, second), (0, first), (1, second)):
            info = engine.request(Command.SELECT, bytes([number]))
            assert info.command == Reply.INFO
            assert info.payload == model_of(plan, name="x", clock_hz=CLOCK_HZ).info.to_bytes()
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
    """Every kind of damage is an error, and never a wrong class."""
    plan, rng = draw(OVERLAY, (SEED, 3), max_side=5, max_channels=10, leak=False)
    good = build_image([model_of(plan, name="model", clock_hz=CLOCK_HZ)])
    values = random_images(plan.network, rng, 2)[1]
    expected = Reference(plan.network).run(values[None]).scores[0].tolist()
    payload = image_bytes(plan.network, values)
    choice = random.Random(SEED)
    begin = 0x10000
    places = [choice.randrange(256) for _ in range(6)] + [choice.randrange(begin, len(good)) for _ in range(12)]
    for place in places:
        damaged = bytearray(good)
        damaged[place] ^= 1 << choice.randrange(8)
        with engine_of(plan, source, image=bytes(damaged)) as engine:
            for _ in range(2):
                frame = engine.request(Command.CLASSIFY, payload)
                assert frame.command == Reply.ERROR, f"byte {place:#x}"
                assert frame.payload[0] in (ErrorCode.NO_MODEL, ErrorCode.WRONG_MODEL, ErrorCode.DAMAGED)
    with engine_of(plan, source, image=good[:-5]) as engine:
        assert engine.request(Command.CLASSIFY, payload).payload == bytes([ErrorCode.DAMAGED])
    with engine_of(plan, source, image=good) as engine:
        assert list(engine.classify(values).scores) == expected
