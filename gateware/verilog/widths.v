// Map of techmap, a command of Yosys: both operands of an operator get the width that Verilog gives its context, so that
// no tool extends or cuts one on its own. Amaranth and Yosys leave them as narrow as they are, and linters warn of each.

`define OPERATOR(NAME, CELL, WIDTH, SIGNED) \
(* techmap_celltype = CELL *) \
module NAME (A, B, Y); \
    parameter A_SIGNED = 0; \
    parameter B_SIGNED = 0; \
    parameter A_WIDTH = 1; \
    parameter B_WIDTH = 1; \
    parameter Y_WIDTH = 1; \
    localparam W = WIDTH; \
    localparam S = A_SIGNED && B_SIGNED; \
    input [A_WIDTH-1:0] A; \
    input [B_WIDTH-1:0] B; \
    output [Y_WIDTH-1:0] Y; \
    wire [W-1:0] a, b; \
    wire _TECHMAP_FAIL_ = A_WIDTH == W && B_WIDTH == W && (SIGNED || !A_SIGNED && !B_SIGNED); \
    generate \
        if (A_WIDTH < W) assign a = {{(W - A_WIDTH){S ? A[A_WIDTH-1] : 1'b0}}, A}; \
        else assign a = A[W-1:0]; \
        if (B_WIDTH < W) assign b = {{(W - B_WIDTH){S ? B[B_WIDTH-1] : 1'b0}}, B}; \
        else assign b = B[W-1:0]; \
    endgenerate \
    NAME #(.A_SIGNED(SIGNED && S), .B_SIGNED(SIGNED && S), .A_WIDTH(W), .B_WIDTH(W), .Y_WIDTH(Y_WIDTH)) \
        _TECHMAP_REPLACE_ (.A(a), .B(b), .Y(Y)); \
endmodule

`define SUM(NAME, CELL) `OPERATOR(NAME, CELL, Y_WIDTH, 0)
`define COMPARISON(NAME, CELL) `OPERATOR(NAME, CELL, (A_WIDTH > B_WIDTH ? A_WIDTH : B_WIDTH), 1)

`SUM(\$add , "$add")
`SUM(\$sub , "$sub")
`SUM(\$and , "$and")
`SUM(\$or , "$or")
`SUM(\$xor , "$xor")
`COMPARISON(\$eq , "$eq")
`COMPARISON(\$ne , "$ne")
`COMPARISON(\$lt , "$lt")
`COMPARISON(\$le , "$le")
`COMPARISON(\$gt , "$gt")
`COMPARISON(\$ge , "$ge")

(* techmap_celltype = "$logic_not" *)
module logic_not (A, Y);
    parameter A_SIGNED = 0;
    parameter A_WIDTH = 1;
    parameter Y_WIDTH = 1;
    input [A_WIDTH-1:0] A;
    output [Y_WIDTH-1:0] Y;
    wire _TECHMAP_FAIL_ = A_WIDTH == 1;
    wire any;
    \$reduce_or #(.A_SIGNED(0), .A_WIDTH(A_WIDTH), .Y_WIDTH(1)) any_of_a (.A(A), .Y(any));
    assign Y = !any;
endmodule
