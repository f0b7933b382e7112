// A serial flash of the W25Q family, clock by clock: what tests/twins/serial_flash.py models edge by edge, in C++ for speed.
//
// It begins in deep power-down with the quad enable bit clear, as the FPGA's own configuration leaves it. Misuse that
// would give wrong data on a board ends the simulation with a message; times between commands are not checked here.

#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

class Flash {
  public:
    std::vector<uint8_t> contents;

    // Passes one clock; returns what the flash drives, or holds, in each half.
    std::pair<uint8_t, uint8_t> clock(bool select, unsigned sck, unsigned lines, bool drive, bool quad) {
        uint8_t first = half(select, sck & 1, lines, drive, quad);
        return {first, half(select, sck >> 1 & 1, lines, drive, quad)};
    }
    // Passes half a clock, in which the levels at its pins stay; returns what the flash drives or holds. Line 1 is driven
    // by the other side with quad, the other lines with drive.
    uint8_t half(bool select, bool level, unsigned lines, bool drive, bool quad) {
        if (select && !selected_) begin();
        if (!select && selected_) end();
        selected_ = select;
        if (selected_ && level != level_) level ? rise(lines, drive, quad) : fall(lines, drive, quad);
        level_ = level;
        if (driving_ && ((is_quad() && (drive || quad)) || (!is_quad() && quad))) misuse("both sides drive a line");
        return driving_ ? driven_ : 0;
    }

  private:
    bool is_quad() const { return opcode_ == 0xEB || opcode_ == 0xED; }
    [[noreturn]] void misuse(const char* what) const {
        fprintf(stderr, "flash: %s (command %02Xh)\n", what, opcode_);
        exit(3);
    }
    void begin() {
        cycles_ = nibbles_ = 0;
        opcode_ = address_ = mode_ = written_ = data_from_ = 0;
        driving_ = false;
    }
    void end() {
        if (level_) misuse("deselected while the clock is high");
        if (opcode_ == 0xAB && cycles_ >= 8) asleep_ = false;
        if (opcode_ == 0x31 && unlocked_ && cycles_ == 16) quad_enabled_ = written_ & 2;
        unlocked_ = opcode_ == 0x50;
        driving_ = false;
    }
    void rise(unsigned lines, bool drive, bool quad) {
        unsigned cycle = cycles_++;
        if (cycle < 8) {
            if (!drive) misuse("the opcode is not driven");
            opcode_ = (opcode_ << 1 | (lines & 1)) & 0xFF;
            if (cycle == 7) decode();
        } else if (opcode_ == 0xED && nibbles_ == 8 && cycles_ > data_from_) {
            driven_ = byte(address_ + cycles_ - data_from_ - 1) & 0xF;
            driving_ = true;
        } else if (is_quad() && nibbles_ < 8) {
            take(lines, drive, quad);
        } else if (opcode_ == 0x0B && cycle < 32) {
            address_ = address_ << 1 | (lines & 1);
        } else if (opcode_ == 0x31) {
            written_ = written_ << 1 | (lines & 1);
        }
    }
    void fall(unsigned lines, bool drive, bool quad) {
        if (opcode_ == 0x35 && cycles_ >= 8) {
            bit(quad_enabled_ ? 2 : 0, cycles_ - 8);
        } else if (opcode_ == 0x0B && cycles_ >= 40) {
            bit(byte(address_ + (cycles_ - 40) / 8), cycles_ - 40);
        } else if (opcode_ == 0xED && nibbles_ < 8 && cycles_ > 8) {
            take(lines, drive, quad);
        } else if (is_quad() && nibbles_ == 8 && cycles_ >= data_from_) {
            uint32_t place = cycles_ - data_from_;
            if (opcode_ == 0xED) driven_ = byte(address_ + place) >> 4;
            else driven_ = place & 1 ? byte(address_ + place / 2) & 0xF : byte(address_ + place / 2) >> 4;
            driving_ = true;
        }
    }
    void take(unsigned lines, bool drive, bool quad) {
        if (!drive || !quad) misuse("the address is not driven on four lines");
        if (nibbles_ < 6) address_ = address_ << 4 | lines;
        else mode_ = mode_ << 4 | lines;
        if (++nibbles_ == 8) {
            if ((mode_ >> 4 & 3) == 2) misuse("the mode bits leave the flash in continuous read mode");
            data_from_ = cycles_ + (opcode_ == 0xEB ? 4 : 7);
        }
    }
    void bit(uint8_t value, uint32_t place) {
        driven_ = static_cast<uint8_t>((value >> (7 - place % 8) & 1) << 1);
        driving_ = true;
    }
    void decode() {
        if (asleep_ && opcode_ != 0xAB) misuse("a command in deep power-down");
        switch (opcode_) {
        case 0xAB: case 0x35: case 0x50: case 0x0B: break;
        case 0x31: if (!unlocked_) misuse("the status register is written without 50h"); break;
        case 0xEB: case 0xED: if (!quad_enabled_) misuse("a quad read while the quad enable bit is clear"); break;
        default: misuse("an unknown command");
        }
    }
    uint8_t byte(uint32_t address) const { return address < contents.size() ? contents[address] : 0xFF; }

    bool asleep_ = true, quad_enabled_ = false, unlocked_ = false, selected_ = false, level_ = false, driving_ = false;
    uint8_t driven_ = 0;
    uint32_t cycles_ = 0, nibbles_ = 0, opcode_ = 0, address_ = 0, mode_ = 0, written_ = 0, data_from_ = 0;
};
