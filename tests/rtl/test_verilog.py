"""The files that ``python -m gateware.verilog`` writes, as they are, in both simulators, by models of the buses."""

import pytest
from cocotb_tools.runner import get_runner

from arch import network_file
from gateware.verilog.command import main
from tests.embedded_networks import LANES, WIDTH, plan

pytestmark = pytest.mark.rtl

#: Options of Verilator: one C++ file, see test_blocks.py. Lint is on, and a warning is an error.
VERILATOR = ["-Wall", "--x-initial", "unique", "--x-assign", "unique", "--output-split", "0", "-CFLAGS", "-O0"]


def simulate(interface, simulator, folder, *options, build_args=()):
    """Write the file of an interface and run its bench; fails if a test of it does."""
    network_file.save(plan().network, folder / "network.safetensors")
    assert main(["--network", str(folder / "network.safetensors"), "-o", str(folder / "made"), "--interface", interface,
                 "--lanes", str(LANES), "--width", str(WIDTH), "--clock", "25", *options]) == 0
    build = folder / "build"
    build.mkdir()
    for file in (folder / "made").glob("*.mem"):
        (build / file.name).write_bytes(file.read_bytes())
    runner = get_runner(simulator)
    runner.build(sources=[folder / "made" / "sterna.v"], hdl_toplevel="sterna", build_dir=build, always=True,
                 timescale=("1ns", "1ps"), log_file=folder / "build.log", build_args=list(build_args))
    # Under pytest it raises when a test fails.
    runner.test(hdl_toplevel="sterna", test_module=f"tests.rtl.benches.tb_embedded_{interface}", build_dir=build,
                seed=1, log_file=folder / "test.log")


@pytest.mark.parametrize("interface", ["stream", "axi", "wishbone"])
def test_interface_in_icarus(interface, icarus, tmp_path):
    simulate(interface, icarus, tmp_path)


# The streams are those of the second interface, too.
@pytest.mark.parametrize("interface", [pytest.param("stream", marks=pytest.mark.long), "axi", "wishbone"])
def test_interface_in_verilator(interface, verilator, tmp_path):
    simulate(interface, verilator, tmp_path, build_args=VERILATOR)


def test_memory_files_hold_the_network(icarus, tmp_path):
    simulate("stream", icarus, tmp_path, "--memory-files")
    assert len(list((tmp_path / "made").glob("*.mem"))) > LANES
