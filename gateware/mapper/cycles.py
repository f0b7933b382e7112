"""The cycle model: exactly the clocks that the RTL takes for one inference.

The time depends on the network's geometry alone, never on the data, so the model replays the sequencer's decisions
sum by sum: a sum takes a clock per word; writes of spikes take the memory away; a sum must not end before the array has
handed out the sum before; a layer waits for the last spikes of the layer before.
"""

import dataclasses
from collections import deque
from collections.abc import Sequence

from gateware.engine.configuration import EngineConfig
from gateware.engine.feed import drain_cycles
from gateware.engine.readout import CLOCK_COUNTER_WIDTH
from gateware.engine.sequencer import layer_start_cycles
from gateware.mapper.plan import PlacedStage, Plan

__all__ = ["MAX_CYCLES", "Cycles", "count_cycles", "estimate_cycles", "exceeding_cycles"]

#: Most clocks of an inference: what the result's counter holds.
MAX_CYCLES = 2**CLOCK_COUNTER_WIDTH - 1

#: The estimate of a stage is within this share of its clocks, and this many clocks.
_ESTIMATE_SHARE, _ESTIMATE_CLOCKS = 0.05, 8


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Cycles:
    """Clocks of one inference."""

    #: From the start of the engine to the class.
    total: int
    #: Per stage of the plan, everything included.
    stages: tuple[int, ...]
    #: Per stage, clocks in which the array takes a word.
    words: tuple[int, ...]


def count_cycles(plan: Plan) -> Cycles:
    """Predict the clocks of one inference without pixel-write stalls."""
    return _replay(plan.config, plan.stages)


def _replay(config: EngineConfig, placed: Sequence[PlacedStage]) -> Cycles:
    """Predict as :func:`count_cycles`, before there is a plan; a million sums take about a second."""
    drain  = drain_cycles(config)
    clock  = layer_start_cycles(config)
    ended  = -config.cooldown_cycles
    begun  = 0
    stages, words = [], []

    for stage in placed:
        at = stage.placement
        writes: deque[int] = deque()

        def after_writes(clock: int, beats: int, writes: deque[int] = writes) -> int:
            """First clock after ``beats`` words from ``clock`` on, each in a clock without a write."""
            while writes and writes[0] < clock:
                writes.popleft()
            clock += beats
            while writes and writes[0] < clock:
                writes.popleft()
                clock += 1
            return clock

        final   = stage is placed[-1]
        windows = stage.pool ** 2
        sums    = stage.target[1] * stage.target[2] * at.groups * windows
        for number in range(sums):
            clock = after_writes(clock, at.sum_words - 1)
            clock = max(clock, ended + config.cooldown_cycles)
            clock = after_writes(clock, 1)
            ended = clock - 1
            if not final and (number + 1) % windows == 0:
                writes.append(ended + drain)
        words.append(sums * at.sum_words)
        finished = ended + drain + 1
        stages.append(finished - begun)
        begun = finished
        clock = finished + layer_start_cycles(config)

    return Cycles(total=begun, stages=tuple(stages), words=tuple(words))


def estimate_cycles(config: EngineConfig, stages: Sequence[PlacedStage]) -> list[int]:
    """Estimate the clocks of every stage at once, for a network of any size.

    Words and writes, or the array's pace, and the clocks to begin and end a layer: within 5 % and 8 clocks of
    :func:`count_cycles`, which replays every sum.
    """
    around, estimates = layer_start_cycles(config) + drain_cycles(config), []
    for number, stage in enumerate(stages):
        sums   = stage.computed[1] * stage.computed[2] * stage.placement.groups
        writes = 0 if number == len(stages) - 1 else sums // stage.pool**2
        words  = stage.placement.sum_words
        estimates.append(max(sums * words + writes, words + (sums - 1) * config.cooldown_cycles) + around)
    return estimates


def exceeding_cycles(config: EngineConfig, stages: Sequence[PlacedStage]) -> int | None:
    """Count the clocks of an inference whose counter does not hold them, pixel-write stalls included; None if it does.

    Where the estimate leaves no doubt it is the answer: an inference may have any number of sums to replay.
    """
    # A pixel is written at most once per lane of a window, and delays the inference by two clocks at most.
    stalls = 2 * stages[0].window_words(config) * config.slice_width
    clocks = sum(estimate_cycles(config, stages)) + stalls
    doubt  = _ESTIMATE_SHARE * clocks + _ESTIMATE_CLOCKS * len(stages)
    if abs(clocks - MAX_CYCLES) <= doubt:
        clocks = _replay(config, stages).total + stalls
    return clocks if clocks > MAX_CYCLES else None
