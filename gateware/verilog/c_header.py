"""The registers for software in C: a file of constants."""

from arch.registers import CONTROL_BITS, SCORES_OFFSET, STATUS_BITS, registers_of
from gateware.embedded.interfaces import Interface

__all__ = ["c_header"]


def c_header(*, module: str, interface: Interface, image_bytes: int, classes: int, comment: str) -> str:
    """Write the registers of a module as a header of C, with the name of the module before each constant.

    Parameters
    ----------
    module : :class:`str`
    interface : :class:`Interface`
        One that has registers.
    image_bytes, classes : :class:`int`
        Of the network.
    comment : :class:`str`
        What stands at the head of the file, one line or more.
    """
    prefix = module.upper()

    def define(name: str, value: str, meaning: str) -> str:
        return f"#define {prefix}_{name:16} {value:8} /* {meaning} */"

    registers = registers_of(pixels=interface is Interface.WISHBONE)
    # A comment of C must not end before its end.
    lines = ["/*", *(f" * {line}".rstrip().replace("*/", "* /") for line in comment.splitlines()), " */"]
    lines += [f"#ifndef {prefix}_REGISTERS_H", f"#define {prefix}_REGISTERS_H", ""]
    lines += [define("IMAGE_SIZE", f"{image_bytes}u", "bytes of an image"),
              define("NUM_CLASSES", f"{classes}u", "number of classes")]
    lines += ["", "/* Offsets from the base in bytes; every register has 32 bits. */"]
    lines += [define("INFO", "0x000u", "info block, 64 bytes")]
    lines += [define(register.name, f"0x{register.offset:03x}u", register.meaning) for register in registers]
    lines += [define("SCORES", f"0x{SCORES_OFFSET:03x}u", "score of class 0; a signed word for each class")]
    for name, bits in (("STATUS", STATUS_BITS), ("CONTROL", CONTROL_BITS)):
        lines += ["", f"/* Bits of {name}. */"]
        lines += [define(f"{name}_{bit.name}", f"0x{bit.mask:02x}u", bit.meaning) for bit in bits]
    return "\n".join([*lines, "", "#endif", ""])
