# amaranth: UnusedElaboratable=no
"""Faults on the wire: 10,000 of them, and the host has the right result or one error of a kind, always."""

import collections
import random

import numpy as np
import pytest
from amaranth.back import verilog

from arch.link import BYTE_BITS, Command, Frame, FrameReader, LinkError
from firmware.host import link as link_module
from firmware.host.accelerator import Accelerator
from firmware.host.errors import BusyError, DeviceError, NoAnswerError
from firmware.host.link import Link
from firmware.host.ports import Port
from sim.verilated import Verilated
from tests.firmware.host.device import TwinDevice, Wire
from tests.firmware.host.test_link import MODELS
from tests.link_board import CACHE, LinkBoard, expected_result, make_info

SEED = 0x67
INFO = make_info()
#: Faults of the whole run, at least.
FAULTS = 10_000
#: Probabilities of a fault per byte, and the faults that each of them makes.
PARTS = [(0.001, 200), (0.01, 5_300), (0.02, 3_500), (0.05, 1_000)]
#: What a session may end with where faults are so many that repeating does not help.
ENDS = {NoAnswerError, BusyError}
#: Seconds that a request may take, whatever happens: six times, the answer is given up, and the line is emptied, which
#: ends after a second and ten silences even if it is never empty.
TIMEOUT, SILENCE, RETRIES = 0.5, 0.1, 5
BOUND = (RETRIES + 1) * (TIMEOUT + TIMEOUT + 11 * SILENCE)


def test_the_parts_have_all_faults():
    assert sum(faults for _, faults in PARTS) >= FAULTS


@pytest.mark.parametrize(("rate", "count"), PARTS)
def test_faults_on_the_wire_give_the_right_result_or_one_error(rate, count, monkeypatch):
    """A CRC of 16 bits passes one in 65,536 of the frames that lost or gained bytes: with these seeds, none.

    With others, one of them may be taken for what was sent, and nobody can notice it.
    """
    rng = random.Random(SEED)
    monkeypatch.setattr(link_module.secrets, "randbelow", rng.randrange)
    device = TwinDevice(INFO, requests=Wire(rate, SEED), replies=Wire(rate, SEED + 1))
    wires = (device.requests, device.replies)
    monkeypatch.setattr(link_module.time, "monotonic", device.monotonic)
    right, ends = 0, collections.Counter()
    while sum(sum(wire.faults.kinds.values()) for wire in wires) < count:
        link = Link(device, timeout=TIMEOUT, silence=SILENCE, retries=RETRIES)
        images = [rng.randbytes(INFO.image_bytes) for _ in range(40)]
        end, begun = None, device.clock
        try:
            assert link.info() == INFO
            for image, result in zip(images, link.classify_all(images), strict=True):
                assert device.clock - begun < BOUND
                begun = device.clock
                assert result == expected_result(image, 200)
                right += 1
        except (DeviceError, LinkError) as error:
            end = error
        assert device.clock - begun < BOUND
        if end is not None:
            assert "\n" not in str(end)
            ends[type(end)] += 1
            # When the faults stop, the same session goes on.
            for wire in wires:
                wire.rate = 0
            assert list(link.classify_all(images[:3])) == [expected_result(image, 200) for image in images[:3]]
            for wire in wires:
                wire.rate = rate
    assert right > 0
    assert set(ends) <= ENDS
    assert (rate > 0.001) == bool(ends), ends
    for wire in wires:
        assert set(wire.faults.kinds) == {"flipped", "lost", "doubled", "invented"}
        assert wire.faults.certain > 0
        assert wire.faults.by_chance > 0
        assert wire.faults.passed == 0


def test_a_batch_on_a_line_with_faults_is_right_as_a_whole_or_one_error(monkeypatch):
    """Through the Python API, whose requests are repeated three times."""
    numbers = np.random.default_rng(SEED)
    monkeypatch.setattr(link_module.secrets, "randbelow", random.Random(SEED).randrange)
    device = TwinDevice(INFO, requests=Wire(0.005, SEED), replies=Wire(0.005, SEED + 1))
    monkeypatch.setattr(link_module.time, "monotonic", device.monotonic)
    right = wrong = ended = 0
    for _ in range(60):
        images = numbers.integers(0, 256, (10, *INFO.input.shape), dtype=np.uint8)
        chip = Accelerator(Port(transport=device, name="line", timeout=TIMEOUT, silence=SILENCE))
        try:
            result = chip.classify(images)
        except DeviceError:
            ended += 1
            continue
        scores = [list(expected_result(image.tobytes(), 200).scores) for image in images]
        right += result.scores.tolist() == scores
        wrong += result.scores.tolist() != scores
    assert device.requests.faults.passed == device.replies.faults.passed == 0
    assert (right + ended, wrong) == (60, 0)
    assert right > 20
    assert ended > 0


#: Clocks of a character on the line of the board, and those of an inference.
CHARACTER, DELAY = 40, 200


def requests_of(rng, count):
    """Random requests, right and wrong."""
    for _ in range(count):
        command = rng.choice((1, 1, 2, 2, 2, 2, 3, rng.randrange(256)))
        size = {1: 0, 2: 20, 3: 1}.get(command, 0) if rng.random() < 0.9 else rng.randrange(30)
        payload = bytes((rng.randrange(4),)) if command == 3 and size == 1 else rng.randbytes(size)
        yield Frame(command=command, tag=rng.randrange(256), payload=payload).to_bytes()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("models", [(INFO,), MODELS], ids=["baked", "selectable"])
def test_the_device_model_answers_as_the_circuit(models, seed):
    """Every byte, in the same order, to the same requests: with and without faults, and with broken frames."""
    rng, wire = random.Random(SEED + seed), Wire(0.01 * (seed > 0), seed)
    selectable = len(models) > 1
    board = LinkBoard(models=models if selectable else (), info=models[0], delay=DELAY)
    device = TwinDevice(*models, selectable=selectable, computing=DELAY, baud=BYTE_BITS / CHARACTER,
                        timeout_bits=board.timeout_bits, cycles=DELAY)
    answers, expected = bytearray(), bytearray()
    with Verilated(verilog.convert(board, name="board", emit_src=False), cache=CACHE) as simulation:
        simulation.reset()
        for request in requests_of(rng, 300):
            data = wire.carry(request)
            # Now and then a frame is broken off and forgotten; replies have time, as a host gives them.
            if rng.random() < 0.1:
                data = data[:rng.randrange(len(data) + 1)]
            clocks = CHARACTER * len(data) + rng.choice((4_000, 10_000))
            simulation.send(data)
            answers += simulation.run(limit=clocks)
            device.write(data)
            limit = device.clock + clocks
            while device.clock < limit:
                expected += device.read(1 << 16, limit - device.clock)
    assert len(answers) > 3_000
    assert FrameReader().feed(bytes(answers)) == FrameReader().feed(bytes(expected))
    assert answers == expected


def test_two_images_on_their_way_are_as_in_the_circuit():
    """With no pause between requests: results and refusals in the order of the circuit."""
    rng = random.Random(SEED)
    info = make_info(clock_khz=20)
    device = TwinDevice(info, computing=10_000, baud=BYTE_BITS / CHARACTER, timeout_bits=256, cycles=10_000)
    board = LinkBoard(info=info, delay=10_000)
    with Verilated(verilog.convert(board, name="board", emit_src=False), cache=CACHE) as simulation:
        simulation.reset()
        for count in (1, 2, 3, 2):
            data = b"".join(Frame(command=Command.CLASSIFY, tag=rng.randrange(256),
                                  payload=rng.randbytes(20)).to_bytes() for _ in range(count))
            simulation.send(data)
            device.write(data)
            expected, limit = bytearray(), device.clock + 100_000
            while device.clock < limit:
                expected += device.read(1 << 16, limit - device.clock)
            assert simulation.run(limit=100_000) == expected
            assert len(FrameReader().feed(bytes(expected))) == count
