"""What the page sends: a drawing, a sample or a file, as JSON, read into an image of a network.

A request is an object with the keys ``network``, the first 16 hexadecimal digits of the network's hash, and ``input``,
which is one of these:

* ``{"kind": "drawing", "height": H, "width": W, "pixels": BASE64, "rule": "mnist" or "as drawn"}``, a byte per pixel,
  ink is 255 (:mod:`firmware.demo.drawing`);
* ``{"kind": "sample", "index": N}``, of the samples that ship for the network;
* ``{"kind": "file", "name": NAME, "content": BASE64, "index": N}``, image N of a file that :mod:`arch.images` reads.
"""

import base64
import binascii
import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from arch import strict_json
from arch.images import parse_images
from arch.network import Encoding, Input
from firmware.demo.drawing import as_drawn, as_mnist
from firmware.demo.networks import KnownNetwork
from support.errors import InputError, printable

__all__ = ["MAX_DRAWING_SIDE", "Chosen", "Request", "RequestError", "choose", "read_request", "takes_drawings"]

#: Largest side of a drawing, in pixels.
MAX_DRAWING_SIDE = 1024
#: Most characters of a value in a message.
_MOST_SHOWN = 40
#: Rules by which a drawing becomes an image.
_RULES = {"mnist": as_mnist, "as drawn": as_drawn}


class RequestError(InputError):
    """A request has not the form that the page gives it."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A request whose JSON is right; its input is read by :func:`choose`."""

    #: First 16 hexadecimal digits of the network's hash.
    network: str
    #: The object ``input``.
    input: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Chosen:
    """The image that is to be classified."""

    #: A batch of one, ``uint8[1, channels, height, width]``.
    image: npt.NDArray[Any]
    #: What it is, for people.
    title: str
    #: Which image of how many, from 0.
    index: int = 0
    count: int = 1
    #: Its class, where that is known.
    label: int | None = None


def takes_drawings(source: Input) -> bool:
    """Whether a drawing, which has one channel of pixels, can become an input."""
    return source.encoding is Encoding.PIXELS and source.channels == 1


def read_request(body: bytes) -> Request:
    """Read the JSON of a request; raises :exc:`RequestError`."""
    try:
        content = strict_json.parse(body)
    except ValueError as error:
        raise RequestError(f"request must be JSON: {error}") from None
    if not isinstance(content, dict) or set(content) != {"network", "input"}:
        raise RequestError("request must be an object with the keys input and network")
    network, source = content["network"], content["input"]
    if not isinstance(network, str) or not re.fullmatch("[0-9a-f]{16}", network):
        raise RequestError(f"network must be 16 hexadecimal digits, not {_shown(network)}")
    if not isinstance(source, dict):
        raise RequestError(f"input must be an object, not {_shown(source)}")
    return Request(network=network, input=source)


def choose(source: Mapping[str, Any], known: KnownNetwork) -> Chosen:
    """Make an image of the object ``input`` of a request.

    Raises
    ------
    :exc:`RequestError`
        If it has not the form of one of its kinds.
    :exc:`support.errors.InputError`
        If the network takes no pixels, a drawing is empty, a file is malformed or holds other images than the network
        takes, or there are no samples.
    """
    kinds = {"drawing": _drawing, "sample": _sample, "file": _file}
    if "kind" not in source:
        raise RequestError("input must have the key kind")
    kind = source["kind"]
    if not isinstance(kind, str) or kind not in kinds:
        raise RequestError(f"kind of an input must be drawing, sample or file, not {_shown(kind)}")
    if known.network.input.encoding is not Encoding.PIXELS:
        raise InputError(f"network must take pixels, not {known.network.input.encoding.value}: select another model")
    return kinds[kind](source, known)


def _shown(value: Any) -> str:
    """Text of a value of the request for an error message, as JSON has it."""
    if isinstance(value, str):
        return strict_json.short(value)
    text = json.dumps(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN - 3]}..."


def _keys(source: Mapping[str, Any], *names: str) -> None:
    if set(source) != {"kind", *names}:
        raise RequestError(f"input must have the keys kind, {', '.join(names)}, not "
                           f"{strict_json.names(sorted(source))}")


def _integer(source: Mapping[str, Any], name: str, least: int, most: int) -> int:
    value = source[name]
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise RequestError(f"{name} must be an integer, {least} to {most}, not {_shown(value)}")
    return value


def _bytes(source: Mapping[str, Any], name: str) -> bytes:
    value = source[name]
    try:
        if isinstance(value, str):
            return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        pass
    raise RequestError(f"{name} must be bytes in base64, not {_shown(value)}")


def _drawing(source: Mapping[str, Any], known: KnownNetwork) -> Chosen:
    _keys(source, "height", "width", "pixels", "rule")
    wanted = known.network.input
    if not takes_drawings(wanted):
        raise InputError(f"drawings are for networks of one channel, not {wanted.channels}: choose a file")
    height, width = (_integer(source, name, 1, MAX_DRAWING_SIDE) for name in ("height", "width"))
    pixels, rule = _bytes(source, "pixels"), source["rule"]
    if len(pixels) != height * width:
        raise RequestError(f"pixels must be {height * width} bytes, not {len(pixels)}")
    if not isinstance(rule, str) or rule not in _RULES:
        raise RequestError(f"rule must be {' or '.join(_RULES)}, not {_shown(rule)}")
    image = _RULES[rule](np.frombuffer(pixels, np.uint8).reshape(height, width), wanted.height, wanted.width)
    return Chosen(image=image[None, None], title="drawing")


def _sample(source: Mapping[str, Any], known: KnownNetwork) -> Chosen:
    _keys(source, "index")
    samples = known.samples
    if samples is None:
        raise InputError("no samples ship for this network: draw, or choose a file")
    index = _integer(source, "index", 0, len(samples.images) - 1)
    return Chosen(image=samples.images[index:index + 1], title=f"{samples.dataset} sample", index=index,
                  count=len(samples.images), label=int(samples.labels[index]))


def _file(source: Mapping[str, Any], known: KnownNetwork) -> Chosen:
    _keys(source, "name", "content", "index")
    name = source["name"]
    if not isinstance(name, str) or not name:
        raise RequestError(f"name must be that of a file, not {_shown(name)}")
    title = printable(name)
    images = parse_images(_bytes(source, "content"), title, known.network)
    index = _integer(source, "index", 0, len(images) - 1)
    return Chosen(image=images[index:index + 1], title=title, index=index, count=len(images))
