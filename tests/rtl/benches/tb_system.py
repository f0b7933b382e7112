"""Random networks on the whole chip, through its UART pins: one simulation, memories loaded through their handles."""

import random
import re

import cocotb
from cocotb.handle import HierarchyObject
from cocotb.triggers import FallingEdge, Timer
from cocotb.utils import get_sim_time

from arch.images import image_bytes
from arch.link import RESULT_HEADER_WORDS, Command, Frame, FrameReader, Reply, Result
from gateware.mapper.cycles import count_cycles
from gateware.source import Loaded
from gateware.system import System
from reference.network import Reference
from sim.spike_maps import read_map
from tests.random_networks import SMALL, draw, images_for, kept_stages, memory_contents
from tests.rtl.benches.clocking import PERIOD, start

DIVISOR = 4
NETWORKS = 5


def draw_small(seed):
    for attempt in range(200):
        plan, rng = draw(SMALL, [11, seed, attempt], max_side=4, max_channels=5)
        if count_cycles(plan).total < 900:
            return plan, rng
    raise AssertionError("no small network")


def block():
    return System(SMALL, Loaded(), divisor=DIVISOR)


def memory(dut, name):
    """Find a memory of the accelerator; Amaranth numbers instances that have the name of a signal."""
    block, _, array = name.rpartition(".")
    children = {child._name: child for child in dut.accelerator if isinstance(child, HierarchyObject)}
    for child_name, child in children.items():
        if re.fullmatch(rf"\\?{block}(\$\d+)? ?", child_name):
            return getattr(child, array)
    raise LookupError(f"{block} is not among {', '.join(children)}")


async def send(dut, data):
    for byte in data:
        for bit in (0, *(byte >> index & 1 for index in range(8)), 1):
            dut.rx.value = bit
            await Timer(DIVISOR * PERIOD, "ns")


async def receive(dut, count):
    data = bytearray()
    for _ in range(count):
        if dut.tx.value == 1:
            await FallingEdge(dut.tx)
        await Timer(DIVISOR * PERIOD // 2, "ns")
        bits = []
        for _ in range(10):
            bits.append(int(dut.tx.value))
            if len(bits) < 10:
                await Timer(DIVISOR * PERIOD, "ns")
        assert (bits[0], bits[9]) == (0, 1), "framing"
        data.append(sum(bit << index for index, bit in enumerate(bits[1:9])))
    return bytes(data)


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(seed=range(NETWORKS))
async def network_is_the_reference(dut, seed):
    plan, rng = draw_small(seed)
    noise = random.Random(seed)
    contents = memory_contents(plan) | {"spikes.words": []}
    for name, rows in contents.items():
        handle = memory(dut, name)
        for row in range(len(handle)):
            element = handle[row]
            element.value = rows[row] if row < len(rows) else noise.getrandbits(len(element))
    await start(dut, rx=1)
    images = images_for(plan, rng, 3)
    expected = Reference(plan.network).run(images, spikes=True)
    while dut.accelerator.accept.value == 0:
        await Timer(PERIOD, "ns")
    for index, image in enumerate(images):
        frame = Frame(command=Command.CLASSIFY, tag=index, payload=image_bytes(plan.network, image))
        answer = cocotb.start_soon(receive(dut, 7 + 4 * (RESULT_HEADER_WORDS + plan.network.classes)))
        await send(dut, frame.to_bytes())
        frames = FrameReader().feed(await answer)
        assert [(frame.command, frame.tag) for frame in frames] == [(Reply.RESULT, index)], frames
        result = Result.from_bytes(frames[0].payload, plan.network.classes)
        assert list(result.scores) == expected.scores[index].tolist()
        assert result.label == expected.classes[index]
        assert (result.cycles, result.stalls, result.flash_stalls) == (count_cycles(plan).total, 0, 0)
        words = memory(dut, "spikes.words")
        rows = [words[row].value.to_unsigned() for row in range(plan.config.spike_words)]
        for number in kept_stages(plan):
            spikes = expected.spikes[plan.stages[number].last_index][index]
            assert (read_map(plan, number, rows) == spikes).all(), f"stage {number}"
    cocotb.log.info("seed %d: %d ns", seed, get_sim_time("ns"))
