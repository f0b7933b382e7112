"""The signals of a view are signals of the circuits, and views are what the viewers read."""

import hashlib

import pytest

from boards import BOARDS
from gateware.flash.reader import FlashMode
from gateware.mapper.streamed.choice import streamed_config
from sim.circuits import circuit_verilog
from sim.waves.signals import Format, Group, Shown, Signal, groups_of, signals_of
from sim.waves.views import gtkwave_view, surfer_view
from tests.link_board import CACHE
from tests.random_networks import SMALL

VERILOG = r"""
module top(clk, sums);
  input clk;
  wire clk;
  output [3:0] sums;
  wire [3:0] sums ;
  wire [-1:0] none;
  \top.core core (.clk(clk));
endmodule
module \top.core (clk);
  input clk;
  wire clk;
  reg [35:0] \sums$3  = 36'h0;
  reg signed [11:0] sums = 12'h000;
  wire \first$7 ;
  reg [7:0] memory [15:0];
endmodule
module \top.core.spikes$125 (clk);
  input clk;
  reg write = 1'h0;
endmodule
"""


def test_signals_are_found_by_the_names_of_the_sources():
    assert signals_of(VERILOG) == {
        "clk": Signal("clk", 1), "sums": Signal("sums", 4), "core.clk": Signal("core.clk", 1),
        "core.sums": Signal("core.sums", 12), "core.first": Signal("core.first$7", 1),
        "core.spikes.clk": Signal("core.spikes$125.clk", 1), "core.spikes.write": Signal("core.spikes$125.write", 1)}


@pytest.mark.rtl
@pytest.mark.parametrize("config", [SMALL, streamed_config(BOARDS["icebreaker"])], ids=["baked", "overlay"])
def test_every_signal_that_is_shown_is_one_of_the_circuit(config):
    signals = signals_of(circuit_verilog(config, divisor=4, mode=FlashMode.QUAD, folder=CACHE))
    groups = groups_of(config)
    shown = [each.name for group in groups for each in group.signals]
    assert [name for name in shown if name not in signals] == []
    assert len(set(shown)) == len(shown)
    assert signals["accelerator.pif.spikes"].width == config.timesteps
    assert ("Weights from flash" in [group.title for group in groups]) == config.streamed


GROUPS = [Group("Host link", [Shown("clk"), Shown("core.sums", Format.SIGNED)]),
          Group("Spikes", [Shown("core.spikes.write"), Shown("sums", Format.HEXADECIMAL),
                           Shown("sums", Format.UNSIGNED)])]


def first_line(mark, view):
    """The first line of a view, with the digest of the lines below."""
    _, _, below = view.partition("\n")
    return f"{mark}, sha256 {hashlib.sha256(below.encode()).hexdigest()}"


def test_the_view_of_gtkwave_is_a_save_file_with_groups_and_formats():
    # The lines from "@800200" on are those that pyvcd 0.4.1 writes (vcd.gtkw.GTKWSave).
    markers = " ".join(["-1"] * 27)
    view = gtkwave_view(GROUPS, signals_of(VERILOG), top="top", waveform="a b.vcd", units=8000)
    assert view.splitlines() == [
        first_line("[*] Sterna: view of a waveform (docs/waveforms.md)", view), '[dumpfile] "a b.vcd"', "[timestart] 0",
        f"*-3.000000 {markers}", "[size] 1600 1000", "[signals_width] 400",
        "@800200", "-Host link", "@28", "TOP.top.clk", "@420", "TOP.top.core.sums[11:0]", "@1000200", "-Host link",
        "@800200", "-Spikes", "@28", "TOP.top.core.spikes$125.write", "@22", "TOP.top.sums[3:0]", "@24",
        "TOP.top.sums[3:0]", "@1000200", "-Spikes"]


def test_the_view_of_surfer_is_a_file_of_commands():
    view = surfer_view(GROUPS, signals_of(VERILOG), top="top")
    assert view.splitlines() == [
        first_line("# Sterna: view of a waveform (docs/waveforms.md)", view),
        "divider_add Host_link", "variable_add TOP.top.clk", "variable_add TOP.top.core.sums",
        "divider_add Spikes", "variable_add TOP.top.core.spikes$125.write", "variable_add TOP.top.sums",
        "variable_add TOP.top.sums", "zoom_fit"]
