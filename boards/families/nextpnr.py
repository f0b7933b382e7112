"""Reports, messages and progress of Yosys and nextpnr, which several families have in common."""

import json
import re
from collections.abc import Mapping

from boards.families.family import Placed, Refusal, Resources

__all__ = ["progress", "read_report", "refusal", "without_sources"]

#: Messages by which nextpnr says that a device has too few cells of a kind.
_TOO_LARGE = ("no BELs remaining", "no Bels remaining", "Unable to place cell")
#: Messages by which a placer gives up; another seed may succeed.
_NO_PLACEMENT = ("nable to find legal placement", "failed to place", "Unable to place carry chain")


def read_report(text: bytes, cells: Mapping[str, str]) -> Placed:
    """Read what nextpnr writes with ``--report``.

    Parameters
    ----------
    text
        The report.
    cells
        For each field of :class:`Resources`, what nextpnr calls such cells; a field that is left out is 0.
    """
    content = json.loads(text)
    used = {name: item["used"] for name, item in content["utilization"].items()}
    counts = {field: used.get(cells[field], 0) if field in cells else 0 for field in Resources.__dataclass_fields__}
    return Placed(fmax_hz=min(clock["achieved"] for clock in content["fmax"].values()) * 1e6, used=Resources(**counts))


def without_sources(rtlil: bytes) -> bytes:
    """Return a design as Yosys reads it without the attributes that name the lines of its sources."""
    return re.sub(rb"^ *attribute \\src .*\n", b"", rtlil, flags=re.MULTILINE)


def refusal(log: str) -> Refusal | None:
    """Say why nextpnr refused a design, by its log."""
    if any(message in log for message in _TOO_LARGE):
        return Refusal.TOO_LARGE
    if any(message in log for message in _NO_PLACEMENT):
        return Refusal.NO_PLACEMENT
    return None


def progress(line: str) -> str | None:
    """Say what a line of the log of Yosys or nextpnr means for somebody who waits."""
    if match := re.match(r"[\d.]+ Executing (\w+) pass", line):
        return match[1].lower()
    if match := re.match(r"Info:\s+at iteration #(\d+), type ALL:", line):
        return f"placing, iteration {match[1]}"
    if match := re.match(r"Info:\s+at iteration #(\d+): temp =", line):
        return f"refining the placement, iteration {match[1]}"
    if match := re.match(r"Info:\s+\d+ \|[^|]*\|[^|]*\|\s*(\d+)\|", line):
        return f"routing, {match[1]} arcs left"
    if re.match(r"Info: (Packing|Promoting|Constraining|Placed|Creating|Routing)", line):
        return line.removeprefix("Info: ").rstrip(". ").lower()
    return None
