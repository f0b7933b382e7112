from arch.link import INFO_BYTES
from arch.registers import REGISTERS, registers_of

#: Drivers were written against these: another offset is another major version of the table.
OFFSETS = {
    "VERSION": 0x40, "IMAGE_BYTES": 0x44, "CLASSES": 0x48, "STATUS": 0x4C, "CONTROL": 0x50, "CLASS": 0x54,
    "CYCLES": 0x58, "STALLS": 0x5C, "IMAGES": 0x60, "REFUSED": 0x64, "PIXELS": 0x68, "PIXELS_LAST": 0x6C,
}


def test_offsets_stay_where_they_are():
    assert INFO_BYTES == 0x40
    assert {register.name: register.offset for register in REGISTERS} == OFFSETS


def test_pixels_have_no_registers_where_they_come_as_a_stream():
    assert registers_of(pixels=True) == REGISTERS
    assert [register.name for register in registers_of(pixels=False)] == list(OFFSETS)[:-2]
