"""Synthesis out of context: every family takes the file, and what is counted is what Yosys says."""

import json

import pytest

from gateware.verilog.command import main
from gateware.verilog.synthesis import FAMILIES
from tests.embedded_networks import LANES, WIDTH

pytestmark = pytest.mark.synth


def check(network, folder, *families):
    """Synthesise the small network, and compare report, page and what is known of the circuit."""
    arguments = [word for family in families for word in ("--synthesise", family)]
    assert main(["--network", str(network), "-o", str(folder), "--lanes", str(LANES), "--width", str(WIDTH),
                 *arguments]) == 0
    report = json.loads((folder / "report.json").read_text())["synthesis"]
    page = (folder / "sterna.md").read_text()
    wanted = list(FAMILIES) if families == ("all",) else list(families)
    assert list(report) == wanted
    for name in wanted:
        counted = report[name]
        assert counted["warnings"] == []
        # Between the flip-flops of the array alone, and what no small network takes.
        assert 500 < counted["flip_flops"] < 3000
        assert 500 < counted["luts"] < 8000
        assert counted["multipliers"] == 0
        assert sum(counted["rams"].values()) >= 3
        assert counted["rams"].items() <= counted["cells"].items()
        assert not [cell for cell in counted["cells"] if cell.startswith(("$", "sterna"))]
        assert f"| {FAMILIES[name].title} | {counted['luts']:,} | {counted['flip_flops']:,} |" in page


def test_one_family(network, tmp_path):
    check(network, tmp_path / "made", "gowin")


@pytest.mark.long
def test_every_family(network, tmp_path):
    check(network, tmp_path / "made", "all")
