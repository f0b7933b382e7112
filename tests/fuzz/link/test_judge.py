"""The judge finds what is wrong in what a device sends, and in when it does; and its model of a line is right."""

import pytest

from arch.link import CRC_BYTES, Command, Frame, FrameReader, crc16
from tests.fuzz.link.judge import Judge
from tests.fuzz.link.line import Line
from tests.fuzz.link.session import Bench
from tests.fuzz.link.shared import DEVICES, shared_rig

pytestmark = pytest.mark.rtl

DEVICE = next(iter(DEVICES))
IMAGE = bytes(range(6))
INFO = Frame(command=Command.INFO, tag=1).to_bytes()


class Recorder(Judge):
    """Keeps what it judged."""

    def __init__(self, device):
        super().__init__(device)
        self.seen = []

    def judge(self, edges, start, data, clocks, *, sent=None):
        self.seen.append((edges, start, data, clocks))
        return super().judge(edges, start, data, clocks, sent=sent)


@pytest.fixture(scope="module")
def seen():
    """What a device sent for two images, a request that it does not know and an INFO, which overlap."""
    with Bench(shared_rig(), 0, DEVICE) as bench:
        bench.judge = recorder = Recorder(DEVICE)
        hello = Line(DEVICE.divisor)
        hello.send(INFO)
        line = Line(DEVICE.divisor)
        for tag in (0x21, 0x22):
            line.send(Frame(command=Command.CLASSIFY, tag=tag, payload=IMAGE[:-1] + bytes((tag,))).to_bytes())
        line.send(Frame(command=0x7F, tag=0x23).to_bytes())
        line.wait(40 * 10 * DEVICE.divisor)
        line.send(INFO)
        assert [bench.send(hello), bench.send(line)] == [None, None]
    return recorder.seen


def judged(seen, data, clocks):
    """Judge the second of two strings as if something else had come back."""
    judge = Judge(DEVICE)
    (edges, start, first, when), (others, later, *_) = seen
    assert judge.judge(edges, start, first, when) is None
    return judge.judge(others, later, bytes(data), clocks)


def pieces(data, clocks):
    """Cut what came back into frames, with their clocks."""
    cut = []
    for frame in FrameReader().feed(data):
        size = len(frame.to_bytes())
        cut.append((frame.to_bytes(), clocks[:size]))
        clocks = clocks[size:]
    return cut


def joined(cut):
    return b"".join(data for data, _ in cut), tuple(clock for _, clocks in cut for clock in clocks)


def with_crc(frame):
    return frame[:-CRC_BYTES] + crc16(frame[1:-CRC_BYTES]).to_bytes(CRC_BYTES, "little")


def test_what_came_is_right(seen):
    _, _, data, clocks = seen[1]
    assert judged(seen, data, clocks) is None
    assert [frame.tag for frame in FrameReader().feed(data)] == [0x21, 0x23, 0x22, 1]


@pytest.mark.parametrize("place", range(4))
def test_a_lost_answer_is_found(seen, place):
    cut = pieces(*seen[1][2:])
    del cut[place]
    assert judged(seen, *joined(cut)) is not None


@pytest.mark.parametrize("place", range(4))
def test_an_answer_that_comes_twice_is_found(seen, place):
    cut = pieces(*seen[1][2:])
    data, clocks = cut[place]
    behind = cut[-1][1][-1] + 10 * DEVICE.divisor - clocks[0]
    assert judged(seen, *joined([*cut, (data, tuple(clock + behind for clock in clocks))])) \
        .startswith("nothing was to be answered by Frame(")


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("byte", [1, 2, 5, -3])
def test_another_code_tag_or_content_is_found(seen, place, byte):
    cut = pieces(*seen[1][2:])
    data, clocks = cut[place]
    changed = bytearray(data)
    changed[byte] ^= 0x40
    cut[place] = with_crc(bytes(changed)), clocks
    assert judged(seen, *joined(cut)) is not None


def test_another_order_is_found(seen):
    cut = pieces(*seen[1][2:])
    data = [data for data, _ in cut]
    data[0], data[2] = data[2], data[0]
    clocks = joined(cut)[1]
    assert judged(seen, b"".join(data), clocks).endswith("tag is not 33")


@pytest.mark.parametrize(("bits", "fault"), [(-1, "it must begin from clock "), (2, "it must begin from clock "),
                                             (0.5, ", between two bits")])
def test_an_answer_that_is_early_or_late_is_found(seen, bits, fault):
    cut = pieces(*seen[1][2:])
    cut[0] = cut[0][0], tuple(clock + int(bits * DEVICE.divisor) for clock in cut[0][1])
    assert fault in judged(seen, *joined(cut))


@pytest.mark.parametrize("size", [1, 6, 7])
def test_bytes_that_are_no_frame_are_found(seen, size):
    _, _, data, clocks = seen[1]
    later = tuple(clocks[-1] + 10 * DEVICE.divisor * number for number in range(1, size + 1))
    assert judged(seen, data + bytes((0xA5, *bytes(size - 1))), clocks + later).startswith("no frame: a5")


def test_a_pause_within_an_answer_is_found(seen):
    _, _, data, clocks = seen[1]
    later = tuple(clock + DEVICE.divisor * (number > 2) for number, clock in enumerate(clocks))
    assert "begin in" in judged(seen, data, later)


def test_a_line_that_is_not_what_was_sent_is_found(seen):
    edges, start, data, clocks = seen[0]
    assert Judge(DEVICE).judge(edges, start, data, clocks, sent=INFO) is None
    assert Judge(DEVICE).judge(edges, start, data, clocks, sent=INFO[:-1] + b"\0") \
        .startswith("the model of the line is wrong: ")
