"""Boards that are unplugged in the middle of a command, and programs that died before one."""

import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import models
from arch import network_file
from arch.images import image_bytes, load_images
from arch.link import Command, Frame
from arch.network import Encoding, Input, Network, Readout
from firmware.host import command
from firmware.host.accelerator import Accelerator
from firmware.host.errors import PortError
from firmware.host.ports import open_port
from reference.engines import ReferenceEngine
from reference.network import Reference
from tests.firmware.host.device import Socket, TwinDevice
from tests.link_board import expected_result, make_info

SEED = 0x68
ROOT = pathlib.Path(__file__).parents[3]
NETWORK = models.FOLDER / "mnist-conv.safetensors"
IMAGES = models.SAMPLES / "mnist-images.idx.gz"


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """The file of a network of one layer, and its info block."""
    weights = np.random.default_rng(SEED).integers(-1, 2, (3, 20)).astype(np.int8)
    made = Network(input=Input(encoding=Encoding.PIXELS, channels=1, height=4, width=5), timesteps=4,
                   layers=(Readout(weights=weights),))
    path = tmp_path_factory.mktemp("network") / "net.safetensors"
    network_file.save(made, path)
    digest = bytes.fromhex(network_file.digest(made))[:8]
    return path, dataclasses.replace(make_info(), digest=digest), Reference(made)


class Board(TwinDevice):
    """Computes a network as the reference does."""

    def __init__(self, network):
        _, info, self.reference = network
        super().__init__(info, selectable=True)

    def result_of(self, image):
        result = self.reference.run(np.frombuffer(image, np.uint8).reshape(1, 1, 4, 5))
        return dataclasses.replace(expected_result(image, 200), label=int(result.classes[0]),
                                   scores=tuple(result.scores[0].tolist()))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "images.npy"
    np.save(path, np.random.default_rng(SEED).integers(0, 256, (6, 4, 5), dtype=np.uint8))
    return path


COMMANDS = {
    "info": [], "list": [], "select": ["0"], "classify": ["IMAGES"], "bench": ["--count", "5"],
    "verify": ["NETWORK", "--first", "6"], "monitor": ["--every", "0.01", "--count", "8"],
}


def test_every_command_is_unplugged():
    actions = command.create_parser()._subparsers._group_actions[0].choices
    # What swap does when the board goes away stands in its own test.
    assert set(actions) == {*COMMANDS, "swap"}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_board_that_is_unplugged_is_one_line(name, network, images, capsys):
    """Before the first byte of a request, within it, behind it, and further on until the last byte of the last."""
    words = [{"IMAGES": str(images), "NETWORK": str(network[0])}.get(word, word) for word in COMMANDS[name]]
    with Socket(lambda: Board(network)) as socket:
        assert command.main([name, *words, "--port", socket.name]) == 0
        received = socket.received
    capsys.readouterr()
    for count in sorted({0, 3, 6, 7, received // 3, received // 2, received - 1}):
        if count >= received:
            continue
        with Socket(lambda: Board(network)) as socket:
            socket.unplug_after = count
            begun = time.monotonic()
            assert command.main([name, *words, "--port", socket.name]) == 1, count
            assert time.monotonic() - begun < 10
            assert capsys.readouterr().err == (
                f"ERROR: port {socket.name} is gone: plug the board in, and see to the cable\n")


def frame_of(image, tag):
    return Frame(command=Command.CLASSIFY, tag=tag, payload=image).to_bytes()


@pytest.mark.parametrize("left", ["header", "half", "image", "two images", "noise"])
def test_what_a_dead_program_has_left_does_no_harm(left, network, images, capsys):
    """It wrote something, and was killed before it read an answer. The device has not forgotten it yet."""
    image = bytes(range(20))
    whole = frame_of(image, 7)
    data = {"header": whole[:5], "half": whole[:15], "image": whole, "two images": whole + frame_of(image, 8),
            "noise": bytes(range(256))}[left]
    with Socket(lambda: Board(network)) as socket:
        for _ in range(2):
            with pathlib.Path(socket.name).open("wb", buffering=0) as port:
                port.write(data)
            assert command.main(["verify", str(network[0]), "--images", str(images), "--port", socket.name]) == 0
            assert capsys.readouterr().out.startswith("equal: scores and classes of 6 images, 200 to 200 cycles, ")


@contextlib.contextmanager
def simulated():
    """The real circuit behind a pseudo-terminal that outlives sessions: its process, and its port."""
    with subprocess.Popen([sys.executable, "-m", "sim.board", "--json"], stdin=subprocess.PIPE, cwd=ROOT,
                          stdout=subprocess.PIPE) as board:
        try:
            for line in board.stdout:
                if "port" in (said := json.loads(line)):
                    break
            yield board, said["port"]
        finally:
            board.kill()


@pytest.fixture(scope="module")
def expected():
    network = network_file.load(NETWORK)
    pixels = load_images(str(IMAGES), network, first=12)
    return network, pixels, ReferenceEngine(network).classify(pixels)


@pytest.mark.rtl
def test_the_simulated_circuit_is_killed_while_it_computes(expected):
    _, pixels, right = expected
    with simulated() as (board, port), Accelerator(open_port(port), timeout=60) as chip:
        results = chip.results(pixels)
        assert tuple(right.scores[0]) == next(results).scores
        threading.Timer(0.05, board.kill).start()
        begun = time.monotonic()
        scores = []
        with pytest.raises(PortError, match=rf"^port {port} is gone: plug the board in, and see to the cable$"):
            scores.extend(result.scores for result in results)
        assert time.monotonic() - begun < 30
        assert scores == [tuple(row) for row in right.scores[1:1 + len(scores)]]


@pytest.mark.rtl
def test_a_simulated_board_of_a_command_is_killed(capsys, monkeypatch):
    """The board that ``--port sim`` has started for itself."""
    started = []
    popen = subprocess.Popen

    def remember(arguments, **options):
        process = popen(arguments, **options)
        if "sim.board" in arguments:
            started.append(process)
        return process

    monkeypatch.setattr(subprocess, "Popen", remember)
    results = Accelerator.results

    def killed(chip, images):
        for result in results(chip, images):
            started[0].kill()
            yield result

    monkeypatch.setattr(Accelerator, "results", killed)
    assert command.main(["classify", "--port", "sim", str(IMAGES)]) == 1
    assert capsys.readouterr().err == (
        "ERROR: simulated board has ended before the command: run the command again, and see that nobody ends its "
        "processes, python -m sim.board and the simulation\n")
    assert started[0].returncode == -signal.SIGKILL


@pytest.mark.rtl
def test_sessions_on_the_simulated_circuit_die_and_the_next_one_is_right(expected, capsys):
    """Killed with images on their way; half an image sent; images sent whose results nobody reads."""
    network, pixels, _ = expected
    verify = ["verify", str(NETWORK), "--images", str(IMAGES), "--first", "4", "--timeout", "5"]
    with simulated() as (_, port):
        killed = subprocess.Popen([sys.executable, "-m", "firmware.host", "classify", "--port", port, "--timeout", "60",
                                   str(IMAGES)], cwd=ROOT, stdout=subprocess.PIPE)
        assert b"class" in killed.stdout.readline()
        killed.kill()
        killed.wait()
        killed.stdout.close()
        whole = frame_of(image_bytes(network, pixels[-1]), 7)
        for left in (b"", whole[:400], whole, whole + whole):
            descriptor = os.open(port, os.O_WRONLY | os.O_NOCTTY)
            os.write(descriptor, left)
            os.close(descriptor)
            assert command.main([*verify, "--port", port]) == 0
            assert capsys.readouterr().out.startswith("equal: scores and classes of 4 images, ")
