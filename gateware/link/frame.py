"""What the two halves of the host link share: the fields of a frame, and the memory that holds the info block and tags.

::

    row    0 .. 63    info block (:class:`arch.link.Info`)
    row   64 .. 67    tags of the images that wait for their results, image n in row 64 + n % 4
    row   68          tag of an INFO or ERROR reply
"""

from amaranth import *
from amaranth.lib import enum

from arch.link import INFO_BYTES

__all__ = ["CONTROL_SLOT", "MEMORY_ROWS", "TAG_SLOTS", "Field", "slot_row"]

#: Slots for the tags of images: a power of two, more than the images that may wait for their results.
TAG_SLOTS = 4
#: Slot for the tag of an INFO or ERROR reply.
CONTROL_SLOT = 4
#: Rows of the memory, a byte each.
MEMORY_ROWS = 2 * INFO_BYTES


class Field(enum.Enum, shape=3):
    """The field of a frame that comes next. From the payload on, bit 2 is set."""

    COMMAND = 0
    TAG     = 1
    LENGTH0 = 2
    LENGTH1 = 3
    PAYLOAD = 4
    CRC0    = 5
    CRC1    = 6
    #: Between frames.
    SYNC    = 7


def slot_row(slot):
    """Row of the memory that holds the tag of a slot, without an adder: the slots begin at a power of two."""
    return Cat(slot, C(INFO_BYTES >> len(slot)))
