"""The flash beside the FPGA as a stream of bytes, and what becomes of them."""
