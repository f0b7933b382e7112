"""Plans a configuration without a tool, as ``--dry-run`` does, many in one process."""

import dataclasses
import functools

import numpy as np
import numpy.typing as npt

from arch import network_file
from arch.network import Encoding, Network
from boards import BOARDS
from gateware.build.explore.configuration import Configuration
from gateware.build.explore.result import Result
from gateware.check.answer import CircuitCheck
from gateware.check.checking import check_baked, check_flash
from reference.network import Reference
from sim.report import Weights
from support.errors import InputError

__all__ = ["Accuracy", "Measurement", "changed_network"]


@functools.lru_cache(maxsize=2)
def changed_network(content: bytes, timesteps: int) -> Network:
    """Return the network of a file, computed with ``timesteps``; configurations of the same network share it."""
    network = network_file.loads(content)
    if network.timesteps == timesteps:
        return network
    if network.input.encoding is Encoding.EVENTS:
        raise InputError(f"timesteps of a network of events must be its own {network.timesteps}, which are the frames "
                         f"of its data, not {timesteps}")
    # What the file says of accuracy and exactness is said of the network with its own timesteps.
    return dataclasses.replace(network, timesteps=timesteps, metadata={})


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """The work of a dry run; a process of its own may do it."""

    configuration: Configuration
    #: The network's file.
    content: bytes

    def __call__(self) -> Result:
        """Check the configuration; what cannot be, as a clock that no PLL makes, is a result, too."""
        try:
            circuit = self._circuit()
        except InputError as error:
            return Result(fits=False, reason=str(error))
        if circuit.findings:
            return Result(fits=False, reason=str(circuit.findings[0]))
        resources = {resource.name: resource for resource in circuit.resources}
        cells, rams = resources.get("logic cells"), resources.get("block RAMs")
        network = changed_network(self.content, self.configuration.timesteps)
        accuracy = network.metadata.get("accuracy")
        return Result(
            fits=True, clocks=circuit.clocks, inference_ms=round(circuit.inference_ms, 6),
            utilisation=round(circuit.utilisation, 4),
            logic_cells=None if cells is None else cells.used, block_rams=None if rams is None else rams.used,
            cells_evidence=None if cells is None else cells.evidence,
            accuracy=accuracy, accuracy_evidence=None if accuracy is None else "metadata")

    def _circuit(self) -> CircuitCheck:
        wanted = self.configuration
        network, board = changed_network(self.content, wanted.timesteps), BOARDS[wanted.board]
        clock_hz = wanted.clock_mhz * 1e6
        board.check_clock(clock_hz)
        board.default_bauds(clock_hz)
        if wanted.weights == Weights.FLASH:
            return check_flash(network, board, clock_hz, double=wanted.flash_rate == "double", remedies=False)
        return check_baked(network, board, clock_hz, wanted.lanes, wanted.width, remedies=False)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Accuracy:
    """The work of the reference: the accuracy of a network on labelled images."""

    content: bytes
    timesteps: int
    images: npt.NDArray[np.generic]
    labels: npt.NDArray[np.integer]

    def __call__(self) -> float:
        """Return the share of images that the integer reference classifies right."""
        network = changed_network(self.content, self.timesteps)
        classes = Reference(network).run(self.images).classes
        return float((classes == self.labels).mean())
