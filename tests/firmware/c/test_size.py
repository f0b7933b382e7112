"""The driver on microcontrollers: cross-compiled, linked without any library, and small."""

import re
import shutil
import subprocess

import pytest

from tests.firmware.c.compilers import SOURCES, compile_c

#: Targets by name: prefix of the tools and what selects the processor.
TARGETS = {
    "Cortex-M0+": ("arm-none-eabi", ("-mcpu=cortex-m0plus", "-mthumb")),
    "RV32I": ("riscv64-unknown-elf", ("-march=rv32i", "-mabi=ilp32")),
}
#: Bytes of code and constants that the driver may have.
LIMIT = 4096
PAGE = SOURCES.parents[1] / "docs" / "c-driver.md"
REGISTERS = ("-DUART_DATA=0x40004000", "-DUART_STATUS=0x40004004", "-DMILLISECONDS=0x40001000")


def sections(tools, file):
    """Sizes of the sections of a program that are loaded into memory."""
    listed = subprocess.run([f"{tools}-size", "-A", file], capture_output=True, text=True, check=True).stdout
    return {name: int(size) for name, size in re.findall(r"^(\.\S+) +(\d+) +[1-9]\d*$", listed, re.MULTILINE)}


@pytest.fixture(params=TARGETS)
def target(request):
    return request.param, *TARGETS[request.param]


def linked(tools, processor, folder):
    """The driver alone, linked without a library: calls have their final size, and nothing may be missing."""
    program = folder / "driver.elf"
    compile_c("-Os", "-ffreestanding", "-nostdlib", *processor, "-Wl,--entry=sterna_init", SOURCES / "sterna.c",
              "-o", program, compiler=f"{tools}-gcc")
    return program


def test_the_driver_is_small_and_needs_no_library(target, tmp_path, record_property):
    _, tools, processor = target
    found = sections(tools, linked(tools, processor, tmp_path))
    size = found.pop(".text")
    record_property("code_bytes", size)
    assert size < LIMIT, f"{size} bytes of code"
    # Neither data, nor constants apart from the code.
    kinds = (".data", ".bss", ".sdata", ".sbss", ".rodata")
    assert [section for section in found if section.startswith(kinds)] == []


def test_the_page_tells_the_size(target, tmp_path):
    """To a tenth: other versions of the compilers make other code."""
    name, tools, processor = target
    size = sections(tools, linked(tools, processor, tmp_path))[".text"]
    row = re.search(rf"^\| {re.escape(name)} \|.*\| ([\d,]+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert int(row[1].replace(",", "")) == pytest.approx(size, rel=0.1)


def test_the_example_for_a_microcontroller_compiles_for_it(target, tmp_path):
    _, tools, processor = target
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
