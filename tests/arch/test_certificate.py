import numpy as np
import pytest

from arch.certificate import Certificate, State, certificate_of
from arch.network import Convolution, Encoding, Input, Network, Neurons, OrPool, Readout


def made(leaks, metadata):
    """Network of 1 x 1 convolutions of 10 channels with these leak shifts, a pool behind the first."""
    layers = []
    for index, leak in enumerate(leaks):
        zeros = np.zeros(10, np.int64)
        layers.append(Convolution(weights=np.ones((10, 10 if index else 1, 1, 1), np.int8),
                                  neurons=Neurons(threshold=zeros + 1, bias=zeros, initial=zeros, leak_shift=leak)))
    layers.insert(1, OrPool(size=2))
    source = Input(encoding=Encoding.EVENTS, channels=1, height=2, width=2)
    return Network(input=source, layers=(*layers, Readout(weights=np.ones((2, 10), np.int8))), timesteps=1,
                   metadata=metadata)


def entry(layer, exact, channels=()):
    return {"layer": layer, "name": f"conv{layer}", "exact": exact, "inexact_channels": list(channels), "fraction": 0}


def certificate(*entries):
    return {"certificate": {"layers": list(entries)}}


@pytest.mark.parametrize(("leaks", "metadata", "state", "line"), [
    ((None, None), certificate(entry(0, True), entry(2, True)), State.EXACT,
     "yes, every spike of every layer, for every input"),
    ((None, None), certificate(entry(0, True), entry(2, False, [1, 7])), State.INEXACT,
     "NO, conv2 may differ in 2 channels: 1, 7"),
    ((None, None), certificate(entry(0, False, range(10)), entry(2, False, [1])), State.INEXACT,
     "NO, conv0 may differ in 10 channels: 0, 1, 2, 3, 4, 5, 6, 7, ...; conv2 may differ in 1 channel: 1"),
    ((3, None), certificate(entry(0, None), entry(2, True)), State.NOT_CERTIFIED, "not certified (leaky): conv0"),
    ((3, 4), certificate(entry(0, None), entry(2, None)), State.NOT_CERTIFIED,
     "not certified (leaky): conv0, conv2"),
    ((3, None), certificate(entry(0, None), entry(2, False, [1])), State.INEXACT,
     "NO, conv2 may differ in 1 channel: 1; not certified (leaky): conv0"),
])
def test_states_name_their_layers(leaks, metadata, state, line):
    found = certificate_of(made(leaks, metadata))
    assert found.state is state
    assert str(found) == line


@pytest.mark.parametrize("metadata", [
    {}, {"exact": True}, {"certificate": 5}, {"certificate": {"layers": 5}}, {"certificate": {"layers": [5, 6]}},
    certificate(entry(0, True)), certificate(entry(0, True), entry(1, True)),
    certificate(entry(0, True), entry(2, True), entry(4, True)),
    certificate(entry(0, None), entry(2, True)), certificate(entry(0, True, [1]), entry(2, True)),
    certificate(entry(0, False), entry(2, True)), certificate(entry(0, False, [10]), entry(2, True)),
    certificate(entry(0, False, ["x"]), entry(2, True)), certificate(entry(0, "yes"), entry(2, True)),
    certificate({**entry(0, True), "name": 5}, entry(2, True)),
    certificate({**entry(0, True), "inexact_channels": None}, entry(2, True)),
], ids=str)
def test_metadata_that_do_not_fit_the_layers_say_nothing(metadata):
    found = certificate_of(made((None, None), metadata))
    assert found == Certificate(state=State.UNKNOWN)
    assert str(found) == "unknown, the network's file has no certificate"


def test_a_leaky_layer_cannot_be_exact():
    assert certificate_of(made((3, None), certificate(entry(0, True), entry(2, True)))).state is State.UNKNOWN
