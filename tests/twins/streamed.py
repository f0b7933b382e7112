"""A twin of the streamed engine: it runs the programs, constants and weight rows of a model, word by word.

It knows nothing of networks and maps; what it computes must be what the reference computes.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gateware.engine.pif import Current, constants_layout
from gateware.engine.program import LayerEntry
from gateware.mapper.streamed.contents import pass_constants, pass_program
from gateware.mapper.streamed.plan import StreamedPlan
from tests.twins.layers import decode_entry, walk

__all__ = ["Engine", "image_words", "read_map"]

Words = npt.NDArray[np.int8]


class _Constants(NamedTuple):
    """Constants of a neuron, modulo the width of a membrane."""

    first: int
    bias: int
    threshold: int


def image_words(plan: StreamedPlan, values: npt.NDArray[np.uint8], buffer: int) -> Iterator[tuple[int, int, list[int]]]:
    """Words, lanes and bits that an image, ``uint8[rows, columns, channels]``, writes: word, lane, its T bits."""
    config, image = plan.config, plan.image
    start = plan.address(image) + buffer * config.spike_words // 2
    for place, channels in enumerate(values.reshape(-1, values.shape[-1])):
        for channel, value in enumerate(channels.tolist()):
            for plane in range(image.planes):
                bits = [value >> (plane * config.timesteps + step) & 1 for step in range(config.timesteps)]
                word = start + plane * image.plane_words + place * image.words + channel // config.width
                yield word, channel % config.width, bits


class Engine:
    """Runs one plan; ``memory`` is the spike memory, ``int8[words, width, T]``, of noise at first."""

    def __init__(self, plan: StreamedPlan, rng: np.random.Generator):
        self.plan   = plan
        self.config = plan.config
        self.memory: Words = rng.integers(0, 2, (plan.config.spike_words, plan.config.width, plan.config.timesteps)
                                          ).astype(np.int8)
        self._row = 0

    def run(self, values: npt.NDArray[np.uint8], *, buffer: int = 0) -> list[int]:
        """Compute one image, ``uint8[rows, columns, channels]``, and return its scores."""
        for word, lane, bits in image_words(self.plan, values, buffer):
            self.memory[word, lane] = bits
        for item in self.plan.passes:
            scores = self._layer(pass_program(self.plan, item), pass_constants(self.plan, item),
                                 item.weights.reshape(-1, *item.weights.shape[2:]), buffer)
        return scores[:self.plan.network.classes]

    def _layer(self, program: Sequence[int], constants: Sequence[int], rows: Words, buffer: int) -> list[int]:
        config = self.config
        mode   = decode_entry(config, program, LayerEntry.MODE)
        target = decode_entry(config, program, LayerEntry.TARGET)
        size   = 1 << config.membrane_width
        groups = self._groups(constants)
        # A weight of -1 counts a spike that is not there.
        matrices = rows.astype(np.int64)
        negative = np.count_nonzero(rows < 0, axis=2)[:, :, None]
        first_row = self._row
        used = 0
        partial  = np.zeros((config.partial_slots, config.lanes, config.timesteps), np.int64)
        stored   = np.zeros((64, config.lanes), np.int64)
        segment  = np.zeros((config.lanes, config.timesteps), np.int64)
        window   = np.zeros((config.lanes, config.timesteps), np.int8)
        scores: list[int] = []
        slot = group = position = windows = 0
        base = target.address + 1
        planes = mode.neurons.current == Current.PLANES
        for word, following in walk(config, program, buffer, self._row):
            if word.first:
                segment[:] = 0
            index = (word.row - first_row) % config.weight_rows
            if word.first_use:
                used += 1
            # Rows count up modulo the ring: the one meant is the last with this number that has been used.
            index += (used - 1 - index) // config.weight_rows * config.weight_rows
            spikes = self.memory[word.address % config.spike_words].copy()
            if word.zero:
                spikes[:] = 0
                spikes[:, -1] = word.marked
            segment += matrices[index] @ spikes + negative[index]
            self._following = following
            if not word.last:
                continue
            ending = word.ending
            assert ending is not None
            assert segment.max() < 1 << config.accumulator_width
            added = segment
            if planes:
                summed = (segment << np.arange(config.timesteps)).sum(axis=1) << (
                    config.timesteps if ending["scaled"] else 0)
                added = np.repeat(summed[:, None], config.timesteps, axis=1)
            partial[slot] = added if ending["opens"] else partial[slot] + added
            assert partial[slot].max() < 1 << config.partial_width
            if ending["closes"]:
                sums = partial[slot].copy()
                if mode.final:
                    scores += self._scores(sums, groups[group])
                else:
                    if ending["window_first"]:
                        windows = 0
                        window[:] = 0
                    window |= self._fire(sums, groups[group], mode, ending, stored[windows], size)
                    windows += 1
                    if ending["window_last"]:
                        address, part = divmod((base + group + position) % (config.spike_words * config.slots),
                                               config.slots)
                        self.memory[address, part * config.lanes:(part + 1) * config.lanes] = window
                        position += target.advance if ending["block_last"] or config.blocks == 1 else target.block
                if ending["group_last"]:
                    group += 1
                    position = 0
            slot = 0 if ending["part_end"] else (slot + 1) % config.partial_slots if ending["sum_end"] else slot
        self._row = self._following
        return scores

    def _groups(self, constants: Sequence[int]) -> list[list[_Constants]]:
        """Constants of all lanes of each group."""
        layout = constants_layout(self.config)
        read   = [layout.from_bits(value) for value in constants]
        values = [_Constants(*(int(getattr(constant, name)) for name in _Constants._fields)) for constant in read]
        return [values[first:first + self.config.lanes] for first in range(0, len(values), self.config.lanes)]

    def _scores(self, sums: npt.NDArray[np.int64], constants: Sequence[_Constants]) -> list[int]:
        config = self.config
        size = 1 << config.membrane_width
        found = []
        for lane, values in enumerate(constants):
            charge = ((int(sums[lane].sum()) << config.fraction) + values.first + size // 2) % size - size // 2
            found.append(charge >> config.fraction)
        return found

    def _fire(self, sums: npt.NDArray[np.int64], constants: Sequence[_Constants], mode: Any, ending: dict[str, bool],
              stored: npt.NDArray[np.int64], size: int) -> Words:
        """Fire the neurons of a group; ``stored`` are their membranes between blocks, modulo the width."""
        config = self.config
        spikes = np.zeros((config.lanes, config.timesteps), np.int8)
        for lane, values in enumerate(constants):
            membrane = 0 if ending["block_first"] else int(stored[lane])
            for step in range(config.timesteps):
                bias = values.first if step == 0 and ending["block_first"] else values.bias
                if mode.neurons.leaky and not (step == 0 and ending["block_first"]):
                    signed = (membrane + size // 2) % size - size // 2
                    membrane -= signed >> mode.neurons.leak & ~((1 << mode.neurons.scale) - 1)
                membrane = (membrane + (int(sums[lane, step]) << config.fraction) + bias) % size
                fired = (membrane - values.threshold) % size < size // 2
                if fired:
                    membrane = 0 if mode.neurons.hard else (membrane - values.threshold) % size
                spikes[lane, step] = fired and not (ending["block_last"] and step > mode.neurons.timesteps)
            stored[lane] = membrane
        return spikes


def read_map(engine: Engine, layer: int) -> npt.NDArray[np.bool_]:
    """Spikes of a layer's map, ``bool[T, channels, rows, columns]``, if nothing has overwritten it."""
    plan  = engine.plan
    shape = next(item.target for item in plan.passes if item.target is not None and item.target.layer == layer)
    channels, rows, columns = shape.shape
    first = plan.address(shape)
    words = engine.memory[first:first + shape.total_words]
    maps  = words.reshape(shape.planes, rows, columns, shape.words * plan.config.width, plan.config.timesteps)
    maps  = maps.transpose(0, 4, 3, 1, 2).reshape(-1, shape.words * plan.config.width, rows, columns)
    return maps[:plan.network.timesteps, :channels].astype(bool)
