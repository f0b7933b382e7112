"""The example of a system that LiteX makes, as docs/embedding.md has it. LiteX is not among the packages of tests."""

import importlib.util
import pathlib
import subprocess
import sys

import pytest
from cocotb_tools.runner import get_runner

from arch import network_file
from gateware.verilog.command import main
from tests.embedded_networks import LANES, WIDTH, plan

pytestmark = pytest.mark.rtl

ROOT = pathlib.Path(__file__).parents[2]
#: LiteX's Verilog has warnings. Icarus leaves X on the outputs of those of its processes whose inputs never change.
VERILATOR = ["-Wno-fatal", "-Wno-lint", "--x-initial", "unique", "--output-split", "0", "-CFLAGS", "-O0"]


@pytest.mark.skipif(importlib.util.find_spec("litex") is None, reason="LiteX is missing: pip install litex")
def test_the_example_classifies_images(verilator, tmp_path):
    network_file.save(plan().network, tmp_path / "network.safetensors")
    made, system = tmp_path / "made", tmp_path / "system"
    assert main(["--network", str(tmp_path / "network.safetensors"), "-o", str(made), "--interface", "wishbone",
                 "--lanes", str(LANES), "--width", str(WIDTH)]) == 0
    done = subprocess.run([sys.executable, ROOT / "docs" / "examples" / "litex_soc.py", made, system],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    runner = get_runner(verilator)
    runner.build(sources=[system / "sterna_soc.v", made / "sterna.v"], hdl_toplevel="sterna_soc", build_dir=system,
                 always=True, timescale=("1ns", "1ps"), log_file=tmp_path / "build.log", build_args=VERILATOR)
    runner.test(hdl_toplevel="sterna_soc", test_module="tests.rtl.benches.tb_litex_soc", build_dir=system,
                test_dir=system, seed=1, log_file=tmp_path / "test.log")
