"""The page beside a Verilog file: what a hardware engineer needs to instantiate the module, and no more."""

from collections.abc import Iterable, Sequence

from arch.registers import CONTROL_BITS, SCORES_OFFSET, STATUS_BITS, Bit, registers_of
from gateware.embedded.interfaces import Interface, Port
from gateware.verilog.report import VerilogReport
from gateware.verilog.synthesis import FAMILIES

__all__ = ["instance", "page", "port_table", "register_tables"]


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in (heads, *rows)]
    return "\n".join([lines[0], "|---" * len(heads) + "|", *lines[1:]])


def port_table(ports: Sequence[Port]) -> str:
    """Table of the ports in Markdown."""
    return _table(("port", "direction", "bits", "meaning"), [
        (f"`{port.name}`", "in" if port.is_input else "out", str(port.width), port.meaning) for port in ports])


def _bit_table(bits: tuple[Bit, ...]) -> str:
    return _table(("bit", "name", "meaning"), [(str(bit.number), bit.name, bit.meaning) for bit in bits])


def register_tables(interface: Interface) -> str:
    """Tables of the registers and of their bits in Markdown, for an interface that has registers."""
    pixels = interface is Interface.WISHBONE
    rows = [("000h", "INFO", "read", "info block, 64 bytes: `STRN`, the circuit, the network's hash and name")]
    rows += [(f"{register.offset:03X}h", register.name, register.access.value, register.meaning)
             for register in registers_of(pixels=pixels)]
    rows += [(f"{SCORES_OFFSET:03X}h", "SCORES", "read", "the score of each class, a signed word each")]
    return "\n\n".join([
        _table(("offset", "register", "access", "content"), rows), "Bits of STATUS:", _bit_table(STATUS_BITS),
        "Bits of CONTROL, which act when they are written as 1:", _bit_table(CONTROL_BITS)])


def instance(module: str, ports: Sequence[Port]) -> str:
    """Return an instance of the module in Verilog, each port joined to a signal of its own name."""
    width = max(len(port.name) for port in ports)
    lines = ",\n".join(f"  .{port.name:{width}} ({port.name})" for port in ports)
    return f"{module} u_{module} (\n{lines}\n);"


_STREAMS = """\
An image is a packet of {image_bytes} bytes on `s_axis`, the last of them with `tlast`. Its result is a packet of
{result_words} words on `m_axis`: the class, the clocks of the inference, the clocks of it that waited for pixels of the
next image, 0, and the {classes} scores as signed words; the last with `tlast`. Results come in the order of the images.

A packet of another length is never classified. It is swallowed to its `tlast`, and answered in its turn with one word
that has `tuser` and `tlast` set, and whose value is 2. To give up an image, end it early.
"""

_REGISTERS = {
    Interface.AXI: """\
Every register has 32 bits. They show the last result that has passed `m_axis`; RESULT is set when its last word has. A
write to anything but CONTROL is answered with SLVERR. `irq` is high while RESULT, LENGTH or EARLY is set.
""",
    Interface.WISHBONE: """\
Every register has 32 bits; `wb_adr` counts words, so it is the offset divided by four. A write to a register that
cannot be written, or of less than a word of pixels, ends with `wb_err`. `irq` is high while RESULT, LENGTH or EARLY is
set.

Software classifies an image like this:

1. Read STATUS until READY is 1.
2. Write the image's bytes in words to PIXELS, the first byte in the lowest bits, and the last {last_bytes} of the
   {image_bytes} bytes to PIXELS_LAST.
3. Wait for `irq`, or read STATUS until RESULT, LENGTH or EARLY is 1. LENGTH: it had another number of bytes. EARLY: it
   began while READY was 0. Both are refusals without a result; write CLEAR and begin again.
4. Read CLASS, SCORES and what else is wanted, and write TAKE.

The next image may be written before the result of the one before is there. A result stays until TAKE; meanwhile the
next one waits. To give up an image, write PIXELS_LAST early.
""",
}

_TIMING = """\
* After reset, the spike memory is filled: the first byte of an image is taken after about {cycles_after_reset} clocks.
* A byte of an image is taken in one clock while there is room for 512, and stored in {cycles_per_byte} clocks or,
  while an inference uses the memory, in a few more. So an image is stored about {store_cycles} clocks after its first
  byte.
* The inference begins then, if the engine is free, and takes {cycles_per_inference} clocks, whatever the image, plus at
  most two for each stall that its result tells.
* There are two image buffers: while one image is computed, the next one is stored. What comes when both are taken
  {third}.
* The next inference begins when the result before it has been taken. Its words come one in three clocks.
"""


def page(report: VerilogReport, *, interface: Interface, ports: Sequence[Port], memory_files: bool) -> str:
    """Write the page in Markdown.

    Parameters
    ----------
    report : :class:`VerilogReport`
    interface : :class:`Interface`
    ports : sequence of :class:`Port`
    memory_files : :class:`bool`
        Whether the module reads its memories from files.
    """
    figures = {
        "image_bytes": report.image_bytes, "classes": report.classes, "result_words": report.result_words,
        "last_bytes": (report.image_bytes - 1) % 4 + 1, "cycles_after_reset": f"{report.cycles_after_reset:,}",
        "cycles_per_byte": report.cycles_per_byte, "cycles_per_inference": f"{report.cycles_per_inference:,}",
        "store_cycles": f"{report.image_bytes * report.cycles_per_byte:,}",
        "third": "is refused as EARLY" if interface is Interface.WISHBONE else "waits, with `s_axis_tready` low"}
    parts = [
        f"# {report.module}\n",
        (f"A ternary spiking neural network, {report.network}, as one Verilog-2001 file. One clock domain, "
         f"{report.lanes} x {report.width} x {report.timesteps} synaptic operations per clock. Made by Sterna, "
         f"revision {report.revision}, from a network with the hash {report.network_sha256[:16]}.\n"),
        f"## Ports\n\n{port_table(ports)}\n",
        f"```verilog\n{instance(report.module, ports)}\n```\n",
    ]
    if interface is not Interface.WISHBONE:
        parts.append("## Images and results\n\n" + _STREAMS.format(**figures))
    if interface is not Interface.STREAM:
        parts.append(f"## Registers\n\n{_REGISTERS[interface].format(**figures)}\n{register_tables(interface)}\n")
    parts.append("## Timing\n\n" + _TIMING.format(**figures))
    parts.append("## Files\n\n" + _files(report, memory_files))
    if report.synthesis:
        parts.append("## What it takes\n\nOut of context, by Yosys, before place and route:\n\n" + _synthesis(report))
    return "\n".join(parts)


def _files(report: VerilogReport, memory_files: bool) -> str:
    module = report.module
    text = f"`{module}.v` is the module with all modules below it, whose names begin with `{module}_`. "
    if memory_files:
        text += ("It reads the network from the `.mem` files with `$readmemh`: run tools in their folder, or add them "
                 "to the project. ")
    else:
        text += "The network is in it, as the first contents of its memories; no other file is read. "
    text += ("Memories that are written have no first contents, so that they may be made of RAM that cannot have any; "
             "the module writes them before it reads them.\n\n")
    text += "The file turns these warnings of Verilator off:\n\n"
    return text + "\n".join(f"* `{name}`: {reason}" for name, reason in report.waivers.items()) + "\n"


def _synthesis(report: VerilogReport) -> str:
    rows = [(FAMILIES[name].title, f"{each.luts:,}", f"{each.flip_flops:,}",
             ", ".join(f"{count} {cell}" for cell, count in each.rams.items()), f"`{each.command}`")
            for name, each in report.synthesis.items()]
    return _table(("family", "LUTs", "flip-flops", "RAMs", "command"), rows) + "\n"
