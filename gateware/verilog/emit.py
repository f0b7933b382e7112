"""Verilog-2001 that simulators, linters and synthesisers take without a warning.

Amaranth's own Verilog is right, but not quiet: it has names that must be escaped, processes that Icarus never starts,
operands narrower than their operators, and registers with a value at their declaration. Here Yosys makes expressions
and registers of the processes and gives operands their widths (``widths.v``). What Yosys has no command for is done to
its text: names, initial values, the contents of memories, and the head of the top module.
"""

import dataclasses
import itertools
import pathlib
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from amaranth.back import rtlil

from gateware.embedded.interfaces import Port
from support.tools import YOSYS, run_tool

__all__ = ["RESERVED", "WAIVERS", "Design", "emit"]

#: Warnings of Verilator that the file turns off, and why. A test holds that it needs each, and no other.
WAIVERS = {
    "DECLFILENAME": "one file holds all modules, so only one of them can have its name",
    "UNUSEDSIGNAL": "of a sum or a bus, a module may use some bits only; synthesis removes the others",
}

# The words for the spike memory repeat some of their bits, and Verilator takes a signal whose parts are joined to one
# another for a loop: splitnets makes signals of the parts.
_SCRIPT = """\
read_rtlil design.il
hierarchy -check -top {name}
proc -norom
pmuxtree
opt_expr -full
techmap -map widths.v
opt_clean -purge
splitnets -driver
splitnets */w:write_data*
opt_clean -purge
check -assert
memory_collect
setattr -mod -unset src -unset generator -unset top
setattr -unset src -unset full_case
write_verilog design.v
"""

#: Words of SystemVerilog that Verilog-2001 has not, of which tools that read every file as SystemVerilog make no names.
_SYSTEM_VERILOG = frozenset("""
accept_on alias always_comb always_ff always_latch assert assume before bind bins binsof bit break byte chandle checker
class clocking const constraint context continue cover covergroup coverpoint cross dist do endchecker endclass
endclocking endgroup endinterface endpackage endprogram endproperty endsequence enum eventually expect export extends
extern final first_match foreach forkjoin global iff ignore_bins illegal_bins implements implies import inside int
interconnect interface intersect join_any join_none let local logic longint matches modport nettype new nexttime null
package packed priority program property protected pure rand randc randcase randsequence ref reject_on restrict return
s_always s_eventually s_nexttime s_until s_until_with sequence shortint shortreal soft solve static string strong struct
super sync_accept_on sync_reject_on table tagged this throughout timeprecision timeunit type typedef
union unique unique0 until until_with untyped uwire var virtual void wait_order weak wildcard with within
""".split())

#: Words of Verilog-2001.
_VERILOG = frozenset("""
always and assign automatic begin buf bufif0 bufif1 case casex casez cell cmos config deassign default defparam design
disable edge else end endcase endconfig endfunction endgenerate endmodule endprimitive endspecify endtable endtask event
for force forever fork function generate genvar highz0 highz1 if ifnone incdir include initial inout input instance
integer join large liblist library localparam macromodule medium module nand negedge nmos nor noshowcancelled not notif0
notif1 or output parameter pmos posedge primitive pull0 pull1 pulldown pullup pulsestyle_ondetect pulsestyle_onevent
rcmos real realtime reg release repeat rnmos rpmos rtran rtranif0 rtranif1 scalared showcancelled signed small specify
specparam strength strong0 strong1 supply0 supply1 table task time tran tranif0 tranif1 tri tri0 tri1 triand trior
trireg unsigned use vectored wait wand weak0 weak1 while wire wor xnor xor
""".split())

#: What no module may be called; ``std`` is a package that SystemVerilog itself has.
RESERVED = _VERILOG | _SYSTEM_VERILOG | {"std"}

#: An escaped name, with the space that ends it.
_ESCAPED = re.compile(r"\\(\S+) ")
_DECLARATION = re.compile(r"^  (?:input|output|wire|reg)(?: signed)?(?: \[\d+:\d+\])? (\w+)", re.MULTILINE)
_WORD = re.compile(r"\b[A-Za-z_]\w*\b")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Design:
    """A module as a Verilog file."""

    #: The file.
    text: str
    #: The files that it reads its memories from, by their names; none if the contents are in the text.
    memory_files: Mapping[str, str]


def emit(top: Any, *, name: str, ports: Sequence[Port], comment: str, memory_files: bool = False) -> Design:
    """Write a component as Verilog.

    Parameters
    ----------
    top : :class:`amaranth.lib.wiring.Component`
    name : :class:`str`
        Name of the module, which no port has. All others begin with it, so that files of two names go into one
        system.
    ports : sequence of :class:`Port`
        All ports of the module.
    comment : :class:`str`
        What stands at the head of the file, one line or more.
    memory_files : :class:`bool`
        Read what memories hold at first from files, ``NAME_....mem``, rather than have it in the text.

    Raises
    ------
    :exc:`support.tools.ToolMissingError`, :exc:`support.tools.ToolError`
        If Yosys is not installed or fails.
    """
    with tempfile.TemporaryDirectory() as path:
        folder = pathlib.Path(path)
        (folder / "design.il").write_text(rtlil.convert(top, name=name, emit_src=False))
        (folder / "widths.v").write_bytes(pathlib.Path(__file__).with_name("widths.v").read_bytes())
        (folder / "emit.ys").write_text(_SCRIPT.format(name=name))
        run_tool(YOSYS, ["-q", "emit.ys"], cwd=folder, log=folder / "yosys.log")
        text = (folder / "design.v").read_text()
    first, _, body = text.partition("\n")
    modules = _plain(body).split("\nmodule ")[1:]
    files: dict[str, str] = {}
    modules = [_with_memories(_with_initial_values(module), files if memory_files else None) for module in modules]
    modules[0] = _without_own_name(_with_head(modules[0], ports), name)
    waivers = [f"/* verilator lint_off {waiver} */  // {reason}" for waiver, reason in WAIVERS.items()]
    version = first.removeprefix("/* Generated by ").partition(" (")[0]
    head = [*(f"// {line}".rstrip() for line in (*comment.splitlines(), f"Written by {version}.")), "",
            "`default_nettype none", "", *waivers, ""]
    foot = ["", *(f"/* verilator lint_on {waiver} */" for waiver in WAIVERS), "", "`default_nettype wire", ""]
    return Design(text="\n".join([*head, "\n".join(f"module {module}" for module in modules), *foot]),
                  memory_files=files)


def _plain(text: str) -> str:
    """Give every name that is escaped, or a word of SystemVerilog, a plain one that no other has."""
    taken = set(_WORD.findall(text))
    names: dict[str, str] = {}

    def plain(match: re.Match[str]) -> str:
        escaped = match[1]
        if escaped not in names:
            base = name = re.sub(r"\W", "_", escaped)
            if base in RESERVED or not base[0].isalpha():
                base = name = f"s_{base}"
            number = 1
            while name in taken:
                number += 1
                name = f"{base}_{number}"
            taken.add(name)
            names[escaped] = name
        return names[escaped]

    text = _ESCAPED.sub(plain, text)
    for word in sorted(_SYSTEM_VERILOG & set(_DECLARATION.findall(text))):
        name = next(name for name in (f"s_{word}", f"s_{word}_2") if name not in taken)
        text = re.sub(rf"(?<![\w$]){word}(?![\w$])", name, text)
    # An instance hides what a module above it calls the same.
    return re.sub(r"^  (\w+) (\w+) \($", r"  \1 u_\2 (", text, flags=re.MULTILINE)


def _with_initial_values(module: str) -> str:
    """Move the values of registers from their declarations to ``initial``, and drop signs and names of states."""
    lines = []
    for line in module.splitlines():
        if line.startswith("  (* enum_"):
            continue
        # Yosys says where it wants signs, so that of the declaration is one too many.
        line = re.sub(r"^(  (?:input|output|wire|reg)) signed ", r"\1 ", line)
        match = re.fullmatch(r"(  reg (?:\[\d+:\d+\] )?)(\w+) = (\S+);", line)
        lines += [f"{match[1]}{match[2]};", f"  initial {match[2]} = {match[3]};"] if match else [line]
    return "\n".join(lines) + "\n"


def _with_memories(module: str, files: dict[str, str] | None) -> str:
    """Keep what memories hold at first, in the text or in files, where it means anything.

    A memory that is written and has zeros at first is one whose first contents nobody reads: it may be made of RAM that
    cannot be initialised.
    """
    lines: list[str] = []
    source = iter(module.splitlines())
    name = module.partition("(")[0].strip()
    for line in source:
        if line != "  initial begin":
            lines.append(line)
            continue
        memory, digits, values = _contents(source)
        written = re.search(rf"^ +{memory}\[.*\](?:\[\d+(?::\d+)?\])? <=", module, re.MULTILINE) is not None
        if written and not any(values):
            continue
        if files is None:
            lines += ["  initial begin", *(f"    {memory}[{index}] = {digits[index]};" for index in range(len(values))),
                      "  end"]
        else:
            width = max((int(digit.partition("'")[0]) + 3) // 4 for digit in digits)
            file = f"{name}_{memory}.mem"
            files[file] = "".join(f"{value:0{width}x}\n" for value in values)
            lines.append(f'  initial $readmemh("{file}", {memory});')
    return "\n".join(lines) + "\n"


def _contents(lines: Iterator[str]) -> tuple[str, list[str], list[int]]:
    """Read the assignments of an ``initial`` block: the memory, the rows as they are written, and their values."""
    memory = ""
    digits: list[str] = []
    values: list[int] = []
    for line in lines:
        if line == "  end":
            break
        match = re.fullmatch(r"    (\w+)\[(\d+)\] = (\d+'([hd])([0-9a-f]+));", line)
        assert match is not None, line
        assert memory in ("", match[1]), line
        assert int(match[2]) == len(values), line
        memory = match[1]
        digits.append(match[3])
        values.append(int(match[5], 16 if match[4] == "h" else 10))
    return memory, digits, values


def _with_head(module: str, ports: Sequence[Port]) -> str:
    """Give the top module a head with all ports in their order, each with its meaning."""
    name = module.partition("(")[0].strip()
    head, _, body = module.partition(";\n")
    found = {each.strip() for each in head.partition("(")[2].rstrip(")").split(",")}
    assert found == {port.name for port in ports}, found ^ {port.name for port in ports}
    lines = body.splitlines()
    declared = []
    for port in ports:
        size = f"[{port.width - 1}:0] " if port.width > 1 else ""
        direction = "input" if port.is_input else "output"
        lines.remove(f"  {direction} {size}{port.name};")
        kind = "reg" if f"  reg {size}{port.name};" in lines else "wire"
        lines.remove(f"  {kind} {size}{port.name};")
        declared.append((f"  {direction:6} {kind:4} {size}{port.name}", port.meaning))
    last = len(declared) - 1
    texts = [f"{text}{',' if index < last else ''}" for index, (text, _) in enumerate(declared)]
    width = max(map(len, texts))
    head_lines = [f"{text:{width}}  // {meaning}" for text, (_, meaning) in zip(texts, declared, strict=True)]
    return "\n".join([f"{name} (", *head_lines, ");", *lines]) + "\n"


def _without_own_name(module: str, name: str) -> str:
    """Give a signal of the top module that is called as the module itself is another name: it would hide the module."""
    head, end, body = module.partition(";\n")
    taken = set(_WORD.findall(module))
    other = next(other for number in itertools.count(1) if (other := f"s_{name}_{number}") not in taken)
    # After a dot stands the port of a module below.
    return head + end + re.sub(rf"(?<![\w$.]){name}(?![\w$])", other, body)
