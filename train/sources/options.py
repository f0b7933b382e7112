"""The options of ``python -m train`` that are about a float network of another package."""

import argparse

from arch.limits import MAX_TIMESTEPS
from export.sources.options import add_options as add_graph_options
from export.sources.options import facts_of, given_options
from support.errors import InputError

__all__ = ["TIMESTEPS", "OptionError", "add_options", "check_options", "facts_of"]

#: Timesteps of the ternary network, unless the float one has fewer or they are given: those of the shipped circuits.
TIMESTEPS = 4

#: Options beside those about graphs, by their names in the arguments.
_OPTIONS = {"dataset": "--dataset", "ternary_timesteps": "--ternary-timesteps"}


class OptionError(InputError):
    """An option has a wrong value, or no effect. The message is one line."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to ``parser``, as groups of their own; ``--from`` is not among them."""
    group = parser.add_argument_group("fine-tuning", "For a training that begins --from the float network of another "
                                                     "package (docs/nir.md).")
    group.add_argument("--dataset", metavar="NAME", help="train on the data set NAME (default: the one that has the "
                                                         "graph's input and classes, if it is the only one)")
    group.add_argument("--ternary-timesteps", metavar="T", type=int,
                       help=f"number of timesteps of the ternary network (default: {TIMESTEPS}, or those of the graph "
                            f"if they are fewer)")
    add_graph_options(parser, package=("--package",))


def check_options(arguments: argparse.Namespace) -> None:
    """Refuse options about a float network without one, and values out of range; raises :exc:`OptionError`."""
    given = [*given_options(arguments),
             *(option for name, option in _OPTIONS.items() if getattr(arguments, name) is not None)]
    if given and arguments.graph is None:
        raise OptionError(f"{given[0]} must be given with --from GRAPH: a recipe says itself what is trained")
    if arguments.ternary_timesteps is not None and not 1 <= arguments.ternary_timesteps <= MAX_TIMESTEPS:
        raise OptionError(f"--ternary-timesteps must be 1 to {MAX_TIMESTEPS}, not {arguments.ternary_timesteps}")
