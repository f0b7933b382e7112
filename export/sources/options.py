"""The options of ``python -m export`` that state what the file of another package does not."""

import argparse
from collections.abc import Sequence

from arch.limits import MAX_TIMESTEPS
from arch.network import Encoding, Reset
from export.sources.chain import SourceError
from export.sources.nir import sidecar
from export.sources.nir.sidecar import Facts
from export.sources.rules import PRESETS, Comparison

__all__ = ["add_options", "facts_of", "given_options"]

#: Options by their names in the arguments.
_OPTIONS = {"package": "--package", "compare": "--compare", "reset": "--reset", "spikes": "--spikes", "dt": "--dt",
            "timesteps": "--timesteps", "encoding": "--encoding", "scale": "--scale", "zero_point": "--zero-point",
            "input_shape": "--input", "readout": "--readout"}


def add_options(parser: argparse.ArgumentParser, *, package: Sequence[str] = ("--package", "--from")) -> None:
    """Add the options to ``parser``, as a group of their own; ``package`` are the spellings of the first one."""
    group = parser.add_argument_group("NIR graphs", "What a NIR graph does not say (docs/nir.md). A graph that Sterna "
                                                    "wrote has it in its metadata.")
    group.add_argument(*package, dest="package", choices=tuple(PRESETS),
                       help="take the rules of the package that wrote the graph")
    group.add_argument("--compare", choices=[kind.value for kind in Comparison],
                       help="neurons spike at their threshold and above (ge), or only above it (gt)")
    group.add_argument("--reset", choices=[kind.value for kind in Reset],
                       help="a spike subtracts the threshold from the membrane, or makes it zero")
    group.add_argument("--spikes", choices=["one", "several"],
                       help="a neuron spikes at most once in a timestep, or as often as its membrane holds the "
                            "threshold; the latter is taken only where it cannot happen")
    group.add_argument("--dt", metavar="SECONDS", help="length of a timestep, for leaks and r of the graph")
    group.add_argument("--timesteps", metavar="T", type=int, help="number of timesteps of an inference")
    group.add_argument("--encoding", choices=[kind.value for kind in Encoding],
                       help="the input is an image of bytes in all timesteps, or a binary frame in each")
    group.add_argument("--scale", metavar="K",
                       help="a pixel p is seen as K (p - Z), exactly; K is a number or a quotient such as 1/255")
    group.add_argument("--zero-point", metavar="Z", type=int, help="pixel that means zero: 0 or 128 (default: 0)")
    group.add_argument("--input", metavar="SHAPE", dest="input_shape",
                       help="shape of the input, CHANNELSxHEIGHTxWIDTH, where the graph has it in a row or with a "
                            "batch axis")
    group.add_argument("--readout", choices=["spikes", "currents"],
                       help="scores are the spikes of the last neurons, counted, or the currents of the last weights, "
                            "for which neurons at the end are dropped (default: what the graph ends in)")


def given_options(arguments: argparse.Namespace) -> list[str]:
    """Return the options that were given."""
    return [option for name, option in _OPTIONS.items() if getattr(arguments, name) is not None]


def facts_of(arguments: argparse.Namespace) -> Facts:
    """Return what the options state; raises :exc:`SourceError` for a value that is out of range."""
    timesteps, zero = arguments.timesteps, arguments.zero_point
    if timesteps is not None and not 1 <= timesteps <= MAX_TIMESTEPS:
        raise SourceError(f"--timesteps must be 1 to {MAX_TIMESTEPS}, not {timesteps}")
    if zero not in (None, 0, 128):
        raise SourceError(f"--zero-point must be 0 or 128, not {zero}")
    return Facts(
        package=arguments.package, comparison=arguments.compare and Comparison(arguments.compare),
        reset=arguments.reset and Reset(arguments.reset),
        several=None if arguments.spikes is None else arguments.spikes == "several",
        dt=None if arguments.dt is None else sidecar.fraction("--dt", arguments.dt),
        timesteps=timesteps, encoding=arguments.encoding and Encoding(arguments.encoding),
        scale=None if arguments.scale is None else sidecar.fraction("--scale", arguments.scale), zero_point=zero,
        shape=None if arguments.input_shape is None else sidecar.shape("--input", arguments.input_shape),
        currents=None if arguments.readout is None else arguments.readout == "currents")
