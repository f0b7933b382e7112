"""The boards that the host knows: how USB tells them apart, and their names for people.

Names and titles are those of :data:`boards.BOARDS`; a test compares them. That list is not imported for them, because
it imports numpy, which ``python -m sim.board`` does without when it starts a board that is kept: numpy alone takes a
tenth of a second, and the first answer is to come within one.
"""

__all__ = ["TITLES", "USB_IDENTITIES"]

#: Boards by their USB identity: vendor, product, and the number of the interface that is the serial port; None if
#: there is one. The iCEBreaker has an FT2232H, of which the second port is the UART (its schematic V1.0e); the iCESugar
#: has the iCELink debugger (github.com/wuxx/icesugar, doc); the UPduino v3 an FT232H (its schematic V3.0).
USB_IDENTITIES = {
    (0x0403, 0x6010, 1): "icebreaker",
    (0x0403, 0x6014, None): "upduino-v3",
    (0x1D50, 0x602B, None): "icesugar",
}
#: Names for people, by the name on the command line.
TITLES = {"icebreaker": "iCEBreaker", "upduino-v3": "UPduino v3", "icesugar": "iCESugar"}
