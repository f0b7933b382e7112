"""The driver on microcontrollers: cross-compiled, linked without any library, and small."""

import re
import shutil
import subprocess

import pytest

from tests.firmware.c.compilers import SOURCES, compile_c

#: Targets by name: prefix of the tools, what selects the processor, and how many bytes the driver may have there. GCC
#: 12.2 makes 1,228, 1,374 and 2,036 bytes.
TARGETS = {
    "Cortex-M0+": ("arm-none-eabi", ("-mcpu=cortex-m0plus", "-mthumb"), 1240),
    "RV32IC": ("riscv64-unknown-elf", ("-march=rv32ic", "-mabi=ilp32"), 1400),
    "RV32I": ("riscv64-unknown-elf", ("-march=rv32i", "-mabi=ilp32"), 2048),
}
#: Another version of the compiler makes other code, to a tenth.
MEASURED_WITH, ANOTHER_VERSION = "12.2", 1.1
PAGE = SOURCES.parents[1] / "docs" / "c-driver.md"
REGISTERS = ("-DUART_DATA=0x40004000", "-DUART_STATUS=0x40004004", "-DMILLISECONDS=0x40001000")


def sections(tools, file):
    """Sizes of the sections of a program that are loaded into memory."""
    listed = subprocess.run([f"{tools}-size", "-A", file], capture_output=True, text=True, check=True).stdout
    return {name: int(size) for name, size in re.findall(r"^(\.\S+) +(\d+) +[1-9]\d*$", listed, re.MULTILINE)}


@pytest.fixture(params=TARGETS)
def target(request):
    return request.param, *TARGETS[request.param]


def is_measured_with(tools):
    """Whether the compiler is the one of the sizes above."""
    version = subprocess.run([f"{tools}-gcc", "-dumpfullversion"], capture_output=True, text=True, check=True).stdout
    return version.startswith(MEASURED_WITH)


def linked(tools, processor, folder, level="-Os"):
    """The driver alone, linked without a library: calls have their final size, and nothing may be missing."""
    program = folder / "driver.elf"
    compile_c(level, "-ffreestanding", "-nostdlib", *processor, "-Wl,--entry=sterna_init", SOURCES / "sterna.c",
              "-o", program, compiler=f"{tools}-gcc")
    return program


def test_the_driver_is_small_and_needs_no_library(target, tmp_path, record_property):
    _, tools, processor, limit = target
    found = sections(tools, linked(tools, processor, tmp_path))
    size = found.pop(".text")
    record_property("code_bytes", size)
    assert size <= limit * (1 if is_measured_with(tools) else ANOTHER_VERSION), f"{size} bytes of code"
    # Neither data, nor constants apart from the code.
    kinds = (".data", ".bss", ".sdata", ".sbss", ".rodata")
    assert [section for section in found if section.startswith(kinds)] == []


@pytest.mark.parametrize("level", ["-O0", "-O1", "-O2", "-O3"])
def test_it_needs_no_library_at_any_level(target, level, tmp_path):
    """An optimiser may make a multiplication of a loop that adds, or a call of memcpy of one that copies."""
    _, tools, processor, _ = target
    assert ".text" in sections(tools, linked(tools, processor, tmp_path, level))


def test_the_page_tells_the_size(target, tmp_path):
    name, tools, processor, _ = target
    size = sections(tools, linked(tools, processor, tmp_path))[".text"]
    row = re.search(rf"^\| {re.escape(name)} \|.*\| ([\d,]+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    said = int(row[1].replace(",", ""))
    assert said == (size if is_measured_with(tools) else pytest.approx(size, rel=ANOTHER_VERSION - 1))


def test_the_page_tells_the_memory_of_a_session(target, tmp_path):
    """On these targets, where a pointer has four bytes."""
    _, tools, processor, _ = target
    size = int(re.search(r"`struct sterna` of (\d+) bytes", PAGE.read_text(encoding="utf-8"))[1])
    (tmp_path / "size.c").write_text('#include "sterna.h"\n'
                                     f"extern char size[sizeof(struct sterna) == {size} ? 1 : -1];\n")
    compile_c("-ffreestanding", *processor, "-c", tmp_path / "size.c", "-o", tmp_path / "size.o",
              compiler=f"{tools}-gcc")


def test_the_example_for_a_microcontroller_compiles_for_it(target, tmp_path):
    _, tools, processor, _ = target
    compile_c("-Os", "-ffreestanding", *processor, *REGISTERS, "-c", SOURCES / "examples" / "uart.c", "-o",
              tmp_path / "uart.o", compiler=f"{tools}-gcc")


def test_all_sources_compile_for_this_computer(tmp_path):
    for source in (SOURCES / "sterna.c", SOURCES / "examples" / "linux.c", SOURCES / "examples" / "uart.c"):
        for level in ("-O0", "-O3"):
            compile_c(level, *REGISTERS, "-c", source, "-o", tmp_path / "out.o")


def test_the_header_is_one_for_c_plus_plus_too(tmp_path):
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    (tmp_path / "user.cpp").write_text('#include "sterna.h"\nint main() { return sterna_info == nullptr; }\n')
    subprocess.run(["g++", "-std=c++11", "-Wall", "-Wextra", "-pedantic", "-Wno-address", "-I", SOURCES, "-c",
                    tmp_path / "user.cpp", "-o", tmp_path / "user.o"], check=True)


def test_the_example_on_the_page_compiles(tmp_path):
    (program,) = re.findall(r"```c\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "example.c").write_text('#include "sterna.h"\n'
                                        "int classify_all(const struct sterna_line *, uint8_t, const uint8_t *, size_t,"
                                        " uint32_t *);\n" + program)
    compile_c("-Wmissing-prototypes", "-c", tmp_path / "example.c", "-o", tmp_path / "example.o")
