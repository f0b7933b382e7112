import dataclasses

import numpy as np
import pytest

from arch.network import Encoding, OrPool
from reference.engines import Difference, EngineResult, ReferenceEngine, first_difference, timed
from reference.generate import random_images, random_network


class FakeEngine:
    """The reference with one fault: ``fault(result)`` edits the result of images that contain the marked one."""

    name = "fake"

    def __init__(self, network, fault=None, marked=None, shows_spikes=True):
        self._reference = ReferenceEngine(network)
        self._fault, self._marked, self._shows = fault, marked, shows_spikes

    def classify(self, images, *, spikes=False):
        result = self._reference.classify(images, spikes=spikes and self._shows)
        result = EngineResult(
            scores=result.scores.copy(), classes=result.classes.copy(),
            cycles=np.full(len(images), 100), stall_cycles=np.full(len(images), 7),
            flash_stall_cycles=np.full(len(images), 9),
            spikes=None if result.spikes is None else tuple(layer.copy() for layer in result.spikes))
        for index, image in enumerate(images):
            if self._fault and (image == self._marked).all():
                self._fault(result, index)
        return result


@pytest.fixture(scope="module")
def setup():
    rng = np.random.default_rng(12)
    network = random_network(rng, layers=2, encoding=Encoding.PIXELS, timesteps=3, max_side=8)
    return network, random_images(network, rng, 8)


def flip(layer, place):
    def fault(result, index):
        if result.spikes is not None:
            result.spikes[layer][index][place] ^= True
    return fault


def spoil(score, by):
    def fault(result, index):
        result.scores[index, score] += by
    return fault


def spoil_class(result, index):
    result.classes[index] += 1


def both(*faults):
    def fault(result, index):
        for each in faults:
            each(result, index)
    return fault


def compare(setup, fault, *, spikes, marked=5, shows_spikes=True):
    network, images = setup
    reference, engine = ReferenceEngine(network), FakeEngine(network, fault, images[marked], shows_spikes)
    return first_difference(network, images, reference.classify(images, spikes=spikes),
                            engine.classify(images, spikes=spikes), reference, engine)


@pytest.mark.parametrize("spikes", [False, True])
def test_equal_engines_do_not_differ(setup, spikes):
    assert compare(setup, None, spikes=spikes) is None


def test_a_flipped_spike_is_found_if_spikes_are_compared(setup):
    place = (1, 0, 0, 0)
    assert compare(setup, flip(0, place), spikes=False) is None
    difference = compare(setup, flip(0, place), spikes=True)
    assert (difference.image, difference.layer, difference.place) == (5, 0, place)
    assert {difference.expected, difference.actual} == {0, 1}


def test_the_first_layer_timestep_and_place_are_named(setup):
    network, _ = setup
    shape = next(network.shapes())[2]
    last = (2, shape[0] - 1, shape[1] - 1, shape[2] - 1)
    later = flip(1, (0, 0, 0, 0))
    assert compare(setup, both(later, flip(0, last)), spikes=True).place == last
    assert compare(setup, both(flip(0, (2, 0, 0, 0)), flip(0, (1, shape[0] - 1, 0, 0))), spikes=True).place == \
        (1, shape[0] - 1, 0, 0)


def test_a_wrong_score_is_traced_to_its_spike(setup):
    difference = compare(setup, both(spoil(1, 4), flip(1, (2, 0, 0, 0))), spikes=False)
    assert (difference.image, difference.layer, difference.place) == (5, 1, (2, 0, 0, 0))


@pytest.mark.parametrize("shows_spikes", [False, True])
@pytest.mark.parametrize("spikes", [False, True])
def test_a_wrong_score_alone_is_in_the_readout(setup, spikes, shows_spikes):
    network, _ = setup
    difference = compare(setup, spoil(1, 4), spikes=spikes, shows_spikes=shows_spikes)
    assert (difference.image, difference.layer, difference.kind) == (5, len(network.layers) - 1, "readout")
    assert (difference.place, difference.score) == (None, 1)
    assert difference.actual == difference.expected + 4
    assert str(difference) == (f"image 5, layer {difference.layer} (readout), score 1: "
                               f"{difference.expected} expected, not {difference.actual}")


def test_a_wrong_class_is_found(setup):
    difference = compare(setup, spoil_class, spikes=False)
    assert str(difference).startswith(f"image 5, layer {difference.layer} (readout), class: ")


def test_a_fault_that_does_not_repeat_is_found(setup):
    network, images = setup
    reference = ReferenceEngine(network)
    expected = reference.classify(images)
    scores = expected.scores.copy()
    scores[3, 0] -= 1
    actual = dataclasses.replace(expected, scores=scores)
    difference = first_difference(network, images, expected, actual, reference, reference)
    assert (difference.image, difference.score, difference.actual) == (3, 0, difference.expected - 1)


def test_layers_that_an_engine_never_forms_are_passed_over(setup):
    network, images = setup
    reference = ReferenceEngine(network)
    expected = reference.classify(images, spikes=True)
    hidden = tuple(None if isinstance(layer, OrPool) else spikes
                   for layer, spikes in zip(network.layers, expected.spikes, strict=False))
    actual = dataclasses.replace(expected, spikes=(None, *hidden[1:]))
    assert first_difference(network, images, expected, actual, reference, reference) is None


def test_a_difference_reads_as_one_line():
    difference = Difference(image=3, layer=1, kind="convolution", place=(2, 7, 3, 4), expected=1, actual=0)
    assert str(difference) == ("image 3, layer 1 (convolution), timestep 2, channel 7, row 3, column 4: "
                               "1 expected, not 0")


@pytest.mark.parametrize("spikes", [False, True])
def test_batches_give_what_all_images_give(setup, spikes):
    network, images = setup
    engine = FakeEngine(network)
    told = []
    result, speed = timed(engine, images, spikes=spikes, progress=lambda *numbers: told.append(numbers))
    whole = engine.classify(images, spikes=spikes)
    for name in ("scores", "classes", "cycles", "stall_cycles", "flash_stall_cycles"):
        assert (getattr(result, name) == getattr(whole, name)).all()
    assert (result.spikes is None) == (not spikes)
    for found, expected in zip(result.spikes or (), whole.spikes or (), strict=True):
        assert (found == expected).all()
    assert speed > 0
    assert told[-1] == (8, 8)
    assert told[0] == (1, 8)


def test_what_a_batch_does_not_know_the_whole_does_not(setup):
    network, images = setup
    result, _ = timed(ReferenceEngine(network), images)
    assert (result.cycles, result.stall_cycles, result.flash_stall_cycles, result.spikes) == (None,) * 4

    class Hiding(FakeEngine):
        def classify(self, images, *, spikes=False):
            result = super().classify(images, spikes=spikes)
            return dataclasses.replace(result, spikes=(None, *result.spikes[1:]), unseen="it is dark")

    hidden = timed(Hiding(network), images, spikes=True)[0]
    assert (hidden.spikes[0], hidden.unseen) == (None, "it is dark")
