"""A small system on a chip with the accelerator, made with LiteX: Wishbone, a RAM, and a serial port as its master.

::

    pip install litex
    python -m gateware.verilog --network models/mnist-conv.safetensors --interface wishbone -o build/sterna
    python docs/examples/litex_soc.py build/sterna build/soc

The second command writes ``build/soc/sterna_soc.v``. Of a system with a processor, only ``cpu_type`` is another: the
registers of the accelerator are at ``BASE`` for both, and ``build/sterna/sterna_registers.h`` has their offsets.
"""

import contextlib
import json
import pathlib
import sys

from litex.build.generic_platform import GenericPlatform, Pins, Subsignal
from litex.gen import LiteXModule
from litex.soc.integration.soc import SoCRegion
from litex.soc.integration.soc_core import SoCCore
from litex.soc.interconnect import wishbone
from migen import ClockDomain, ClockSignal, Instance, ResetSignal, Signal

#: Where the registers are.
BASE = 0x3000_0000

#: Clock of the system in Hz, and rate of its serial port in baud: a bit takes eight clocks, for a fast simulation.
CLOCK_HZ, BAUD = 8e6, 1_000_000

PINS = [
    ("clk", 0, Pins("clk")),
    ("rst", 0, Pins("rst")),
    ("serial", 0, Subsignal("tx", Pins("tx")), Subsignal("rx", Pins("rx"))),
    ("irq", 0, Pins("irq")),
]


class Clocking(LiteXModule):
    """The clock of the system, from its pins."""

    def __init__(self, platform):
        self.cd_sys = ClockDomain()
        self.comb += [self.cd_sys.clk.eq(platform.request("clk")), self.cd_sys.rst.eq(platform.request("rst"))]


class Sterna(LiteXModule):
    """The accelerator as a slave of LiteX's bus."""

    def __init__(self, platform, folder):
        report = json.loads((folder / "report.json").read_text())
        width  = next(port["width"] for port in report["ports"] if port["name"] == "wb_adr")
        #: Bytes of its registers.
        self.size = 4 << width
        self.bus  = wishbone.Interface(data_width=32, address_width=32, addressing="word")
        self.irq  = Signal()

        bus = self.bus
        self.specials += Instance(
            report["module"],
            i_clk=ClockSignal("sys"), i_rst=ResetSignal("sys"),
            i_wb_cyc=bus.cyc, i_wb_stb=bus.stb, i_wb_we=bus.we, i_wb_adr=bus.adr[:width], i_wb_sel=bus.sel,
            i_wb_dat_w=bus.dat_w, o_wb_dat_r=bus.dat_r, o_wb_ack=bus.ack, o_wb_err=bus.err,
            o_busy=Signal(), o_irq=self.irq)
        platform.add_source(str(folder / f"{report['module']}.v"))


class System(SoCCore):
    """The bus with its master, a RAM of 4 KiB, and the accelerator."""

    def __init__(self, platform, folder):
        self.crg = Clocking(platform)
        SoCCore.__init__(self, platform, CLOCK_HZ, cpu_type=None, with_uart=False, with_timer=False, ident="Sterna",
                         integrated_sram_size=0x1000)
        self.add_uartbone(baudrate=BAUD)
        self.sterna = sterna = Sterna(platform, folder)
        self.bus.add_slave("sterna", sterna.bus, SoCRegion(origin=BASE, size=sterna.size, cached=False))
        self.comb += platform.request("irq").eq(sterna.irq)


def main():
    """Write the system's Verilog into the second folder, for the module in the first one."""
    folder, output = map(pathlib.Path, sys.argv[1:])
    platform = GenericPlatform("none", PINS, name="sterna_soc")
    system = System(platform, folder)
    system.finalize()
    verilog = platform.get_verilog(system, name="sterna_soc")
    output.mkdir(parents=True, exist_ok=True)
    # With the contents of LiteX's own memories in files, which it writes into the current folder.
    with contextlib.chdir(output):
        verilog.write("sterna_soc.v")


if __name__ == "__main__":
    main()
