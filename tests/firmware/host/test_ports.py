"""What may be named as a port."""

import stat
import sys
import time
import types

import pytest

from boards import BOARDS
from firmware.host import known_boards, ports
from firmware.host.errors import PortError
from firmware.host.ports import board_at, find_board, open_port
from tests.firmware.host.test_transports import running

ICEBREAKER = {"vid": 0x0403, "pid": 0x6010}


def port(device, location=None, **identity):
    return types.SimpleNamespace(device=device, location=location, **{"vid": None, "pid": None, **identity})


@pytest.mark.parametrize(("found", "device", "board"), [
    # An FT2232H is two ports, of which the second is the UART.
    ([port("/dev/ttyUSB0", "1-2:1.0", **ICEBREAKER), port("/dev/ttyUSB1", "1-2:1.1", **ICEBREAKER)], "/dev/ttyUSB1",
     "icebreaker"),
    ([port("/dev/ttyS0"), port("/dev/ttyACM0", "1-1:1.2", vid=0x1D50, pid=0x602B)], "/dev/ttyACM0", "icesugar"),
    ([port("/dev/ttyUSB3", "2-1.4:1.0", vid=0x0403, pid=0x6014)], "/dev/ttyUSB3", "upduino-v3"),
])
def test_the_board_is_found_by_its_usb_identity(found, device, board, tmp_path, monkeypatch):
    monkeypatch.setattr(ports.list_ports, "comports", lambda: found)
    assert find_board() == (device, board)
    (tmp_path / "link").symlink_to(device)
    for port in ("auto", device, tmp_path / "link"):
        assert board_at(str(port)) == board
    assert board_at("/dev/ttyUSB0") is None


def test_the_boards_are_those_of_the_list():
    assert set(known_boards.USB_IDENTITIES.values()) == BOARDS.keys()
    assert {name: board.title for name, board in BOARDS.items()} == known_boards.TITLES


@pytest.mark.parametrize(("found", "message"), [
    ([port("/dev/ttyS0")], ("--port auto must find a board (iCEBreaker, UPduino v3, iCESugar), and none is plugged in: "
                            "plug it in, name its port, or use --port sim")),
    # Without the number of the interface nobody knows which of the two ports is the UART.
    ([port("/dev/ttyUSB0", "1-2", **ICEBREAKER)], ("--port auto must find a board (iCEBreaker, UPduino v3, iCESugar), "
                                                   "and none is plugged in: plug it in, name its port, or use --port "
                                                   "sim")),
    ([port("/dev/ttyUSB5", "1-3:1.1", **ICEBREAKER), port("/dev/ttyUSB1", "1-2:1.1", **ICEBREAKER)],
     "--port auto must find one board, not 2: use one of /dev/ttyUSB1 (iCEBreaker), /dev/ttyUSB5 (iCEBreaker)"),
])
def test_no_board_and_several_have_their_line(found, message, monkeypatch):
    monkeypatch.setattr(ports.list_ports, "comports", lambda: found)
    with pytest.raises(PortError) as caught:
        open_port("auto")
    assert str(caught.value) == message


@pytest.mark.parametrize(("arguments", "options", "message"), [
    (("sim:other",), {}, "--port must be one of sim, sim:rom, sim:overlay for a simulated board, not sim:other"),
    (("sim", 3_000_000), {}, "--baud must be left out for a simulated board, not 3000000: it has no line"),
    (("/dev/ttyUSB1",), {"networks": ["a"]}, ("networks must be given for a simulated board only, not for --port "
                                              "/dev/ttyUSB1")),
])
def test_what_makes_no_sense_is_refused(arguments, options, message):
    with pytest.raises(PortError) as caught:
        open_port(*arguments, **options)
    assert str(caught.value) == message


def test_a_simulated_board_that_does_not_start_is_one_line(tmp_path, capfd):
    with pytest.raises(PortError, match=r"^simulated board must start, not end with exit status 1: see what it says, "
                                        r"or run python -m sim\.board by itself$"):
        open_port("sim:rom", networks=[tmp_path / "missing.safetensors"])
    assert capfd.readouterr().err.startswith(f"ERROR: {tmp_path}/missing.safetensors: No such file")


#: A simulated board that compiles in one step, and answers nothing.
STARTS = """#!{python}
import json, os, sys
ours, theirs = os.openpty()
print(json.dumps({{"step": "compile the simulation", "done": 3, "total": 30}}), flush=True)
print(json.dumps({{"port": os.ttyname(theirs), "board": "iCEBreaker"}}), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def starts(tmp_path, monkeypatch):
    program = tmp_path / "board"
    program.write_text(STARTS.format(python=sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(ports.sys, "executable", str(program))


def test_steps_of_a_compilation_are_told(starts):
    told = []
    port = open_port("sim", report=lambda *step: told.append(step))
    port.transport.close()
    assert told == [("compile the simulation", 3, 30)]
    assert port.transport._process.returncode == 0


def test_a_start_that_is_interrupted_ends_the_simulation(starts, monkeypatch):
    processes = []
    popen = ports.subprocess.Popen

    def started(*arguments, **options):
        processes.append(popen(*arguments, **options))
        return processes[-1]

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(ports.subprocess, "Popen", started)
    with pytest.raises(KeyboardInterrupt):
        open_port("sim", report=interrupt)
    assert processes[0].returncode is not None


def test_a_simulated_board_that_does_not_want_to_end_is_ended_with_all_it_has_started(starts, tmp_path, monkeypatch):
    program = tmp_path / "board"
    program.write_text(program.read_text().replace("sys.stdin.read()", f"""
import pathlib, subprocess, time
started = subprocess.Popen(["sleep", "600"])
pathlib.Path({str(tmp_path / "part")!r}).write_text(str(started.pid))
pathlib.Path({str(tmp_path / "part")!r}).rename({str(tmp_path / "started")!r})
time.sleep(600)
"""))
    monkeypatch.setattr(ports, "_END_SECONDS", 0.2)
    line = open_port("sim").transport
    limit = time.monotonic() + 60
    while not (tmp_path / "started").exists() and time.monotonic() < limit:
        time.sleep(0.01)
    started = int((tmp_path / "started").read_text())
    line.close()
    line.close()
    while running(started) and time.monotonic() < limit:
        time.sleep(0.01)
    assert not running(started)
