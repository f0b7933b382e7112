"""What a file is that a reader cannot take, told by its first bytes, so that the error can say what helps."""

import enum
from typing import Any

from arch import strict_json
from arch.flash.circuit import MAGIC

__all__ = ["EMPTY", "Kind", "kind_of"]

#: What every reader says of a file without a byte, which is of no kind.
EMPTY = "file must not be empty: what made or copied it did not end, so make or copy it again"

#: Longest header of a safetensors file that is looked into, in bytes.
_MAX_HEADER_BYTES = 2**24


class Kind(enum.Enum):
    """Kinds of files that are mistaken for each other."""

    #: What a training of spiking networks leaves, :mod:`arch.checkpoint`.
    CHECKPOINT = "sterna_checkpoint"
    #: What the export makes of it, :mod:`arch.network_file`.
    NETWORK = "sterna_network"
    #: An exported network with times to first spike, :mod:`arch.ttfs.network_file`.
    TTFS_NETWORK = "sterna_ttfs_network"
    #: What a conversion-aware training leaves, :mod:`arch.ttfs.checkpoint`.
    TTFS_CHECKPOINT = "sterna_ttfs_checkpoint"
    #: A safetensors file of another program.
    TENSORS = "tensors"
    #: What :func:`torch.save` writes, a zip file or a pickle: it may run code when it is read.
    TORCH = "torch"
    #: HDF5, the container of NIR graphs and of Keras models.
    HDF5 = "hdf5"
    #: Images or arrays: a data set, not a network.
    DATA = "data"
    #: Models for the flash of a board, :mod:`arch.flash.image`.
    FLASH = "flash"


_MAGIC = {b"\x89HDF\r\n\x1a\n": Kind.HDF5, b"\x80\x02": Kind.TORCH, b"\x80\x03": Kind.TORCH, b"\x80\x04": Kind.TORCH,
          b"\x80\x05": Kind.TORCH, b"\x93NUMPY": Kind.DATA, b"\x89PNG": Kind.DATA, b"\x1f\x8b": Kind.DATA,
          MAGIC: Kind.FLASH}


def _of_zip(content: bytes) -> Kind:
    # numpy.savez writes members NAME.npy; torch.save a folder with data.pkl.
    length = int.from_bytes(content[26:28], "little")
    return Kind.DATA if content[30:30 + length].endswith(b".npy") else Kind.TORCH


def _of_header(header: dict[str, Any]) -> Kind | None:
    metadata = header.pop("__metadata__", {})
    own = [kind for kind in (Kind.CHECKPOINT, Kind.NETWORK, Kind.TTFS_NETWORK, Kind.TTFS_CHECKPOINT)
           if isinstance(metadata, dict) and kind.value in metadata]
    if own:
        return own[0]
    tensors = all(isinstance(entry, dict) and "dtype" in entry for entry in header.values())
    return Kind.TENSORS if tensors and header else None


def kind_of(content: bytes) -> Kind | None:
    """Return what ``content``, the whole of a file, is; None if that cannot be told."""
    if content.startswith(b"PK\x03\x04"):
        return _of_zip(content)
    length = int.from_bytes(content[:8], "little")
    if len(content) >= 8 and length <= min(_MAX_HEADER_BYTES, len(content) - 8) and content[8:9] == b"{":
        try:
            header = strict_json.parse(content[8:8 + length])
        except ValueError:
            return None
        return _of_header(header)
    return next((kind for magic, kind in _MAGIC.items() if content.startswith(magic)), None)
