"""Faults of the image in flash on the RTL of the whole circuit: an error for each, no wrong class, and no hang."""

import itertools

import numpy as np
import pytest

from arch.flash.image import build_image
from arch.link import ErrorCode
from arch.network import Convolution, Encoding, Input, Network, Readout
from gateware.engine import clock_counters, readout
from gateware.engine.configuration import EngineConfig
from gateware.mapper.streamed.choice import lay_out
from gateware.mapper.streamed.model import model_of
from reference.generate import random_images, random_neurons, random_weights
from reference.network import Reference
from tests.flash_faults import KINDS, OTHER, VICTIM, FaultyImage, Outcome
from tests.streamed_board import CLOCK_HZ, StreamedBoard, streamed_source
from tests.streamed_networks import OVERLAY

SEED = 0xFA
#: Small rings, so that the engine waits for the flash in a small network too.
SMALL = EngineConfig(
    streamed=True, lanes=8, width=8, timesteps=4, accumulator_width=7, membrane_width=20, fraction=3, weight_rows=32,
    channel_groups=8, layers=4, spike_words=1024, max_run=63, max_side=31, max_row_words=127, classes=32, blocks=2,
    max_groups=16, leak=False)


def network_of(rng, *, side, classes, channels=12):
    """Make a network of two convolutions whose readout has more rows of weights than the ring."""
    layers, inputs = [], 1
    for _ in range(2):
        layers.append(Convolution(weights=random_weights(rng, channels, inputs, 3, 3), padding=1,
                                  neurons=random_neurons(rng, channels, 60.0)))
        inputs = channels
    layers.append(Readout(weights=random_weights(rng, classes, channels * side * side)))
    return Network(input=Input(encoding=Encoding.PIXELS, channels=1, height=side, width=side, zero_point=0),
                   layers=tuple(layers), timesteps=4)


class FaultyBoard:
    """A simulated circuit whose flash gets faults and is mended again.

    It counts clocks with ``counter_width`` bits, so that an inference that does not end is given up sooner.
    """

    def __init__(self, config, *, side, counter_width):
        self.limit = (1 << counter_width) + 10_000
        rng = np.random.default_rng(SEED)
        self.networks = [network_of(rng, side=side, classes=20), network_of(rng, side=side, classes=20),
                         network_of(rng, side=side - 1, classes=3)]
        self.images = [random_images(network, rng, 3)[2] for network in self.networks]
        self.scores = [Reference(network).run(values[None]).scores[0].tolist()
                       for network, values in zip(self.networks, self.images, strict=True)]
        models = [model_of(lay_out(network, config), name=f"model {number}", clock_hz=CLOCK_HZ)
                  for number, network in enumerate(self.networks)]
        foreign = model_of(lay_out(self.networks[VICTIM], OVERLAY if config is SMALL else SMALL), name="foreign",
                           clock_hz=CLOCK_HZ)
        self.faulty = FaultyImage(build_image(models), build_image([foreign]))
        with pytest.MonkeyPatch.context() as patch:
            for module in (readout, clock_counters):
                patch.setattr(module, "CLOCK_COUNTER_WIDTH", counter_width)
            self.source = streamed_source(config)
        self.board = None

    def start(self):
        """Begin with a circuit that has just been switched on, and no faults."""
        self.close()
        self.board = StreamedBoard(self.source, self.faulty.bytes, limit=self.limit)

    def close(self):
        if self.board is not None:
            self.board.close()

    def check_right(self, number):
        """A model can be selected, and classifies as the reference does."""
        assert self.board.select(number) == self.faulty.models[number].header.info
        assert self.board.classify(self.networks[number], self.images[number]) == self.scores[number]

    def check_wrong(self, outcome):
        """Neither SELECT nor an image has another answer than the error."""
        error = ErrorCode.DAMAGED if outcome is Outcome.STREAM else outcome.value
        answer = self.board.select(VICTIM)
        assert answer == (self.faulty.models[VICTIM].header.info if outcome is Outcome.STREAM else error)
        for _ in range(2 if outcome is Outcome.STREAM else 1):
            assert self.board.classify(self.networks[VICTIM], self.images[VICTIM]) == error

    def check(self, fault):
        """Make a fault, see what the circuit says, and go on with another model of the same flash."""
        assert any(self.faulty.bytes[place : place + len(data)] != data for place, data in fault.patches)
        for place, data in fault.patches:
            self.board.write(place, data)
        if fault.outcome is Outcome.RIGHT:
            self.check_right(VICTIM)
        else:
            self.check_wrong(fault.outcome)
        self.check_right(OTHER)
        # Behind the image is erased flash.
        for place, data in fault.patches:
            self.board.write(place, self.faulty.bytes[place : place + len(data)].ljust(len(data), b"\xff"))

    def check_kind(self, kind, *, every=1):
        """Check the faults of a kind, or one of ``every`` few."""
        self.start()
        for fault in itertools.islice(KINDS[kind](self.faulty), 0, None, every):
            try:
                self.check(fault)
            except BaseException as error:
                error.add_note(f"fault: {fault.name}")
                raise
        self.check_right(VICTIM)


@pytest.fixture(scope="module")
def small():
    board = FaultyBoard(SMALL, side=4, counter_width=14)
    yield board
    board.close()


@pytest.fixture(scope="module")
def overlay():
    board = FaultyBoard(OVERLAY, side=12, counter_width=16)
    yield board
    board.close()


@pytest.mark.parametrize("kind", KINDS)
def test_faults_give_errors_and_leave_the_circuit_usable(small, kind):
    """Every third one; all of them in the long run."""
    small.check_kind(kind, every=3)


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_all_faults_give_errors(small, kind):
    small.check_kind(kind)


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_all_faults_give_errors_on_the_circuit_of_the_board(overlay, kind):
    overlay.check_kind(kind)


def test_there_are_enough_faults(small):
    assert sum(len(list(kind(small.faulty))) for kind in KINDS.values()) >= 500
