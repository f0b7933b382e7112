"""A streamed circuit after synthesis, through its line and with a flash: models are chosen, and images classified."""

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from arch.flash.image import BASE, build_image
from arch.images import image_bytes
from arch.link import Command, ErrorCode, Frame, FrameReader, Reply, Result
from boards import board_named
from gateware.flash.phy import FlashPins
from gateware.flash.reader import FlashMode
from gateware.mapper.streamed.model import model_of
from gateware.streamed_system import StreamedSystem
from reference.generate import random_images
from reference.network import Reference
from tests.rtl.benches.clocking import PERIOD
from tests.streamed_networks import OVERLAY, draw
from tests.twins.serial_flash import FlashModel

DIVISOR = 4
#: Of the pauses of the flash, which are shorter in clocks than at the clock of the board.
CLOCK_HZ = 12e6
SEED = 0x4E7
#: Most clocks until an answer.
LIMIT = 30_000


def block():
    """Make the circuit of the board, with the memories and adders of its FPGA, as a build does."""
    fpga = board_named("icebreaker").fpga
    return StreamedSystem(OVERLAY, divisor=DIVISOR, clock_hz=CLOCK_HZ, mode=FlashMode.QUAD, latency=FlashPins.latency,
                          base=BASE, large_ram=fpga.large_ram, masked_ram=fpga.masked_ram, adder_pair=fpga.adder_pair)


def plans():
    """Draw two small networks.

    The first has pixels, 6 timesteps in two blocks, dense neurons, shortcuts and a summed pool; the second has events,
    both kinds of pools, a shortcut and a projection.
    """
    return [draw(OVERLAY, (SEED, seed), max_side=4, max_channels=18, leak=False)[0] for seed in (17, 37)]


class Board:
    """Clocks the circuit; between clocks it is the flash and both ends of the line."""

    def __init__(self, dut, contents):
        self.dut   = dut
        self.flash = FlashModel(contents=contents, period=1 / CLOCK_HZ)
        self.clocks, self.sent, self.received = 0, [], bytearray()
        self._returned = [0, 0]
        self._wait, self._bits = 0, []

    async def clock(self):
        dut = self.dut
        dut.rx.value = self.sent.pop() if self.sent else 1
        _, lines = self.flash.clock(select=int(dut.flash__select.value), sck=int(dut.flash__sck.value),
                                    lines=int(dut.flash__o.value), drive=int(dut.flash__drive.value),
                                    quad=int(dut.flash__quad.value))
        # Pins take a clock there and a clock back.
        dut.flash__i.value = self._returned.pop(0)
        self._returned.append(lines)
        self._receive(int(dut.tx.value))
        self.clocks += 1
        await FallingEdge(dut.clk)

    def _receive(self, level):
        if not self._bits and level:
            return
        if self._wait == 0:
            self._wait = DIVISOR
            self._bits.append(level)
            if len(self._bits) == 10:
                assert self._bits[9] == 1
                self.received.append(sum(bit << place for place, bit in enumerate(self._bits[1:9])))
                self._bits, self._wait = [], 0
                return
        self._wait -= 1

    async def request(self, tag, command, payload):
        """Send a frame and return its answer."""
        data = Frame(command=command, tag=tag, payload=payload).to_bytes()
        line = [bit for byte in data for bit in (0, *(byte >> place & 1 for place in range(8)), 1)]
        self.sent = [bit for bit in reversed(line) for _ in range(DIVISOR)]
        reader, frames, begin = FrameReader(), [], self.clocks
        while not frames:
            assert self.clocks - begin < LIMIT, f"request {tag} has no answer"
            await self.clock()
            if self.received:
                frames = reader.feed(bytes(self.received))
                self.received.clear()
        assert [frame.tag for frame in frames] == [tag]
        return frames[0]


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def scores_are_those_of_the_reference(dut):
    chosen = plans()
    image = build_image([model_of(plan, name=f"model {number}", clock_hz=CLOCK_HZ)
                         for number, plan in enumerate(chosen)])
    dut.rst.value, dut.rx.value, dut.flash__i.value = 1, 1, 0
    Clock(dut.clk, PERIOD, unit="ns").start(start_high=False)
    for _ in range(4):
        await FallingEdge(dut.clk)
    dut.rst.value = 0
    board = Board(dut, b"\xff" * BASE + image)
    # Until the flash is awake and the header of model 0 is read.
    for _ in range(2_500):
        await board.clock()
    for number, plan in enumerate(chosen):
        network = plan.network
        if number:
            info = await board.request(0x40, Command.SELECT, bytes([number]))
            assert info.command == Reply.INFO
        values = random_images(network, np.random.default_rng(SEED), 3)[2]
        frame = await board.request(number, Command.CLASSIFY, image_bytes(network, values))
        assert frame.command == Reply.RESULT
        result = Result.from_bytes(frame.payload, network.classes)
        expected = Reference(network).run(values[None])
        assert (list(result.scores), result.label) == (expected.scores[0].tolist(), expected.classes[0])
        dut._log.info("model %d: scores %s, %d clocks, %d until here", number, result.scores, result.cycles,
                      board.clocks)
    # A bit of the last row of the last model.
    contents = bytearray(board.flash.contents)
    contents[BASE + len(image) - 10] ^= 4
    board.flash.contents = bytes(contents)
    frame = await board.request(0x50, Command.CLASSIFY, image_bytes(network, values))
    assert (frame.command, frame.payload) == (Reply.ERROR, bytes([ErrorCode.DAMAGED]))
