"""Random networks on the whole chip in Verilator, through its UART: scores, cycles and every layer's spikes."""

import contextlib

import numpy as np
import pytest

from arch.images import image_bytes
from arch.link import Command, Frame, FrameReader, Reply, Result
from arch.network import Encoding, FullyConnected, OrPool, Reset
from gateware.mapper.cycles import count_cycles
from reference.network import Reference
from sim.spike_maps import read_map
from sim.verilated import Verilated, memory_shapes
from tests.random_networks import CIRCUITS, draw, images_for, kept_stages, memory_contents, system_verilog, with_kernel
from tests.twins import blocks as twins

pytestmark = pytest.mark.rtl

#: Clocks in which a result must have come, beyond sending and computing: far more than the reply takes.
PATIENCE = 20_000


class Board:
    """A simulated board, its memories full of noise until a network is loaded."""

    def __init__(self, name, simulation):
        self.name = name
        self.config = CIRCUITS[name]
        self.simulation = simulation
        self.reader = FrameReader()
        self.frames = []

    def load(self, plan, seed):
        simulation = self.simulation
        for index, name in enumerate(simulation.shapes):
            simulation.fill(name, 1000 * seed + index)
        for name, rows in memory_contents(plan).items():
            simulation.load(f"accelerator.{name}", rows)
        simulation.reset()
        self.reader.reset()
        self.frames.clear()
        simulation.run(limit=self.config.spike_words + 100)

    def classify(self, plan, image, tag):
        self.simulation.send(Frame(command=Command.CLASSIFY, tag=tag,
                                   payload=image_bytes(plan.network, image)).to_bytes())

    def result(self, plan):
        limit = 50 * 2 * plan.network.input.channels * plan.network.input.height * plan.network.input.width
        while not self.frames:
            characters = self.simulation.run(characters=1, limit=limit + count_cycles(plan).total + PATIENCE)
            assert characters, "no result came"
            self.frames += self.reader.feed(characters)
        frame = self.frames.pop(0)
        assert frame.command == Reply.RESULT, frame
        return frame.tag, Result.from_bytes(frame.payload, plan.network.classes)

    def wait(self, clocks):
        self.frames += self.reader.feed(self.simulation.run(limit=clocks))

    def maps(self, plan):
        """Spikes in memory by number of the stage."""
        rows = self.simulation.read("accelerator.spikes.words")
        return {number: read_map(plan, number, rows) for number in kept_stages(plan)}


@pytest.fixture(scope="module")
def boards():
    with contextlib.ExitStack() as stack:
        running = {}

        def start(name):
            if name not in running:
                verilog = system_verilog(name)
                running[name] = Board(name, stack.enter_context(
                    Verilated(verilog, memories=list(memory_shapes(verilog)))))
            return running[name]

        yield start


def check(board, plan, images, seed):
    """Load a network; every image alone, then two images in flight at any time."""
    expected = Reference(plan.network).run(images, spikes=True)
    predicted = count_cycles(plan).total
    board.load(plan, seed)
    for index, image in enumerate(images):
        board.classify(plan, image, index)
        tag, result = board.result(plan)
        for number, spikes in board.maps(plan).items():
            layer = plan.stages[number].last_index
            difference = np.argwhere(spikes != expected.spikes[layer][index])
            assert not len(difference), f"seed {seed}, image {index}, layer {layer}: {difference[0]} (T, C, H, W)"
        assert (tag, result.cycles, result.stalls) == (index, predicted, 0), f"seed {seed}, image {index}"
        assert list(result.scores) == expected.scores[index].tolist(), f"seed {seed}, image {index}"
        assert result.label == expected.classes[index], f"seed {seed}, image {index}"
    board.classify(plan, images[0], 0)
    for index in range(len(images)):
        if index + 1 < len(images):
            # The buffer is free only when all windows of the image before are written.
            board.wait(twins.image_clocks(plan))
            board.classify(plan, images[index + 1], index + 1)
        tag, result = board.result(plan)
        assert tag == index
        assert list(result.scores) == expected.scores[index].tolist(), f"seed {seed}, image {index}, in a burst"
        assert predicted <= result.cycles <= predicted + result.stalls, f"seed {seed}, image {index}, in a burst"


#: Networks drawn for each circuit.
NETWORKS = 24


@pytest.mark.parametrize("seed", range(NETWORKS))
@pytest.mark.parametrize("name", CIRCUITS)
def test_random_network_is_the_reference(boards, name, seed):
    board = boards(name)
    plan, rng = draw(board.config, [3, seed])
    check(board, plan, images_for(plan, rng, 4), seed)


@pytest.mark.parametrize("kernel", range(1, 8))
@pytest.mark.parametrize("name", CIRCUITS)
def test_every_kernel_and_stride_is_the_reference(boards, name, kernel):
    board = boards(name)
    for stride in {1, 2, kernel, 7}:
        plan, rng = with_kernel(board.config, kernel, stride, [4, kernel, stride])
        check(board, plan, images_for(plan, rng, 3), 100 * kernel + stride)


def test_networks_cover_what_they_should():
    seen = set()
    met = 0
    for config in CIRCUITS.values():
        for seed in range(NETWORKS):
            plan, rng = draw(config, [3, seed])
            network = plan.network
            seen |= {("T", network.timesteps), network.input.encoding, ("zero", network.input.zero_point)}
            result = Reference(network).run(images_for(plan, rng, 4), internals=True)
            for layer, internals in zip(network.layers, result.internals, strict=False):
                if internals is not None:
                    met += np.count_nonzero(internals.compared == layer.neurons.threshold[:, None, None])
                    seen |= {layer.neurons.reset, ("leak", layer.neurons.leak_shift is not None),
                             ("F", layer.neurons.fraction)}
            for stage in plan.stages[:-1]:
                seen |= {type(stage.layer), ("pool", stage.pool), ("side", stage.target[1:] == (1, 1))}
                seen |= {("groups", stage.target[0] % config.lanes == 0),
                         ("words", stage.target[0] % config.width == 0)}
    assert {("T", 1), ("T", 2), ("T", 3), ("T", 4), *Encoding, ("zero", 0), ("zero", 128), *Reset, ("leak", True),
            ("leak", False), ("F", 0), ("F", 3), FullyConnected, ("pool", 1), ("pool", 2), ("pool", 3), ("side", True),
            ("groups", False), ("words", False)} <= seen
    assert OrPool not in seen
    assert met > 500
