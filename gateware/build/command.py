"""Build a bitstream: ``python -m gateware.build --board icebreaker``."""

import argparse
import logging
from collections.abc import Sequence

from boards import BOARDS
from gateware.build.baked import build_baked
from gateware.build.built import program_built
from gateware.build.flow import STEPS
from gateware.build.overlay import build_overlay, program_image
from gateware.build.request import DEFAULT_SEEDS, BuildError
from gateware.build.steps.verify import VERIFY_IMAGES
from sim.chip.engine import Rung
from sim.report import Weights
from support.command_line import path_argument, run

__all__ = ["build", "create_parser", "main"]

#: What --program can be.
BITSTREAM, IMAGE, BOTH, BUILT = "bitstream", "image", "both", "built"

#: Longest place and route of one seed, in seconds. A seed takes half a minute, or two minutes for the overlay, but in a
#: full device the placer may not find its way, and a busy machine is slower.
SEED_SECONDS = {Weights.BAKED: 300.0, Weights.FLASH: 900.0}

#: Options that mean nothing in some builds, by the name of the argument.
_NOT_DRY = {"seeds": "--seeds", "seed_seconds": "--seed-seconds", "no_simulation": "--no-simulation",
            "verify": "--verify", "program": "--program", "output": "--output", "first_step": "--from"}
_NOT_FLASH = {"network": "--network", "also": "--also", "lanes": "--lanes", "width": "--width"}
_NOT_BAKED = {"flash_rate": "--flash-rate", "image": "--image"}
_NOT_IMAGE = {"clock": "--clock", "baud": "--baud", "flash_rate": "--flash-rate", "seeds": "--seeds",
              "seed_seconds": "--seed-seconds", "no_simulation": "--no-simulation", "verify": "--verify",
              "first_step": "--from"}
_NOT_BUILT = {**_NOT_IMAGE, "also": "--also", "lanes": "--lanes", "width": "--width"}


def create_parser() -> argparse.ArgumentParser:
    """Create the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m gateware.build",
        description="Build the bitstream that runs a network on a board, or the overlay, which runs any network whose "
                    "image is in the board's flash.")
    parser.add_argument("--board", metavar="BOARD", choices=sorted(BOARDS), required=True,
                        help="build for BOARD (one of: %(choices)s)")
    parser.add_argument("--weights", metavar="WHERE", choices=[where.value for where in Weights],
                        default=Weights.BAKED.value,
                        help="where the weights are: baked, in the bitstream, which then runs one network; or flash, "
                             "in the board's flash, for a bitstream that runs any (default: %(default)s)")
    parser.add_argument("--network", metavar="FILE", type=path_argument,
                        help="build in the network of FILE, as python -m export writes it (default: the shipped MNIST "
                             "network)")
    parser.add_argument("--also", metavar="FILE", type=path_argument, action="append",
                        help="make the circuit so large that it runs the network of FILE, too, which python -m export "
                             "FILE --into puts in afterwards; may be given several times")
    parser.add_argument("--clock", metavar="MHZ", type=float,
                        help="run at MHZ (default: that of the board, or of the overlay's report that ships)")
    parser.add_argument("--baud", metavar="N", type=int,
                        help="run the host link at N baud (default: the fastest with eight clocks a bit "
                             "at which no pixel is lost)")
    parser.add_argument("--seeds", metavar="N", type=int,
                        help=f"place and route with seeds 1 to N and report each (default: stop at the first of "
                             f"{DEFAULT_SEEDS} that closes)")
    parser.add_argument("--seed-seconds", metavar="S", type=float,
                        help=f"give each seed S seconds (default: {SEED_SECONDS[Weights.BAKED]:g}, or "
                             f"{SEED_SECONDS[Weights.FLASH]:g} with --weights flash)")
    parser.add_argument("--lanes", metavar="P", type=int,
                        help="compute P output channels at a time (default: the most)")
    parser.add_argument("--width", metavar="W", type=int, help="read W synapses a clock (default: the most)")
    parser.add_argument("--flash-rate", metavar="RATE", choices=("single", "double"),
                        help="with --weights flash, read the flash at one edge of its clock, single, or at both, "
                             "double (default: single)")
    parser.add_argument("--dry-run", action="store_true",
                        help="print fit and exact cycles, but do not run the toolchain")
    parser.add_argument("--json", action="store_true",
                        help="with --dry-run, print as JSON whether the board runs the network, with its weights in "
                             "the bitstream and in the flash: what each layer takes, all limits that are exceeded, "
                             "and changes with which it fits")
    parser.add_argument("--no-simulation", action="store_true",
                        help="do not run the shipped samples on the RTL of this build")
    parser.add_argument("--verify", metavar="RUNG", choices=[rung.value for rung in Rung], action="append",
                        help="simulate shipped samples on the netlist, or on the bitstream turned back into a circuit, "
                             "too, and compare them with the reference; may be given for both (RUNG: %(choices)s)")
    parser.add_argument("--verify-images", metavar="N", type=int,
                        help=f"with --verify, simulate N samples (default: {VERIFY_IMAGES})")
    parser.add_argument("--from", metavar="STEP", dest="first_step", choices=STEPS,
                        help="do STEP and what follows again, whatever is kept of an earlier run (one of: %(choices)s)")
    parser.add_argument("--program", metavar="WHAT", nargs="?", const=True, choices=(BITSTREAM, IMAGE, BOTH, BUILT),
                        help="write WHAT to the board's flash: bitstream, after the build; image, that of --image, "
                             "without a build; both; or built, what an earlier build or export --into has left, "
                             "without a build (default: bitstream, and the image if --image is given)")
    parser.add_argument("--programmer", metavar="TOOL",
                        choices=sorted({each.tool.name for board in BOARDS.values() for each in board.programmers}),
                        help="with --program, write with TOOL: %(choices)s (default: the one for the board)")
    parser.add_argument("--image", metavar="IMAGE", type=path_argument,
                        help="with --program, write the models of IMAGE, as python -m export --flash makes it, behind "
                             "the bitstream")
    parser.add_argument("-o", "--output", metavar="DIR", type=path_argument,
                        help="write to DIR (default: build/BOARD/NETWORK, or build/BOARD/overlay)")
    return parser


def _given(arguments: argparse.Namespace, options: dict[str, str]) -> list[str]:
    """Options of some that are given."""
    return [option for name, option in options.items() if getattr(arguments, name) not in (None, False)]


def _check_options(arguments: argparse.Namespace) -> None:
    """Refuse options that would have no effect."""
    if arguments.weights == Weights.FLASH:
        for option in _given(arguments, _NOT_FLASH):
            raise BuildError(f"{option} has no effect with --weights flash, whose bitstream runs any network on the "
                             f"circuit of the board: leave it out, and make an image of the network with "
                             f"python -m export NETWORK --flash IMAGE")
    else:
        for option in _given(arguments, _NOT_BAKED):
            raise BuildError(f"{option} must be given with --weights flash: it has no effect without")
        if arguments.program in (IMAGE, BOTH):
            raise BuildError(f"--program {arguments.program} must be given with --weights flash: a baked network is "
                             f"part of its bitstream")
    if arguments.dry_run:
        for option in _given(arguments, _NOT_DRY):
            raise BuildError(f"{option} has no effect with --dry-run: leave one of the two out")
    elif arguments.json:
        raise BuildError("--json must be given with --dry-run: it has no effect without")
    if arguments.json and arguments.weights == Weights.FLASH:
        raise BuildError("--json has no effect with --weights flash: leave --weights out, the JSON has both circuits")
    if arguments.json and arguments.also:
        raise BuildError("--json has no effect with --also: leave one of the two out")
    if arguments.verify_images is not None and not arguments.verify:
        raise BuildError("--verify-images must be given with --verify: it has no effect without")
    if arguments.verify and len(set(arguments.verify)) < len(arguments.verify):
        raise BuildError(f"--verify must name each rung once, not {' and '.join(arguments.verify)}")
    if arguments.no_simulation and arguments.first_step == "simulate":
        raise BuildError("--from simulate has no effect with --no-simulation: leave one of the two out")
    _check_program(arguments)


def _check_program(arguments: argparse.Namespace) -> None:
    """Refuse contradictions about what is to be written to the board."""
    if arguments.image is not None and arguments.program in (None, BITSTREAM, BUILT):
        given = "" if arguments.program is None else f", not with --program {arguments.program}"
        raise BuildError(f"--image must be given with --program{given}: it has no effect without one that writes it")
    if arguments.programmer is not None and arguments.program is None:
        raise BuildError("--programmer must be given with --program: it has no effect without")
    if arguments.program in (IMAGE, BOTH) and arguments.image is None:
        raise BuildError(f"--program {arguments.program} must be given with --image: say which image is to be written")
    if arguments.program == IMAGE:
        for option in _given(arguments, _NOT_IMAGE):
            raise BuildError(f"{option} has no effect with --program image, which builds nothing: leave it out, or use "
                             f"--program both")
    if arguments.program == BUILT:
        for option in _given(arguments, _NOT_BUILT):
            raise BuildError(f"{option} has no effect with --program built, which builds nothing: leave it out, or use "
                             f"--program bitstream")


def build(arguments: argparse.Namespace) -> None:
    """Build, simulate, report and program what the command line asks for; raises what becomes the error line."""
    _check_options(arguments)
    weights = Weights(arguments.weights)
    seed_seconds = SEED_SECONDS[weights] if arguments.seed_seconds is None else arguments.seed_seconds
    if arguments.program == BUILT:
        program_built(arguments)
    elif weights is Weights.BAKED:
        build_baked(arguments, seed_seconds=seed_seconds)
    elif arguments.program == IMAGE:
        program_image(arguments)
    else:
        build_overlay(arguments, seed_seconds=seed_seconds)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    logging.basicConfig(format="%(levelname)s: %(message)s")
    return run(create_parser(), build, argv,
               interrupted="interrupted: the same command goes on from the steps that are finished")
