"""Another network on the board: written by programs that stand for programmers, to a board behind a pseudo-terminal."""

import dataclasses
import hashlib
import json
import os
import shutil
import signal
import sys
import threading
import time
import types

import pytest

from arch.flash.header import HEADER_BYTES, ModelHeader
from arch.flash.image import BASE, MODELS, build_image
from arch.link import ErrorCode, Info
from boards import BOARDS
from boards.programming import ProgrammingError
from firmware.host import command, ports, swapping
from support.tools import ToolMissingError
from tests.firmware.host.device import Socket, TwinDevice
from tests.flash_models import circuit_of, random_model
from tests.link_board import make_info

CIRCUIT = circuit_of()
#: What a programmer does: the flash of the board is a file. ``plan`` is what goes wrong.
PROGRAMMER = """#!{python}
import pathlib, sys, time
folder = pathlib.Path({folder!r})
flash, plan, words = folder / "flash", (folder / "plan").read_text(), sys.argv[1:]
with open(folder / "calls", "a") as log:
    print(pathlib.Path(sys.argv[0]).name, *words[:-1], file=log)
offset = int(words[words.index("-o") + 1]) if "-o" in words else 0
content = bytearray(flash.read_bytes())
if "--dump-flash" in words:
    size = int(words[words.index("--file-size") + 1])
    pathlib.Path(words[-1]).write_bytes(content[offset:offset + size])
    sys.exit()
if plan == "no board":
    print("Can't find iCE FTDI USB device (vendor_id 0x0403, device_id 0x6010 or 0x6014).", file=sys.stderr)
    sys.exit(1)
data = bytearray(pathlib.Path(words[-1]).read_bytes())
if plan == "slow":
    (folder / "writing").touch()
    time.sleep(600)
if plan == "bad flash":
    data[1234] ^= 1
content[offset:offset + len(data)] = data
if plan != "another board":
    flash.write_bytes(content)
"""


def model(seed, circuit=CIRCUIT, **changes):
    return random_model(seed, circuit, [(1, 3)], **{"image_height": 4, "image_width": 5, "channels": 1} | changes)


class Desk:
    """A board with its flash, its programmers, and the port to it."""

    def __init__(self, folder, capsys):
        self.folder, self.capsys = folder, capsys
        self.flash = folder / "flash"
        (folder / "plan").write_text("")
        self.flash.write_bytes(b"\xff" * (2 << 20))
        self.put(0, b"overlay")
        self.socket = None

    def put(self, offset, content):
        flash = bytearray(self.flash.read_bytes())
        flash[offset:offset + len(content)] = content
        self.flash.write_bytes(flash)

    def boot(self):
        """What the FPGA becomes of its flash."""
        flash = self.flash.read_bytes()
        if not flash.startswith(b"overlay"):
            return TwinDevice(Info.from_bytes(flash[8:72]))
        models = [self.model(flash[BASE + HEADER_BYTES * number:][:HEADER_BYTES]) for number in range(MODELS)]
        return TwinDevice(*models, selectable=True)

    @staticmethod
    def model(header):
        """What a SELECT of a model ends with."""
        if header == b"\xff" * HEADER_BYTES:
            return ErrorCode.NO_MODEL
        found = ModelHeader.from_bytes(header)
        return found.info if found.circuit == CIRCUIT else ErrorCode.WRONG_MODEL

    def image(self, *models, name="models.flash"):
        path = self.folder / name
        path.write_bytes(build_image(models))
        return path

    def bitstream(self, info, name="build", **changes):
        """The folder of a build, as python -m gateware.build and python -m export --into leave it."""
        folder = self.folder / name
        folder.mkdir()
        content = b"\xff\x00\x00\xff----" + info.to_bytes() + bytes(5000)
        (folder / "sterna.bin").write_bytes(content)
        (folder / "report.json").write_text(json.dumps({
            "board": "icebreaker", "baud": 3_000_000, "network": info.name,
            "network_sha256": info.digest.hex() + "77" * 24,
            "bitstream_sha256": hashlib.sha256(content).hexdigest(), **changes}))
        return folder / "sterna.bin"

    def plan(self, text):
        (self.folder / "plan").write_text(text)

    def calls(self):
        log = self.folder / "calls"
        lines = log.read_text().splitlines() if log.exists() else []
        log.write_text("")
        return lines

    def run(self, *arguments, port=None):
        code = command.main([*map(str, arguments), "--port", self.socket.name if port is None else port])
        output = self.capsys.readouterr()
        return code, output.out.splitlines(), output.err.splitlines()

    def swap(self, path, *arguments, port=None):
        return self.run("swap", path, *arguments, port=port)


@pytest.fixture
def desk(tmp_path, monkeypatch, capsys):
    there = Desk(tmp_path, capsys)
    for tool in ("iceprog", "openFPGALoader", "icesprog"):
        (tmp_path / tool).write_text(PROGRAMMER.format(python=sys.executable, folder=str(tmp_path)))
        (tmp_path / tool).chmod(0o755)
    monkeypatch.setattr("support.tools.find_tool", lambda tool: str(tmp_path / tool.name))
    monkeypatch.setattr("boards.programming.find_tool", lambda tool: str(tmp_path / tool.name))
    monkeypatch.setattr(swapping, "_START_SECONDS", 1.0)

    def restart_after(*arguments, **options):
        write(*arguments, **options)
        there.socket.restart()

    write = swapping.Programming.write
    monkeypatch.setattr(swapping.Programming, "write", restart_after)
    with Socket(there.boot) as there.socket:
        port = types.SimpleNamespace(device=there.socket.name, location="1-2:1.1", vid=0x0403, pid=0x6010)
        monkeypatch.setattr(ports.list_ports, "comports", lambda: [port])
        yield there


def line_of(number, info, mark=" "):
    return (f"{mark} {number}  {info.name}: 4 x 5 x 1 unsigned, {info.classes} classes, 4 timesteps, "
            f"sha256 {info.digest.hex()}")


def test_models_are_written_and_the_board_runs_them(desk):
    first, second, third = model(1), model(2), model(3)
    desk.put(BASE, build_image([first]))
    desk.socket.restart()
    path = desk.image(second, third)
    expected = [f"programmed {path} at 0x100000 of the iCEBreaker: models 0 model 2, 1 model 3",
                line_of(0, second.info, "*"), line_of(1, third.info)]
    assert desk.swap(path) == (0, expected, [])
    assert desk.calls() == ["iceprog -o 1048576"]
    assert desk.flash.read_bytes()[BASE:][:path.stat().st_size] == path.read_bytes()
    # The bitstream stays, and so does what was said: the first model is selected.
    assert desk.flash.read_bytes().startswith(b"overlay")
    assert desk.run("list") == (0, expected[1:], [])
    # By its USB identity, with another programmer, whose writing is read back; and as JSON.
    code, out, err = desk.swap(desk.image(first), "--programmer", "openFPGALoader", "--json", port="auto")
    assert (code, [json.loads(line)["digest"] for line in out]) == (0, [first.info.digest.hex()])
    assert err == [f"note: programmed {path} at 0x100000 of the iCEBreaker: model 0 model 1"]
    size = path.stat().st_size
    assert desk.calls() == ["openFPGALoader -b ice40_generic --write-flash -o 1048576",
                            f"openFPGALoader -b ice40_generic --dump-flash --file-size {size} -o 1048576"]


def test_a_board_without_a_model_gets_its_first(desk):
    path = desk.image(model(1))
    assert desk.swap(path)[0] == 0
    assert desk.run("list")[1] == [line_of(0, model(1).info, "*")]


def test_a_bitstream_is_written_and_the_board_runs_its_network(desk):
    info = make_info(name="another")
    expected = ["programmed the iCEBreaker", line_of("-", info, "*")]
    assert desk.swap(desk.bitstream(info)) == (0, expected, [])
    assert desk.calls() == ["iceprog"]
    other = dataclasses.replace(make_info(name="a third"), digest=bytes(8))
    code, out, err = desk.swap(desk.bitstream(other, "other"), "--json", "--board", "icebreaker")
    assert (code, json.loads(out[0])["name"], err) == (0, "a third", ["note: programmed the iCEBreaker"])


def test_a_board_that_answers_as_before_was_not_written(desk):
    """Two boards are plugged in, and the programmer writes to the other one."""
    desk.put(BASE, build_image([model(1)]))
    desk.socket.restart()
    desk.plan("another board")
    assert desk.swap(desk.image(model(2))) == (1, [
        f"programmed {desk.folder}/models.flash at 0x100000 of the iCEBreaker: model 0 model 2"], [
        (f"ERROR: board must run 'model 2' as its model 0, sha256 {model(2).info.digest.hex()}, which was written, not "
        f"'model 1', sha256 {model(1).info.digest.hex()}: see that the board at --port is the one that was written")])
    desk.put(0, b"\xff\x00\x00\xff----" + make_info(name="old").to_bytes())
    desk.socket.restart()
    new = dataclasses.replace(make_info(name="new"), digest=bytes(8))
    assert desk.swap(desk.bitstream(new))[2] == [
        ("ERROR: board must run 'new' as its network, sha256 0000000000000000, which was written, not 'old', sha256 "
        "0001020304050607: see that the board at --port is the one that was written")]


def test_a_programmer_that_fails_has_its_line_and_its_log(desk, monkeypatch):
    work = desk.folder / "work"
    monkeypatch.setattr(swapping.tempfile, "mkdtemp", lambda prefix: work.mkdir() or str(work))
    path = desk.image(model(1))
    desk.plan("no board")
    reason = "Can't find iCE FTDI USB device (vendor_id 0x0403, device_id 0x6010 or 0x6014)."
    assert desk.swap(path) == (3, [], [f"ERROR: iceprog failed: {reason} (see {work}/programmer.log)"])
    assert reason in (work / "programmer.log").read_text()
    shutil.rmtree(work)
    desk.plan("bad flash")
    content = path.read_bytes()
    assert desk.swap(path, "--programmer", "openFPGALoader") == (3, [], [
        (f"ERROR: openFPGALoader failed: byte {BASE + 1234:#x} of the flash of the iCEBreaker must be "
         f"{content[1234]:#04x}, which was written, not {content[1234] ^ 1:#04x}: check the cable and the supply, and "
         "write again")])
    shutil.rmtree(work)
    desk.plan("")
    assert desk.swap(path)[0] == 0
    assert not work.exists()


@pytest.mark.parametrize("what", ["image", "bitstream"])
def test_a_programmer_that_is_interrupted_leaves_a_line_and_no_folder(desk, monkeypatch, what):
    work = desk.folder / "work"
    monkeypatch.setattr(swapping.tempfile, "mkdtemp", lambda prefix: work.mkdir() or str(work))
    desk.plan("slow")

    def interrupt():
        limit = time.monotonic() + 60
        while not (desk.folder / "writing").exists() and time.monotonic() < limit:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    path = desk.image(model(1)) if what == "image" else desk.bitstream(make_info())
    thread = threading.Thread(target=interrupt)
    thread.start()
    assert desk.swap(path) == (130, [], [
        ("ERROR: interrupted while iceprog was at work: the flash of the iCEBreaker may be half written, so run the "
         "command again")])
    thread.join()
    assert not work.exists()
    desk.plan("")
    assert desk.swap(path)[0] == 0


def test_a_bitstream_that_is_too_large_leaves_no_folder(desk, monkeypatch):
    work = desk.folder / "work"
    monkeypatch.setattr(swapping.tempfile, "mkdtemp", lambda prefix: work.mkdir() or str(work))

    def too_large(*_, **__):
        raise ProgrammingError("bitstream must be smaller")

    monkeypatch.setattr(swapping.Programming, "write", too_large)
    assert desk.swap(desk.bitstream(make_info())) == (1, [], ["ERROR: bitstream must be smaller"])
    assert not work.exists()


def test_nothing_is_written_where_the_port_cannot_be_used(desk):
    nowhere = f"{desk.folder}/nowhere"
    for path in (desk.image(model(1)), desk.bitstream(make_info())):
        assert desk.swap(path, "--board", "icebreaker", port=nowhere) == (1, [], [
            f"ERROR: port {nowhere} must be a serial device that can be used: No such file or directory"])
    assert desk.calls() == []


def test_an_overlay_with_the_same_network_is_not_what_was_written(desk):
    """The programmer has written to another board."""
    same = model(1)
    desk.put(BASE, build_image([same]))
    desk.socket.restart()
    desk.plan("another board")
    assert desk.swap(desk.bitstream(same.info)) == (1, ["programmed the iCEBreaker"], [
        ("ERROR: board must run 'model 1' from its bitstream, which was written, not the overlay with models in its "
         "flash: see that the board at --port is the one that was written")])


def test_a_missing_programmer_is_told_before_the_board_is_asked(desk, monkeypatch):
    def find_tool(tool):
        raise ToolMissingError(f"{tool.name} is not installed: {tool.source}")

    monkeypatch.setattr("boards.programming.find_tool", find_tool)
    for path in (desk.image(model(1)), desk.bitstream(make_info())):
        assert desk.swap(path) == (3, [], ["ERROR: iceprog is not installed: apt install fpga-icestorm"])
    assert desk.socket.received == 0


def test_a_board_that_does_not_come_back_has_its_line(desk, monkeypatch):
    desk.put(BASE, build_image([model(1)]))
    desk.socket.restart()
    path = desk.image(model(2))

    class Silent(TwinDevice):
        def receive(self, byte, time):
            pass

    desk.socket.boot = lambda: Silent(make_info())
    code, out, err = desk.swap(path, "--timeout", "0.05")
    assert (code, len(out)) == (1, 1)
    assert err == [("ERROR: board must answer within 1 s after it was written: no valid answer to INFO in 4 attempts: "
                   "see that the port and its baud are those of the board, or give a longer --timeout")]


OTHER = circuit_of(4, 16)
SLOW = model(9, clock_khz=24_000)


@pytest.mark.parametrize(("made", "message"), [
    ([model(1), model(8, OTHER)], "model 1 'model 8': P must be 8, that of the circuit on the board, not 4"),
    ([model(8, circuit_of(8, 8))], "model 0 'model 8': W must be 16, that of the circuit on the board, not 8"),
    ([model(8, circuit_of(timesteps=8))], "model 0 'model 8': T must be 4, that of the circuit on the board, not 8"),
    ([SLOW], "model 0 'model 9': clock in kHz must be 48000, that of the circuit on the board, not 24000"),
])
def test_models_for_another_circuit_are_not_written(desk, made, message):
    desk.put(BASE, build_image([model(1)]))
    desk.socket.restart()
    path = desk.image(*made)
    assert desk.swap(path) == (1, [], [f"ERROR: {path}: {message}: export the image again for this bitstream"])
    assert desk.calls() == []
    assert desk.run("list")[1] == [line_of(0, model(1).info, "*")]


def test_what_the_board_has_in_its_bitstream_is_not_written_over(desk):
    desk.put(0, b"\xff\x00\x00\xff----" + make_info().to_bytes())
    desk.socket.restart()
    path = desk.image(model(1))
    assert desk.swap(path) == (1, [], [
        ("ERROR: board must have the overlay for an image of models, and its network is part of its bitstream: swap "
         "the sterna.bin of a build, or write the overlay too, with python -m gateware.build --board icebreaker "
         f"--weights flash --program both --image {path}")])
    assert desk.calls() == []


def test_what_cannot_be_written_has_its_line(desk, tmp_path):
    image = desk.image(model(1))
    (tmp_path / "damaged").write_bytes(image.read_bytes()[:-1])
    (tmp_path / "text").write_text("hello")
    strange = desk.bitstream(make_info(), "strange", bitstream_sha256="ab" * 32)
    digest = hashlib.sha256(strange.read_bytes()).hexdigest()
    overlay = desk.bitstream(make_info(), "overlay", network=None, network_sha256=None)
    sugar = desk.bitstream(make_info(), "sugar", board="icesugar")
    for path, message in (
        (tmp_path / "none", "No such file or directory"),
        (tmp_path / "damaged", "model 0: stream must lie in the image"),
        (tmp_path / "text", ("must be an image of models, or the bitstream of a build beside its report.json: make one "
                            "with python -m export NETWORK --flash IMAGE, or --into BUILD")),
        (strange, f"sha256 must be that of its report.json, {'ab' * 32}, not {digest}: build again"),
        (overlay, ("must be the bitstream of a network, not that of the overlay, which has none: write it with python "
                  "-m gateware.build --board icebreaker --weights flash --program built")),
        (sugar, ("must be for the board icebreaker, not icesugar: put the network into a build for the iCEBreaker with "
                "python -m export NETWORK --into BUILD")),
    ):
        code, out, err = desk.swap(path)
        assert (code, out, len(err)) == (1, [], 1)
        assert err[0].startswith(f"ERROR: {path}: {message}")
    assert desk.calls() == []
    assert desk.socket.received == 0


@pytest.mark.parametrize("change", [
    {"baud": "3000000"}, {"baud": 3e6}, {"baud": True}, {"board": 1}, {"network": 5}, {"network_sha256": []},
    {"bitstream_sha256": None}, {"bitstream_sha256": "\n" * 64},
], ids=str)
def test_a_report_with_values_of_other_types_is_refused(desk, change):
    path = desk.bitstream(make_info(), "other", **change)
    assert desk.swap(path) == (1, [], [
        f"ERROR: {path.parent}: must have the sterna.bin and the report.json of a build: build first"])
    assert desk.calls() == []


def test_a_long_name_of_a_board_is_cut(desk):
    path = desk.bitstream(make_info(), "other", board="x" * 1000)
    assert desk.swap(path) == (1, [], [
        (f"ERROR: {path}: must be for the board icebreaker, not '{'x' * 36}...: put the network into a build for the "
         "iCEBreaker with python -m export NETWORK --into BUILD")])


def test_the_board_must_be_known_and_be_the_one_that_is_there(desk, monkeypatch):
    path = desk.image(model(1))
    monkeypatch.setattr(ports.list_ports, "comports", list)
    assert desk.swap(path) == (1, [], [
        f"ERROR: board at {desk.socket.name} must be known, and USB does not tell it: give --board"])
    assert desk.swap(path, "--board", "icebreaker")[0] == 0
    port = types.SimpleNamespace(device=desk.socket.name, location="1-2:1.1", vid=0x1D50, pid=0x602B)
    monkeypatch.setattr(ports.list_ports, "comports", lambda: [port])
    assert desk.swap(path, "--board", "icebreaker", port="auto") == (1, [], [
        "ERROR: --board must be icesugar, the board that is plugged in, not icebreaker"])
    assert desk.swap(path, "--programmer", "openFPGALoader") == (1, [], [
        "ERROR: programmer of the iCESugar must be icesprog, not openFPGALoader: leave the option out"])
    code, _, err = desk.swap(path, port="auto")
    assert (code, err, desk.calls()[-1]) == (0, [], "icesprog -o 1048576")


@pytest.mark.parametrize(("port", "arguments", "message"), [
    ("sim", ("--board", "icebreaker"),
     "--board must be left out for a simulated board, which is an iCEBreaker without a programmer"),
    ("sim:overlay", ("--programmer", "iceprog"),
     "--programmer must be left out for a simulated board, which is an iCEBreaker without a programmer"),
])
def test_a_simulated_board_has_no_programmer(desk, port, arguments, message):
    assert desk.swap(desk.image(model(1)), *arguments, port=port) == (1, [], [f"ERROR: {message}"])


@pytest.mark.parametrize("port", ["sim", "sim:rom"])
def test_the_simulated_board_without_the_overlay_has_no_models(desk, port):
    assert desk.swap(desk.image(model(1)), port=port) == (1, [], [
        f"ERROR: --port must be sim:overlay for an image of models, not {port}, whose network is part of its circuit"])


def test_a_bitstream_is_not_simulated(desk):
    assert desk.swap(desk.bitstream(make_info()), port="sim") == (1, [], [
        ("ERROR: --port must be that of a board for a bitstream, which cannot be simulated: python -m sim.board "
        "NETWORK simulates the circuit with a network")])


def test_the_programmers_of_every_board_are_named_in_the_help(capsys):
    with pytest.raises(SystemExit):
        command.main(["swap", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    tools = sorted({each.tool.name for board in BOARDS.values() for each in board.programmers})
    assert f"write with TOOL: {tools[0]}, {tools[1]} or {tools[2]} (default" in text
    assert f"write to BOARD: {', '.join(sorted(BOARDS))} (default" in text
