"""The strings that are sent into the link: of each kind of line that a host, a cable or noise can make."""

import random
from collections.abc import Callable

from arch.link import CRC_BYTES, HEADER_BYTES, INFO_REPLY_BYTES, RESULT_HEADER_WORDS, SYNC, Frame
from tests.fuzz.link.devices import Device
from tests.fuzz.link.line import Line
from tests.fuzz.link.requests import damaged, draw_request, info_request, oversized, right_image

__all__ = ["KINDS", "draw_string"]

#: A sender may be off by so much, at so many clocks a bit (:class:`gateware.link.uart.UartReceiver`). At 8 clocks a bit
#: it is a bit less than a sample a clock before the middle leaves, 3 clocks of 72.
TOLERANCE = {4: 0.0, 8: 0.035, 16: 0.045}
#: Longest run of random bytes.
_MOST_RANDOM = 40


def _pause(rng: random.Random, device: Device) -> float:
    """Draw clocks between two frames: none more often than not, some, or more than ends a frame."""
    bit = device.divisor
    return rng.choice((0, 0, 0, rng.randrange(bit), rng.randrange(12 * bit), rng.randrange(100 * bit),
                       (device.timeout_bits + 2) * bit))


def _right(rng: random.Random, device: Device, line: Line) -> None:
    """Send whole requests."""
    for _ in range(rng.randint(1, 4)):
        line.send(draw_request(rng, device))
        line.wait(_pause(rng, device))


def _random(rng: random.Random, device: Device, line: Line) -> None:
    """Send random bytes, many of which begin a frame."""
    some = (SYNC, rng.randrange(4), rng.randrange(256))
    line.send(bytes(rng.choice((*some, rng.randrange(256))) for _ in range(rng.randint(1, _MOST_RANDOM))))
    line.wait(_pause(rng, device))
    if rng.random() < 0.5:
        line.send(draw_request(rng, device))


def _mutated(rng: random.Random, device: Device, line: Line) -> None:
    """Send requests with wrong, lost and doubled bytes, and right ones behind them."""
    for _ in range(rng.randint(1, 3)):
        request = draw_request(rng, device)
        line.send(damaged(rng, request) if rng.random() < 0.7 else request)
        line.wait(_pause(rng, device))


def _truncated(rng: random.Random, device: Device, line: Line) -> None:
    """Send a request in part, and right ones behind it, at once or after a silence."""
    request = draw_request(rng, device)
    line.send(request[:rng.randrange(1, len(request))])
    line.wait(_pause(rng, device))
    _right(rng, device, line)


def _oversized(rng: random.Random, device: Device, line: Line) -> None:
    """Send frames that are too long or say so, with another request before or behind them."""
    for request in rng.sample((oversized(rng, device), draw_request(rng, device)), 2):
        line.send(request)
        line.wait(_pause(rng, device))


def _gapped(rng: random.Random, device: Device, line: Line) -> None:
    """Send requests with silence between their bytes, short of what ends a frame, and now and then longer."""
    longest = (device.timeout_bits - 12) * device.divisor
    for _ in range(rng.randint(1, 3)):
        share = rng.choice((0.1, 0.5, 1))
        for byte in draw_request(rng, device):
            line.send(bytes((byte,)))
            if rng.random() < share:
                line.wait(rng.randrange(longest))
        line.wait(_pause(rng, device))


def _limit(rng: random.Random, device: Device, line: Line) -> None:
    """Let a frame be silent until about the clock in which that ends it, most often before its last byte."""
    request = draw_request(rng, device) if rng.random() < 0.3 else right_image(rng, device)
    cut = len(request) - rng.choice((1, 1, 1, 2, rng.randrange(1, len(request))))
    line.send(request[:cut])
    line.wait((device.timeout_bits - 10) * device.divisor + rng.randint(-2, device.divisor + 3))
    # What comes behind the timeout may be another request.
    line.send(request[cut:] if rng.random() < 0.7 else draw_request(rng, device))
    if rng.random() < 0.3:
        line.send(draw_request(rng, device))


def _overlapping(rng: random.Random, device: Device, line: Line) -> None:
    """Send requests faster than they can be answered."""
    images = rng.random()
    for _ in range(rng.randint(3, 10)):
        line.send(right_image(rng, device) if rng.random() < images else draw_request(rng, device))
        if rng.random() < 0.3:
            line.wait(rng.randrange(40 * device.divisor))


def _turns(rng: random.Random, device: Device, line: Line) -> None:
    """Send a request whose tag or header comes about when an answer ends, or an image that is done about then."""
    bit = device.divisor
    character = 10 * bit
    near = rng.randint(-2 * bit, 2 * bit)
    result = HEADER_BYTES + 4 * (RESULT_HEADER_WORDS + device.info.classes)
    kind = rng.randrange(4)
    if kind == 0:
        # The tag comes when an INFO has left.
        line.send(info_request(rng))
        line.wait((HEADER_BYTES + INFO_REPLY_BYTES + CRC_BYTES - 3) * character + near)
    elif kind == 1:
        # The header of a third image comes when the first has its result.
        line.send(right_image(rng, device, slow=0) + right_image(rng, device, slow=0))
        second = HEADER_BYTES + CRC_BYTES + device.info.image_bytes
        line.wait(device.inference_clocks + (result - second - HEADER_BYTES) * character + near)
    elif kind == 2:
        # The end comes when a result is due.
        line.send(right_image(rng, device, slow=0))
        line.wait(device.inference_clocks - (HEADER_BYTES + CRC_BYTES) * character + near)
        line.send(info_request(rng))
        return
    else:
        # The tag comes when an error has left.
        line.send(Frame(command=rng.randrange(4, 256), tag=rng.randrange(256)).to_bytes())
        line.wait((HEADER_BYTES + 1 + CRC_BYTES - 3) * character + near)
    for _ in range(rng.randint(1, 3)):
        line.send(draw_request(rng, device) if rng.random() < 0.5 else right_image(rng, device, slow=0))


def _slow_pixels(rng: random.Random, device: Device, line: Line) -> None:
    """Send images with pixels that are taken late, in characters that follow each other at once or not."""
    for _ in range(rng.randint(1, 3)):
        for byte in right_image(rng, device, slow=rng.choice((0.2, 0.5, 1))):
            line.send(bytes((byte,)))
            if rng.random() < 0.8:
                line.wait(rng.randrange(2 * device.divisor))
        line.wait(_pause(rng, device))
    line.send(info_request(rng))


def _glitches(rng: random.Random, device: Device, line: Line) -> None:
    """Disturb requests by pulses shorter than a bit."""
    _right(rng, device, line)
    line.wait(rng.randrange(20 * device.divisor))
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        line.pulse(rng.randrange(1, line.end), rng.randrange(1, device.divisor))


def _breaks(rng: random.Random, device: Device, line: Line) -> None:
    """Hold the line low, before a request, within one or behind it."""
    _right(rng, device, line)
    bits = rng.choice((rng.uniform(0.5, 12), rng.uniform(8, 60), 10 * rng.randint(1, 8) + rng.uniform(-1, 1),
                       rng.uniform(1, 3) * device.timeout_bits))
    begin = rng.choice((1, rng.randrange(1, line.end), line.end))
    end = begin + max(1, int(bits * device.divisor))
    line.hold(0, begin, end)
    line.clock = max(line.clock, end + 1)
    line.wait(_pause(rng, device))
    line.send(draw_request(rng, device))


def _framing(rng: random.Random, device: Device, line: Line) -> None:
    """Send requests in which stop bits are missing, all or in part."""
    for _ in range(rng.randint(1, 3)):
        request = draw_request(rng, device)
        if rng.random() < 0.4:
            hit = {len(request) - 1}
        else:
            share = rng.choice((0.05, 0.3, 1))
            hit = {place for place in range(len(request)) if rng.random() < share}
        for place, byte in enumerate(request):
            if place in hit:
                line.send_without_stop_bit(byte, rng.choice((1, 1, rng.random(), rng.uniform(1, 1.7))))
                line.wait(rng.choice((0, rng.randrange(3 * device.divisor))))
            else:
                line.send(bytes((byte,)))
        line.wait(_pause(rng, device))


def _tolerable_rate(rng: random.Random, device: Device, line: Line) -> None:
    """Send requests as fast or slow as is allowed, at most."""
    off = TOLERANCE[device.divisor]
    rate = device.divisor * (1 + rng.choice((-off, off, rng.uniform(-off, off))))
    for _ in range(rng.randint(1, 4)):
        line.clock += rng.random()
        line.send(draw_request(rng, device), rate=rate)
        line.wait(_pause(rng, device))


def _wrong_rate(rng: random.Random, device: Device, line: Line) -> None:
    """Send requests at another rate: a bit off what is allowed, or that of another board."""
    factor = rng.choice((rng.uniform(0.9, 0.96), rng.uniform(1.04, 1.1), rng.uniform(0.7, 1.4), 0.5, 2, 1 / 3, 3, 4))
    for _ in range(rng.randint(1, 3)):
        line.send(draw_request(rng, device), rate=max(1.0, device.divisor * factor))
        line.wait(_pause(rng, device))
    line.sent = None
    line.clock += 1
    line.send(draw_request(rng, device))


def _jitter(rng: random.Random, device: Device, line: Line) -> None:
    """Send requests whose edges come early or late: by no more than is allowed, or by up to half a bit."""
    _right(rng, device, line)
    allowed = device.divisor // 8
    most = rng.choice((allowed, device.divisor // 2))
    line.shake([rng.randint(-most, most) for _ in line.edges], 1)
    if most != allowed:
        line.sent = None
    line.clock += most + 1


def _saturating(rng: random.Random, device: Device, line: Line) -> None:
    """Send more bad frames than a counter counts."""
    bad = bytearray(info_request(rng))
    bad[-1] ^= 1
    for _ in range(260):
        line.send(bytes(bad))
    line.send(info_request(rng))


def _mixed(rng: random.Random, device: Device, line: Line) -> None:
    """Send strings of some kinds, one after the other, without waiting for answers."""
    kinds = [draw for name, (_, draw) in KINDS.items() if name in _MIXABLE]
    for draw in rng.sample(kinds, rng.randint(2, 3)):
        draw(rng, device, line)
        line.wait(rng.choice((1, rng.randrange(1, 30 * device.divisor))))


#: Kinds of strings: how often each is drawn, and what makes one.
KINDS: dict[str, tuple[int, Callable[[random.Random, Device, Line], None]]] = {
    "right": (100, _right),
    "random": (100, _random),
    "mutated": (150, _mutated),
    "truncated": (100, _truncated),
    "oversized": (70, _oversized),
    "gapped": (80, _gapped),
    "limit": (120, _limit),
    "overlapping": (80, _overlapping),
    "turns": (120, _turns),
    "slow pixels": (60, _slow_pixels),
    "glitches": (120, _glitches),
    "breaks": (100, _breaks),
    "framing": (120, _framing),
    "tolerable rate": (80, _tolerable_rate),
    "wrong rate": (80, _wrong_rate),
    "jitter": (60, _jitter),
    "saturating": (4, _saturating),
    "mixed": (80, _mixed),
}
#: Kinds that add to a line and change nothing of what is on it.
_MIXABLE = ("right", "random", "mutated", "truncated", "gapped", "overlapping", "slow pixels", "framing")
_NAMES, _WEIGHTS = list(KINDS), [weight for weight, _ in KINDS.values()]


def draw_string(rng: random.Random, device: Device) -> tuple[str, Line]:
    """Draw a kind of string, and a string of it for a device."""
    kind = rng.choices(_NAMES, _WEIGHTS)[0]
    line = Line(device.divisor)
    # The device answers, and counts silence, by a timer of bits: a line may begin at any of its clocks.
    line.wait(rng.randrange(device.divisor))
    KINDS[kind][1](rng, device, line)
    return kind, line
