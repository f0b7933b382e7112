"""The image of models: a directory of 16 headers, and the stream of each model.

======================  ==========================================================================================
offset from the base    content
======================  ==========================================================================================
256 n, n = 0 to 15      header of model n (:mod:`arch.flash.header`), or 256 bytes FFh: no model
4,096 on                streams (:mod:`arch.flash.stream`), each behind a seal of 256 bytes that begins at a multiple
                        of 65,536, in the order of the models; the bytes between are FFh, as in erased flash
======================  ==========================================================================================

The *seal* of a stream is the CRC of its header once more (:func:`arch.flash.header.seal_bytes`). If it is not that, as
when an image was written half over another one, the circuit takes the model for damaged.
The *base* is the address in the flash at which the image is written; streams are found by their address in the flash,
so an image is for one base.
"""

import dataclasses
import os
from collections.abc import Sequence

from arch.flash.circuit import Circuit
from arch.flash.errors import ImageError
from arch.flash.header import BLOCK_BYTES, HEADER_BYTES, SEAL_BYTES, ModelHeader, seal_bytes
from arch.flash.stream import Section, pack_stream, unpack_stream
from arch.foreign import Kind, kind_of
from arch.link import Info
from support.errors import printable
from support.files import read_file, write_atomically

__all__ = ["BASE", "DIRECTORY_BYTES", "MAX_IMAGE_BYTES", "MODELS", "Model", "StoredModel", "build_image", "load_image",
           "parse_image", "save_image"]

#: Usual base of an image: behind the bitstream.
BASE = 1 << 20
#: Files that are given in place of an image.
_MISTAKEN = {Kind.NETWORK: "a network", Kind.CHECKPOINT: "a checkpoint"}
#: Most models of an image.
MODELS = 16
#: Bytes of the directory.
DIRECTORY_BYTES = MODELS * HEADER_BYTES
#: Largest image: what three bytes of address reach.
MAX_IMAGE_BYTES = 1 << 24

_ERASED = b"\xff"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Model:
    """A model to be put into an image; the fields are those of :class:`arch.flash.header.ModelHeader`."""

    circuit: Circuit
    info: Info
    digest: bytes
    buffers: int
    #: Layers, in the order in which they are computed.
    sections: Sequence[Section]

    @property
    def name(self) -> str:
        """Name of the network."""
        return self.info.name


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StoredModel:
    """A model that was found in an image, checked to the last byte."""

    #: Its number: the place in the directory.
    number: int
    header: ModelHeader
    sections: Sequence[Section]


def _align(offset: int) -> int:
    return -(-offset // BLOCK_BYTES) * BLOCK_BYTES


def _check_base(base: int) -> None:
    if base % BLOCK_BYTES or not 0 <= base < MAX_IMAGE_BYTES:
        raise ImageError(f"base of an image must be a multiple of {BLOCK_BYTES} below 2^24, not {base!r}")


def build_image(models: Sequence[Model], *, base: int = BASE, flash_bytes: int = MAX_IMAGE_BYTES) -> bytes:
    """Make an image of 1 to 16 models, numbered from 0 in their order.

    Parameters
    ----------
    models
        What is put into it.
    base
        Address in the flash at which it will be written.
    flash_bytes
        Size of the flash.

    Raises
    ------
    :exc:`ImageError`
        If a model does not follow the format (the message names it), or the image does not fit the flash.
    """
    _check_base(base)
    if not 1 <= len(models) <= MODELS:
        raise ImageError(f"image must have 1 to {MODELS} models, not {len(models)}")
    headers, streams = b"", b""
    for number, model in enumerate(models):
        address = base + DIRECTORY_BYTES + len(streams)
        gap = -address % BLOCK_BYTES
        try:
            stream = pack_stream(model.sections, model.circuit)
            end = address + gap + SEAL_BYTES + len(stream)
            if end > flash_bytes:
                raise ImageError(f"stream must end at or before {flash_bytes:#x}, the end of the flash, "
                                 f"not at {end:#x}: leave a model out, or take a smaller network")
            header = ModelHeader(circuit=model.circuit, info=model.info, digest=model.digest, length=len(stream),
                                 address=address + gap, buffers=model.buffers)
        except ImageError as error:
            raise ImageError(f"model {number} {model.name!r}: {error}") from None
        headers += header.to_bytes()
        streams += _ERASED * gap + seal_bytes(headers[-HEADER_BYTES:]) + stream
    return headers.ljust(DIRECTORY_BYTES, _ERASED) + streams


def _parse_model(data: bytes, number: int, base: int, circuit: Circuit | None) -> StoredModel:
    place = number * HEADER_BYTES
    header = ModelHeader.from_bytes(data[place : place + HEADER_BYTES], circuit=circuit, offset=place)
    seal = header.address - base
    begin, end = seal + SEAL_BYTES, seal + SEAL_BYTES + header.length
    if seal < DIRECTORY_BYTES or end > len(data):
        raise ImageError(f"stream must lie in the image, {base + DIRECTORY_BYTES:#x} to {base + len(data):#x}, "
                         f"not from {header.address:#x} to {base + end:#x}: "
                         "the image is truncated or for another base")
    wanted = seal_bytes(data[place : place + HEADER_BYTES])
    for offset, (byte, expected) in enumerate(zip(data[seal:begin], wanted, strict=True), start=seal):
        if byte != expected:
            raise ImageError(f"byte at {offset:#x}, in the seal of the stream, must be {expected:#04x}, "
                             f"not {byte:#04x}: make the image again with python -m export")
    return StoredModel(number=number, header=header,
                       sections=unpack_stream(data[begin:end], header.circuit, offset=begin))


def _check_gaps(data: bytes, stored: Sequence[StoredModel], base: int) -> None:
    """Raise unless the streams follow each other, and nothing but erased flash is between them."""
    end = DIRECTORY_BYTES
    for model in stored:
        begin = model.header.address - base
        if begin != _align(base + end) - base:
            raise ImageError(f"model {model.number} {printable(model.header.name)!r}: stream must begin at "
                             f"{_align(base + end):#x}, not at {model.header.address:#x}")
        gap = data[end:begin]
        if gap.strip(_ERASED):
            place = end + len(gap) - len(gap.lstrip(_ERASED))
            raise ImageError(f"byte at {place:#x}, between streams, must be 0xff, not {data[place]:#04x}")
        end = begin + SEAL_BYTES + model.header.length
    if end != len(data):
        raise ImageError(f"image must end at {end:#x}, behind its last stream, not at {len(data):#x}")


def parse_image(data: bytes, *, base: int = BASE, circuit: Circuit | None = None) -> list[StoredModel]:
    """Find the models of an image and check every byte of it; offsets in messages count from the image's beginning.

    Parameters
    ----------
    data
        The image.
    base
        Address in the flash at which it is or will be written.
    circuit
        The circuit that every model must be for; None accepts any.

    Raises
    ------
    :exc:`ImageError`
        If the image is not what :func:`build_image` makes: damaged, truncated, of another version, or for another
        circuit. The message is one line that names model, section, offset, and the expected and found value.
    """
    _check_base(base)
    if (kind := kind_of(data)) in _MISTAKEN:
        raise ImageError(f"not an image of models but {_MISTAKEN[kind]}: make an image of it with python -m export and "
                         f"--flash IMAGE")
    if len(data) < DIRECTORY_BYTES:
        raise ImageError(f"directory must have {DIRECTORY_BYTES} bytes, not {len(data)}: the image is truncated")
    stored: list[StoredModel] = []
    for number in range(MODELS):
        header = data[number * HEADER_BYTES : (number + 1) * HEADER_BYTES]
        if header == _ERASED * HEADER_BYTES:
            continue
        if number != len(stored):
            raise ImageError(f"model {len(stored)}: header must come before that of model {number}, not be empty")
        try:
            stored.append(_parse_model(data, number, base, circuit))
        except ImageError as error:
            raise ImageError(f"model {number}: {error}") from None
    if not stored:
        raise ImageError("directory must have a model, not 16 empty headers")
    _check_gaps(data, stored, base)
    return stored


def save_image(path: str | os.PathLike[str], image: bytes) -> None:
    """Write an image to a file; raises as :func:`support.files.write_atomically`."""
    write_atomically(path, image)


def load_image(path: str | os.PathLike[str], *, base: int = BASE, circuit: Circuit | None = None) -> list[StoredModel]:
    """Read the file of an image and check it.

    Raises
    ------
    :exc:`ImageError`
        As :func:`parse_image`, with the name of the file.
    :exc:`support.errors.InputError`, :exc:`OSError`
        If the file cannot be read.
    """
    try:
        return parse_image(read_file(path, limit=MAX_IMAGE_BYTES), base=base, circuit=circuit)
    except ImageError as error:
        raise ImageError(f"{os.fspath(path)}: {error}") from None
