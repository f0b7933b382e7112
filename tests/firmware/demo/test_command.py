"""The command: what it refuses, what it opens, and how it ends."""

import http.client
import json
import pathlib
import re
import signal
import subprocess
import sys

import pytest

from firmware.demo import command
from models import FOLDER

ROOT = pathlib.Path(__file__).parents[3]


@pytest.mark.parametrize(("arguments", "line"), [
    (["--listen-port", "70000"], "--listen-port must be 0 to 65535, not 70000"),
    (["--listen-port", "-1"], "--listen-port must be 0 to 65535, not -1"),
    (["--baud", "9600"], "--baud must be 1000000, 3000000 or 12000000, not 9600"),
    (["--timeout", "0"], "--timeout must be 0.001 to 3600 seconds, not 0"),
    (["--port", "sim", "--listen-port", "0", "a.safetensors", "b.safetensors"],
     "NETWORK must be one network, not several, with --port sim: use --port sim:overlay"),
    (["--port", "sim:rom", "--listen-port", "0", "a.safetensors", "b.safetensors"],
     "NETWORK must be one network, not several, with --port sim:rom: use --port sim:overlay"),
    (["nothing.safetensors"], "nothing.safetensors: No such file or directory"),
    (["--port", "sim:other", "--listen-port", "0"],
     "--port must be one of sim, sim:rom, sim:overlay for a simulated board, not sim:other"),
    (["--port", "/dev/nothing", "--listen-port", "0"],
     "port /dev/nothing must be a serial device that can be used: No such file or directory"),
])
def test_what_cannot_be_done_is_one_line(arguments, line, capsys, monkeypatch):
    monkeypatch.setattr(command.webbrowser, "open", lambda url: pytest.fail("there is nothing to show"))
    assert command.main(arguments) == 1
    assert capsys.readouterr() == ("", f"ERROR: {line}\n")


class Waits:
    """A board that is there at once, and asked for nothing."""

    def __init__(self, open_board, catalogue):
        pass

    def run(self, ready):
        ready()


@pytest.mark.parametrize(("arguments", "display", "opened"), [
    (["--port", "sim"], ":0", 1), (["--port", "auto"], ":0", 1), (["--port", "sim", "--no-browser"], ":0", 0),
    (["--port", "sim"], "", 0),
])
def test_a_browser_is_opened_once_where_there_is_a_display(arguments, display, opened, monkeypatch, capsys):
    addresses = []
    monkeypatch.setattr(command, "Board", Waits)
    monkeypatch.setattr(command, "create_app", lambda *_, **__: None)
    monkeypatch.setattr(command.webbrowser, "open", addresses.append)
    monkeypatch.setattr(command.sys, "platform", "linux")
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert command.main([*arguments, "--listen-port", "0"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    (url,) = re.findall(r"^(http://127\.0\.0\.1:\d+/): open it in a browser; end it with Ctrl-C$", line)
    assert addresses == [url] * opened


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_ends_everything(number, tmp_path):
    board = f"pipe:{sys.executable} -m tests.firmware.demo.pipe_board {tmp_path / 'pid'}"
    program = [sys.executable, "-m", "firmware.demo", "--no-browser", "--listen-port", "0", "--port", board,
               "--timeout", "20"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        address = re.match(r"http://([\d.:]+)/", process.stdout.readline())[1]
        connection = http.client.HTTPConnection(address, timeout=20)
        connection.request("GET", "/api/board")
        found = json.loads(connection.getresponse().read())
        # A browser keeps its connection.
        assert (found["state"], found["engine"]) == ("ready", "program in the place of a board")
        assert found["models"][0]["file"] == (FOLDER / "mnist-conv.safetensors").name
        process.send_signal(number)
        assert process.wait(20) == 130
        assert process.stderr.read() == "ERROR: interrupted\n"
        connection.close()
    assert not pathlib.Path("/proc", (tmp_path / "pid").read_text()).exists()
