// Models of the iCE40's cells at the edge of the chip, for the simulation of a netlist: those of Yosys for all others.
//
// The pin of SB_IO is three ports here, because a simulator of two values has no line that both sides drive.

module sterna_io (
    input  pin_i, output pin_o, output pin_oe,
    input  LATCH_INPUT_VALUE, input CLOCK_ENABLE, input INPUT_CLK, input OUTPUT_CLK, input OUTPUT_ENABLE,
    input  D_OUT_0, input D_OUT_1, output D_IN_0, output D_IN_1
);
    // PIN_TYPE of FPGA-TN-02003 (SiliconBlue ICE Technology Library): bits 1 and 0 choose the input, 5 to 2 the output.
    parameter [5:0] PIN_TYPE = 6'b000000;
    parameter [0:0] PULLUP = 1'b0;
    parameter [0:0] NEG_TRIGGER = 1'b0;
    parameter IO_STANDARD = "SB_LVCMOS";

    reg in_0, in_1, out_0, out_1, enable;
    wire input_clock = INPUT_CLK ^ NEG_TRIGGER, output_clock = OUTPUT_CLK ^ NEG_TRIGGER;
    initial {in_0, in_1, out_0, out_1, enable} = 0;
    always @(posedge input_clock)  if (CLOCK_ENABLE) in_0 <= pin_i;
    always @(negedge input_clock)  if (CLOCK_ENABLE) in_1 <= pin_i;
    always @(posedge output_clock) if (CLOCK_ENABLE) {out_0, enable} <= {D_OUT_0, OUTPUT_ENABLE};
    always @(negedge output_clock) if (CLOCK_ENABLE) out_1 <= D_OUT_1;

    // Bit 0 is the input without its register; the latch of bit 1 is not modelled, and no design here has it.
    assign D_IN_0 = PIN_TYPE[0] ? pin_i : in_0;
    assign D_IN_1 = in_1;

    // Bits 3 and 2: both edges, the pin itself, the register, the register inverted.
    assign pin_o = PIN_TYPE[3:2] == 2'b00 ? (output_clock ? out_0 : out_1) :
                   PIN_TYPE[3:2] == 2'b10 ? D_OUT_0 :
                   PIN_TYPE[3:2] == 2'b01 ? out_0 : ~out_0;
    // Bits 5 and 4: never, always, as OUTPUT_ENABLE says, and that with a register.
    assign pin_oe = PIN_TYPE[5:4] == 2'b00 ? 1'b0 :
                    PIN_TYPE[5:4] == 2'b01 ? 1'b1 :
                    PIN_TYPE[5:4] == 2'b10 ? OUTPUT_ENABLE : enable;
endmodule

// The clock passes through as it is: what the PLL makes of it is the clock of the simulation. It has locked when the
// simulated board is out of reset.
module sterna_pll (input reference, input rst, output clock, output LOCK);
    assign clock = reference;
    assign LOCK = ~rst;
endmodule
