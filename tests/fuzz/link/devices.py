# amaranth: UnusedElaboratable=no
"""The devices that strings are sent to: how they are made, and what their cores promise of time and answers."""

import abc
import dataclasses

import numpy as np
from amaranth.lib import wiring

from arch.link import RESULT_HEADER_WORDS, ErrorCode, Info, Result
from gateware.engine.accelerator import START_CYCLES
from gateware.mapper.choice import map_network
from gateware.mapper.cycles import count_cycles
from gateware.mapper.info import info_of
from gateware.source import Baked
from gateware.system import System
from reference.network import Reference
from tests.gateware.mapper.networks import conv, network
from tests.link_board import SLOW_PIXEL, LinkBoard, expected_result, make_info
from tests.random_networks import SMALL

__all__ = ["SELECTION_CLOCKS", "Device", "SummingDevice", "SystemDevice"]

#: Clocks from ``select`` to ``selected`` of a :class:`tests.link_board.Selector`.
SELECTION_CLOCKS = 129
#: A window of clocks: the first and the last one in which something may happen.
Window = tuple[float, float]
_SIX_PIXELS = make_info(height=2, width=3, name="six pixels")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Device(abc.ABC):
    """Something with a host link. Clocks are those of the circuit, counted from anywhere."""

    name: str
    #: Clocks per bit.
    divisor: int
    #: Bit times of silence that end a frame.
    timeout_bits: int

    @property
    @abc.abstractmethod
    def models(self) -> tuple[Info | ErrorCode, ...]:
        """What SELECT chooses from, the first of them at first; one alone if there is no SELECT."""

    @property
    def info(self) -> Info:
        """The info block at first."""
        first = self.models[0]
        assert isinstance(first, Info)
        return first

    @property
    def selectable(self) -> bool:
        """Whether the device knows SELECT."""
        return len(self.models) > 1

    @abc.abstractmethod
    def component(self) -> wiring.Component:
        """Make the circuit."""

    @property
    @abc.abstractmethod
    def inference_clocks(self) -> int:
        """Clocks of an inference."""

    @abc.abstractmethod
    def wait_of(self, pixel: int) -> int:
        """Clocks that a pixel waits until the core takes it."""

    @abc.abstractmethod
    def ready(self, commit: int, free: float) -> Window:
        """Tell when the first word of a result is valid: after its ``commit``, and after ``free``.

        In the clock ``free`` the last bit of the result before it left.
        """

    @abc.abstractmethod
    def released(self, ready: Window, began: float, last_word: float) -> Window:
        """Tell from which clock on the image of a result counts no longer as one that waits.

        Its result began to be sent in the clock ``began``, and the last bit of its last word left in ``last_word``.
        """

    @abc.abstractmethod
    def fault_of(self, image: bytes, payload: bytes) -> str | None:
        """Say what is wrong with the result of an image, None if nothing."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SummingDevice(Device):
    """A :class:`tests.link_board.LinkBoard`: the core adds pixels, and takes some of them late."""

    #: Models to select, beside the one that is there; none: no SELECT.
    others: tuple[Info | ErrorCode, ...] = ()

    @property
    def models(self) -> tuple[Info | ErrorCode, ...]:
        return (_SIX_PIXELS, *self.others)

    @property
    def inference_clocks(self) -> int:
        # Longer than an INFO on the line: so it may end before its result is due, at the same time, or later.
        return 80 * self.divisor

    @property
    def _brake(self) -> int:
        # Late for a character that follows at once, and in time for one that follows a bit later.
        return 3 * self.divisor

    def component(self) -> wiring.Component:
        return LinkBoard(divisor=self.divisor, info=self.info, timeout_bits=self.timeout_bits, brake=self._brake,
                         delay=self.inference_clocks, models=self.models if self.selectable else ())

    def wait_of(self, pixel: int) -> int:
        return self._brake if pixel == SLOW_PIXEL else 0

    def ready(self, commit: int, free: float) -> Window:
        # The FIFO of the sums takes a clock or two.
        ready = max(commit, free + 1) + self.inference_clocks
        return ready, ready + 3

    def released(self, ready: Window, began: float, last_word: float) -> Window:
        return last_word + 2, last_word + 2

    def fault_of(self, image: bytes, payload: bytes) -> str | None:
        expected = expected_result(image, self.inference_clocks).to_bytes()
        return None if payload == expected else f"result of {image.hex()} is {payload.hex()}, not {expected.hex()}"


_NETWORK = network(conv(2, 1))
_PLAN = map_network(_NETWORK, SMALL)
_TOTAL = count_cycles(_PLAN).total
_REFERENCE = Reference(_NETWORK)
_INFO = info_of(_PLAN, clock_hz=48e6)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SystemDevice(Device):
    """A :class:`gateware.system.System` with a small network: accelerator, image buffers and readout take part."""

    @property
    def models(self) -> tuple[Info | ErrorCode, ...]:
        return (_INFO,)

    @property
    def inference_clocks(self) -> int:
        return _TOTAL

    def component(self) -> wiring.Component:
        return System(SMALL, Baked(contents=_PLAN.contents, info=self.info), divisor=self.divisor,
                      timeout_bits=self.timeout_bits)

    def wait_of(self, pixel: int) -> int:
        return 0

    def ready(self, commit: int, free: float) -> Window:
        ready = max(commit + 1 + START_CYCLES, free) + _TOTAL
        # Each pixel of the next image may cost two clocks; a few pass between class, readout and the next start.
        return ready, ready + 2 * self.info.image_bytes + 12

    def released(self, ready: Window, began: float, last_word: float) -> Window:
        return ready[0], min(ready[1], began)

    def fault_of(self, image: bytes, payload: bytes) -> str | None:
        info = self.info
        pixels = np.frombuffer(image, np.uint8).reshape(1, info.image_height, info.image_width, info.channels)
        expected = _REFERENCE.run(pixels.transpose(0, 3, 1, 2))
        if len(payload) != 4 * (RESULT_HEADER_WORDS + info.classes):
            return f"result has {len(payload)} bytes"
        result = Result.from_bytes(payload, info.classes)
        if result.scores != tuple(expected.scores[0]) or result.label != expected.classes[0]:
            return f"result of {image.hex()} is {result}, not class {expected.classes[0]}, {expected.scores[0]}"
        if not 0 <= result.cycles - _TOTAL <= 2 * result.stalls or result.flash_stalls:
            return f"clocks of {result} are not {_TOTAL}"
        return None
