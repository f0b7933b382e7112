"""The C driver against the circuit itself, in simulation."""

import contextlib
import json
import pathlib
import random
import re
import subprocess
import sys

import pytest
from amaranth.back import verilog

from arch import network_file
from arch.images import image_bytes, load_images
from arch.link import ErrorCode
from models import DEFAULT_NETWORK, SAMPLES
from models import FOLDER as MODELS_FOLDER
from reference.engines import ReferenceEngine
from sim.verilated import SimulationTransport, Verilated
from tests.firmware.c.compilers import SANITIZED, SOURCES, compile_c
from tests.firmware.c.driver import Driver, DriverError, compiled
from tests.link_board import CACHE, LinkBoard, expected_result, make_info

pytestmark = pytest.mark.rtl

SEED = 0x66
ROOT = pathlib.Path(__file__).parents[3]
PAGE = ROOT / "docs" / "c-driver.md"
INFO = make_info()


#: Models of a flash, and what a SELECT of each ends with.
MODELS = (INFO, ErrorCode.DAMAGED, make_info(height=2, width=3, clock_khz=1000), ErrorCode.FLASH)


class SimulatedLine:
    """The line of a :class:`Driver` to a simulation, with faults."""

    def __init__(self, simulation, *, rate, seed):
        self.inner = SimulationTransport(simulation, clocks_per_second=20_000)
        self.rate, self.random, self.faults = rate, random.Random(seed), 0

    def damaged(self, data):
        damaged = bytearray()
        for byte in data:
            if self.random.random() >= self.rate:
                damaged.append(byte)
                continue
            self.faults += 1
            kind = self.random.randrange(3)
            if kind == 0:
                damaged.append(byte ^ 1 << self.random.randrange(8))
            elif kind == 1:
                damaged += bytes((byte, byte))
        return bytes(damaged)

    def write(self, data):
        self.inner.write(self.damaged(data))
        return True

    def read(self, size, timeout):
        before = self.inner.simulation.clocks
        data = self.damaged(self.inner.read(size, timeout / 1000))
        return data, (self.inner.simulation.clocks - before) // 20


@pytest.mark.parametrize("seed", range(3))
def test_faults_on_the_line_to_the_circuit_give_the_right_result(tmp_path, seed):
    rng = random.Random(SEED + seed)
    images = [rng.randbytes(INFO.image_bytes) for _ in range(40)]
    with Verilated(verilog.convert(LinkBoard(), name="board", emit_src=False), cache=CACHE) as simulation:
        simulation.reset()
        line = SimulatedLine(simulation, rate=0.006, seed=seed)
        with Driver(compiled(tmp_path), line) as link:
            link.begin(tag=rng.randrange(256), timeout=500, silence=200, retries=15)
            assert link.info() == INFO
            assert list(link.classify_all(images)) == [expected_result(image, 200) for image in images]
            assert link.faults > 0
            # The circuit has counted the frames that it could not read.
            line.rate = 0
            assert link.info() == INFO
            assert link.counters.bad_frames > 0
        assert line.faults > 10


@pytest.mark.parametrize("rate", [0, 0.004])
def test_models_are_selected_on_the_circuit(tmp_path, rate):
    rng = random.Random(SEED)
    board = verilog.convert(LinkBoard(models=MODELS), name="board", emit_src=False)
    with Verilated(board, cache=CACHE) as simulation:
        simulation.reset()
        line = SimulatedLine(simulation, rate=rate, seed=SEED)
        with Driver(compiled(tmp_path), line) as link:
            link.begin(tag=rng.randrange(256), timeout=500, silence=200, retries=15)
            for number in (*range(5), *(rng.randrange(5) for _ in range(10))):
                model = MODELS[number] if number < len(MODELS) else ErrorCode.NO_MODEL
                if isinstance(model, ErrorCode):
                    for ask in (lambda number=number: link.select(number), link.info):
                        with pytest.raises(DriverError, match=f"^{int(model)}$"):
                            ask()
                    continue
                assert link.select(number) == model
                images = [rng.randbytes(model.image_bytes) for _ in range(4)]
                assert list(link.classify_all(images)) == [expected_result(image, 200) for image in images]
            assert (link.faults > 0) == (rate > 0)


@contextlib.contextmanager
def simulated_board(*options):
    """``python -m sim.board``; its pseudo-terminal."""
    with subprocess.Popen([sys.executable, "-m", "sim.board", "--json", *options], cwd=ROOT, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as board:
        try:
            # The steps of a compilation come first.
            yield next(line["port"] for line in map(json.loads, board.stdout) if "port" in line)
        finally:
            # It ends when its standard input does.
            board.stdin.close()


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """The example for Linux."""
    program = tmp_path_factory.mktemp("linux") / "classify"
    compile_c(*SANITIZED, SOURCES / "sterna.c", SOURCES / "examples" / "linux.c", "-o", program)
    return program


def classified(example, port, *arguments):
    """Lines that the example prints of its network and of its images."""
    done = subprocess.run([example, port, "3000000", *map(str, arguments)], capture_output=True, text=True,
                          check=False, timeout=600)
    assert (done.returncode, done.stderr) == (0, "")
    first, *lines = done.stdout.splitlines()
    return first, [line.partition(": ")[2] for line in lines]


def digits(network, folder):
    """Three digits, and a file of each with its bytes."""
    images = load_images(SAMPLES / "mnist-images.idx.gz", network, first=3)
    files = [folder / f"{index}.raw" for index in range(len(images))]
    for file, image in zip(files, images, strict=True):
        file.write_bytes(image_bytes(network, image))
    return images, files


def test_the_example_for_linux_classifies_digits_on_the_shipped_circuit(example, tmp_path):
    """Through a pseudo-terminal, with two images on their way: scores of the reference, clocks of the plan."""
    network = network_file.load(DEFAULT_NETWORK)
    images, files = digits(network, tmp_path)
    expected = ReferenceEngine(network).classify(images)
    with simulated_board() as port:
        first, lines = classified(example, port, *files)
    assert first == ("mnist-conv: images 28 x 28 x 1, 10 classes, 48000 kHz; "
                     "faults of the line: 0 bad frames, 0 overruns, 0 aborted frames")
    assert lines == [f"class {label}, 10961 clocks, 0 stalls, 0 flash stalls, scores {' '.join(map(str, scores))}"
                     for label, scores in zip(expected.classes.tolist(), expected.scores.tolist(), strict=True)]
    # The first digit is the one of the page.
    assert f"seven.raw\n{first}\nseven.raw: {lines[0]}\n" in PAGE.read_text(encoding="utf-8")


def test_the_example_for_linux_selects_models_of_the_overlay(example, tmp_path):
    """Each of the shipped networks by its number, on the circuit that reads its weights from the flash."""
    files = [MODELS_FOLDER / name for name in ("mnist-conv.safetensors", "fashion-conv.safetensors")]
    networks = [network_file.load(file) for file in files]
    images, raw = digits(networks[0], tmp_path)
    with simulated_board("--weights", "flash", *map(str, files)) as port:
        for number in (1, 0):
            expected = ReferenceEngine(networks[number]).classify(images)
            first, lines = classified(example, port, f"@{number}", *raw)
            assert first.startswith(f"{files[number].stem}: images 28 x 28 x 1, 10 classes, ")
            assert first.endswith("0 bad frames, 0 overruns, 0 aborted frames")
            assert [line.partition(",")[0] for line in lines] == [f"class {label}" for label in expected.classes]
            assert [line.partition(" scores ")[2] for line in lines] == [
                " ".join(map(str, scores)) for scores in expected.scores.tolist()]
            if number == 1:
                # On the page it is alone, so that no pixel of another image stalls it.
                alone = re.sub(r"\d+ clocks, \d+ stalls", "46638 clocks, 0 stalls", lines[0])
                assert f"seven.raw\n{first}\nseven.raw: {alone}\n" in PAGE.read_text(encoding="utf-8")
        # There is no third one, and then none is selected.
        for arguments in (["@2"], []):
            done = subprocess.run([example, port, "3000000", *arguments], capture_output=True, text=True, check=False,
                                  timeout=600)
            assert (done.returncode, done.stdout) == (1, "")
            assert done.stderr == (f"ERROR: {[port, *arguments][-1]}: the flash has no model of this number, or none "
                                   "was selected: name one, @0\n")
