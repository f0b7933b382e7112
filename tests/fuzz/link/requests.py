"""Requests of a host, right and wrong ones, drawn from a generator."""

import random

from arch.link import SYNC, Command, Frame, Info
from tests.fuzz.link.devices import Device
from tests.link_board import SLOW_PIXEL

__all__ = ["damaged", "draw_request", "info_request", "oversized", "right_image"]

#: Bytes that mean something in a frame.
_MEANT = (SYNC, SYNC, 0, 1, 2, 3, 4, 0x81, 0xFF)


def info_request(rng: random.Random) -> bytes:
    """Make an INFO."""
    return Frame(command=Command.INFO, tag=rng.randrange(256)).to_bytes()


def _image_bytes(rng: random.Random, device: Device) -> int:
    return rng.choice([model.image_bytes for model in device.models if isinstance(model, Info)])


def right_image(rng: random.Random, device: Device, *, slow: float = 0.05) -> bytes:
    """Make a CLASSIFY with as many bytes as the images of a model have.

    Each pixel is a slow one with probability ``slow``, and is none otherwise.
    """
    size = _image_bytes(rng, device)
    pixels = rng.choice((rng.randbytes(size), bytes(size), bytes((SYNC,)) * size, info_request(rng) * size))[:size]
    pixels = bytes(SLOW_PIXEL if rng.random() < slow else min(pixel, SLOW_PIXEL - 1) for pixel in pixels)
    return Frame(command=Command.CLASSIFY, tag=rng.randrange(256), payload=pixels).to_bytes()


def draw_request(rng: random.Random, device: Device) -> bytes:
    """Make a whole frame with a right CRC, whose command and length need not be right."""
    kind = rng.random()
    if kind < 0.35:
        return info_request(rng)
    if kind < 0.75:
        return right_image(rng, device)
    if kind < (0.9 if device.selectable else 0.78):
        # Most often a model that there is: while there is none, every other request ends in an error.
        there = [number for number, model in enumerate(device.models) if isinstance(model, Info)]
        number = rng.choice((*there, *there, rng.randrange(len(device.models) + 1)))
        return Frame(command=Command.SELECT, tag=rng.randrange(256), payload=bytes((number,))).to_bytes()
    size = rng.choice((0, 1, 2, _image_bytes(rng, device) - 1, _image_bytes(rng, device) + 1, rng.randrange(12)))
    return Frame(command=rng.choice((*Command, rng.randrange(256))), tag=rng.randrange(256),
                 payload=rng.randbytes(size)).to_bytes()


def oversized(rng: random.Random, device: Device) -> bytes:
    """Make a frame that is too long, or says that it is."""
    image = _image_bytes(rng, device)
    command = rng.choice((Command.CLASSIFY, Command.CLASSIFY, *Command))
    if rng.random() < 0.5:
        size = rng.choice((image + 1, 2 * image, image + 256, image + 256, 256, rng.randrange(400)))
        return Frame(command=command, tag=rng.randrange(256), payload=rng.randbytes(size)).to_bytes()
    frame = bytearray(Frame(command=command, tag=rng.randrange(256), payload=rng.randbytes(image)).to_bytes())
    length = rng.choice((image + 1, image + 256, image << 8, 0xFFFF, 0x8000, rng.randrange(1 << 16)))
    frame[3:5] = length.to_bytes(2, "little")
    return bytes(frame)


def damaged(rng: random.Random, frame: bytes) -> bytes:
    """Damage the bytes of a frame in a place or a few."""
    changed = bytearray(frame)
    for _ in range(rng.choice((1, 1, 2, 4))):
        place = rng.randrange(len(changed))
        how = rng.randrange(6)
        if how == 0:
            changed[place] ^= 1 << rng.randrange(8)
        elif how == 1:
            changed[place] = rng.choice((*_MEANT, rng.randrange(256)))
        elif how == 2:
            changed[place:place] = bytes((rng.choice((*_MEANT, rng.randrange(256))),))
        elif how == 3 and len(changed) > 1:
            del changed[place]
        elif how == 4:
            changed[place:place] = changed[place:place + rng.randrange(1, 6)]
        else:
            other = rng.randrange(len(changed))
            changed[place], changed[other] = changed[other], changed[place]
    return bytes(changed)
