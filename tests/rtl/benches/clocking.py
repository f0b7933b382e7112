"""Clock and handshakes of the cocotb benches.

Benches read what the last rising edge left, and drive what the next one will see, at falling edges.
"""

from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, Timer

PERIOD = 10  # ns


async def start(dut, **inputs):
    """Set the inputs, start the clock and reset."""
    for name, value in inputs.items():
        getattr(dut, name).value = value
    # The clock begins with a rising edge, which must see them.
    await Timer(1, "ns")
    Clock(dut.clk, PERIOD, unit="ns").start()
    if hasattr(dut, "rst"):
        dut.rst.value = 1
        await FallingEdge(dut.clk)
        await FallingEdge(dut.clk)
        dut.rst.value = 0
    await FallingEdge(dut.clk)


async def settle():
    """Let combinational outputs follow what was driven in this clock."""
    await Timer(1, "ns")


async def stream_through(dut, items, latency, drive, read):
    """Drive one item per clock; return what is read ``latency`` clocks after each."""
    results = []
    for clock in range(len(items) + latency):
        if clock >= latency:
            results.append(read())
        if clock < len(items):
            drive(items[clock])
        await FallingEdge(dut.clk)
    return results
