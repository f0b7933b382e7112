// What Verilator's writer of FST calls of the LZ4 library, so that waveforms need no package of the system beyond zlib.
//
// Writes the LZ4 block format (lz4_Block_format.md of github.com/lz4/lz4): sequences of a token with two lengths, the
// literals, and the distance and the rest of the length of a match. Matches are found greedily by a table of the
// places at which four bytes stood last.

#ifndef STERNA_LZ4_H
#define STERNA_LZ4_H

#include <cstdint>
#include <cstring>
#include <vector>

inline int LZ4_compressBound(int size) { return size + size / 255 + 16; }

namespace sterna_lz4 {

// The format wants the last five bytes as literals, and no match to begin in the last twelve.
constexpr int kLiterals = 5, kMargin = 12, kShortest = 4, kFarthest = 65535, kTableBits = 14;

inline uint8_t* put_rest(uint8_t* out, int rest) {
    for (; rest >= 255; rest -= 255) *out++ = 255;
    *out++ = static_cast<uint8_t>(rest);
    return out;
}

// Appends literals and a match behind them; a distance of 0 is the last sequence, which has none.
inline uint8_t* put_sequence(uint8_t* out, const uint8_t* literals, int count, int distance, int match) {
    int more = match - kShortest;
    int high = count < 15 ? count : 15, low = !distance ? 0 : more < 15 ? more : 15;
    *out++ = static_cast<uint8_t>(high << 4 | low);
    if (high == 15) out = put_rest(out, count - 15);
    memcpy(out, literals, count);
    out += count;
    if (!distance) return out;
    *out++ = static_cast<uint8_t>(distance);
    *out++ = static_cast<uint8_t>(distance >> 8);
    return low == 15 ? put_rest(out, more - 15) : out;
}

inline uint32_t read32(const uint8_t* at) {
    uint32_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

}  // namespace sterna_lz4

// The target must have room for LZ4_compressBound(size) bytes. Returns how many were written.
inline int LZ4_compress_default(const char* source, char* target, int size, int /*capacity*/) {
    using namespace sterna_lz4;
    const auto* in = reinterpret_cast<const uint8_t*>(source);
    auto* const begin = reinterpret_cast<uint8_t*>(target);
    uint8_t* out = begin;
    std::vector<int> last(1 << kTableBits, -1);
    int done = 0;
    for (int at = 0; at < size - kMargin;) {
        int& place = last[read32(in + at) * 2654435761u >> (32 - kTableBits)];
        int from = place;
        place = at;
        if (from < 0 || at - from > kFarthest || read32(in + from) != read32(in + at)) {
            ++at;
            continue;
        }
        int match = kShortest;
        while (at + match < size - kLiterals && in[from + match] == in[at + match]) ++match;
        out = put_sequence(out, in + done, at - done, at - from, match);
        done = at += match;
    }
    return static_cast<int>(put_sequence(out, in + done, size - done, 0, kShortest) - begin);
}

#endif
