# amaranth: UnusedElaboratable=no
"""The data sheets say what Yosys counts, with the options of a build."""

import json
import pathlib

import pytest
from amaranth.back import rtlil

from boards.families.ice40 import synthesis
from gateware.engine.configuration import EngineConfig
from gateware.flash.crc32 import Crc32Check
from gateware.flash.loader import StreamLoader
from gateware.flash.selector import ModelSelector
from gateware.flash.trits import TritDecoder
from support.tools import YOSYS, amaranth_tools, run_tool
from tests.flash_models import circuit_of

PAGE = (pathlib.Path(__file__).parents[3] / "docs" / "overlay.md").read_text(encoding="utf-8")
CONFIG = EngineConfig(lanes=8, width=16, weight_rows=256, channel_groups=32, layers=8)


@pytest.mark.synth
@pytest.mark.parametrize(("block", "text", "row"), [
    (TritDecoder(), "{luts} LUTs, ", "decoder of five weights to a byte"),
    (Crc32Check(), "{luts} LUTs, {flipflops} flip-flops; ", "CRC-32, half a byte per clock"),
    (Crc32Check(double=True), "with ``double`` {luts} LUTs, {flipflops} flip-flops.", None),
    (StreamLoader(CONFIG), "{luts} LUTs, {flipflops} flip-flops; ", "loader, with decoder and CRC"),
    (StreamLoader(CONFIG, double=True), "with ``double`` {luts} LUTs, {flipflops} flip-flops.", None),
    (ModelSelector(CONFIG, circuit_of(), base=1 << 20), "{luts} LUTs, {flipflops} flip-flops.", "selector of models"),
], ids=["decoder", "crc", "crc-double", "loader", "loader-double", "selector"])
def test_cost_is_as_documented(block, text, row, tmp_path):
    with amaranth_tools():
        (tmp_path / "block.il").write_text(rtlil.convert(block, name="block"))
    (tmp_path / "block.ys").write_text(
        f"read_rtlil block.il\n{synthesis('block')}"
        f"tee -q -o stat.json stat -json\n")
    run_tool(YOSYS, ["-q", "block.ys"], cwd=tmp_path, log=tmp_path / "yosys.log")
    cells = json.loads((tmp_path / "stat.json").read_text())["design"]["num_cells_by_type"]
    flipflops = sum(count for name, count in cells.items() if name.startswith("SB_DFF"))
    found = text.format(luts=cells["SB_LUT4"], flipflops=flipflops)
    assert found in " ".join(type(block).__doc__.split()), found
    if row is not None:
        assert f"| {row} | {cells['SB_LUT4']} | {flipflops} |" in PAGE
