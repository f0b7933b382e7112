from amaranth.sim import Simulator

from arch.flash.trits import digits_of
from gateware.flash.trits import TritDecoder


def test_every_byte_has_the_weights_of_the_format():
    dut = TritDecoder()

    async def testbench(ctx):
        for byte in range(256):
            ctx.set(dut.byte, byte)
            for trit, digit in zip(dut.trits, digits_of(byte), strict=True):
                assert (ctx.get(trit.nonzero), ctx.get(trit.negative)) == (digit > 0, digit == 2), byte

    simulator = Simulator(dut)
    simulator.add_testbench(testbench)
    simulator.run()
