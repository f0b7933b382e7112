// Runs one Verilated design with the ports clk, rst, rx, tx, driven over stdin and stdout. If the design has the ports of
// a flash as well, a model of one is beside it: those of the bus of gateware/flash/bus.py (STERNA_FLASH), or the pins of
// the flash itself, where a whole chip is simulated (STERNA_FLASH_PINS).
//
// Compiled by sim/verilator.py together with what Verilator makes of the design. Commands are one byte and fixed
// arguments, all integers little-endian; memory rows travel in Verilator's own storage (1, 2, 4, 8 or 4n bytes).
//
//   'M' name length u16, name       look up a memory      -> width u32, depth u32, row bytes u32 (depth 0: unknown)
//   'L' memory u16, first, count    load rows (rows follow; memory = order of 'M' commands)
//   'D' memory u16, first, count    read rows             -> rows
//   'F' memory u16, seed u64        fill with random words (splitmix64)
//   'R' clocks u32                  hold rst for that many clocks; the line idles
//   'S' clocks u32 (16.16), count   append characters to what rx will receive, 8N1
//   'W' count                       append a waveform: count times (level u8, clocks u32)
//   'T' clocks u32 (16.16)          clocks per bit at which tx is received
//   'X' count u32, limit u64        run until count characters came and rx is quiet, or for limit clocks
//                                   -> clocks run since the start u64, framing errors u32, count u32, characters
//   'Q' idle u32, limit u64         run until rx is quiet and tx has been for idle clocks, or for limit clocks
//                                   -> as 'X', then of each character the clock in which it began u64
//   'B' address u32, count u32      write bytes to the flash (bytes follow); what is not written is erased
//   'V' length u16, path, before u64, count u64
//                                   write a waveform of count clocks, so many clocks after here (only in a traced build)
//   'E'                             end the waveform         -> clocks that are in it u64
//
// With the arguments `--uart CLOCKS_PER_BIT [SCRIPT]` it first takes commands from SCRIPT, then stdin and stdout are the
// two lines of the UART, as bytes: a simulated board behind a pipe.

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "Vtop.h"
#include "verilated.h"
#include "verilated_syms.h"
#if defined(STERNA_TRACE_VCD)
#include "verilated_vcd_c.h"

// Verilator's own answer to a full disk waits for a lock that it holds itself.
class TraceFile final : public VerilatedVcdFile {
public:
    ssize_t write(const char* data, ssize_t size) override {
        ssize_t written = VerilatedVcdFile::write(data, size);
        if (written < 0 && errno != EAGAIN && errno != EINTR) {
            std::fprintf(stderr, "%%Error: waveform: %s\n", std::strerror(errno));
            std::_Exit(1);
        }
        return written;
    }
};

class Trace final : public VerilatedVcdC {
public:
    Trace() : VerilatedVcdC(&file_) {}
    ~Trace() override { close(); }

private:
    TraceFile file_;
};
#elif defined(STERNA_TRACE_FST)
#include "verilated_fst_c.h"

// Verilator's writer of FST checks when it closes the file whether everything was written, and aborts with a riddle.
class Trace final : public VerilatedFstC {
public:
    void close() {
        auto before = std::signal(SIGABRT, [](int) {
            static const char message[] =
                "%Error: waveform: it could not be written whole, maybe because the disk is full\n";
            (void)!::write(STDERR_FILENO, message, sizeof message - 1);
            _exit(1);
        });
        VerilatedFstC::close();
        std::signal(SIGABRT, before);
    }
};
#endif
#include "flash.h"

#if defined(STERNA_TRACE_VCD) || defined(STERNA_TRACE_FST)
#define STERNA_TRACE
#endif

// Verilator's spelling of the port flash__NAME.
#define FLASH(name) flash___05F##name

namespace {

struct Memory {
    uint8_t* data = nullptr;
    uint32_t width = 0;
    uint32_t depth = 0;
    uint32_t row_bytes = 0;
};

// What rx will see: pairs of level and number of clocks.
class Line {
  public:
    void append(bool level, uint64_t clocks) {
        if (clocks) segments_.emplace_back(level, clocks);
    }
    void character(uint8_t value, uint32_t clocks_per_bit) {
        unsigned frame = 0x200u | (value << 1);
        for (int bit = 0; bit < 10; ++bit) {
            fraction_ += clocks_per_bit;
            append(frame >> bit & 1, fraction_ >> 16);
            fraction_ &= 0xFFFF;
        }
    }
    bool quiet() const { return segments_.empty(); }
    bool step() {
        if (segments_.empty()) return true;
        auto& head = segments_.front();
        bool level = head.first;
        if (--head.second == 0) segments_.pop_front();
        return level;
    }

  private:
    std::deque<std::pair<bool, uint64_t>> segments_;
    uint64_t fraction_ = 0;
};

// Receives what tx sends.
class Receiver {
  public:
    void rate(uint32_t clocks_per_bit) { clocks_per_bit_ = clocks_per_bit; }
    uint32_t rate() const { return clocks_per_bit_; }
    bool quiet() const { return bit_ < 0; }
    void step(bool level, uint64_t clock) {
        if (bit_ < 0) {
            if (level) return;
            bit_ = 0;
            value_ = 0;
            clock_ = clock;
            wait_ = clocks_per_bit_ / 2;
        }
        if (wait_ >= 0x10000) {
            wait_ -= 0x10000;
            return;
        }
        wait_ += clocks_per_bit_ - 0x10000;
        if (bit_ == 0 && level) {
            bit_ = -1;
            ++errors;
            return;
        }
        if (bit_ == 9) {
            if (level) {
                characters.push_back(value_);
                began.push_back(clock_);
            } else {
                ++errors;
            }
            bit_ = -1;
            return;
        }
        if (bit_ > 0) value_ |= level << (bit_ - 1);
        ++bit_;
    }
    void forget() {
        characters.clear();
        began.clear();
        errors = 0;
    }

    std::vector<uint8_t> characters;
    // The first clock of the start bit of each character.
    std::vector<uint64_t> began;
    uint32_t errors = 0;

  private:
    uint32_t clocks_per_bit_ = 4 << 16;
    uint64_t clock_ = 0;
    int bit_ = -1;
    int64_t wait_ = 0;
    uint8_t value_ = 0;
};

class Harness {
  public:
    explicit Harness(uint64_t seed) {
        context_.randReset(2);
        context_.randSeed(static_cast<int>(seed));
        top_ = std::make_unique<Vtop>(&context_);
        top_->clk = 0;
        top_->rst = 0;
        top_->rx = 1;
        top_->eval();
    }
    ~Harness() {
#ifdef STERNA_TRACE
        if (trace_) trace_->close();
#endif
        top_->final();
    }

    void clock() {
        top_->rx = line.step();
#ifdef STERNA_FLASH
        // Pins take a clock there and a clock back: gateware/flash/phy.py.
        top_->FLASH(i) = returned_[0];
#endif
        top_->clk = 0;
        top_->eval();
        pins();
#ifdef STERNA_FLASH
        auto seen = flash.clock(top_->FLASH(select), top_->FLASH(sck), top_->FLASH(o), top_->FLASH(drive),
                                top_->FLASH(quad));
        returned_[0] = returned_[1];
#ifdef STERNA_FLASH_DOUBLE
        returned_[1] = static_cast<uint8_t>(seen.first | seen.second << 4);
#else
        returned_[1] = seen.second;
#endif
#endif
        dump(0);
        receiver.step(top_->tx, clocks);
        top_->clk = 1;
        top_->eval();
        pins();
        dump(1);
        ++clocks;
    }

    // What a flash sees of the chip in half a clock, and the chip of the flash at the edge that ends it.
    void pins() {
#ifdef STERNA_FLASH_PINS
        unsigned lines = top_->flash_io0_o | top_->flash_io1_o << 1 | top_->flash_io2_o << 2 | top_->flash_io3_o << 3;
        unsigned driven = top_->flash_io0_oe | top_->flash_io1_oe << 1 | top_->flash_io2_oe << 2 |
                          top_->flash_io3_oe << 3;
        unsigned seen = flash.half(!top_->flash_cs, top_->flash_clk, lines, driven & 1, driven >> 1 & 1);
        unsigned levels = (lines & driven) | (seen & ~driven);
        top_->flash_io0_i = levels & 1;
        top_->flash_io1_i = levels >> 1 & 1;
        top_->flash_io2_i = levels >> 2 & 1;
        top_->flash_io3_i = levels >> 3 & 1;
#endif
    }

    void reset(uint32_t count) {
        top_->rst = 1;
        for (uint32_t n = 0; n < count; ++n) clock();
        top_->rst = 0;
    }

    // A waveform counts its clocks from here on, ten units of time each: the clock falls at 10 n and rises at 10 n + 5.
    void trace(const std::string& path, uint64_t before, uint64_t count) {
#ifdef STERNA_TRACE
        context_.traceEverOn(true);
        trace_ = std::make_unique<Trace>();
        top_->trace(trace_.get(), 99);
        trace_->open(path.c_str());
        trace_start_ = clocks;
        trace_first_ = clocks + before;
        trace_end_ = trace_first_ + count;
        traced_ = 0;
#else
        (void)path, (void)before, (void)count;
        fprintf(stderr, "harness: this build writes no waveform\n");
        exit(2);
#endif
    }

    uint64_t end_trace() {
#ifdef STERNA_TRACE
        if (trace_) trace_->close();
        trace_.reset();
        return traced_;
#else
        return 0;
#endif
    }

    void dump(unsigned half) {
#ifdef STERNA_TRACE
        if (!trace_ || clocks < trace_first_ || clocks >= trace_end_) return;
        trace_->dump(static_cast<uint64_t>(10 * (clocks - trace_start_) + 5 * half));
        traced_ += half;
#else
        (void)half;
#endif
    }

    Memory find(const std::string& name) {
        Memory memory;
        size_t dot = name.rfind('.');
        const VerilatedScope* scope = context_.scopeFind(("TOP." + name.substr(0, dot)).c_str());
        std::string variable = name.substr(dot + 1);
        // Verilator knows a name that Verilog has to escape by its escaped form.
        if (variable.find('$') != std::string::npos) variable = "\\" + variable + " ";
        VerilatedVar* var = scope ? scope->varFind(variable.c_str()) : nullptr;
        if (!var || var->udims() != 1) return memory;
        memory.data = static_cast<uint8_t*>(var->datap());
        memory.depth = var->elements(1);
        memory.width = var->entBits();
        memory.row_bytes = static_cast<uint32_t>(var->entSize());
        return memory;
    }

    Line line;
    Receiver receiver;
    Flash flash;
    uint64_t clocks = 0;

  private:
    uint8_t returned_[2] = {0, 0};
    VerilatedContext context_;
    std::unique_ptr<Vtop> top_;
#ifdef STERNA_TRACE
    std::unique_ptr<Trace> trace_;
    uint64_t trace_start_ = 0, trace_first_ = 0, trace_end_ = 0, traced_ = 0;
#endif
};

uint64_t splitmix64(uint64_t& state) {
    uint64_t z = (state += 0x9E3779B97F4A7C15ull);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}

class Commands {
  public:
    Commands(Harness& harness, FILE* in, FILE* out) : harness_{harness}, in_{in}, out_{out} {}

    // Returns false at the end of the input.
    bool step() {
        int op = fgetc(in_);
        if (op == EOF) return false;
        switch (op) {
        case 'M': {
            Memory memory = harness_.find(text());
            memories_.push_back(memory);
            put32(memory.width);
            put32(memory.depth);
            put32(memory.row_bytes);
            break;
        }
        case 'L': {
            auto [data, bytes] = rows();
            take(data, bytes);
            break;
        }
        case 'D': {
            auto [data, bytes] = rows();
            put(data, bytes);
            break;
        }
        case 'F': {
            const Memory& memory = memories_.at(get<uint16_t>());
            fill(memory, get<uint64_t>());
            break;
        }
        case 'R': harness_.reset(get<uint32_t>()); break;
        case 'S': {
            uint32_t rate = get<uint32_t>();
            std::vector<uint8_t> characters(get<uint32_t>());
            take(characters.data(), characters.size());
            for (uint8_t character : characters) harness_.line.character(character, rate);
            break;
        }
        case 'W':
            for (uint32_t count = get<uint32_t>(); count; --count) {
                bool level = get<uint8_t>();
                harness_.line.append(level, get<uint32_t>());
            }
            break;
        case 'T': harness_.receiver.rate(get<uint32_t>()); break;
        case 'X': {
            uint32_t count = get<uint32_t>();
            uint64_t end = harness_.clocks + get<uint64_t>();
            auto& received = harness_.receiver.characters;
            while (harness_.clocks < end && (received.size() < count || !harness_.line.quiet())) harness_.clock();
            report();
            harness_.receiver.forget();
            break;
        }
        case 'Q': {
            uint32_t idle = get<uint32_t>();
            uint64_t end = harness_.clocks + get<uint64_t>();
            uint64_t since = harness_.clocks;
            while (harness_.clocks < end && harness_.clocks < since + idle) {
                harness_.clock();
                if (!harness_.line.quiet() || !harness_.receiver.quiet()) since = harness_.clocks;
            }
            report();
            for (uint64_t clock : harness_.receiver.began) put(&clock, 8);
            harness_.receiver.forget();
            break;
        }
        case 'B': {
            size_t address = get<uint32_t>();
            size_t count = get<uint32_t>();
            auto& contents = harness_.flash.contents;
            if (contents.size() < address + count) contents.resize(address + count, 0xFF);
            take(contents.data() + address, count);
            break;
        }
        case 'V': {
            std::string path = text();
            uint64_t before = get<uint64_t>();
            harness_.trace(path, before, get<uint64_t>());
            break;
        }
        case 'E': {
            uint64_t traced = harness_.end_trace();
            put(&traced, 8);
            break;
        }
        default: fprintf(stderr, "harness: unknown command %d\n", op); exit(2);
        }
        fflush(out_);
        return true;
    }

  private:
    void take(void* data, size_t bytes) {
        if (bytes && fread(data, 1, bytes, in_) != bytes) {
            fprintf(stderr, "harness: truncated command\n");
            exit(2);
        }
    }
    template <typename T> T get() {
        T value;
        take(&value, sizeof value);
        return value;
    }
    void put(const void* data, size_t bytes) { fwrite(data, 1, bytes, out_); }
    void put32(uint32_t value) { put(&value, 4); }
    void report() {
        const auto& received = harness_.receiver.characters;
        put(&harness_.clocks, 8);
        put32(harness_.receiver.errors);
        put32(static_cast<uint32_t>(received.size()));
        put(received.data(), received.size());
    }
    std::string text() {
        std::string name(get<uint16_t>(), '\0');
        take(name.data(), name.size());
        return name;
    }
    std::pair<uint8_t*, size_t> rows() {
        const Memory& memory = memories_.at(get<uint16_t>());
        uint64_t first = get<uint32_t>();
        uint64_t count = get<uint32_t>();
        if (first + count > memory.depth) {
            fprintf(stderr, "harness: rows out of range\n");
            exit(2);
        }
        return {memory.data + first * memory.row_bytes, count * memory.row_bytes};
    }
    static void fill(const Memory& memory, uint64_t seed) {
        for (uint32_t row = 0; row < memory.depth; ++row) {
            uint8_t* data = memory.data + size_t{row} * memory.row_bytes;
            memset(data, 0, memory.row_bytes);
            for (uint32_t bit = 0; bit < memory.width; bit += 64) {
                uint64_t word = splitmix64(seed);
                uint32_t left = memory.width - bit;
                if (left < 64) word &= (uint64_t{1} << left) - 1;
                uint32_t bytes = memory.row_bytes - bit / 8;
                memcpy(data + bit / 8, &word, bytes < 8 ? bytes : 8);
            }
        }
    }

    Harness& harness_;
    FILE* in_;
    FILE* out_;
    std::vector<Memory> memories_;
};

// Joins stdin and stdout to the UART; sleeps when nothing has happened on it for a while.
int serve(Harness& harness, uint32_t rate) {
    constexpr uint64_t chunk = 4096, patience = 1 << 22;
    uint64_t busy_until = harness.clocks + patience;
    harness.receiver.rate(rate);
    for (;;) {
        bool idle = harness.clocks >= busy_until;
        pollfd in{STDIN_FILENO, POLLIN, 0};
        if (poll(&in, 1, idle ? -1 : 0) > 0) {
            uint8_t buffer[65536];
            ssize_t count = read(STDIN_FILENO, buffer, sizeof buffer);
            if (count <= 0) return 0;
            for (ssize_t n = 0; n < count; ++n) harness.line.character(buffer[n], rate);
        }
        for (uint64_t n = 0; n < chunk; ++n) harness.clock();
        auto& received = harness.receiver.characters;
        if (!harness.line.quiet() || !harness.receiver.quiet() || !received.empty())
            busy_until = harness.clocks + patience;
        if (!received.empty()) {
            if (write(STDOUT_FILENO, received.data(), received.size()) != static_cast<ssize_t>(received.size())) return 1;
            harness.receiver.forget();
        }
    }
}

}  // namespace

int main(int argc, char** argv) {
    if (argc > 2 && !strcmp(argv[1], "--uart")) {
        Harness harness{1};
        if (argc > 3) {
            FILE* script = fopen(argv[3], "rb");
            FILE* null = fopen("/dev/null", "wb");
            if (!script || !null) {
                perror(argv[3]);
                return 1;
            }
            Commands commands{harness, script, null};
            while (commands.step()) {}
        }
        return serve(harness, static_cast<uint32_t>(atof(argv[2]) * 65536));
    }
    Harness harness{argc > 1 ? strtoull(argv[1], nullptr, 0) : 1};
    Commands commands{harness, stdin, stdout};
    while (commands.step()) {}
    return 0;
}
