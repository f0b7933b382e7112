# amaranth: UnusedElaboratable=no
"""The host program against the gateware, with faults on the wire, and against a scripted device."""

import json
import random
import shlex
import sys
import warnings
import zlib

import numpy as np
import pytest
from amaranth.back import verilog
from PIL import Image

from arch.link import Command, ErrorCode, Frame, FrameReader, InputEncoding, LinkError, Reply
from firmware import host
from firmware.host import DeviceError, Link
from firmware.images import ImageError, read_image
from sim.verilated import SimulationTransport, Verilated
from tests.link_board import CACHE, LinkBoard, expected_result, make_info

SEED = 0x66
INFO = make_info()


@pytest.fixture(scope="module")
def source():
    return verilog.convert(LinkBoard(), name="board", emit_src=False)


@pytest.fixture(scope="module")
def program(source):
    with Verilated(source, cache=CACHE) as simulation:
        yield simulation.program


class Faulty:
    """Damages what passes a transport, in both directions."""

    def __init__(self, inner, rate, seed):
        self.inner, self.rate, self.random = inner, rate, random.Random(seed)
        self.faults = 0

    def damage(self, data):
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
                damaged += bytes((byte, self.random.randrange(256)))
        return bytes(damaged)

    def write(self, data):
        self.inner.write(self.damage(data))

    def read(self, size, timeout):
        while data := self.inner.read(size, timeout):
            if damaged := self.damage(data):
                return damaged
        return b""

    def close(self):
        self.inner.close()


@pytest.mark.parametrize("seed", range(6))
def test_faults_on_the_wire_give_the_right_result_or_one_clear_error(source, seed):
    rng = random.Random(SEED + seed)
    images = [rng.randbytes(20) for _ in range(25)]
    with Verilated(source, cache=CACHE) as simulation:
        simulation.reset()
        line = Faulty(SimulationTransport(simulation, clocks_per_second=20_000), 0.004, seed)
        link = Link(line, timeout=0.5, silence=0.2, retries=10)
        assert list(link.classify_all(images)) == [expected_result(image, 200) for image in images]
        assert line.faults > 0
        line.rate = 1
        link = Link(line, timeout=0.5, silence=0.2, retries=1)
        with pytest.raises((DeviceError, LinkError)):
            link.classify(images[0])


class Scripted:
    """A device of which every answer is a function of the request."""

    def __init__(self, answer):
        self.answer, self.reader, self.pending = answer, FrameReader(), bytearray()
        self.requests = []

    def write(self, data):
        for frame in self.reader.feed(data):
            self.requests.append(frame)
            self.pending += self.answer(frame, len(self.requests))

    def read(self, size, timeout):
        data = bytes(self.pending[:size])
        del self.pending[:size]
        return data

    def close(self):
        pass


def reply(frame, command, payload, tag=None):
    return Frame(command=command, tag=frame.tag if tag is None else tag, payload=payload).to_bytes()


def test_bad_crc_and_overrun_are_repeated_under_a_new_tag():
    def answer(frame, count):
        if count < 3:
            code = (ErrorCode.BAD_CRC, ErrorCode.OVERRUN)[count - 1]
            return reply(frame, Reply.ERROR, bytes((code,)))
        return reply(frame, Reply.INFO, INFO.to_bytes())

    device = Scripted(answer)
    link = Link(device)
    assert link.info() == INFO
    assert link.repeated == 2
    assert len({frame.tag for frame in device.requests}) == 3


def test_late_answers_are_ignored():
    def answer(frame, count):
        late = reply(frame, Reply.INFO, bytes(32), tag=frame.tag ^ 0x80)
        return late + reply(frame, Reply.INFO, INFO.to_bytes())

    assert Link(Scripted(answer)).info() == INFO


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda f, n: b"", "no valid answer to INFO in 4 attempts"),
        (lambda f, n: bytes(50), "no valid answer to INFO in 4 attempts"),
        (lambda f, n: reply(f, Reply.ERROR, b"\x04"), "no valid answer to INFO in 4 attempts"),
        (lambda f, n: reply(f, Reply.ERROR, b"\x03"), "device refuses INFO: unknown command"),
        (lambda f, n: reply(f, Reply.ERROR, b"\x63"), "device refuses INFO: error 99"),
        (lambda f, n: reply(f, Reply.INFO, bytes(32)), "device does not answer with an info block"),
        (lambda f, n: reply(f, Reply.INFO, b"STRN\x07" + bytes(27)), "protocol version must be 1, not 7"),
    ],
)
def test_what_a_device_may_do_wrong_has_its_line(answer, message):
    with pytest.raises((DeviceError, LinkError), match=f"^{message}$"):
        Link(Scripted(answer), timeout=0.01, silence=0.01).info()


def test_image_size_is_checked_before_anything_is_sent():
    device = Scripted(lambda frame, count: reply(frame, Reply.INFO, INFO.to_bytes()))
    with pytest.raises(LinkError, match=r"^image must have 20 bytes \(4 x 5 x 1\), not 19$"):
        Link(device).classify(bytes(19))
    assert [frame.command for frame in device.requests] == [Command.INFO]


def test_malformed_result_has_its_line():
    def answer(frame, count):
        return reply(frame, Reply.INFO, INFO.to_bytes()) if count == 1 else reply(frame, Reply.RESULT, bytes(8))

    with pytest.raises(LinkError, match=r"^result must have 24 bytes, not 8$"):
        Link(Scripted(answer)).classify(bytes(20))


def run(capsys, *arguments):
    code = host.main([str(argument) for argument in arguments])
    output = capsys.readouterr()
    assert "Traceback" not in output.err
    return code, output.out, output.err


def test_command_line_classifies(program, tmp_path, capsys):
    image = np.arange(20, dtype=np.uint8).reshape(4, 5) * 9
    np.save(tmp_path / "a.npy", image)
    Image.fromarray(image).save(tmp_path / "b.png")
    port = f"sim:{program} --uart 4"
    code, out, err = run(capsys, "classify", "--port", port, "--json", tmp_path / "a.npy", tmp_path / "b.png")
    assert (code, err) == (0, "")
    expected = expected_result(image.tobytes(), 200)
    for line, name in zip(out.splitlines(), ("a.npy", "b.png"), strict=True):
        assert json.loads(line) == {
            "image": str(tmp_path / name), "label": expected.label, "cycles": 200, "stalls": 20,
            "scores": list(expected.scores),
        }  # fmt: skip
    code, out, err = run(capsys, "classify", "--port", port, tmp_path / "a.npy")
    assert out == f"{tmp_path}/a.npy: class 0, 200 cycles (0.004 ms), 20 stalls, scores 1710 710 -290\n"


def test_command_line_shows_the_info_block(program, capsys):
    code, out, err = run(capsys, "info", "--port", f"sim:{program} --uart 4", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["digest"] == INFO.digest.hex()
    code, out, err = run(capsys, "info", "--port", f"sim:{program} --uart 4")
    assert "clock_khz     48000\n" in out


def test_command_line_errors_are_one_line(program, tmp_path, capsys):
    np.save(tmp_path / "big.npy", np.zeros((28, 28), np.uint8))
    port = f"sim:{program} --uart 4"
    quiet = f"sim:{shlex.quote(sys.executable)} -c 'import sys; sys.stdin.read()'"
    for arguments, message in (
        (("info", "--port", "/dev/does-not-exist"), "could not open port"),
        (("info", "--port", "sim:"), "port sim: must name a program"),
        (("info", "--port", "sim:/does/not/exist"), "No such file or directory"),
        (("info", "--port", "sim:true"), "simulated board ended with exit status 0"),
        (("info", "--port", quiet, "--timeout", "0.1"), "no valid answer to INFO in 4 attempts"),
        (("info", "--port", port, "--baud", "0"), "--baud and --timeout must be positive"),
        (("classify", "--port", port, tmp_path / "none.npy"), "No such file or directory"),
        (("classify", "--port", port, tmp_path / "big.npy"), "image must be 1 x 4 x 5, not 28 x 28"),
    ):
        with warnings.catch_warnings():
            code, out, err = run(capsys, *arguments)
        assert (code, out) == (1, "")
        assert err.startswith("ERROR: "), err
        assert message in err
        assert err.count("\n") == 1


def test_colour_images_are_sent_row_column_channel(tmp_path):
    info = make_info(channels=3)
    pixels = np.random.default_rng(SEED).integers(0, 256, (4, 5, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", np.moveaxis(pixels, -1, 0))
    assert read_image(tmp_path / "a.png", info) == pixels.tobytes()
    assert read_image(tmp_path / "a.npy", info) == pixels.tobytes()


def test_events_carry_a_timestep_per_bit(tmp_path):
    info = make_info(channels=2, encoding=InputEncoding.EVENTS)
    spikes = np.random.default_rng(SEED).integers(0, 2, (4, 2, 4, 5), np.uint8)
    np.save(tmp_path / "a.npy", spikes)
    expected = bytes(
        sum(int(spikes[t, channel, row, column]) << t for t in range(4))
        for row in range(4) for column in range(5) for channel in range(2)
    )  # fmt: skip
    assert read_image(tmp_path / "a.npy", info) == expected


def test_files_that_are_no_image_are_refused(tmp_path):
    path = tmp_path / "a.npy"
    for content, message in (
        (b"", "not a NumPy file"),
        (b"garbage", "not a NumPy file"),
    ):
        path.write_bytes(content)
        with pytest.raises(ImageError, match=message):
            read_image(path, INFO)
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ImageError, match=r"Python objects|allow_pickle"):
        read_image(path, INFO)
    np.save(path, np.zeros((4, 5), np.float32))
    with pytest.raises(ImageError, match="pixels must be uint8, not float32"):
        read_image(path, INFO)
    np.save(path, np.full((4, 1, 4, 5), 2, np.uint8))
    with pytest.raises(ImageError, match="spikes must be 0 or 1"):
        read_image(path, make_info(encoding=InputEncoding.EVENTS))
    png = tmp_path / "a.png"
    png.write_bytes(b"no picture")
    with pytest.raises(ImageError, match="cannot identify image file"):
        read_image(png, INFO)
    header = b"IHDR" + (60_000).to_bytes(4, "big") * 2 + b"\x08\x00\x00\x00\x00"
    png.write_bytes(
        b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4, "big") + header + zlib.crc32(header).to_bytes(4, "big") + bytes(8)
    )
    with pytest.raises(ImageError):
        read_image(png, INFO)
