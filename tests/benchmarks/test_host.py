"""The host program on a model of the line."""

import json
import re

import pytest

from arch.link import Command, Frame, FrameReader, Reply, Result
from benchmarks.host import line
from benchmarks.host.command import _CYCLES, _INFO, main
from benchmarks.host.line import answer_to


def test_every_image_is_answered_in_the_time_of_the_line(capsys):
    assert main(["--baud", "3000000", "--images", "40", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    # 791 bytes of ten bits each.
    assert report["line_images_per_second"] == pytest.approx(3_000_000 / 7910)
    # Faster than the line it cannot be, but for what comes together at the ends.
    assert report["overhead"] > -0.05
    assert report["overhead_of_blocks"] > -0.2
    assert report["model_late_ms"] >= 0
    assert report["model_priority"] in (False, True)
    assert main(["--baud", "12000000", "--images", "20"]) == 0
    assert re.fullmatch(
        r"[0-9.]+ images per second of the 1517\.1 that the line allows at 12000000 baud: overhead -?[0-9.]+ %\n"
        r"overhead of the median block of 20 images: none was measured\n"
        r"the model of the line was late by [0-9.]+ ms a result, on average, with(out)? priority over other "
        r"processes\n",
        capsys.readouterr().out)


def test_a_model_that_is_late_delays_no_other_reply(monkeypatch):
    """Its times follow from the line, not from when the model was awake: here it sleeps through them."""
    replies, clock = [], [0.0]
    images = [bytes((number,)) * _INFO.image_bytes for number in range(4)]
    requests = [Frame(command=Command.CLASSIFY, tag=number, payload=image).to_bytes()
                for number, image in enumerate(images)]

    class Terminal:
        def fileno(self):
            return 5

        def read(self):
            return requests.pop(0)

    def select(readers, *_):
        if requests:
            return [5], [], []
        clock[0] += 1
        return ([7] if len(replies) == len(images) else []), [], []

    monkeypatch.setattr(line.select, "select", select)
    monkeypatch.setattr(line.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(line.os, "write", lambda descriptor, data: replies.extend(FrameReader().feed(data)))
    late = line.model_line(Terminal(), _INFO, baud=12_000_000, cycles=_CYCLES, until=7)
    assert [frame.tag for frame in replies] == [0, 1, 2, 3]
    assert [Result.from_bytes(frame.payload, 10) for frame in replies] == [
        answer_to(image, _INFO, _CYCLES) for image in images]
    # An image after the other on the line, then the inference, then the result; delivered once a second.
    image, result = (size * 10 / 12e6 for size in (len(images[0]) + 7, 4 * (4 + 10) + 7))
    due = [(number + 1) * image + _CYCLES / 48e6 + result for number in range(4)]
    assert late.replies == 4
    assert late.seconds == pytest.approx(sum(number + 1 - due[number] for number in range(4)))


def test_the_model_refuses_an_image_for_which_there_is_no_room():
    """With an inference three times as long as an image on the line, the third one comes too early."""
    line_seconds = (_INFO.image_bytes + 7) * 10 / 12e6
    device = line.Device(_INFO, baud=12_000_000, cycles=round(3 * line_seconds * 48e6))
    image = bytes(_INFO.image_bytes)

    def sent(tags, now):
        data = b"".join(Frame(command=Command.CLASSIFY, tag=tag, payload=image).to_bytes() for tag in tags)
        answers = device.receive(data, now * line_seconds)
        return [(FrameReader().feed(reply)[0].command, round(at / line_seconds, 1)) for at, reply in answers]

    assert sent([1, 2, 3], 0) == [(Reply.RESULT, 4.1), (Reply.RESULT, 7.1), (Reply.ERROR, 7.1)]
    assert sent([4], 3.9) == [(Reply.ERROR, 7.1)]
    assert sent([5], 4.9) == [(Reply.RESULT, 10.1)]
    # A frame in two pieces: it begins with the first of them.
    data = Frame(command=Command.CLASSIFY, tag=6, payload=image).to_bytes()
    assert device.receive(data[:400], 6.9 * line_seconds) == []
    (_, reply), = device.receive(data[400:], 7.4 * line_seconds)
    assert FrameReader().feed(reply)[0].command == Reply.ERROR


@pytest.mark.parametrize(("arguments", "message"), [
    (["--images", "0"], "--images must be 1 to 10000000, not 0"),
    (["--baud", "1"], "--baud must be 1000000, 3000000 or 12000000, not 1")])
def test_numbers_are_checked(arguments, message, capsys):
    assert main(arguments) == 1
    assert capsys.readouterr().err == f"ERROR: {message}\n"
