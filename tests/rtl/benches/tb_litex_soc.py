"""The accelerator in a small system that LiteX has made, from the pins of the system's serial port."""

import cocotb
from cocotb.triggers import FallingEdge, Timer

from arch.link import MAGIC
from arch.registers import CONTROL_BITS, REGISTERS, SCORES_OFFSET, STATUS_BITS
from tests.embedded_networks import expected, images, plan
from tests.rtl.benches.clocking import PERIOD, start

#: Base of the registers, and clocks per bit of the serial port, of docs/examples/litex_soc.py.
BASE, DIVISOR = 0x3000_0000, 8
#: Commands of LiteX's bridge from a serial port to Wishbone (litex/soc/cores/uart.py): both take a number of words and
#: an address in words, most significant byte first.
WRITE, READ = 1, 2
OFFSET = {register.name: register.offset for register in REGISTERS}
STATUS = {bit.name: bit.mask for bit in STATUS_BITS}
CONTROL = {bit.name: bit.mask for bit in CONTROL_BITS}
BIT = DIVISOR * PERIOD


async def send(dut, data):
    for byte in data:
        for bit in (0, *(byte >> index & 1 for index in range(8)), 1):
            dut.serial_rx.value = bit
            await Timer(BIT, "ns")


async def receive(dut, count):
    data = bytearray()
    for _ in range(count):
        await FallingEdge(dut.serial_tx)
        await Timer(BIT + BIT // 2, "ns")
        byte = 0
        for index in range(8):
            byte |= int(dut.serial_tx.value) << index
            await Timer(BIT, "ns")
        data.append(byte)
    return bytes(data)


def address(offset):
    return ((BASE + offset) // 4).to_bytes(4, "big")


async def write(dut, offset, value):
    await send(dut, bytes((WRITE, 1)) + address(offset) + value.to_bytes(4, "big"))


async def read(dut, offset, words=1):
    answer = cocotb.start_soon(receive(dut, 4 * words))
    await send(dut, bytes((READ, words)) + address(offset))
    data = await answer
    return [int.from_bytes(data[at:at + 4], "big") for at in range(0, len(data), 4)]


@cocotb.test(timeout_time=3, timeout_unit="ms")
async def images_are_classified_over_the_serial_port_of_the_system(dut):
    await start(dut, serial_rx=1)
    await Timer(100 * PERIOD, "ns")
    assert (await read(dut, 0))[0].to_bytes(4, "little") == MAGIC
    for data, wanted in zip(images()[:2], expected(), strict=False):
        assert await read(dut, OFFSET["STATUS"]) == [STATUS["READY"]]
        for at in range(0, len(data), 4):
            part = data[at:at + 4].ljust(4, b"\0")
            await write(dut, OFFSET["PIXELS_LAST" if at + 4 >= len(data) else "PIXELS"], int.from_bytes(part, "little"))
        while not dut.irq.value:
            await Timer(10 * PERIOD, "ns")
        assert await read(dut, OFFSET["CLASS"], 2) == wanted[:2]
        scores = await read(dut, SCORES_OFFSET, plan().network.classes)
        assert [score - (score >> 31 << 32) for score in scores] == wanted[4:]
        await write(dut, OFFSET["CONTROL"], CONTROL["TAKE"])
