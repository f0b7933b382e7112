"""The host link on the chip: UART, CRC, frames."""
