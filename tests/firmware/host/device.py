"""A device on a line with faults, byte by byte and in simulated time; and the same behind a pseudo-terminal.

The half that receives is :class:`tests.twins.link.FrameReceiverTwin`, which tests/gateware/link/test_receiver.py
compares with the circuit, character by character, event by event. The half that sends is
:func:`tests.twins.link.reply_frame` and :func:`tests.twins.link.result_frame`, which test_transmitter.py there compares
with the circuit; here are the times at which they are on the line. tests/firmware/host/test_faults.py compares the
whole device with :class:`tests.link_board.LinkBoard` in Verilator.
"""

import collections
import dataclasses
import os
import random
import select
import threading
import time
import tty

from arch.link import BYTE_BITS, HEADER_BYTES, SYNC, TIMEOUT_BITS, ErrorCode, Info, crc16
from gateware.link.frame import CONTROL_SLOT, TAG_SLOTS
from tests.link_board import expected_result
from tests.twins.link import FrameReceiverTwin, reply_frame, result_frame

BAUD = 3_000_000


@dataclasses.dataclass
class Faults:
    """What was done to frames on the wire, by what a CRC of 16 bits promises (arch.link)."""

    #: Faults by their kind.
    kinds: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    #: Damaged frames by whether the CRC finds the damage for certain, and those that passed it all the same.
    certain: int = 0
    by_chance: int = 0
    passed: int = 0


class Wire:
    """Damages frames: flips a bit, loses, doubles or invents a byte, with the probability ``rate`` per byte."""

    def __init__(self, rate, seed):
        self.rate, self.random, self.faults = rate, random.Random(seed), Faults()

    def carry(self, frame):
        """Return what arrives of a frame."""
        arrived, flipped, kinds = bytearray(), [], set()
        for place, byte in enumerate(frame):
            if self.random.random() >= self.rate:
                arrived.append(byte)
                continue
            kind = self.random.choice(("flipped", "lost", "doubled", "invented"))
            self.faults.kinds[kind] += 1
            kinds.add(kind)
            if kind == "flipped":
                flipped.append(place)
                arrived.append(byte ^ 1 << self.random.randrange(8))
            elif kind == "doubled":
                arrived += bytes((byte, byte))
            elif kind == "invented":
                arrived += bytes((byte, self.random.choice((SYNC, self.random.randrange(256)))))
        if kinds:
            self._count(frame, bytes(arrived), kinds, flipped)
        return bytes(arrived)

    def _count(self, frame, arrived, kinds, flipped):
        # With its sync byte and its length whole, a frame is found and its CRC is where it was. Then an odd number of
        # wrong bits is found, and a pair.
        whole = kinds == {"flipped"} and not {0, 3, 4} & set(flipped)
        if whole and (len(flipped) == 2 or len(flipped) % 2):
            assert crc16(arrived[1:]) != 0, "a damage that a CRC always finds"
            self.faults.certain += 1
            return
        self.faults.by_chance += 1
        end = HEADER_BYTES + int.from_bytes(arrived[3:5], "little") + 2 if len(arrived) >= HEADER_BYTES else 0
        whole = arrived[:1] == bytes((SYNC,)) and 0 < end <= len(arrived) and crc16(arrived[1:end]) == 0
        self.faults.passed += whole and arrived[:end] != frame


class TwinDevice:
    """A device in simulated time; it is the transport of its host as well, whose clock is :attr:`clock`.

    Parameters
    ----------
    models
        Info blocks, or the error with which a SELECT of the model ends; the first is selected.
    selectable
        Whether a SELECT is known; else the first model is part of the bitstream.
    computing
        Seconds of an inference.
    buffers
        Images for which there is room.
    requests, replies : :class:`Wire`, optional
        The two directions of the line.
    """

    def __init__(self, *models, selectable=False, computing=0.0002, buffers=2, requests=None, replies=None, baud=BAUD,
                 timeout_bits=TIMEOUT_BITS, cycles=200):
        self.models, self.computing, self.buffers, self.cycles = models, computing, buffers, cycles
        self.requests, self.replies = requests or Wire(0, 0), replies or Wire(0, 0)
        self.byte_seconds = BYTE_BITS / baud
        self.give_up_seconds = timeout_bits / baud
        #: Seconds of the host.
        self.clock = 0.0
        self.selected = models[0]
        self.twin = FrameReceiverTwin(self._image_bytes(), selectable=selectable)
        self.twin.status = 0 if isinstance(self.selected, Info) else self.selected
        self.tags = [0] * (TAG_SLOTS + 1)
        self.head = self.tail = 0
        self.image = None
        #: Images with a result to come: the time of the result, the tag's slot, and the frame's words.
        self.computed = collections.deque()
        #: When a reply other than a result may be sent; the time of the last byte that came, and the line's two ends.
        self.reply_at = None
        self.received_at = self.line_in = self.line_out = 0.0
        #: Bytes for the host, with the times at which they have come.
        self.sent = collections.deque()

    def _image_bytes(self):
        return self.selected.image_bytes if isinstance(self.selected, Info) else 0

    # The transport of the host.

    def write(self, data):
        begun = max(self.clock, self.line_in)
        for byte in self.requests.carry(data):
            begun += self.byte_seconds
            self.receive(byte, begun)
        self.line_in = begun

    def read(self, size, timeout):
        limit = self.clock + timeout
        while not self.sent or self.sent[0][0] > self.clock:
            # No more than that: what the host sends next comes before what is due later.
            while not self.sent and self.advance_to_next(limit):
                pass
            if not self.sent or self.sent[0][0] > limit:
                self.clock = limit
                return b""
            self.clock = self.sent[0][0]
        data = bytearray()
        while len(data) < size and self.sent and self.sent[0][0] <= self.clock:
            data.append(self.sent.popleft()[1])
        return bytes(data)

    def close(self):
        pass

    def monotonic(self):
        """Be :func:`time.monotonic` of the host."""
        return self.clock

    # The device.

    def receive(self, byte, time):
        """Take a byte that comes at ``time``."""
        self.advance(time)
        if self.twin.in_frame and time - self.received_at > self.give_up_seconds:
            self._handle(self.twin.silence(), time)
        self.received_at = time
        self._handle(self.twin.character(byte, accept=self.twin.in_flight < self.buffers), time)

    def advance(self, time):
        """Send what is due by ``time``."""
        while self.advance_to_next(time):
            pass

    def advance_to_next(self, time):
        """Send the next frame, if it is due by ``time``; return whether it is.

        A frame in progress is finished, then replies go before results.
        """
        free = self.line_out
        reply = None if self.reply_at is None else max(self.reply_at, free)
        result = max(self.computed[0][0], free) if self.computed else None
        if reply is not None and reply <= time and (result is None or reply <= result):
            code, self.reply_at = self.twin.reply, None
            info = self.selected.to_bytes() if isinstance(self.selected, Info) else b""
            self._send(reply_frame(code, self.tags[CONTROL_SLOT], info, self.twin.counters), reply)
            self.twin.take_reply()
            return True
        if result is not None and result <= time:
            _, slot, words = self.computed.popleft()
            self._send(result_frame(words, self.tags[slot]), result)
            self.twin.take_result()
            return True
        return False

    def _send(self, frame, time):
        for byte in self.replies.carry(frame.to_bytes()):
            time += self.byte_seconds
            self.sent.append((time, byte))
        self.line_out = time

    def _handle(self, events, time):
        for name, *values in events:
            if name == "tag":
                self.tags[values[0]] = values[1]
            elif name == "begin":
                self.image = bytearray()
            elif name == "pixel":
                self.image += bytes(values)
            elif name == "abort":
                self.image = None
            elif name == "commit":
                done = max(time, self.computed[-1][0] if self.computed else 0) + self.computing
                result = self.result_of(bytes(self.image))
                words = (result.label, result.cycles, result.stalls, result.flash_stalls,
                         *(score & 0xFFFF_FFFF for score in result.scores))
                self.computed.append((done, self.head, words))
                self.head = (self.head + 1) % TAG_SLOTS
            elif name == "select":
                self.selected = self.models[values[0]] if values[0] < len(self.models) else ErrorCode.NO_MODEL
                self.twin.image_bytes = self._image_bytes()
                self._handle(self.twin.settle(0 if isinstance(self.selected, Info) else self.selected), time)
            elif name == "reply":
                self.reply_at = time

    def result_of(self, image):
        """The result of an image, as of :class:`tests.link_board.SumCore`."""
        return expected_result(image, self.cycles)


class Socket:
    """A pseudo-terminal as a board's USB port: what is plugged in answers in real time, and can be unplugged.

    Parameters
    ----------
    boot : callable
        Returns the :class:`TwinDevice` that is there after power on.
    """

    def __init__(self, boot):
        self.boot = boot
        self.device_end, self.host_end = os.openpty()
        tty.setraw(self.host_end)
        self.name = os.ttyname(self.host_end)
        self.device, self.begun = boot(), time.monotonic()
        #: Bytes that came from the host, and after how many of them the board is unplugged.
        self.received, self.unplug_after = 0, None
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._serve)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join()
        for descriptor in (self.device_end, self.host_end):
            if descriptor is not None:
                os.close(descriptor)

    def restart(self):
        """Switch the board off and on."""
        self.device, self.begun = self.boot(), time.monotonic()

    def _serve(self):
        while not self.stopped.is_set():
            ready, _, _ = select.select([self.device_end], [], [], 0.001)
            device, now = self.device, time.monotonic() - self.begun
            if ready:
                data = os.read(self.device_end, 4096)
                self.received += len(data)
                if self.unplug_after is not None and self.received > self.unplug_after:
                    # The last descriptor of the device's end: hosts see a line that is gone.
                    os.close(self.device_end)
                    self.device_end = None
                    return
                for byte in data:
                    device.receive(byte, now)
            device.advance(now)
            due = bytearray()
            while device.sent and device.sent[0][0] <= now:
                due.append(device.sent.popleft()[1])
            if due and device is self.device:
                os.write(self.device_end, due)
