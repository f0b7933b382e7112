"""Estimate what a build takes from the supply of its FPGA: energy of an inference by block, and average power."""

import argparse
import json
from collections.abc import Iterator, Sequence
from typing import Any

from gateware.build.energy.activity import Activity
from gateware.build.energy.model import Estimate, Interval, Resources, estimate
from gateware.build.energy.resources import activity_of, resources_of
from gateware.reports.folder import REPORT
from gateware.reports.network import Report
from gateware.reports.overlay import OverlayReport
from gateware.reports.reader import report_in
from support.command_line import EXIT_OK, path_argument, print_line, run
from support.errors import InputError, printable

__all__ = ["create_parser", "main"]

#: What the number is, in every output.
_LABEL = ("estimated from simulated activity and published measurements of other designs, not measured; FPGA core and "
          "PLL supplies only")


def create_parser() -> argparse.ArgumentParser:
    """Create the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m gateware.build.energy", description=__doc__)
    parser.add_argument("build", metavar="DIR", type=path_argument,
                        help="estimate the build in the folder DIR, on an iCE40 UltraPlus")
    parser.add_argument("--activity", metavar="FILE", type=path_argument, required=True,
                        help="count what toggles in FILE, the waveform of an image that python -m sim --vcd has "
                             "written")
    parser.add_argument("--rate", metavar="N", type=float, default=1.0,
                        help="tell the average power at N images per second (default: %(default)g)")
    parser.add_argument("--json", action="store_true", help="print the estimate as JSON")
    return parser


def _json(interval: Interval, scale: float) -> dict[str, float]:
    return {bound: float(f"{scale * getattr(interval, bound):.4g}") for bound in ("low", "value", "high")}


def _to_json(result: Estimate, resources: Resources, activity: Activity, rate: float) -> dict[str, Any]:
    return {
        "evidence": "estimated", "note": _LABEL, "clock_mhz": resources.clock_hz / 1e6,
        "inference_cycles": activity.inference_clocks,
        "inference_uj": _json(result.inference, 1e6),
        "parts_uj": {name: _json(part, 1e6) for name, part in result.parts.items()},
        "transfer_uj": _json(result.transfer, 1e6),
        "idle_mw": _json(result.idle, 1e3), "computing_mw": _json(result.computing, 1e3),
        "images_per_second": rate, "average_mw": _json(result.average(rate), 1e3),
    }


def _line(name: str, interval: Interval, scale: float, unit: str, share: str = "") -> str:
    return (f"{name:28} {scale * interval.value:8.3g} {unit}   {scale * interval.low:.3g} to "
            f"{scale * interval.high:.3g}{share}")


def _to_text(result: Estimate, resources: Resources, activity: Activity, rate: float) -> Iterator[str]:
    yield _LABEL
    yield (f"inference: {activity.inference_clocks:,} clocks at {resources.clock_hz / 1e6:g} MHz; each line: value, "
           f"and the bounds between which it is believed to be")
    for name, part in result.parts.items():
        yield _line(name, part, 1e6, "µJ", f"   {100 * part.value / result.inference.value:.0f} %")
    yield _line("an inference", result.inference, 1e6, "µJ")
    yield _line("image in, result out", result.transfer, 1e6, "µJ")
    yield _line("power, idle", result.idle, 1e3, "mW")
    yield _line("power, computing", result.computing, 1e3, "mW")
    yield _line(f"power at {rate:g} images/s", result.average(rate), 1e3, "mW")
    widest = max(result.parts, key=lambda name: result.parts[name].high - result.parts[name].low)
    yield f"largest uncertainty: {widest}"


def _check_rate(rate: float, report: Report | OverlayReport, resources: Resources, activity: Activity) -> None:
    """Refuse a rate at which no build computes; raises :exc:`InputError`.

    The time of an image on the link depends on its network: an overlay's report does not know it.
    """
    if isinstance(report, Report) and rate > report.images_per_second_link:
        raise InputError(f"--rate must be at most {report.images_per_second_link:.12g}, the images per second that the "
                         f"build takes at {report.baud} baud, not {rate:.12g}")
    most = resources.clock_hz / activity.inference_clocks
    if rate > most:
        raise InputError(f"--rate must be at most {most}, because an inference takes {activity.inference_clocks} "
                         f"clocks, not {rate:.12g}")


def _work(arguments: argparse.Namespace) -> int:
    report = report_in(arguments.build)
    resources = resources_of(report, name=printable(str(arguments.build / REPORT)))
    if not 0 < arguments.rate < float("inf"):
        raise InputError(f"--rate must be more than 0, not {arguments.rate:.12g}")
    activity = activity_of(report, arguments.activity)
    _check_rate(arguments.rate, report, resources, activity)
    result = estimate(resources, activity)
    values = (result, resources, activity, arguments.rate)
    print_line(json.dumps(_to_json(*values)) if arguments.json else "\n".join(_to_text(*values)))
    return EXIT_OK


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return run(create_parser(), _work, argv)
