"""Small circuits for the tests of single blocks."""

from typing import Any

from gateware.engine.configuration import EngineConfig

__all__ = ["streamed_circuit"]


def streamed_circuit(**options: Any) -> EngineConfig:
    """Make a streamed circuit with small memories and counters; ``options`` are fields of the configuration."""
    small: dict[str, Any] = {
        "accumulator_width": 8, "weight_rows": 16, "channel_groups": 4, "layers": 4, "spike_words": 512, "max_run": 63,
        "max_side": 31, "max_row_words": 63,
    }
    return EngineConfig(streamed=True, **(small | options))
