"""NIR files of five packages: equal to the package's own forward spike for spike, or refused with the reason."""

import dataclasses
import pathlib
from fractions import Fraction

import numpy as np
import pytest

from arch.network import Encoding, Reset
from export import steps
from export.folding import fold
from export.sources.chain import SourceError
from export.sources.nir.importing import import_nir
from export.sources.nir.sidecar import Facts
from export.sources.rules import Comparison
from reference.network import Reference

DATA = pathlib.Path(__file__).parent / "data"

SUBTRACT, ZERO = {"reset": Reset.SUBTRACT}, {"reset": Reset.ZERO}
FLAT = {"shape": (1, 1, 36)}
#: What is stated about each file beside timesteps and input. The records have 4 timesteps and pixels seen as p / 256.
STATED = {
    "snntorch-conv-if": {"package": "snntorch"} | SUBTRACT,
    "snntorch-fc-if-subtract": {"package": "snntorch"} | SUBTRACT,
    "snntorch-fc-if-zero": {"package": "snntorch"} | ZERO,
    "snntorch-fc-lif-zero": {"package": "snntorch"} | ZERO,
    "spikingjelly-conv-if": {"package": "spikingjelly"},
    "spikingjelly-fc-if": {"package": "spikingjelly"},
    "spikingjelly-fc-lif": {"package": "spikingjelly"},
    "spikingjelly-fc-lif-no-decay": {"package": "spikingjelly"},
    "sinabs-conv-iaf": {"package": "sinabs", "several": False} | SUBTRACT,
    "sinabs-fc-iaf-reset": {"package": "sinabs", "several": False} | ZERO,
    "sinabs-fc-iaf-several": {"package": "sinabs"} | SUBTRACT,
    "norse-fc-if": {"package": "norse"} | FLAT,
    "norse-fc-lifbox": {"package": "norse"} | FLAT,
}


def facts(encoding=Encoding.PIXELS, **more):
    pixels = {"scale": Fraction(1, 256)} if encoding is Encoding.PIXELS else {}
    return Facts(**({"timesteps": 4, "encoding": encoding} | pixels | more))


def imported(name, encoding=Encoding.PIXELS, **more):
    """The network in integers, and the one in rational numbers."""
    trained = import_nir(str(DATA / f"{name}.nir"), facts(encoding, **STATED[name] | more))
    assert all(share < 1 for share in steps.ternarise(trained).values())
    network = steps.assemble(trained, steps.certify(trained, fold(trained), max_fraction=8), {})
    return network, trained


def recorded(name, encoding):
    """Inputs as the network takes them, and the package's spikes, ``bool[images, T, neurons of the layer]``."""
    with np.load(DATA / f"{name}.npz") as arrays:
        inputs = arrays[encoding.value]
        spikes = [arrays[key] for key in sorted(arrays) if key.startswith(f"{encoding.value}-")]
    shape = (1, 8, 8) if inputs.shape[-2:] == (8, 8) else (1, 1, 36)
    leading = inputs.shape[:1] if encoding is Encoding.PIXELS else inputs.shape[:2]
    return inputs.reshape(*leading, *shape), [layer.reshape(*layer.shape[:2], -1) for layer in spikes]


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize("name", STATED)
def test_every_spike_is_the_packages_own(name, encoding):
    network, trained = imported(name, encoding)
    images, expected = recorded(name, encoding)
    result = Reference(network).run(images, spikes=True)
    for layer, spikes in zip(result.spikes, expected, strict=True):
        assert spikes.any()
        assert np.array_equal(layer.reshape(*layer.shape[:2], -1), spikes)
    # The scores are the spikes of the last neurons, counted.
    assert np.array_equal(result.scores, expected[-1].sum(axis=1))
    leaky = "lif" in name
    assert network.metadata["exact"] is (None if leaky else True)
    assert not sum(steps.verify(trained, steps.pack(network), images).mismatches)


@pytest.mark.parametrize("name", [name for name in STATED if name != "sinabs-fc-iaf-several" and "lifbox" not in name])
def test_the_comparison_decides_spikes(name):
    """Membranes meet their thresholds: with the other comparison the spikes are others."""
    ours = imported(name)[1].neurons["node_0" if "spikingjelly" in name else "node0"][0].strict
    other = Comparison.AT_LEAST if ours else Comparison.ABOVE
    images, expected = recorded(name, Encoding.PIXELS)
    network, _ = imported(name, comparison=other)
    first = Reference(network).run(images, spikes=True).spikes[0]
    assert not np.array_equal(first.reshape(*first.shape[:2], -1), expected[0])


@pytest.mark.parametrize("name", ["snntorch-conv-if", "sinabs-fc-iaf-reset"])
def test_currents_drop_the_last_neurons_only_if_asked(name):
    trained = import_nir(str(DATA / f"{name}.nir"), facts(**STATED[name]))
    assert [layer["kind"] for layer in trained.architecture["layers"]][-2:] == ["fully-connected", "readout"]
    with pytest.raises(SourceError, match=r"node 4: the last weights must have one scale for all classes|node 2: the "
                                          r"last weights must have one scale"):
        import_nir(str(DATA / f"{name}.nir"), facts(currents=True, **STATED[name]))


REFUSED = {
    "snntorch-fc-lif-subtract": ({"package": "snntorch"} | SUBTRACT, ("node 1: neurons with leak must be reset before "
                                 "they leak, not a timestep later as a subtraction of snntorch is: train with a reset "
                                 "to zero, or with beta = 1")),
    "snntorch-fc-lif-float": ({"package": "snntorch"} | ZERO, ("node 0: weights of output channel 0 must be -a, 0 and "
                              "a with one a, not have 36 magnitudes: make them ternary, with one scale per output "
                              "channel, by python -m train --from, or in your own training (docs/nir.md)")),
    "spikingjelly-fc-if-float": ({"package": "spikingjelly"}, ("node _0: weights of output channel 0 must be -a, 0 and "
                                 "a with one a, not have 36 magnitudes: make them ternary, with one scale per output "
                                 "channel, by python -m train --from, or in your own training (docs/nir.md)")),
    "rockpool-fc-lif-float": ({"package": "rockpool"} | FLAT, ("node 1_LIFTorch: its type must not be CubaLIF: a "
                              "synapse with a time constant of its own has no place: train with LIF or IF neurons")),
    "norse-fc-if": ({"package": "norse"}, ("node input: the input must be channels x height x width, or a number of "
                    "inputs, not 1x36, which has a batch axis: export without it (ignore_dims=[0] in nirtorch), or "
                    "say --input 36")),
    "sinabs-conv-iaf": ({"package": "sinabs"} | SUBTRACT, ("node 5: a neuron must spike at most once in a timestep, "
                                                           "but "
                        "currents of channel 0 reach 15, more than the threshold of 1, so there may be several "
                        "spikes: train with one spike a timestep (Sinabs: spike_fn=SingleSpike), and say --spikes "
                        "one")),
    "snntorch-fc-if-zero": ({"comparison": Comparison.ABOVE, "several": False, "dt": Fraction(1, 10000)} | ZERO,
                            ("node 1: tau must be finite, not inf: --package snntorch says what it means if snnTorch "
                             "wrote "
                            "it")),
    "spikingjelly-fc-lif": ({"comparison": Comparison.AT_LEAST, "several": False} | ZERO, ("node _1: a LIF node needs "
                            "the length of a timestep, as it loses dt / tau of its membrane: give --dt, or --package "
                            "with the package that wrote the file")),
    "spikingjelly-fc-if": ({"comparison": Comparison.AT_LEAST, "several": False} | ZERO, ("node _1: an IF node needs "
                           "the length of a timestep, as its currents count r dt: give --dt, or --package with the "
                           "package that wrote the file")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_node_and_remedy(name):
    stated, line = REFUSED[name]
    path = str(DATA / f"{name}.nir")
    with pytest.raises(SourceError) as error:
        import_nir(path, facts(**stated))
    assert str(error.value) == f"{path}: {line}"


def test_a_package_is_its_rule_stated():
    """Stating what the preset of SpikingJelly says gives the same network."""
    path = str(DATA / "spikingjelly-conv-if.nir")
    stated = Facts(comparison=Comparison.AT_LEAST, reset=Reset.ZERO, several=False, dt=Fraction("1e-4"))
    plain, preset = (import_nir(path, each.over(facts())) for each in (stated, Facts(package="spikingjelly")))
    assert plain.neurons == preset.neurons
    assert plain.architecture == preset.architecture
    assert plain.provenance["rule"] == ("as stated: a membrane >= its threshold spikes, reset to zero, timesteps of "
                                        "0.0001 s")
    assert preset.provenance["rule"].startswith("of SpikingJelly: ")


@pytest.mark.parametrize(("stated", "line"), [
    (Facts(), ("spikes must be decided by more than NIR says: give --compare ge or gt, --reset subtract or zero, "
              "--spikes one or several, or the package that wrote it with --package")),
    (Facts(package="snntorch"), ("spikes must be decided by more than NIR says: give --reset subtract or zero, as "
                                "networks of snnTorch have either and the file does not say which")),
    (Facts(package="spikingjelly"), ("input must be described, as NIR does not: give --timesteps T, --encoding pixels "
                                    "or events, --scale K (what a pixel p of 0 to 255 is multiplied with: 1/255 if "
                                    "images were 0 to 1)")),
    (Facts(package="spikingjelly", timesteps=4, encoding=Encoding.EVENTS, scale=Fraction(1, 2)),
     "--scale must be left out for events, which are 0 and 1"),
    (Facts(package="spikingjelly", timesteps=4, encoding=Encoding.EVENTS, zero_point=128),
     "--zero-point must be left out for events, which are 0 and 1"),
])
def test_nothing_is_guessed(stated, line):
    path = str(DATA / "spikingjelly-conv-if.nir")
    with pytest.raises(SourceError) as error:
        import_nir(path, stated)
    assert str(error.value) == f"{path}: {line}"


def test_an_input_in_a_row_may_be_given_its_shape():
    name = "spikingjelly-fc-if"
    network, _ = imported(name, shape=(1, 6, 6))
    assert network.input.shape == (1, 6, 6)
    images, expected = recorded(name, Encoding.PIXELS)
    result = Reference(network).run(images.reshape(-1, 1, 6, 6))
    assert np.array_equal(result.scores, expected[-1].sum(axis=1))
    with pytest.raises(SourceError, match="node input_1: --input must have the 36 values of the file's input 36, not "
                                          "1x6x7"):
        imported(name, shape=(1, 6, 7))


def test_timesteps_of_facts_are_those_of_the_network():
    assert imported("spikingjelly-fc-if", timesteps=7)[0].timesteps == 7
    assert dataclasses.replace(facts(), timesteps=3).timesteps == 3
