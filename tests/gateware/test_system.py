# amaranth: UnusedElaboratable=no
"""The system against the reference, through its pins, with the shipped networks."""

import contextlib
import dataclasses
import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from amaranth.back import verilog

from arch import network_file
from arch.images import image_bytes, load_images, load_labels
from arch.link import Command, Frame
from arch.network import Encoding
from boards import BOARDS
from firmware.host import command
from firmware.host.link import Link
from gateware.engine.configuration import ConfigError
from gateware.mapper.choice import map_network, plan_for_board
from gateware.mapper.cycles import count_cycles
from gateware.mapper.info import info_of
from gateware.source import Baked
from gateware.system import System
from models import DEFAULT_NETWORK
from reference.generate import random_images, random_network
from reference.network import Reference
from sim.rtl import DIVISOR, RtlEngine
from sim.verilated import SimulationTransport, Verilated
from support.tools import amaranth_tools
from tests import streams
from tests.gateware.mapper.networks import conv
from tests.gateware.mapper.networks import network as small_network
from tests.link_board import CACHE
from tests.random_networks import SMALL
from tests.shipped_networks import BAKED

MODELS = Path(__file__).resolve().parents[2] / "models"


@pytest.mark.rtl
@pytest.mark.parametrize(("path", "circuit"), [
    # A build compiles and simulates its own circuit: one of them in every test run.
    pytest.param(path, circuit, id=f"{path.stem}-{circuit}",
                 marks=[pytest.mark.long] if circuit == "of the build" and path.stem != DEFAULT_NETWORK.stem else [])
    for path in BAKED for circuit in ("of the build", "shared")])
def test_shipped_network_on_the_rtl_is_the_reference(path, circuit):
    """100 real images: all scores, classes and cycles; of five, every spike that stays in memory.

    On the circuit of the bitstream, and on the one that simulations of this geometry share: in the same clocks.
    """
    network = network_file.load(path)
    own = plan_for_board(network, BOARDS["icebreaker"])
    dataset = network.metadata["training"]["dataset"]
    images = load_images(MODELS / "samples" / f"{dataset}-images.idx.gz", network)
    labels = load_labels(MODELS / "samples" / f"{dataset}-labels.idx.gz", classes=network.classes)
    reference = Reference(network).run(images, spikes=True)
    with RtlEngine(network, config=own.config if circuit == "of the build" else None) as engine:
        assert (engine.plan.config == own.config) == (circuit == "of the build")
        result = engine.classify(images)
        spikes = engine.classify(images[:5], spikes=True).spikes
    predicted = count_cycles(own).total
    np.testing.assert_array_equal(result.scores, reference.scores)
    np.testing.assert_array_equal(result.classes, reference.classes)
    assert set(result.cycles.tolist()) == {predicted}
    assert not result.stall_cycles.any()
    shown = [layer for layer, maps in enumerate(spikes) if maps is not None]
    # A map before its OR-pool never exists in the hardware.
    assert shown == [stage.last_index for stage in engine.plan.stages[:-1]]
    for layer in shown:
        np.testing.assert_array_equal(spikes[layer], reference.spikes[layer][:5])
    assert (result.classes == labels).mean() > network.metadata["accuracy"] - 0.06


@pytest.mark.parametrize("path", BAKED, ids=lambda path: path.stem)
def test_shipped_network_is_exact_and_fits(path):
    network = network_file.load(path)
    assert network.metadata["exact"] is True
    assert network.weight_count <= 32768
    plan = plan_for_board(network, BOARDS["icebreaker"])
    assert plan.config.sop_per_cycle == 512
    assert plan.config.fraction <= 8
    assert plan.config.membrane_width <= 24
    assert info_of(plan, clock_hz=48e6).digest.hex() == network_file.digest(network)[:16]


@pytest.mark.rtl
@pytest.mark.parametrize("baud", [3_000_000, 12_000_000])
def test_host_program_classifies_at_the_rates_of_the_board(baud):
    """The host's own link on the simulated board, at the real clocks per bit, images one behind the other."""
    board = BOARDS["icebreaker"]
    network = network_file.load(MODELS / "mnist-conv.safetensors")
    images = load_images(MODELS / "samples" / "mnist-images.idx.gz", network, first=6)
    expected = Reference(network).run(images)
    divisor = board.divisor(board.default_clock_hz, baud)
    with RtlEngine(network, divisor=divisor) as engine:
        # Timeouts in simulated time: a second is a million clocks, which is longer than any reply takes.
        link = Link(SimulationTransport(engine.simulation, clocks_per_second=1_000_000), baud=baud)
        info = link.info()
        results = list(link.classify_all(image_bytes(engine.plan.network, image) for image in images))
        predicted = count_cycles(engine.plan).total
    assert (info.lanes, info.width, info.circuit_timesteps, info.timesteps, info.classes) == (8, 16, 4, 4, 10)
    assert info.digest.hex() == network_file.digest(network)[:16]
    assert [list(result.scores) for result in results] == expected.scores.tolist()
    assert [result.label for result in results] == expected.classes.tolist()
    # The next image arrives while one is computed. On a slow line it costs no clock: its pixels wait for idle ones.
    assert {result.cycles - result.stalls for result in results} == {predicted}
    assert any(result.stalls for result in results) == (baud == 12_000_000)
    # None was refused, with more than two on their way too.
    assert link.repeated == 0
    assert link.stray is None


@pytest.mark.rtl
def test_host_command_takes_the_events_that_the_simulation_takes(tmp_path, capsys):
    """A network of events with two timesteps, on a circuit with four: the command, a pipe, and the whole chip."""
    config = dataclasses.replace(SMALL, pixels=False)
    rng = np.random.default_rng(3)
    differ = 1
    while differ < 3:
        network = random_network(rng, timesteps=2, encoding=Encoding.EVENTS, layers=1, max_side=4, max_channels=3)
        images = random_images(network, rng, 5)
        expected = Reference(network).run(images)
        with contextlib.suppress(ConfigError):
            plan = map_network(network, config)
            differ = len({tuple(scores) for scores in expected.scores.tolist()})
    file, one = tmp_path / "events.npy", tmp_path / "one.npy"
    np.save(file, images.astype(np.uint8))
    np.save(one, images[3])
    system = System(config, Baked(contents=plan.contents, info=info_of(plan, clock_hz=48e6)), divisor=DIVISOR)
    with amaranth_tools():
        source = verilog.convert(system, name="sterna", strip_internal_attrs=True)
    with Verilated(source, divisor=DIVISOR, cache=CACHE) as simulation:
        port = f"pipe:{shlex.quote(str(simulation.program))} --uart {DIVISOR}"
    assert command.main(["info", "--port", port, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["circuit_timesteps"], told["timesteps"]) == (4, 2)
    assert command.main(["classify", "--port", port, "--json", str(file), str(one)]) == 0
    results = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [result["scores"] for result in results] == [*expected.scores.tolist(), expected.scores[3].tolist()]
    assert [result["label"] for result in results] == [*expected.classes.tolist(), expected.classes[3]]


@pytest.mark.parametrize(("divisor", "start"), [(4, 7), (5, 7), (7, 6), (8, 5), (16, 1), (48, -15)])
def test_an_inference_begins_when_it_is_said_to(divisor, start):
    """On the pins, from the end of a frame's last stop bit; the class follows after the clocks of the inference."""
    network = small_network(conv(2, 1))
    plan = map_network(network, SMALL)
    dut = System(SMALL, Baked(contents=plan.contents, info=info_of(plan, clock_hz=48e6)), divisor=divisor)
    frame = Frame(command=Command.CLASSIFY, tag=1, payload=bytes(range(16))).to_bytes()
    total = count_cycles(plan).total
    at = {}

    async def host(ctx):
        for _ in range(SMALL.spike_words + 40):
            await ctx.tick()
        await streams.send_characters(ctx, dut.rx, frame, clocks_per_bit=divisor)
        at["end"] = SMALL.spike_words + 40 + 10 * divisor * len(frame)

    async def monitor(ctx):
        clock = 0
        for level in (1, 0):
            while ctx.get(dut.busy) != level:
                await ctx.tick()
                clock += 1
            at["busy", level] = clock

    streams.run(dut, host, monitor, deadline_cycles=30_000)
    # `busy` follows the first clock of an inference by one, and falls in the clock in which the class is known.
    assert at["busy", 1] - 1 - at["end"] == start
    assert at["busy", 0] - at["end"] == start + total
    assert System.start_cycles_of(divisor) == start
