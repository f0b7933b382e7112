"""``python -m train``: train a network by a recipe. What takes PyTorch is :mod:`train.session`."""

import argparse
import os
from collections.abc import Sequence

from support import provenance
from support.command_line import path_argument, print_line, run
from support.errors import InputError
from train.catalogue import MAX_EPOCHS, read_recipe, shipped_recipes
from train.sources.options import add_options, check_options, facts_of

__all__ = ["MAX_THREADS", "check_threads", "create_parser", "main"]

#: Most threads that a command takes: more than there are processors only wait for each other, but may be wanted to
#: repeat the result of another machine.
MAX_THREADS = max(256, os.cpu_count() or 1)
#: Options of a training.
_NOT_CHECK = ("data", "download", "unverified", "output", "epochs", "validation_images", "seed", "bfloat16", "compile",
              "threads", "dry_run", "quiet")


def create_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m train", description="Train a ternary spiking network and write a checkpoint for export.",
        epilog="An interrupted training resumes when the same command is given again.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--recipe", metavar="RECIPE",
                      help=f"train RECIPE: {', '.join(shipped_recipes())} or a .json file")
    what.add_argument("--from", metavar="GRAPH", dest="graph",
                      help="make the weights of the float network in the NIR file GRAPH ternary and fine-tune it, with "
                           "itself as the teacher")
    parser.add_argument("--data", metavar="DIR", type=path_argument,
                        help="read the official files of the data set from DIR (see docs/datasets.md); not needed with "
                             "--check")
    parser.add_argument("--download", action="store_true", help="first fetch the files that DIR lacks")
    parser.add_argument("--unverified", action="store_true", help="accept files that are not the official ones")
    parser.add_argument("-o", "--output", metavar="DIR", type=path_argument,
                        help="write checkpoint, state, metrics and curves to DIR (default: build/train/RECIPE)")
    parser.add_argument("--epochs", metavar="N", type=int, help="train N epochs (default: the recipe's)")
    parser.add_argument("--validation-images", metavar="N", type=int,
                        help="hold back N training images for all choices (default: the recipe's)")
    parser.add_argument("--seed", metavar="N", type=int, help="use the seed N (default: the recipe's)")
    parser.add_argument("--bfloat16", action=argparse.BooleanOptionalAction, default=None,
                        help="compute convolutions in bfloat16, or not (default: the recipe's choice)")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=None,
                        help="compile the neurons' loops, needs g++, or not (default: the recipe's choice)")
    parser.add_argument("--device", metavar="DEVICE", default="cpu", help="train on DEVICE (default: cpu)")
    parser.add_argument("--threads", metavar="N", type=int, help="use N threads (default: PyTorch's choice)")
    parser.add_argument("--dry-run", action="store_true",
                        help="check all that the training needs, print the plan, train nothing")
    parser.add_argument("--check", action="store_true",
                        help="train nothing, but check whether BOARD runs the network: what each layer takes, all "
                             "limits that are exceeded, and what helps; needs no data")
    parser.add_argument("--board", metavar="BOARD", help="with --check, check for BOARD, as icebreaker")
    parser.add_argument("--json", action="store_true", help="with --check, print the answer as JSON")
    parser.add_argument("--no-remedies", action="store_true",
                        help="with --check, do not look for what helps, which may take minutes")
    parser.add_argument("-q", "--quiet", action="store_true",
                        help="show neither progress bar nor the lines of the epochs")
    add_options(parser)
    return parser


def check_threads(threads: int | None) -> None:
    """Check the option ``--threads``, None if it is not given; raises :exc:`support.errors.InputError`."""
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise InputError(f"--threads must be 1 to {MAX_THREADS}, not {threads}")


def _check_options(arguments: argparse.Namespace) -> None:
    """Refuse options that are missing, or would have no effect."""
    if not arguments.check:
        for option in ("board", "json", "no_remedies"):
            if getattr(arguments, option):
                raise InputError(f"--{option.replace('_', '-')} must be given with --check: it has no effect without")
        if arguments.data is None:
            create_parser().error("the following arguments are required: --data")
        return
    if arguments.board is None:
        raise InputError("--check must be given with --board: say which board is to run the network")
    parser = create_parser()
    for option in _NOT_CHECK:
        if getattr(arguments, option) != parser.get_default(option):
            raise InputError(f"--{option.replace('_', '-')} has no effect with --check, which trains nothing: leave "
                             "one of the two out")


def _train(arguments: argparse.Namespace, command: str) -> None:
    _check_options(arguments)
    check_threads(arguments.threads)
    if arguments.epochs is not None and not 1 <= arguments.epochs <= MAX_EPOCHS:
        raise InputError(f"--epochs must be 1 to {MAX_EPOCHS}, not {arguments.epochs}")
    if arguments.validation_images is not None and arguments.validation_images < 1:
        raise InputError(f"--validation-images must be 1 or more, not {arguments.validation_images}")
    if arguments.seed is not None and not 0 <= arguments.seed < 2**63:
        raise InputError(f"--seed must be 0 to {2**63 - 1}, not {arguments.seed}")
    check_options(arguments)
    facts = facts_of(arguments)
    values = read_recipe(arguments.recipe) if arguments.graph is None else None
    # Here, because it imports PyTorch, which takes seconds: wrong names and numbers are answered at once.
    from train.session import report, train
    from train.sources.beginning import recipe_of

    if values is None:
        values = recipe_of(arguments.graph, facts, dataset=arguments.dataset, timesteps=arguments.ternary_timesteps)
    if arguments.check:
        # Here, because a training needs no Amaranth.
        from train.deploy import check_recipe

        check_recipe(arguments, values)
        return
    made = train(arguments, values, command)
    # Of several processes, the first one reports.
    if made is not None:
        print_line(report(made, dry_run=arguments.dry_run))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code, as :func:`support.command_line.run`."""
    command = provenance.command_line("train", argv)
    return run(create_parser(), lambda arguments: _train(arguments, command), argv,
               interrupted="interrupted; the same command resumes after the last epoch")
