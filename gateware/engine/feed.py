"""The way of a word of spikes from the sequencer to the array, which all circuits have in common.

A word is requested, read a clock later, and enters the array in the third clock after its request, together with its
row of weights and with the beat that says what it is.
"""

from amaranth import *

from gateware.engine.configuration import EngineConfig
from gateware.engine.neuron_array import NeuronArray, beat_layout, follow_ending, word_layout
from gateware.engine.spike_collector import SpikeCollector

__all__ = ["drain_cycles", "feed_array", "follow_load", "load_cycles"]


def load_cycles(config: EngineConfig) -> int:
    """Clocks from the last beat of a sum, as it leaves the sequencer, to the array's ``load``: two to the array."""
    return 2 + NeuronArray.latency_of(config)


def drain_cycles(config: EngineConfig) -> int:
    """Clocks from the last word of a layer until its spikes can be read.

    The beat leaves the sequencer a clock after its word is granted. When the sums are loaded, the collector writes; in
    a streamed circuit, the partial sums hand them on a clock after that.
    """
    return 1 + load_cycles(config) + int(config.streamed) + SpikeCollector.latency_of(config)


def feed_array(m: Module, config: EngineConfig, *, sequencer, spikes, weights, array, padding: Value | int = 0):
    """Bring a word and its weights to the array in the same clock: the third after the word's request.

    Parameters
    ----------
    m : :class:`Module`
    config : :class:`EngineConfig`
    sequencer, spikes, weights, array
        The components.
    padding : :class:`Value` or :class:`int`
        The word that is read where the map has none.
    """
    word = Signal(word_layout(config), reset_less=True)
    zero = Signal(reset_less=True)
    row  = Signal(config.row_width, reset_less=True)
    beat = [Signal(beat_layout(), name=f"beat{stage}") for stage in range(2)]
    m.d.sync += [
        zero.eq(sequencer.zero),
        word.eq(Mux(zero, padding, spikes.read_data.as_value())),
        row.eq(sequencer.row),
        beat[0].eq(sequencer.beat),
        beat[1].eq(beat[0]),
    ]
    m.d.comb += [
        weights.row.eq(row),
        array.word.eq(word),
        array.beat.eq(beat[1]),
        array.weights.eq(weights.weights),
    ]


def follow_load(m: Module, config: EngineConfig, *, sequencer) -> Value:
    """Return the flags of a sum as they are when the array loads it."""
    return follow_ending(m, config, ending=sequencer.ending, strobe=sequencer.beat.valid & sequencer.beat.last,
                         stable=config.cooldown_cycles, delay=load_cycles(config), name="ending")
