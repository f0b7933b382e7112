"""A device with its line, in software and in simulated time: what docs/formats.md says, and faults on the wire."""

import collections
import random
import zlib

from arch.link import CRC_BYTES, HEADER_BYTES, SYNC, Command, ErrorCode, Frame, Info, InfoReply, Reply, Result, crc16

#: Milliseconds of silence after which the device gives up a frame.
GIVE_UP_MS = 22


def result_of(image, info, cycles):
    """The result that a :class:`DeviceModel` computes of an image: its scores tell images apart."""
    scores = tuple(zlib.crc32(image, index) - 2**31 for index in range(info.classes))
    return Result(label=scores.index(max(scores)), cycles=cycles, stalls=len(image), flash_stalls=1, scores=scores)


class DeviceModel:
    """A device that computes for ``computing_ms`` per image, and its line.

    Parameters
    ----------
    models
        Info blocks, or the error with which a SELECT of the model ends; the first is selected.
    rate
        Probability of a fault per byte, in both directions.
    buffers
        Images for which it has room.
    """

    def __init__(self, *models, computing_ms=5, rate=0.0, seed=0, buffers=2):
        self.models = models
        self.selected = models[0]
        self.computing_ms = computing_ms
        self.rate = rate
        self.random = random.Random(seed)
        self.buffers = buffers
        self.clock = 0
        self.faults = collections.Counter()
        self.frame = bytearray()
        self.busy = False
        self.arrived = 0
        #: Replies with the times at which they are sent, images that have no result, bytes that wait for the host.
        self.replies = collections.deque()
        self.computed = collections.deque()
        self.pending = bytearray()
        #: Tags of all requests that the host has sent.
        self.tags = []

    # The line.

    def write(self, data):
        if len(data) == HEADER_BYTES and data[0] == SYNC:
            self.tags.append(data[2])
        for byte in self.damaged(data):
            self.receive(byte)
        return True

    def read(self, size, timeout):
        begun = self.clock
        self.collect()
        while not self.pending:
            if not self.replies or self.replies[0][0] > begun + timeout:
                self.clock = begun + timeout
                return b"", timeout
            self.clock = max(self.clock, self.replies[0][0])
            self.collect()
        data = bytes(self.pending[:size])
        del self.pending[:size]
        return data, self.clock - begun

    def collect(self):
        """Put on the line what is due by now."""
        while self.replies and self.replies[0][0] <= self.clock:
            _, frame = self.replies.popleft()
            self.pending += self.damaged(frame)
        while self.computed and self.computed[0] <= self.clock:
            self.computed.popleft()

    def damaged(self, data):
        """What arrives of ``data``: bits flipped, bytes lost, doubled and invented, or nothing; and old answers."""
        arrived = bytearray()
        for byte in data:
            if self.random.random() >= self.rate:
                arrived.append(byte)
                continue
            kind = self.random.choice(("flipped", "lost", "doubled", "invented", "dead", "silence"))
            self.faults[kind] += 1
            if kind == "flipped":
                arrived.append(byte ^ 1 << self.random.randrange(8))
            elif kind == "doubled":
                arrived += bytes((byte, byte))
            elif kind == "invented":
                arrived += bytes((byte, self.random.choice((SYNC, self.random.randrange(256)))))
            elif kind == "dead":
                arrived.append(byte)
                self.answer_again()
            elif kind == "silence":
                return bytes(arrived)
        return bytes(arrived)

    def answer_again(self):
        """Put a result on the line that nobody waits for: whole, and under the tag of a request that was given up."""
        if isinstance(self.selected, Info) and len(self.tags) > 30:
            tag = self.random.choice(self.tags[-120:-30])
            wrong = result_of(self.random.randbytes(self.selected.image_bytes), self.selected, 1)
            self.pending += Frame(command=Reply.RESULT, tag=tag, payload=wrong.to_bytes()).to_bytes()

    # The device.

    def receive(self, byte):
        self.collect()
        if self.frame and self.clock - self.arrived > GIVE_UP_MS:
            self.frame.clear()
        self.arrived = self.clock
        if not self.frame and byte != SYNC:
            return
        self.frame.append(byte)
        if len(self.frame) == HEADER_BYTES:
            self.busy = len(self.computed) >= self.buffers
        if len(self.frame) >= HEADER_BYTES:
            size = int.from_bytes(self.frame[3:5], "little")
            if len(self.frame) == HEADER_BYTES + size + CRC_BYTES:
                frame = bytes(self.frame)
                self.frame.clear()
                self.judge(frame)

    def judge(self, data):
        command, tag, payload = data[1], data[2], data[HEADER_BYTES:-CRC_BYTES]
        selected = self.selected
        if crc16(data[1:]):
            self.refuse(tag, ErrorCode.BAD_CRC)
        elif command not in tuple(Command) or (command == Command.SELECT and len(self.models) == 1):
            self.refuse(tag, ErrorCode.UNKNOWN_COMMAND)
        elif len(payload) != self.size_of(command, payload):
            self.refuse(tag, ErrorCode.WRONG_LENGTH)
        elif command == Command.SELECT:
            if self.computed:
                return self.refuse(tag, ErrorCode.BUSY)
            self.selected = self.models[payload[0]] if payload[0] < len(self.models) else ErrorCode.NO_MODEL
            self.inform(tag)
        elif command == Command.INFO:
            self.inform(tag)
        elif not isinstance(selected, Info):
            self.refuse(tag, selected)
        elif self.busy:
            self.refuse(tag, ErrorCode.BUSY)
        else:
            self.compute(tag, payload)

    def size_of(self, command, payload):
        if command == Command.CLASSIFY:
            return self.selected.image_bytes if isinstance(self.selected, Info) else len(payload)
        return 1 if command == Command.SELECT else 0

    def compute(self, tag, image):
        done = max(self.clock, self.computed[-1] if self.computed else 0) + self.computing_ms
        self.computed.append(done)
        self.reply(done, Reply.RESULT, tag, self.result_of(image).to_bytes())

    def result_of(self, image):
        """The result of an image on the model that is selected."""
        cycles = min(self.computing_ms * self.selected.clock_khz, 0xFFFF_FFFF)
        return result_of(image, self.selected, cycles)

    def inform(self, tag):
        if isinstance(self.selected, Info):
            self.reply(self.clock, Reply.INFO, tag, InfoReply(info=self.selected).to_bytes())
        else:
            self.refuse(tag, self.selected)

    def refuse(self, tag, code):
        self.reply(self.clock, Reply.ERROR, tag, bytes((code,)))

    def reply(self, time, command, tag, payload):
        self.replies.append((time, Frame(command=command, tag=tag, payload=payload).to_bytes()))
        self.replies = collections.deque(sorted(self.replies, key=lambda reply: reply[0]))
