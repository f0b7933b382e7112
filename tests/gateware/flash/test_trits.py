from amaranth.sim import Simulator

from arch.flash.trits import digits_of
from arch.ternary import Ternary
from gateware.flash.trits import TritDecoder

CODES = (Ternary.ZERO, Ternary.PLUS, Ternary.MINUS)


def test_every_byte_has_the_weights_of_the_format():
    dut = TritDecoder()

    async def testbench(ctx):
        for byte in range(256):
            ctx.set(dut.byte, byte)
            assert [ctx.get(trit) for trit in dut.trits] == [CODES[digit] for digit in digits_of(byte)], byte

    simulator = Simulator(dut)
    simulator.add_testbench(testbench)
    simulator.run()
