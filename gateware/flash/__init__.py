"""Models in the flash beside the FPGA: what reads them as a stream of bytes, and where each byte goes."""
