"""The example for Linux, compiled with sanitizers, on a pseudo-terminal with a model of a device behind it."""

import contextlib
import dataclasses
import fcntl
import os
import select
import struct
import subprocess
import threading
import time
import tty

import pytest

from arch.link import Command, ErrorCode, Frame, InfoReply, Reply
from tests.firmware.c.compilers import SANITIZED, SOURCES, compile_c
from tests.firmware.c.device_model import DeviceModel, result_of
from tests.firmware.c.test_driver import COUNTERS, INFO, Scripted, images_of
from tests.link_board import make_info

NAMED = dataclasses.replace(INFO, name="mnist-ünï")
OTHER = make_info(height=2, width=3, classes=4, clock_khz=1000, name="other")
NO_FAULTS = "faults of the line: 0 bad frames, 0 overruns, 0 aborted frames"
#: What Linux calls the settings of a port with any rate: asm-generic/ioctls.h, struct termios2 of termbits.h.
TCGETS2, TERMIOS2 = 0x802C542A, "=4IB19B2I"


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    program = tmp_path_factory.mktemp("linux") / "classify"
    compile_c(*SANITIZED, SOURCES / "sterna.c", SOURCES / "examples" / "linux.c", "-o", program)
    return program


@contextlib.contextmanager
def port_of(device):
    """A pseudo-terminal with a device behind it; its name, and the descriptor of the host's end."""
    inner, outer = os.openpty()
    tty.setraw(outer)
    ended, end = os.pipe()

    def serve():
        while ended not in (ready := select.select([inner, ended], [], [])[0]):
            assert ready == [inner]
            device.write(os.read(inner, 4096))
            # The host sends a frame in pieces, and the time in which it is about to send the next is none of the
            # device's, which would give up the frame.
            while data := device.read(4096, 0 if device.frame else 10_000)[0]:
                os.write(inner, data)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield os.ttyname(outer), outer
    finally:
        os.write(end, b"e")
        thread.join()
        for descriptor in (inner, outer, ended, end):
            os.close(descriptor)


def run(program, *arguments):
    """Exit status, output and errors."""
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout, done.stderr


def files_of(images, folder):
    files = []
    for index, image in enumerate(images):
        files.append(folder / f"{index}.raw")
        files[-1].write_bytes(image)
    return files


def lines_of(files, images, info):
    lines = []
    for file, image in zip(files, images, strict=True):
        result = result_of(image, info, 5 * info.clock_khz)
        lines.append(f"{file}: class {result.label}, {result.cycles} clocks, {result.stalls} stalls, "
                     f"{result.flash_stalls} flash stalls, scores {' '.join(map(str, result.scores))}")
    return lines


def test_images_are_classified(program, tmp_path):
    images = images_of(NAMED, 5)
    files = files_of(images, tmp_path)
    with port_of(DeviceModel(NAMED)) as (port, _):
        status, output, errors = run(program, port, 3000000, *files)
    assert (status, errors) == (0, "")
    shape = f"{NAMED.image_height} x {NAMED.image_width} x {NAMED.channels}"
    assert output.splitlines() == [
        f"mnist-ünï: images {shape}, {NAMED.classes} classes, {NAMED.clock_khz} kHz; {NO_FAULTS}",
        *lines_of(files, images, NAMED)]


def test_faults_that_the_device_has_counted_are_printed(program):
    def answer(frame, count):
        payload = InfoReply(info=NAMED, counters=COUNTERS).to_bytes()
        return Frame(command=Reply.INFO, tag=frame.tag, payload=payload).to_bytes()

    with port_of(Scripted(answer)) as (port, _):
        status, output, errors = run(program, port, 3000000)
    assert (status, errors) == (0, "")
    assert output.endswith("; faults of the line: 255 bad frames, 2 overruns, 31 aborted frames\n")


@pytest.mark.parametrize("baud", [1_000_000, 3_000_000, 12_000_000])
def test_the_port_has_the_rate_and_passes_every_byte(program, baud):
    with port_of(DeviceModel(NAMED)) as (port, descriptor):
        # As a terminal that edits lines, whatever it was before.
        subprocess.run(["stty", "-F", port, "sane"], check=True)
        assert run(program, port, baud)[::2] == (0, "")
        settings = struct.unpack(TERMIOS2, fcntl.ioctl(descriptor, TCGETS2, bytes(struct.calcsize(TERMIOS2))))
    assert settings[:2] == (0, 0)
    assert settings[3] == 0
    assert settings[-2:] == (baud, baud)


def test_a_port_that_has_not_the_rate_is_refused(tmp_path):
    """Its driver sets the rate that is nearest: played by an ioctl that reads 9600 back."""
    (tmp_path / "ioctl.c").write_text(
        "#include <asm/ioctls.h>\n#include <asm/termbits.h>\n#include <sys/ioctl.h>\n"
        "int other_ioctl(int port, unsigned long request, void *settings);\n"
        "int other_ioctl(int port, unsigned long request, void *settings)\n{\n"
        "    int status = ioctl(port, request, settings);\n"
        "    if (request == TCGETS2)\n        ((struct termios2 *)settings)->c_ospeed = 9600;\n"
        "    return status;\n}\n")
    program = tmp_path / "classify"
    compile_c("-c", tmp_path / "ioctl.c", "-o", tmp_path / "ioctl.o")
    compile_c("-Dioctl=other_ioctl", SOURCES / "sterna.c", SOURCES / "examples" / "linux.c", tmp_path / "ioctl.o", "-o",
              program)
    with port_of(DeviceModel(NAMED)) as (port, _):
        assert run(program, port, 12_000_000) == (1, "", f"ERROR: {port}: the port does not run at this rate\n")


@pytest.mark.long
def test_a_model_is_selected(program, tmp_path):
    device = DeviceModel(NAMED, OTHER, ErrorCode.DAMAGED, ErrorCode.WRONG_MODEL)
    images = images_of(OTHER, 3)
    files = files_of(images, tmp_path)
    with port_of(device) as (port, _):
        status, output, errors = run(program, port, 3000000, "@1", *files)
        refused = [run(program, port, 3000000, f"@{number}") for number in (2, 3, 4)]
        unselected = run(program, port, 3000000)
    assert (status, errors) == (0, "")
    assert output.splitlines() == [f"other: images 2 x 3 x 1, 4 classes, 1000 kHz; {NO_FAULTS}",
                                   *lines_of(files, images, OTHER)]
    nothing = "the flash has no model of this number, or none was selected: name one, @0"
    assert refused == [(1, "", "ERROR: @2: the model in its flash is damaged\n"),
                       (1, "", "ERROR: @3: the model in its flash was made for another circuit\n"),
                       (1, "", f"ERROR: @4: {nothing}\n")]
    assert unselected == (1, "", f"ERROR: {port}: {nothing}\n")


def test_the_model_waits_for_the_rest_of_a_frame():
    frame = Frame(command=Command.SELECT, tag=1, payload=b"\0").to_bytes()
    with port_of(DeviceModel(NAMED)) as (_, descriptor):
        for byte in frame:
            os.write(descriptor, bytes((byte,)))
            time.sleep(0.01)
        answer = Frame(command=Reply.ERROR, tag=1, payload=bytes((ErrorCode.UNKNOWN_COMMAND,))).to_bytes()
        assert select.select([descriptor], [], [], 10)[0]
        assert os.read(descriptor, 4096) == answer


def test_a_network_in_the_bitstream_is_not_selected(program):
    with port_of(DeviceModel(NAMED)) as (port, _):
        assert run(program, port, 3000000, "@0") == (
            1, "", "ERROR: @0: its network is part of the bitstream, there is none to select\n")


def test_an_image_of_another_size_is_not_sent(program, tmp_path):
    (file,) = files_of([bytes(19)], tmp_path)
    with port_of(DeviceModel(NAMED)) as (port, _):
        status, _, errors = run(program, port, 3000000, file)
    assert (status, errors) == (1, f"ERROR: {file}: the file has not the size of an image\n")


@pytest.mark.parametrize(("arguments", "status", "line"), [
    ((), 2, "usage: {program} PORT BAUD [@MODEL] [IMAGE...]"),
    (("{folder}/none", "3000000", "one.raw"), 1, "ERROR: {folder}/none: No such file or directory"),
    (("{folder}/none", "115200"), 1, "ERROR: 115200: baud must be 1000000, 3000000 or 12000000"),
    (("{folder}/none", "3000000x"), 1, "ERROR: 3000000x: baud must be 1000000, 3000000 or 12000000"),
    (("{folder}/none", "3000000", "@256"), 1, "ERROR: @256: model must be @ and a number from 0 to 255"),
    (("{folder}/none", " 3000000"), 1, "ERROR:  3000000: baud must be 1000000, 3000000 or 12000000"),
    (("{folder}/none", "18446744073712551616"), 1,
     "ERROR: 18446744073712551616: baud must be 1000000, 3000000 or 12000000"),
    (("{folder}/none", ""), 1, "ERROR: : baud must be 1000000, 3000000 or 12000000"),
    (("{folder}/none", "3000000", "@+0"), 1, "ERROR: @+0: model must be @ and a number from 0 to 255"),
    (("{folder}/none", "3000000", "@-18446744073709551615"), 1,
     "ERROR: @-18446744073709551615: model must be @ and a number from 0 to 255"),
    (("{folder}/none", "3000000", "@18446744073709551616"), 1,
     "ERROR: @18446744073709551616: model must be @ and a number from 0 to 255"),
    (("{folder}/none", "3000000", "@"), 1, "ERROR: @: model must be @ and a number from 0 to 255"),
    (("/dev/null", "3000000"), 1, "ERROR: /dev/null: Inappropriate ioctl for device"),
])
def test_wrong_use_is_one_line(program, tmp_path, arguments, status, line):
    places = {"program": program, "folder": tmp_path}
    assert run(program, *(argument.format(**places) for argument in arguments)) == (
        status, "", line.format(**places) + "\n")


def test_a_file_that_is_not_there_is_one_line(program, tmp_path):
    with port_of(DeviceModel(NAMED)) as (port, _):
        status, _, errors = run(program, port, 3000000, tmp_path / "none")
    assert (status, errors) == (1, f"ERROR: {tmp_path}/none: No such file or directory\n")


@pytest.mark.parametrize("kind", ["none", "short", "pipe", "folder"])
def test_the_result_before_a_bad_file_is_printed(program, tmp_path, kind):
    images = images_of(NAMED, 2)
    files = files_of(images, tmp_path)
    bad = tmp_path / kind
    if kind == "short":
        bad.write_bytes(bytes(3))
    elif kind == "pipe":
        os.mkfifo(bad)
    elif kind == "folder":
        bad.mkdir()
    reason = {"none": "No such file or directory", "short": "the file has not the size of an image"}.get(
        kind, "an image must be in a regular file")
    with port_of(DeviceModel(NAMED)) as (port, _):
        status, output, errors = run(program, port, 3000000, *files, bad)
    assert (status, errors) == (1, f"ERROR: {bad}: {reason}\n")
    assert output.splitlines()[1:] == lines_of(files, images, NAMED)


@pytest.mark.parametrize("redirection", [">/dev/full", ">&-", ">&- <&-"])
def test_results_that_are_lost_are_an_error(program, tmp_path, redirection):
    (file,) = files_of(images_of(NAMED, 1), tmp_path)
    with port_of(DeviceModel(NAMED)) as (port, _):
        done = subprocess.run(["sh", "-c", f'exec "$@" {redirection}', "sh", program, port, "3000000", file],
                              capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (
        1, "", "ERROR: standard output: results were lost: see that it can be written to\n")
