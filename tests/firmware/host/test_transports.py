# amaranth: UnusedElaboratable=no
"""Lines: a pseudo-terminal in the place of a serial device, and programs in the place of a board."""

import contextlib
import os
import pathlib
import re
import select
import shlex
import sys
import threading
import time
import tty

import numpy as np
import pytest
from amaranth.back import verilog

from firmware.host import command, transports
from firmware.host.errors import ClosedError, DeviceError, PortError
from firmware.host.ports import open_port
from firmware.host.transports import PipeTransport, SerialTransport
from sim.verilated import Verilated
from tests.image_files import npy
from tests.link_board import CACHE, LinkBoard, expected_result, make_info

BAUD = 3_000_000
PIXELS = bytes(range(20))


@pytest.fixture
def terminal():
    """The descriptor of the device's end, and the name of the host's."""
    device, host = os.openpty()
    tty.setraw(host)
    yield device, os.ttyname(host)
    for descriptor in (device, host):
        with contextlib.suppress(OSError):
            os.close(descriptor)


def arrived(device, count):
    """Read ``count`` bytes at the device's end, or what comes within five seconds."""
    data = b""
    while len(data) < count and select.select([device], [], [], 5)[0]:
        data += os.read(device, count - len(data))
    return data


@pytest.fixture(params=["direct", "pyserial"])
def opened(request):
    """Opens lines, and closes them; where the descriptor is no file, as on Windows, pyserial reads and writes."""
    with contextlib.ExitStack() as stack:
        def opened(name):
            line = SerialTransport(name, BAUD)
            stack.callback(line.close)
            if request.param == "pyserial":
                line._descriptor = None
            return line

        yield opened


def test_a_port_that_is_named_is_a_serial_device(terminal):
    port = open_port(terminal[1], BAUD)
    assert isinstance(port.transport, SerialTransport)
    port.transport.close()


def test_bytes_pass_a_serial_device_unchanged(terminal, opened):
    device, name = terminal
    every = bytes(range(256))
    line = opened(name)
    line.write(every)
    assert arrived(device, 256) == every
    os.write(device, every)
    data = b""
    while len(data) < 256 and (part := line.read(100, 5)):
        assert len(part) <= 100
        data += part
    assert data == every


def test_more_than_a_port_holds_is_written(terminal, opened):
    device, name = terminal
    many = bytes(range(256)) * 1024
    taken = bytearray()
    reader = threading.Thread(target=lambda: taken.extend(arrived(device, len(many))))
    line = opened(name)
    reader.start()
    line.write(many)
    reader.join()
    assert taken == many


def test_a_port_that_takes_nothing_has_its_line(terminal, monkeypatch):
    monkeypatch.setattr(transports, "_WRITE_SECONDS", 0.2)
    line = SerialTransport(terminal[1], BAUD)
    with pytest.raises(DeviceError, match=rf"^port {re.escape(terminal[1])} must take what is sent, and has taken "
                                          r"nothing for 0\.2 s: switch the board off and on$"):
        line.write(bytes(1 << 20))
    line.close()


def test_a_silent_serial_device_gives_nothing_after_the_timeout(terminal, opened):
    line = opened(terminal[1])
    begun = time.monotonic()
    assert line.read(100, 0.2) == b""
    assert 0.15 < time.monotonic() - begun < 5
    # A pseudo-terminal has no latency timer.
    assert line.latency_ms is None


@pytest.mark.parametrize("would_wait", [False, True])
def test_a_second_program_that_reads_from_the_port_is_told(terminal, monkeypatch, would_wait):
    """It has the port open too, and is faster by a moment; the device is still there."""
    device, name = terminal
    line, other = SerialTransport(name, BAUD), SerialTransport(name, BAUD)
    select_, read, stolen = select.select, os.read, []

    def late(*arguments):
        ready = select_(*arguments)
        if not stolen:
            stolen.append(b"")
            stolen.append(other.read(100, 5))
        return ready

    def waiting(descriptor, size):
        data = read(descriptor, size)
        if not data:
            raise BlockingIOError
        return data

    os.write(device, b"x")
    if would_wait:
        monkeypatch.setattr(transports.os, "read", waiting)
    monkeypatch.setattr(transports.select, "select", late)
    with pytest.raises(PortError, match=rf"^port {re.escape(name)} must be used by one program, and another one has "
                                        r"read from it: end that program$"):
        line.read(100, 5)
    assert stolen == [b"", b"x"]
    os.write(device, b"y")
    assert line.read(100, 5) == b"y"
    line.close()
    other.close()


def closed_lines(name):
    yield SerialTransport(name, BAUD)
    line = SerialTransport(name, BAUD)
    line._descriptor = None
    yield line
    yield PipeTransport(program("import sys; sys.stdin.read()"))


def test_a_closed_line_touches_no_descriptor(terminal, tmp_path):
    """The next file that is opened has the number of the descriptor that was closed."""
    closed = r"^accelerator must be open, and this program has closed it: open it again$"
    for line in closed_lines(terminal[1]):
        line.close()
        line.close()
        with contextlib.ExitStack() as stack:
            files = [stack.enter_context((tmp_path / str(number)).open("wb+", buffering=0)) for number in range(8)]
            with pytest.raises(ClosedError, match=closed):
                line.write(b"A5")
            with pytest.raises(ClosedError, match=closed):
                line.read(100, 0.01)
            assert [file.seek(0, os.SEEK_END) for file in files] == [0] * 8


def test_the_port_is_set_once_and_not_with_every_read(terminal, opened, monkeypatch):
    """On a USB bridge, setting it is a request of its own."""
    device, name = terminal
    line = opened(name)
    settings = []
    monkeypatch.setattr(line._port, "_reconfigure_port", lambda *_, **__: settings.append(line._port.timeout))
    for _ in range(3):
        os.write(device, b"x")
        assert line.read(10, 5) == b"x"
    assert line.read(10, 0.01) == b""
    assert settings == ([5, 0.01] if line._descriptor is None else [])


def test_what_came_before_a_session_is_no_part_of_it(terminal, opened):
    device, name = terminal
    os.write(device, b"of a session that died")
    line = opened(name)
    os.write(device, b"new")
    assert line.read(100, 5) == b"new"


def test_a_serial_device_that_goes_away_is_one_line(terminal):
    device, name = terminal
    line = SerialTransport(name, BAUD)
    os.close(device)
    gone = f"^port {re.escape(name)} is gone: plug the board in, and see to the cable$"
    with pytest.raises(DeviceError, match=gone):
        line.read(100, 5)
    with pytest.raises(DeviceError, match=gone):
        line.write(bytes(100))
    line.close()


def test_what_pyserial_says_of_a_device_that_goes_away_is_one_line(terminal):
    device, name = terminal
    line = SerialTransport(name, BAUD)
    line._descriptor = None
    os.close(device)
    for use in (lambda: line.read(100, 5), lambda: line.write(bytes(100))):
        with pytest.raises(DeviceError, match=f"^port {re.escape(name)} must be a serial device that can be used: "
                                              "[^\n]+$"):
            use()
    line.close()


def program(text):
    return [sys.executable, "-c", text]


def test_bytes_pass_a_program_unchanged():
    """More than a pipe holds, in both directions."""
    many = bytes(range(256)) * 1024
    line = PipeTransport(program("import sys; data = sys.stdin.buffer.read(262144); "
                                 "sys.stdout.buffer.write(data[::-1])"))
    line.write(many)
    data = b""
    while len(data) < len(many) and (part := line.read(5000, 10)):
        assert len(part) <= 5000
        data += part
    assert data == many[::-1]
    line.close()


def test_a_silent_program_gives_nothing_after_the_timeout():
    line = PipeTransport(program("import sys; sys.stdin.read()"))
    begun = time.monotonic()
    assert line.read(100, 0.2) == b""
    assert 0.15 < time.monotonic() - begun < 5
    line.close()


def test_a_program_that_ends_is_one_line():
    line = PipeTransport(program("raise SystemExit(7)"))
    with pytest.raises(DeviceError, match=r"^simulated board ended with exit status 7$"):
        line.read(100, 10)
    with pytest.raises(DeviceError, match=r"^simulated board ended with exit status 7$"):
        line.write(b"anybody there?")
    line.close()


@pytest.mark.parametrize("closed", ["0", "1"])
def test_a_program_that_closes_its_streams_and_lives_on_is_one_line(monkeypatch, closed):
    monkeypatch.setattr(transports, "_END_SECONDS", 0.2)
    line = PipeTransport(program(f"import os, time; os.close({closed}); time.sleep(600)"))
    begun = time.monotonic()

    def use():
        while closed == "0":
            line.write(b"anybody there?")
        line.read(100, 10)

    with pytest.raises(PortError, match=r"^program of --port pipe: must keep its standard input and output open "
                                        r"while it runs, and has closed one of them: run it by itself, and see what "
                                        r"it does$"):
        use()
    assert time.monotonic() - begun < 60
    line.close()


def test_what_a_program_has_started_ends_with_it():
    """A shell that runs another program, and one that has ended before it."""
    for ending in ("wait", ":"):
        line = PipeTransport(["sh", "-c", f"sleep 600 & echo $!; {ending}"])
        started = int(line.read(100, 10))
        line.close()
        limit = time.monotonic() + 30
        while running(started) and time.monotonic() < limit:
            time.sleep(0.01)
        assert not running(started)


def running(process):
    """Whether a process is there, and no zombie that nobody has waited for."""
    try:
        return pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_program_that_does_not_want_to_end_is_ended(monkeypatch):
    monkeypatch.setattr(transports, "_END_SECONDS", 0.2)
    line = PipeTransport(program("import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
                                 "print('ready', end='', flush=True); time.sleep(600)"))
    assert line.read(100, 10) == b"ready"
    begun = time.monotonic()
    line.close()
    assert time.monotonic() - begun < 60
    with pytest.raises(ProcessLookupError):
        os.kill(line._process.pid, 0)


def pump(device, line, stop):
    """Pass bytes between a terminal and a simulated board, as a serial cable does."""
    while not stop.is_set():
        if select.select([device], [], [], 0.01)[0]:
            line.write(os.read(device, 4096))
        if data := line.read(4096, 0.01):
            os.write(device, data)


def test_the_command_classifies_over_a_serial_device(terminal, tmp_path, capsys):
    """Two sessions with the same board, one after the other."""
    device, name = terminal
    board = LinkBoard(info=make_info())
    with Verilated(verilog.convert(board, name="board", emit_src=False), cache=CACHE) as simulation:
        line = open_port(f"pipe:{shlex.quote(str(simulation.program))} --uart 4").transport
    stop = threading.Event()
    cable = threading.Thread(target=pump, args=(device, line, stop))
    cable.start()
    (tmp_path / "a.npy").write_bytes(npy(np.frombuffer(PIXELS, np.uint8).reshape(4, 5)))
    expected = expected_result(PIXELS, 200)
    try:
        for _ in range(2):
            assert command.main(["classify", "--port", name, "--timeout", "10", str(tmp_path / "a.npy")]) == 0
            assert capsys.readouterr().out == (
                f"{tmp_path}/a.npy: class {expected.label}, 200 cycles (0.004 ms), 20 stalls, 7 flash stalls, scores "
                f"{' '.join(map(str, expected.scores))}\n")
    finally:
        stop.set()
        cable.join()
        line.close()
