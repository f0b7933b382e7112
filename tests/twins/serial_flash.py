"""A serial flash of the W25Q family, edge by edge, that fails on misuse.

It begins as the FPGA's own configuration leaves it: in deep power-down, with the volatile quad enable bit clear.
"""

import dataclasses

__all__ = ["FlashModel", "Misuse"]

#: What the data sheet of the W25Q128JV asks for (revision F, section 9.6), in seconds.
RELEASE_SECONDS, DESELECT_SECONDS = 3e-6, 50e-9


class Misuse(AssertionError):
    """The flash was used against its data sheet."""


@dataclasses.dataclass(kw_only=True, eq=False)
class FlashModel:
    """A flash with ``contents`` from address 0 on and erased bytes behind.

    Time passes in :meth:`clock`, one clock of ``period`` seconds. Lines are integers of four bits; a line that nobody
    drives reads as noise, so that a reader that looks too early or too late is found.
    """

    contents: bytes
    size: int = 1 << 24
    period: float = 1 / 48e6
    #: The quad enable bit is set at the factory, and cannot be cleared (parts whose number ends in IQ).
    quad_enabled: bool = False
    #: The part answers nothing.
    dead: bool = False

    def __post_init__(self) -> None:
        self.asleep   = True
        self.now      = 0.0
        self.awake_at = 0.0
        self.idle_at  = -1.0
        self.selected = False
        self.level    = 0
        self.unlocked = False
        #: Commands that came, by opcode.
        self.commands: list[int] = []
        self._noise = 0x5
        self._begin()

    def _begin(self) -> None:
        self.bits    = 0      # cycles of the clock in this command
        self.opcode  = 0
        self.address = 0
        self.mode    = 0
        self.written = 0
        self.driving: int | None = None  # what the flash drives on the lines
        self.nibbles = 0
        self.data_from = 0    # cycles of the clock before the first data

    def _byte(self, address: int) -> int:
        address %= self.size
        return self.contents[address] if address < len(self.contents) else 0xFF

    def clock(self, *, select: int, sck: int, lines: int, drive: int, quad: int) -> tuple[int, int]:
        """Pass one clock with these levels; return what is on the lines at the end of each half."""
        if select and not self.selected:
            if self.now - self.idle_at < DESELECT_SECONDS and self.idle_at >= 0:
                raise Misuse("selected again too early")
            self._begin()
        if not select and self.selected:
            self._end()
            self.idle_at = self.now
        self.selected = bool(select)
        seen = []
        for half in range(2):
            level = sck >> half & 1
            if self.selected and level != self.level:
                (self._rise if level else self._fall)(lines, drive, quad)
            elif level != self.level and level:
                raise Misuse("the clock runs while the flash is not selected")
            self.level = level
            seen.append(self._lines(lines, drive, quad))
            self.now += self.period / 2
        return seen[0], seen[1]

    def _lines(self, lines: int, drive: int, quad: int) -> int:
        self._noise = 0 if self.dead else (self._noise * 5 + 3) & 0xF
        host = (0b1101 if drive else 0) | (0b0010 if quad else 0)
        flash = 0
        if self.driving is not None:
            flash = 0xF if self._is_quad else 0b0010
            if flash & host:
                raise Misuse(f"both sides drive lines {flash & host:04b} in command {self.opcode:02X}h")
        value = self._noise & ~(host | flash)
        value |= lines & host
        if self.driving is not None:
            value |= self.driving & flash
        return value

    @property
    def _is_quad(self) -> bool:
        return self.opcode in (0xEB, 0xED)

    def _host_lines(self, lines: int, drive: int, quad: int, needed: int) -> int:
        host = (0b1101 if drive else 0) | (0b0010 if quad else 0)
        if needed & ~host:
            raise Misuse(f"lines {needed & ~host:04b} are not driven in command {self.opcode:02X}h")
        return lines

    def _rise(self, lines: int, drive: int, quad: int) -> None:
        bit = self.bits
        self.bits += 1
        if not self.quad_enabled and drive and lines & 0b1100 != 0b1100:
            raise Misuse("WP and HOLD must be high while they are no data lines")
        if bit < 8:
            self.opcode = self.opcode << 1 | self._host_lines(lines, drive, quad, 0b0001) & 1
            if bit == 7:
                self._decode()
            return
        if self.opcode == 0xED and self.nibbles == 8 and self.bits > self.data_from:
            self.driving = self._byte(self.address + self.bits - self.data_from - 1) & 0xF
        elif self._is_quad and self.nibbles < 8:
            self._take_quad(lines, drive, quad)
        elif self.opcode == 0x0B and bit < 32:
            self.address = self.address << 1 | self._host_lines(lines, drive, quad, 0b0001) & 1
            if self.address >= self.size and bit == 31:
                self.address %= self.size
        elif self.opcode == 0x31:
            self.written = self.written << 1 | self._host_lines(lines, drive, quad, 0b0001) & 1

    def _take_quad(self, lines: int, drive: int, quad: int) -> None:
        """Take a nibble of the address or of the mode bits."""
        nibble = self._host_lines(lines, drive, quad, 0xF) & 0xF
        if self.nibbles < 6:
            self.address = self.address << 4 | nibble
        else:
            self.mode = self.mode << 4 | nibble
        self.nibbles += 1
        if self.nibbles == 8:
            if self.mode >> 4 & 3 == 0b10:
                raise Misuse(f"mode bits {self.mode:02X}h leave the flash in continuous read mode")
            self.data_from = self.bits + (4 if self.opcode == 0xEB else 7)

    def _fall(self, lines: int, drive: int, quad: int) -> None:
        done = self.bits
        if self.dead:
            return
        if self.opcode == 0x35 and done >= 8:
            self._drive_bit(0x02 if self.quad_enabled else 0, done - 8)
        elif self.opcode == 0x0B and done >= 40:
            place = done - 40
            self._drive_bit(self._byte(self.address + place // 8), place % 8)
        elif self.opcode == 0xED and self.nibbles < 8 and done > 8:
            self._take_quad(lines, drive, quad)
        elif self._is_quad and self.nibbles == 8 and done >= self.data_from:
            place = done - self.data_from
            if self.opcode == 0xED:
                self.driving = self._byte(self.address + place) >> 4
            else:
                byte = self._byte(self.address + place // 2)
                self.driving = byte & 0xF if place % 2 else byte >> 4

    def _drive_bit(self, byte: int, place: int) -> None:
        self.driving = (byte >> (7 - place % 8) & 1) << 1

    def _decode(self) -> None:
        self.commands.append(self.opcode)
        if self.dead:
            return
        if self.asleep:
            if self.opcode != 0xAB:
                raise Misuse(f"command {self.opcode:02X}h while the flash is in deep power-down")
            return
        if self.now < self.awake_at:
            raise Misuse(f"command {self.opcode:02X}h before the release from power-down is over")
        if self.opcode not in (0xAB, 0x35, 0x50, 0x31, 0x0B, 0xEB, 0xED):
            raise Misuse(f"command {self.opcode:02X}h is not known here")
        if self._is_quad and not self.quad_enabled:
            raise Misuse("a quad read while the quad enable bit is clear")
        if self.opcode == 0x31 and not self.unlocked:
            raise Misuse("a write of the status register without 50h before it")

    def _end(self) -> None:
        """The flash is deselected: what was sent takes effect."""
        if self.level:
            raise Misuse("deselected while the clock is high")
        if self.bits < 8:
            raise Misuse("deselected within an opcode")
        if self.opcode == 0xAB:
            self.asleep   = False
            self.awake_at = self.now + RELEASE_SECONDS
        if self.opcode == 0x31:
            if self.bits != 16:
                raise Misuse(f"the status register is written with {self.bits - 8} bits")
            self.quad_enabled = bool(self.written & 2)
        self.unlocked = self.opcode == 0x50
        self.driving = None
