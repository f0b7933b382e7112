"""Memories of the model: ternary weights, and constants of the neurons."""

from collections.abc import Sequence

from amaranth import *
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from gateware.engine.configuration import EngineConfig
from gateware.engine.dot_product import weights_layout
from gateware.engine.pif import constants_layout

__all__ = ["ConstantStore", "WeightStore"]


class WeightStore(wiring.Component):
    """Read-only rows of ``lanes x width`` ternary weights, one row per clock.

    The weights follow the row number by one clock. Every lane has its own memory, ``lane0``, ``lane1`` and so on, of
    two bits per weight. Cost on iCE40: ``width / 8`` block RAMs per lane and 256 rows.

    Parameters
    ----------
    config : :class:`EngineConfig`
    init : sequence of ``lanes`` sequences of :class:`int`
        Contents per lane: one integer in the form of ``weights_layout`` per row. Rows left out are zero.

    Members
    -------
    row : :py:`In(config.row_width)`
    weights : :py:`Out(data.ArrayLayout(weights_layout(config.width), config.lanes))`
    """

    def __init__(self, config: EngineConfig, *, init: Sequence[Sequence[int]] | None = None):
        if init is not None and len(init) != config.lanes:
            raise ValueError(f"init must have {config.lanes} lanes, not {len(init)}")
        self.config = config
        self.init   = [[]] * config.lanes if init is None else [list(rows) for rows in init]

        super().__init__({
            "row":     In(config.row_width),
            "weights": Out(data.ArrayLayout(weights_layout(config.width), config.lanes)),
        })

    def elaborate(self, platform):
        m = Module()

        for lane, rows in enumerate(self.init):
            m.submodules[f"lane{lane}"] = store = memory.Memory(
                shape=unsigned(2 * self.config.width), depth=self.config.weight_rows, init=rows,
            attrs={"ram_style": "block"})
            port = store.read_port()
            m.d.comb += port.addr.eq(self.row)
            m.d.comb += self.weights[lane].eq(port.data)

        return m


class ConstantStore(wiring.Component):
    """Read-only constants of ``channel_groups x lanes`` neurons.

    The constants follow the address by one clock. Cost on iCE40: ``3 * membrane_width / 16`` block RAMs, rounded up.

    Parameters
    ----------
    config : :class:`EngineConfig`
    init : sequence of :class:`int`
        One integer in the form of ``constants_layout`` per neuron.

    Members
    -------
    group : :py:`In(config.group_width)`
    lane : :py:`In(range(config.lanes))`
    constants : :py:`Out(constants_layout(config))`
    """

    def __init__(self, config: EngineConfig, *, init: Sequence[int] = ()):
        self.config = config
        self.init   = list(init)

        super().__init__({
            "group":     In(config.group_width),
            "lane":      In(range(config.lanes)),
            "constants": Out(constants_layout(config)),
        })

    def elaborate(self, platform):
        m = Module()

        m.submodules.neurons = store = memory.Memory(
            shape=unsigned(3 * self.config.membrane_width),
            depth=self.config.constant_rows, init=self.init,
            attrs={"ram_style": "block"})
        port = store.read_port()
        m.d.comb += port.addr.eq(Cat(self.lane, self.group))
        m.d.comb += self.constants.eq(port.data)

        return m
