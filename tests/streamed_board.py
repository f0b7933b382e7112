"""The streamed circuit in Verilator with a flash beside it, driven frame by frame: for tests of faults and netlists."""

from amaranth.back import verilog

from arch.flash.image import BASE
from arch.images import image_bytes
from arch.link import Command, ErrorCode, FrameReader, InfoReply, Reply, Result
from arch.link import Frame as LinkFrame
from gateware.engine.adder_pair import AdderPair
from gateware.flash.phy import FlashPins
from gateware.flash.reader import FlashMode
from gateware.streamed_system import StreamedSystem
from sim.verilated import Verilated
from support.tools import amaranth_tools
from tests.link_board import CACHE

__all__ = ["CLOCK_HZ", "StreamedBoard", "streamed_source", "streamed_system"]

CLOCK_HZ = 48e6
DIVISOR = 4
#: Clocks until the flash is awake and the header of model 0 is read.
BOOT_CLOCKS = 10_000


def streamed_system(config, **factories):
    """Make the circuit behind the pins; ``factories`` make its memories and adders."""
    return StreamedSystem(config, divisor=DIVISOR, clock_hz=CLOCK_HZ, mode=FlashMode.QUAD, latency=FlashPins.latency,
                          base=BASE, **factories)


def streamed_source(config):
    """Verilog of the circuit as it is simulated."""
    with amaranth_tools():
        return verilog.convert(streamed_system(config, adder_pair=AdderPair), name="sterna", strip_internal_attrs=True)


class StreamedBoard:
    """A simulated circuit whose flash holds an image.

    Parameters
    ----------
    source : :class:`str`
        Verilog of the circuit.
    image : :class:`bytes`
        Contents of the flash from the base on.
    limit : :class:`int`
        Most clocks until an answer.
    verilated
        Further arguments of :class:`sim.verilated.Verilated`.
    """

    def __init__(self, source, image, *, limit, **verilated):
        self.limit = limit
        self.simulation = Verilated(source, divisor=DIVISOR, cache=CACHE, **verilated)
        self._reader = FrameReader()
        self._tag = 0
        self.write(0, image)
        self.simulation.reset()
        self.simulation.run(limit=BOOT_CLOCKS)

    def close(self):
        self.simulation.close()

    def write(self, place, data):
        """Write into the flash, ``place`` bytes behind the base."""
        self.simulation.load_flash(BASE + place, data)

    def request(self, command, payload=b""):
        """Send a frame and return its answer, of which there must be one and no more."""
        self._tag = (self._tag + 1) % 256
        self.simulation.send(LinkFrame(command=command, tag=self._tag, payload=payload).to_bytes())
        frames, expected = [], 8
        while not frames:
            data = self.simulation.run(characters=expected, limit=self.limit)
            assert data, f"request {self._tag} has no answer within {self.limit} clocks"
            frames, expected = self._reader.feed(data), 1
        assert [frame.tag for frame in frames] == [self._tag]
        return frames[0]

    def select(self, number):
        """Choose a model; return its info block, or the error."""
        frame = self.request(Command.SELECT, bytes([number]))
        return InfoReply.from_bytes(frame.payload).info if frame.command == Reply.INFO else _error(frame)

    def classify(self, network, values):
        """Return the scores of an image, or the error."""
        frame = self.request(Command.CLASSIFY, image_bytes(network, values))
        if frame.command == Reply.RESULT:
            return list(Result.from_bytes(frame.payload, network.classes).scores)
        return _error(frame)


def _error(frame):
    assert frame.command == Reply.ERROR
    return ErrorCode(frame.payload[0])
