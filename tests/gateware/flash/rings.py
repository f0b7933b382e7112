"""What is around a loader in its tests: a flash that sends bytes, and an engine that empties the rings."""

from amaranth import Cat, Value

from tests.twins.stream import EntryWrite, RowWrite, row_write_of

__all__ = ["UNDER_WAY", "Engine", "expected_rows", "send", "writes_now"]

#: Most bytes that come after the flash was told to wait.
UNDER_WAY = 4

async def send(ctx, dut, data, rng, *, slowest=1):
    """Send bytes as the reader of the flash does: with pauses, no faster than it can, and some after ``run`` fell.

    ``slowest`` is the longest pause, in clocks. Without ``double`` only the upper half of a byte stays for a clock.
    """
    late = 0
    for byte in data:
        if ctx.get(dut.run):
            late = 0
        elif late >= UNDER_WAY:
            await ctx.tick().until(dut.run)
            late = 0
        else:
            late += 1
        ctx.set(dut.byte, byte)
        ctx.set(dut.valid, 1)
        await ctx.tick()
        ctx.set(dut.valid, 0)
        if not dut.double:
            ctx.set(dut.byte, byte & 0xF0 | rng.getrandbits(4))
            await ctx.tick()
        ctx.set(dut.byte, rng.getrandbits(8))
        for _ in range(rng.randrange(slowest)):
            await ctx.tick()


def writes_now(ctx, dut):
    """Writes of this clock, with the places of the rings in place of those of the stream."""
    if not ctx.get(Cat(dut.program_write, dut.constants_write, dut.row_banks)):
        return []
    byte, place = ctx.get(dut.byte), ctx.get(dut.entry_mask).bit_length() - 1
    assert ctx.get(dut.entry_mask) == 1 << place
    found = []
    if ctx.get(dut.program_write):
        found.append(EntryWrite("program", ctx.get(dut.program_address), place, byte))
    if ctx.get(dut.constants_write):
        entry = ctx.get(dut.constants_group) * dut.config.lanes + ctx.get(dut.constants_lane)
        found.append(EntryWrite("constants", entry, place, byte))
    if ctx.get(dut.row_banks):
        found.append(row_write_of(ctx.get(dut.row), ctx.get(dut.row_banks), ctx.get(Value.cast(dut.row_mask)),
                                  ctx.get(Value.cast(dut.row_weights))))
    return found


def expected_rows(sections):
    """Rows of a stream in their order: layer and group, counted from the beginning, and the digits of the row."""
    group = 0
    for layer, section in enumerate(sections):
        for weights in section.weights:
            for row in weights:
                yield layer, group, [int(weight) % 3 for weight in row.reshape(-1)]
            group += 1


class Engine:
    """Rings of the size of the loader's, and an engine that uses their contents and gives them back.

    It uses a row when it may, checks it, its group's constants and its layer's program against the sections, and
    gives it back ``hold`` rows later, as the last rows of a part; a group and a layer when their last row is given
    back. ``eager`` is the chance, in a clock, that it goes on. A write to a place that is in use fails the test.
    """

    def __init__(self, dut, sections, rng, *, hold=0, eager=1.0):
        self.dut, self.sections, self.rng, self.hold, self.eager = dut, sections, rng, hold, eager
        config = dut.config
        self.sizes = {"layer": config.layers, "group": config.channel_groups, "row": config.weight_rows}
        self.entries = {"layer": 32, "group": config.lanes}
        self.memories = {"layer": [0] * 32 * config.layers,
                         "group": [0] * config.lanes * config.channel_groups,
                         "row": [{} for _ in range(config.weight_rows)]}
        #: Places that were begun, and those that were given back.
        self.begun = {"layer": 0, "group": 0, "row": 0}
        self.released = {"layer": 0, "group": 0, "row": 0}
        #: Most places of each ring that were in use or being written.
        self.most = {"layer": 0, "group": 0, "row": 0}
        self.rows = list(expected_rows(sections))
        self.usable = self.used = self.layers = self.completed = 0

    async def run(self, ctx):
        """Work until the test is over."""
        strobes = Cat(self.dut.row_written, self.dut.layer_written, self.dut.complete)
        while True:
            for write in writes_now(ctx, self.dut):
                self._write(write)
            now = ctx.get(strobes)
            self.usable += now & 1
            self.layers += now >> 1 & 1
            self.completed += now >> 2
            self._use()
            self._release(ctx)
            await ctx.tick()

    def _write(self, write):
        kind = "row" if isinstance(write, RowWrite) else {"program": "layer", "constants": "group"}[write.memory]
        place = write.row if kind == "row" else write.entry // self.entries[kind]
        size, last = self.sizes[kind], self.begun[kind] - 1
        if last < 0 or place != last % size:
            # The next place begins.
            assert place == self.begun[kind] % size
            assert self.begun[kind] - self.released[kind] < size, f"the ring of {kind}s overflows"
            self.begun[kind] += 1
            self.most[kind] = max(self.most[kind], self.begun[kind] - self.released[kind])
        if kind == "row":
            self.memories[kind][place].update(write.digits)
        else:
            old, shift = self.memories[kind][write.entry], 8 * write.byte
            self.memories[kind][write.entry] = old & ~(0xFF << shift) | write.value << shift

    def _use(self):
        while self.used < self.usable and self.rng.random() < self.eager:
            layer, group, digits = self.rows[self.used % len(self.rows)]
            turn = self.used // len(self.rows)
            section = self.sections[layer]
            layer_count, group_count = len(self.sections), self.rows[-1][1] + 1
            assert self.layers > turn * layer_count + layer, "a row may be used before its layer"
            found = self.memories["row"][self.used % self.sizes["row"]]
            assert [found[place] for place in range(len(digits))] == digits
            first = (turn * layer_count + layer) % self.sizes["layer"] * 32
            assert self.memories["layer"][first : first + 32] == list(section.program)
            first = (turn * group_count + group) % self.sizes["group"] * self.entries["group"]
            constants = [int(value) for value in section.constants.reshape(-1, self.entries["group"])[
                group - self._first_group(layer)]]
            assert self.memories["group"][first : first + self.entries["group"]] == constants
            self.used += 1

    def _first_group(self, layer):
        return sum(section.groups for section in self.sections[:layer])

    def _release(self, ctx):
        """Give back the oldest row, at most one in a clock, once enough rows behind it were used, or its group ends."""
        oldest = self.released["row"]
        index = oldest % len(self.rows)
        last_of_group = self._last(index, 1)
        ready = oldest < self.used and self.rng.random() < self.eager and (
            self.used - oldest > self.hold or any(
                self._last((oldest + ahead) % len(self.rows), 1) for ahead in range(self.used - oldest)))
        for kind, strobe, given in (("row", self.dut.release_row, ready),
                                    ("group", self.dut.release_group, ready and last_of_group),
                                    ("layer", self.dut.release_layer, ready and self._last(index, 0))):
            ctx.set(strobe, int(given))
            self.released[kind] += given

    def _last(self, index, field):
        """Whether a row is the last one of its layer (field 0) or group (field 1)."""
        return index + 1 == len(self.rows) or self.rows[index][field] != self.rows[index + 1][field]
