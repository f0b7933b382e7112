# amaranth: UnusedElaboratable=no
import json
import pathlib
import shlex
import subprocess
import sys

import numpy as np
import pytest
from amaranth.back import verilog
from PIL import Image

from arch.link import InputEncoding
from firmware.host import command, latency
from firmware.host.accelerator import Accelerator
from firmware.host.commands import classify
from firmware.host.commands.classify import say_latency
from firmware.host.link import Link
from firmware.host.ports import Port
from firmware.host.transports import SerialTransport
from sim.verilated import Verilated
from tests.image_files import idx, png
from tests.link_board import CACHE, LinkBoard, expected_result, make_info
from tests.progress_log import make_log

SEED = 0x66
ROOT = pathlib.Path(__file__).parents[3]
PIXELS = np.arange(20, dtype=np.uint8).reshape(4, 5) * 9


def port_of(info):
    """Return the port of a simulated board that runs a network."""
    with Verilated(verilog.convert(LinkBoard(info=info), name="board", emit_src=False), cache=CACHE) as simulation:
        return f"pipe:{shlex.quote(str(simulation.program))} --uart 4"


@pytest.fixture(scope="module")
def port():
    return port_of(make_info())


def run(capsys, *arguments):
    code = command.main([str(argument) for argument in arguments])
    output = capsys.readouterr()
    assert "Traceback" not in output.err
    return code, output.out, output.err


def test_classify_prints_a_line_per_image(port, tmp_path, capsys):
    np.save(tmp_path / "a.npy", PIXELS)
    (tmp_path / "b.png").write_bytes(png(PIXELS))
    code, out, err = run(capsys, "classify", "--port", port, "--json", tmp_path / "a.npy", tmp_path / "b.png")
    assert (code, err) == (0, "")
    expected = expected_result(PIXELS.tobytes(), 200)
    for line, name in zip(out.splitlines(), ("a.npy", "b.png"), strict=True):
        assert json.loads(line) == {
            "image": str(tmp_path / name), "index": 0, "label": expected.label, "cycles": 200, "stalls": 20,
            "flash_stalls": 7, "scores": list(expected.scores),
        }  # fmt: skip
    code, out, err = run(capsys, "classify", "--port", port, tmp_path / "a.npy")
    assert out == f"{tmp_path}/a.npy: class 0, 200 cycles (0.004 ms), 20 stalls, 7 flash stalls, scores 1710 710 -290\n"


def test_a_file_may_hold_several_images(port, tmp_path, capsys):
    """What ``python -m sim --images`` takes, the board takes."""
    images = np.random.default_rng(SEED).integers(0, 256, (5, 4, 5), np.uint8)
    (tmp_path / "images.idx").write_bytes(idx(images))
    code, out, err = run(capsys, "classify", "--port", port, "--json", tmp_path / "images.idx")
    assert (code, err) == (0, "")
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["index"] for line in lines] == list(range(5))
    assert [tuple(line["scores"]) for line in lines] == [expected_result(image.tobytes(), 200).scores
                                                         for image in images]
    code, out, err = run(capsys, "classify", "--port", port, tmp_path / "images.idx")
    assert [line.partition(":")[0] for line in out.splitlines()] == [f"{tmp_path}/images.idx[{n}]" for n in range(5)]


def test_events_have_the_timesteps_of_the_network_not_of_the_circuit(tmp_path, capsys):
    info = make_info(height=3, width=2, channels=2, encoding=InputEncoding.EVENTS, timesteps=2)
    events = np.random.default_rng(SEED).integers(0, 2, (3, 2, 2, 3, 2), np.uint8)
    np.save(tmp_path / "events.npy", events)
    np.save(tmp_path / "four.npy", np.zeros((4, 2, 3, 2), np.uint8))
    port = port_of(info)
    code, out, err = run(capsys, "classify", "--port", port, "--json", tmp_path / "events.npy")
    assert (code, err) == (0, "")
    packed = [bytes(int(one[0, channel, row, column]) + 2 * int(one[1, channel, row, column])
                    for row in range(3) for column in range(2) for channel in range(2)) for one in events]
    assert [json.loads(line)["scores"] for line in out.splitlines()] == [list(expected_result(image, 200).scores)
                                                                         for image in packed]
    code, out, err = run(capsys, "classify", "--port", port, tmp_path / "four.npy")
    assert (code, out) == (1, "")
    assert err == f"ERROR: {tmp_path}/four.npy: images must have shape (n, 2, 2, 3, 2), not (4, 2, 3, 2)\n"
    code, out, err = run(capsys, "info", "--port", port)
    assert "circuit_timesteps 4\ntimesteps         2\n" in out


def test_info_prints_the_info_block(port, capsys):
    code, out, err = run(capsys, "info", "--port", port, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "name": "sum of pixels", "lanes": 8, "width": 16, "circuit_timesteps": 4, "timesteps": 4,
        "encoding": "unsigned", "channels": 1,
        "image_height": 4, "image_width": 5, "classes": 3, "clock_khz": 48_000, "digest": "0001020304050607",
        "version": 4, "bad_frames": 0, "overruns": 0, "aborted_frames": 0,
    }  # fmt: skip
    code, out, err = run(capsys, "info", "--port", port)
    assert out.startswith("name              sum of pixels\nlanes             8\n")
    assert "clock_khz         48000\n" in out
    assert out.endswith("bad_frames        0\noverruns          0\naborted_frames    0\n")


def test_select_prints_the_info_block_or_why_there_is_none(port, monkeypatch, capsys):
    """The simulated board has its network in the circuit."""
    code, out, err = run(capsys, "select", "3", "--port", port)
    assert (code, out) == (1, "")
    assert err == "ERROR: device refuses SELECT: its network is part of the bitstream, there is none to select\n"
    chosen = []
    monkeypatch.setattr(Link, "select", lambda self, model: chosen.append(model) or make_info())
    code, out, err = run(capsys, "select", "3", "--port", port, "--json")
    assert (code, err, chosen) == (0, "", [3])
    assert json.loads(out)["classes"] == 3


def test_the_number_of_a_model_is_checked(port, capsys):
    code, out, err = run(capsys, "select", "256", "--port", port)
    assert (code, out, err) == (1, "", "ERROR: model must be 0 to 255, not 256\n")
    with pytest.raises(SystemExit) as caught:
        command.main(["select", "first", "--port", port])
    assert caught.value.code == 2
    assert "argument N: invalid int value: 'first'" in capsys.readouterr().err


QUIET = f"pipe:{shlex.quote(sys.executable)} -c 'import sys; sys.stdin.read()'"
NO_ANSWER = ("no valid answer to INFO in 4 attempts: see that the port and its baud are those of the board, or give a "
             "longer --timeout")
NOTE = ("note: the port's latency timer lets a result wait for up to 16 ms, where 1 ms is possible: "
        "echo 1 | sudo tee /sys/class/tty/ttyUSB1/device/latency_timer\n")
BAUD = "--baud must be 1000000, 3000000 or 12000000, not"
TIMEOUT = "--timeout must be 0.001 to 3600 seconds, not"


@pytest.mark.parametrize(("arguments", "message"), [
    (("--port", "/dev/nothing"),
     "port /dev/nothing must be a serial device that can be used: No such file or directory"),
    (("--port", "pipe:"), "--port pipe: must be followed by a program"),
    (("--port", "pipe:'a"),
     "--port pipe: must be followed by a command line, not one with an error: No closing quotation"),
    (("--port", "pipe:/does/not/exist"),
     ("--port pipe: must be followed by a program that can be started, not '/does/not/exist': No such file or "
      "directory")),
    (("--port", ""), ("port must be the name of a serial device, auto, sim:rom, sim:overlay or pipe:COMMAND, not ''")),
    (("--port", "pipe:true"), "simulated board ended with exit status 0"),
    (("--port", QUIET, "--timeout", "0.1"), NO_ANSWER),
    (("--port", "nowhere", "--baud", "0"), f"{BAUD} 0"),
    (("--port", "nowhere", "--baud", "-1"), f"{BAUD} -1"),
    (("--port", "nowhere", "--baud", "115200"), f"{BAUD} 115200"),
    (("--port", "nowhere", "--baud", "1" * 400), f"{BAUD} {'1' * 400}"),
    (("--port", QUIET, "--baud", "3000000"),
     "--baud must be left out for a simulated board, not 3000000: it has no line"),
    (("--port", QUIET, "--timeout", "inf"), f"{TIMEOUT} inf"),
    (("--port", QUIET, "--timeout", "nan"), f"{TIMEOUT} nan"),
    (("--port", QUIET, "--timeout", "1e300"), f"{TIMEOUT} 1e+300"),
    (("--port", QUIET, "--timeout", "0"), f"{TIMEOUT} 0"),
    (("--port", QUIET, "--timeout", "-1"), f"{TIMEOUT} -1"),
])
def test_what_goes_wrong_is_one_line(arguments, message, capsys):
    code, out, err = run(capsys, "info", *arguments)
    assert (code, out) == (1, "")
    assert err == f"ERROR: {message}\n"


def test_a_file_that_is_no_terminal_is_one_line(tmp_path, capsys):
    path = tmp_path / "file"
    path.write_bytes(b"")
    code, out, err = run(capsys, "info", "--port", path)
    assert (code, out) == (1, "")
    assert err.startswith(f"ERROR: port {path} must be a serial device that can be used: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(("option", "value"), [("--timeout", "soon"), ("--baud", "fast"), ("--baud", "1e6")])
def test_what_is_no_number_is_wrong_usage(option, value, capsys):
    with pytest.raises(SystemExit) as caught:
        command.main(["info", "--port", QUIET, option, value])
    assert caught.value.code == 2
    assert f"argument {option}: invalid" in capsys.readouterr().err


def test_images_are_read_as_the_simulation_reads_them(port, tmp_path, capsys):
    np.save(tmp_path / "big.npy", np.zeros((28, 28), np.uint8))
    np.save(tmp_path / "bool.npy", PIXELS > 90)
    np.save(tmp_path / "float.npy", PIXELS / 255)
    (tmp_path / "alpha.png").write_bytes(png(PIXELS, "LA"))
    Image.fromarray(PIXELS).convert("P").save(tmp_path / "palette.png")
    for name, message in (
        ("none.npy", "No such file or directory"),
        ("big.npy", "images must have shape (n, 1, 4, 5), not (28, 28)"),
        ("bool.npy", "images must be uint8, not bool"),
        ("float.npy", "npy must hold integers, not float64"),
        ("alpha.png", "PNG must be 5 x 4 of 8-bit grey, not 5 x 4 of 8-bit grey with alpha"),
        ("palette.png", "PNG must be 5 x 4 of 8-bit grey, not 5 x 4 of 8-bit palette"),
    ):
        code, out, err = run(capsys, "classify", "--port", port, tmp_path / name)
        assert (code, out) == (1, "")
        assert err == f"ERROR: {tmp_path / name}: {message}\n"


@pytest.mark.parametrize(("latency_ms", "note"), [
    (16, NOTE),
    (2, NOTE.replace("16", "2")),
    (1, ""),
    (None, ""),
])
def test_what_the_latency_timer_costs_is_said(latency_ms, note, monkeypatch, capsys):
    class Line(SerialTransport):
        def __init__(self):
            self.latency_ms = latency_ms

    monkeypatch.setattr(latency, "timer_of",
                        lambda device: pathlib.Path("/sys/class/tty/ttyUSB1/device/latency_timer"))
    port = Port(transport=Line(), name="/dev/ttyUSB1", timeout=1, silence=0.1, baud=3_000_000)
    say_latency(Accelerator(port))
    assert capsys.readouterr().err == note


def test_the_module_runs_without_torch_and_amaranth():
    done = subprocess.run([sys.executable, "-X", "importtime", "-m", "firmware.host", "info", "--port", "pipe:"],
                          capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 1
    loaded = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "serial" in loaded
    assert not loaded & {"torch", "amaranth", "PIL"}


def test_reading_says_how_far_it_is(port, tmp_path, monkeypatch, capsys):
    log, told = make_log()
    monkeypatch.setattr(classify, "Progress", log)
    np.save(tmp_path / "a.npy", PIXELS)
    code, _, err = run(capsys, "classify", "--port", port, tmp_path / "a.npy")
    assert (code, err) == (0, "")
    assert told == ["reading images", "0 of 0 MiB"]
