"""What of a NIR graph is taken, and what is refused, with the name of the node and a remedy."""

import dataclasses
import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from arch.network import Encoding, Reset
from export.sources.chain import Convolution, Flatten, Linear, Pool, SourceError, SpikingNeurons
from export.sources.nir.graph import chain_of
from export.sources.rules import Comparison, Constants, Rule
from export.sources.translation import Frame, translate
from tests.export.sources.nir.graphs import DENSE, TERNARY, chained, convolution, layers, node, pool, spiking

RULE = Rule(comparison=Comparison.AT_LEAST, reset=Reset.ZERO, dt=Fraction(1, 10000))
FRAME = Frame(timesteps=4, encoding=Encoding.PIXELS, scale=Fraction(1, 255))


def read(graph, rule=RULE, frame=FRAME, shape=None):
    return translate(chain_of(graph, rule, shape), rule, frame, {})


def test_a_chain_is_read_with_its_numbers():
    chain = chain_of(chained(layers()), RULE)
    assert (chain.shape, chain.flat) == ((1, 4, 4), False)
    assert [type(each) for each in chain.nodes] == [Convolution, SpikingNeurons, Pool, Flatten, Linear,
                                                    SpikingNeurons]
    conv, first, mean, _, dense, last = chain.nodes
    assert (conv.name, conv.stride, conv.padding, conv.bias.tolist()) == ("conv", 1, 1, [0, 0, 0, 0])
    assert np.array_equal(conv.weight, TERNARY)
    assert (first.theta, first.gain, first.leak) == ((1,) * 4, (1,) * 4, 0)
    assert (mean.size, mean.mean) == (2, True)
    assert (len(dense.bias), len(last.theta)) == (3, 3)


def test_layers_of_the_network():
    network = read(chained(layers()))
    assert network.architecture == {
        "input": {"encoding": "pixels", "channels": 1, "height": 4, "width": 4, "zero_point": 0, "scale": 1 / 255},
        "timesteps": 4,
        "layers": [
            {"kind": "convolution", "name": "conv", "channels": 4, "kernel": 3, "stride": 1, "padding": 1,
             "reset": "zero", "leak_shift": None, "epsilon": None},
            {"kind": "fully-connected", "name": "fc", "neurons": 3, "input_pool": 2, "reset": "zero",
             "leak_shift": None, "epsilon": None},
            {"kind": "readout", "name": "count", "classes": 3}]}
    # The mean of 2 x 2 windows is a quarter of the integer sum; the scale of the pixels is exact.
    assert network.neurons["fc"][0].scale == Fraction(1, 16)
    assert network.neurons["conv"][0].scale == Fraction(1, 510)
    assert network.provenance == {"scores": "spikes of the last neurons, counted"}


def test_the_largest_stride_is_taken():
    conv = chain_of(chained(layers(conv=convolution(TERNARY, stride=[7, 7]))), RULE).nodes[0]
    assert conv.stride == 7


def test_sums_of_windows_have_no_divisor():
    network = read(chained(layers(pool=pool("SumPool2d"))))
    assert network.neurons["fc"][0].scale == Fraction(1, 4)


@pytest.mark.parametrize(("kind", "gain", "bias"), [("AvgPool2d", Fraction(1, 8), 3),
                                                    ("SumPool2d", Fraction(1, 2), 12)])
def test_pooled_currents(kind, gain, bias):
    """A pool between a convolution and its neurons; the sum has the bias of every place."""
    nodes = {"conv": convolution(TERNARY, bias=np.full(4, 3.0)), "pool": pool(kind), "if1": spiking((4, 2, 2)),
             "flat": node("Flatten", start_dim=0, end_dim=-1), "fc": node("Linear", weight=DENSE), "if2": spiking((3,))}
    network = read(chained(nodes), frame=Frame(timesteps=4, encoding=Encoding.EVENTS))
    assert network.architecture["layers"][0]["pool"] == 2
    assert (network.neurons["conv"][0].scale, network.neurons["conv"][0].beta) == (gain, bias)


@pytest.mark.parametrize(("threshold", "initial", "possible"), [(6, 0, False), (5.875, 0, True), (6, 5.875, False),
                                                                (6, 6, True), (7, 7.875, False), (7, 8, True)])
def test_several_spikes_are_taken_only_where_they_cannot_happen(threshold, initial, possible):
    """Three weights of 2: a current of 6 on a membrane below the threshold of 6 stays below 12."""
    rule = Rule(comparison=Comparison.AT_LEAST, reset=Reset.SUBTRACT, several=True, dt=Fraction(1, 10000))
    nodes = {"fc": node("Linear", weight=np.full((2, 3), 2.0)), "if1": spiking((2,), threshold=threshold)}
    chain = chain_of(chained(nodes, shape=(3,)), rule)
    chain = dataclasses.replace(chain, nodes=(chain.nodes[0], dataclasses.replace(
        chain.nodes[1], initial=(Fraction(initial),))))
    frame = Frame(timesteps=4, encoding=Encoding.EVENTS)
    if not possible:
        assert translate(chain, rule, frame, {}).neurons["fc"][0].initial == initial
        return
    with pytest.raises(SourceError, match=r"^node if1: a neuron must spike at most once in a timestep, but currents of "
                                          "channel 0 reach 6, "):
        translate(chain, rule, frame, {})


@pytest.mark.parametrize("names", [["0", "1 2", "fc"], ["_0", "count", "fc/2"]])
def test_names_of_layers_are_words(names):
    first, second, third = names
    nodes = {first: convolution(TERNARY), "n1": spiking((4, 4, 4)), "flat": node("Flatten", start_dim=0, end_dim=2),
             second: node("Linear", weight=np.ones((2, 64))), "n2": spiking((2,)),
             third: node("Linear", weight=np.ones((3, 2))), "n3": spiking((3,))}
    found = [layer["name"] for layer in read(chained(nodes)).architecture["layers"]]
    assert found == (["node0", "node1_2", "fc", "count"] if first == "0" else ["node_0", "count", "fc_2", "count0"])


def test_currents_are_scores_without_neurons_at_the_end():
    network = read(chained(layers(if2=None)))
    assert network.architecture["layers"][-1] == {"kind": "readout", "name": "fc", "classes": 3, "input_pool": 2}
    assert network.provenance == {"scores": "currents of the last weights, summed"}
    with pytest.raises(SourceError, match=r"^node fc: neurons must follow whose spikes are counted: ask for no "
                                          "readout of spikes, and its currents are the scores$"):
        read(chained(layers(if2=None)), frame=Frame(timesteps=4, encoding=Encoding.EVENTS, currents=False))
    asked = read(chained(layers()), frame=Frame(timesteps=4, encoding=Encoding.EVENTS, currents=True))
    assert asked.architecture["layers"] == network.architecture["layers"]


def lif(shape=(4, 4, 4), tau=2e-4, r=1.0, **more):
    return spiking(shape, r=r, kind="LIF", **({"tau": np.full(shape, tau), "v_leak": np.zeros(shape)} | more))


@pytest.mark.parametrize(("tau", "r", "rule", "leak", "gain"), [
    (2e-4, 1.0, RULE, Fraction(1, 2), Fraction(1, 2)),
    (8e-4, 8.0, RULE, Fraction(1, 8), Fraction(1)),
    (np.float32(4e-4), np.float32(3.9999998), RULE, Fraction(1, 4), Fraction(1)),
    (2e-4, 0.75, RULE, Fraction(1, 2), Fraction(3, 8)),
    # Any other share is taken as it is: only the export needs a power of two.
    (0.5, 2.5, Rule(comparison=Comparison.ABOVE, reset=Reset.ZERO, dt=Fraction(3, 20)), Fraction(3, 10),
     Fraction(3, 4)),
    (1e-4, 1.0, RULE, Fraction(1), Fraction(1)),
    (2e-6, 1.0, Rule(comparison=Comparison.ABOVE, reset=Reset.ZERO, dt=Fraction(1, 1000), constants=Constants.NORSE),
     Fraction(1, 2), Fraction(1, 2)),
    (np.inf, np.inf, Rule(comparison=Comparison.ABOVE, reset=Reset.ZERO, dt=Fraction(1, 10000),
                          constants=Constants.SNNTORCH), 0, Fraction(1)),
])
def test_leaks(tau, r, rule, leak, gain):
    kind = np.float32 if isinstance(tau, np.float32) else np.float64
    neurons = {name: lif(shape, tau=np.full(shape, tau, dtype=kind), r=np.full(shape, r, kind))
               for name, shape in (("if1", (4, 4, 4)), ("if2", (3,)))}
    chain = chain_of(chained(layers(**neurons)), rule)
    assert (chain.nodes[1].leak, set(chain.nodes[1].gain)) == (leak, {gain})


def test_snntorch_writes_no_integrators():
    """Its rule has no gain for them, and that of another package would be 10,000 times as large, or as small."""
    with pytest.raises(SourceError, match=r"^node if1: it must be LIF, as snnTorch writes no IF node: give the "
                                          r"--package that wrote the file, or none, and --compare, --reset, --spikes "
                                          r"and --dt$"):
        read(chained(layers()), dataclasses.replace(RULE, constants=Constants.SNNTORCH))


@pytest.mark.parametrize(("r", "rule", "gain"), [
    (10000.0, RULE, 1),
    (np.float64(1 / 3e-4), Rule(comparison=Comparison.ABOVE, reset=Reset.ZERO, dt=Fraction("3e-4")), 1),
    (6000.0, RULE, Fraction(3, 5)),
    (2.0, Rule(comparison=Comparison.ABOVE, reset=Reset.ZERO, constants=Constants.SINABS), 2),
])
def test_gains_of_integrators(r, rule, gain):
    assert set(chain_of(chained(layers(if1=spiking((4, 4, 4), r=r))), rule).nodes[1].gain) == {gain}


def varied(shape, key, **more):
    values = np.ones(shape)
    values[-1].flat[-1] = 2
    return spiking(shape, **{key: values} | more)


NAN = np.full((4, 4, 4), np.nan)
REFUSED = [
    (layers(if1=node("CubaLIF")), ("node if1: its type must not be CubaLIF: a synapse with a time constant of its own "
                                   "has "
     "no place: train with LIF or IF neurons")),
    (layers(if1=node("LI")), ("node if1: its type must not be LI: a leaky integrator has no place, as scores are sums "
     "without leak: end in spiking neurons, or in weights")),
    (layers(if1=node("I")), "node if1: its type must not be I: an integrator without threshold has no place"),
    (layers(if1=node("Delay")), "node if1: its type must not be Delay: delays have no place: train without them"),
    (layers(if1=node("NIRGraph")), ("node if1: its type must not be NIRGraph: a graph within the graph has no place, "
                                    "nor "
     "have recurrent layers: export the layers one by one")),
    (layers(if1=node("Scale")), "node if1: its type must not be Scale: "),
    (layers(if1=node("Threshold")), "node if1: its type must not be Threshold: "),
    (layers(conv=node("Conv1d")), "node conv: its type must not be Conv1d: "),
    (layers(conv=node("Magic")), ("node conv: its type must be Linear, Affine, Conv2d, SumPool2d, AvgPool2d, Flatten, "
                                  "IF "
     "or LIF, not Magic")),
    (layers(if1=spiking((4, 4, 4), r=np.inf)), "node if1: r must be finite, not inf"),
    (layers(if1=spiking((4, 4, 4), r=-1.0)), "node if1: r must be positive, not -1"),
    (layers(if1=spiking((4, 4, 4), threshold=np.nan)), "node if1: v_threshold must be finite, not nan"),
    (layers(if1=spiking((4, 4, 4), threshold=0.0)), "node if1: v_threshold must be positive, not 0"),
    (layers(if1=spiking((4, 4, 4), v_reset=np.full((4, 4, 4), -0.5))), ("node if1: v_reset must be 0, not -0.5: shift "
     "membrane and threshold so that it is")),
    (layers(if1=lif(v_leak=np.full((4, 4, 4), 0.5))), ("node if1: v_leak must be 0, not 0.5: shift membrane and "
     "threshold so that it is")),
    (layers(if1=lif(tau=3e-4)), ("node if1: the share of the membrane lost in a timestep must be 2^-k with k from 1 to "
                                 "31, "
     "not 0.333333: train with a leak of 1/2, 1/4, 1/8 (tau of 2, 4, 8 timesteps), or without one; or give the dt "
     "that "
     "the file was made with")),
    (layers(if1=lif(tau=1e-4)), ("node if1: the share of the membrane lost in a timestep must be 2^-k with k from 1 to "
     "31, not 1: ")),
    (layers(if1=lif(tau=5e-5)), ("node if1: the share of the membrane lost in a timestep must be at most 1, not 2: "
     "give the --dt that the file was made with")),
    (layers(if1=lif(tau=-1e-4)), "node if1: tau must be positive, not -0.0001"),
    (layers(if1=lif(tau=NAN)), "node if1: tau must be finite, not nan"),
    (layers(if1=lif(tau=np.repeat([2e-4, 4e-4], 32).reshape(4, 4, 4))), ("node if1: all neurons must have one leak, "
                                                                         "not 2: "
     "train with one tau a layer")),
    (layers(if1=varied((4, 4, 4), "v_threshold")), ("node if1: v_threshold must be the same at all positions of a "
     "channel, but differs in channel 3: train with one value a channel")),
    (layers(if1=spiking((0, 4, 4))), "node if1: r must have one value, or the shape of the map, not 0x4x4"),
    (layers(if1=spiking((4,))), "node if1: r must have one value, or the shape of the map, not 4"),
    (layers(if1=spiking((3, 4, 4))), "node if1: thresholds must be one or 4, like the channels before, not 3"),
    (layers(conv=convolution(TERNARY, groups=2)), "node conv: groups must be 1, not 2: train with a plain convolution"),
    (layers(conv=convolution(TERNARY, dilation=[2, 2])), "node conv: dilation must be 1, not 2"),
    (layers(conv=convolution(TERNARY, stride=[1, 2])), ("node conv: stride must be the same for rows and columns, not "
                                                        "1, "
     "2: use one")),
    (layers(conv=convolution(TERNARY, stride=[1.5, 1.5])), "node conv: stride must be an integer, not 1.5"),
    (layers(conv=convolution(TERNARY, stride=[1 + 2**-30] * 2)),
     "node conv: stride must be an integer, not 1.00000000093"),
    (layers(conv=convolution(TERNARY, stride=[8, 8])), "node conv: stride must be 1 to 7, not 8"),
    (layers(conv=convolution(TERNARY, padding=[0, 1])), ("node conv: padding must be the same for rows and columns, "
                                                         "not 0, "
     "1: use one")),
    (layers(conv=convolution(TERNARY, padding=[3, 3])), "node conv: padding must be 0 to 2 with a kernel of 3, not 3"),
    (layers(conv=convolution(TERNARY, padding="full")), ("node conv: padding must be the same on all sides, not "
                                                         "'full': "
     "give a number")),
    (layers(conv=convolution(np.ones((4, 1, 9, 9)))), ("node conv: kernel must be square, at most 7 x 7, not 9 x 9: "
                                                       "train "
     "with a smaller one")),
    (layers(conv=convolution(np.ones((4, 1, 3, 1)))), "node conv: kernel must be square, at most 7 x 7, not 3 x 1"),
    (layers(conv=convolution(np.ones((4, 2, 3, 3)))), ("node conv: weights must have 1 input channels like the map "
                                                       "before, "
     "not 2")),
    (layers(conv=convolution(TERNARY + np.float32(0.25) * (TERNARY > 0))), ("node conv: weights of output channel 0 "
     "must be -a, 0 and a with one a, not have 2 magnitudes: make them ternary, with one scale per output channel, ")),
    (layers(conv=convolution(TERNARY * np.nan)), "node conv: weight must be finite, not nan"),
    (layers(conv=convolution(TERNARY, bias=np.zeros(3))), "node conv: bias must have 4 values like the weights, not 3"),
    (layers(fc=node("Linear", weight=np.ones((3, 9)))), ("node fc: weights must have 16 inputs like the map before, "
                                                         "not "
                                                        "9")),
    (layers(fc=node("Linear", weight=np.ones(3))), "node fc: weights must be out x in, not 3"),
    (layers(fc=node("Linear")), "node fc: Linear must have the numbers weight"),
    (layers(flat=None), "node fc: a fully connected layer must see a flat map, not 4 x 2 x 2: put a Flatten before it"),
    (layers(flat=node("Flatten", start_dim=1, end_dim=-1)), ("node flat: Flatten must be over channels, rows and "
                                                             "columns "
     "(start_dim 0, end_dim -1), not from 1 to -1: flatten the whole map")),
    (layers(pool=pool(size=3, stride=3)), ("node pool: windows of 3 must divide both sides of the map of 4 x 4: give "
                                           "the "
     "layer before it another padding")),
    (layers(pool=pool(stride=1)), ("node pool: windows must lie side by side, without padding, not be of 2 with stride "
                                   "1 "
     "and padding 0: pool with a stride like the window")),
    (layers(pool=pool(padding=(1, 1))), ("node pool: windows must lie side by side, without padding, not be of 2 with "
     "stride 2 and padding 1")),
    (layers(if2=None, flat2=None, extra=node("Linear", weight=np.ones((2, 3)))), ("node extra: weights must come "
                                                                                  "behind "
     "neurons, not behind the weights of node fc: put neurons between them, or multiply the two")),
    (layers(extra=spiking((3,))), ("node extra: neurons must come behind weights: give them a convolution or a fully "
     "connected layer of their own")),
    ({"flat": node("Flatten", start_dim=0, end_dim=-1)}, "a network must have a node with weights: this one has none"),
    (layers(fc=node("Linear", weight=np.ones((1, 16))), if2=spiking((1,))), ("node if2: the last neurons must be 2 to "
                                                                             "1024 "
     "behind a fully connected layer: their spikes are the scores of the classes")),
    ({"conv": convolution(TERNARY)}, ("node conv: the last weights must be of a fully connected layer: end the network "
                                      "in "
     "one")),
    (layers(if2=None, fc=node("Affine", weight=DENSE, bias=np.ones(3))), ("node fc: the last weights must have no bias "
     "where their currents are the scores: keep neurons behind it and take their spikes, counted, as the readout, or "
     "train without a bias")),
    (layers(if2=None, fc=node("Linear", weight=DENSE * [[1], [2], [4]])), ("node fc: the last weights must have one "
                                                                           "scale "
     "for all classes where their currents are the scores, not 3")),
]


@pytest.mark.parametrize(("nodes", "line"), REFUSED, ids=[line[:60] for _, line in REFUSED])
def test_refused_with_node_and_remedy(nodes, line):
    with pytest.raises(SourceError) as error:
        read(chained(nodes))
    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)


def test_kernels_and_windows_make_one_convolution():
    nodes = layers(fc=convolution(np.ones((3, 4, 7, 7)), padding=[3, 3]), flat=None, if2=spiking((3, 2, 2)))
    with pytest.raises(SourceError, match=r"^node fc: kernel and stride, times the windows of 2 pooled before it, must "
                                          "be "
                                          "at most 7, not 14 and 2: pool less, use a smaller kernel, or put a stride "
                                          "in "
                                          "place of the pooling$"):
        read(chained(nodes))


@pytest.mark.parametrize(("size", "threshold", "line"), [
    (2, 1.0, ("node or: a threshold behind SumPool2d must be between 0 and 1, the OR of a window, not 1: use IF "
              "neurons "
             "behind weights for another")),
    (2, 0.0, "node or: a threshold behind SumPool2d must be between 0 and 1, the OR of a window, not 0: "),
    (2, np.nan, "node or: threshold must be finite, not nan"),
    (1, 0.5, "node pool: windows of an OR must be 2 to 7 pixels a side, not 1"),
])
def test_thresholds_behind_sums(size, threshold, line):
    found = layers(pool=pool("SumPool2d", size=size, stride=size))
    names = list(found)
    nodes = {name: found[name] for name in names[:3]} | {"or": node("Threshold", threshold=[threshold])} | {
        name: found[name] for name in names[3:]}
    with pytest.raises(SourceError) as error:
        read(chained(nodes))
    assert str(error.value).startswith(line)


def test_an_or_is_a_layer_of_spikes():
    nodes = {"conv": convolution(TERNARY), "if1": spiking((4, 4, 4)), "sum": pool("SumPool2d", size=3, stride=3),
             "or": node("Threshold", threshold=0.5), "flat": node("Flatten", start_dim=0, end_dim=-1),
             "fc": node("Linear", weight=np.ones((3, 4)))}
    described = read(chained(nodes)).architecture["layers"]
    # Rows and columns that fill no window are dropped.
    assert described[1:] == [{"kind": "or-pool", "size": 3}, {"kind": "readout", "name": "fc", "classes": 3}]
    del nodes["if1"]
    with pytest.raises(SourceError, match=r"^node sum: an OR must be of a map of spikes: put it behind neurons, before "
                                          "the map is flattened$"):
        read(chained(nodes))


@pytest.mark.parametrize(("changed", "line"), [
    ({"shape": (1, 1, 4, 4)}, ("node input: the input must be channels x height x width, or a number of inputs, not "
                              "1x1x4x4, which has a batch axis: export without it (ignore_dims=[0] in nirtorch), or "
                              "say "
                              "--input 1x4x4")),
    ({"shape": (0, 4, 4)}, "node input: shape must be of positive integers, not [0, 4, 4]"),
    ({"shape": (1, 4.5, 4)}, "node input: shape must be of positive integers, not [1.0, 4.5, 4.0]"),
    ({"shape": (1, math.nan, 4)}, "node input: shape must be finite, not nan"),
    ({"shape": (2000,)}, ("node input: an input of 2000 numbers must be given a shape: say --input "
                         "CHANNELSxHEIGHTxWIDTH")),
    ({"shape": (16,)}, ("node conv: a convolution must see a map, not one that is flat: give the input of the network "
                       "channels, height and width")),
])
def test_inputs(changed, line):
    with pytest.raises(SourceError) as error:
        read(chained(layers(), **changed))
    assert str(error.value) == line


@pytest.mark.parametrize(("shape", "stated", "line"), [
    ((1, 4, 8), (1, 8, 4), "not 1x8x4"), ((1, 4, 8), (1, 1, 32), "not 1x1x32"), ((1, 1, 4, 8), (4, 8, 1), None),
    ((1, 1, 4, 8), (8, 4, 1), "not 8x4x1"), ((1, 4, 8), (1, 4, 8), None), ((1, 32), (1, 8, 4), None)])
def test_only_an_input_in_a_row_is_given_a_shape(shape, stated, line):
    """Rows and columns that change places would be another network."""
    graph = chained({"flat": node("Flatten", start_dim=0, end_dim=-1), "fc": node("Linear", weight=np.ones((2, 32)))},
                    shape=shape)
    if line is None:
        assert chain_of(graph, RULE, stated).shape == stated
        return
    with pytest.raises(SourceError) as error:
        chain_of(graph, RULE, stated)
    assert str(error.value) == (f"node input: --input must be that of the file's input, {'x'.join(map(str, shape))}, "
                                f"{line}: channels, rows and columns can be stated only of an input in a row")


@pytest.mark.parametrize(("nodes", "line"), [
    (layers(if2=spiking((3,), kind="LIF", tau=np.full(3, 5e-324), v_leak=np.zeros(3))),
     "node if2: the share of the membrane lost in a timestep must be at most 1, not 1e319 or more: give the --dt"),
    (layers(if1=spiking((4, 4, 4), threshold=99.0), fc=node("Linear", weight=DENSE * 1e300), if2=spiking(3, r=1e300)),
     "node if2: a neuron must spike at most once in a timestep, but currents of channel 0 reach 1e596 or more, more"),
])
def test_numbers_beyond_those_of_floats_are_refused(nodes, line):
    """Quotients and products of a file's floats are exact, and larger than any float."""
    several = dataclasses.replace(RULE, several=True)
    with pytest.raises(SourceError) as error:
        read(chained(nodes), several, Frame(timesteps=4, encoding=Encoding.EVENTS))
    assert str(error.value).startswith(line)


def edges(*more, without=()):
    names = ["input", *layers(), "output"]
    return tuple(edge for edge in itertools.pairwise(names) if edge not in without) + more


@pytest.mark.parametrize(("found", "line"), [
    (edges(("if1", "if1")), ("node if1: it must follow one node, not conv, if1: branches and cycles have no place, "
                             "export a "
                            "plain chain")),
    (edges(("fc", "output")), ("node fc: one node must follow, not 2 (if2, output): branches and cycles have no place, "
                              "export a plain chain")),
    (edges(("fc", "conv")), "node conv: it must follow one node, not input, fc: "),
    (edges(("if2", "input"), without=[("if2", "output")]), ("node input: it must not follow itself, as it does by way "
                                                            "of "
                                                           "node if2: cycles have no place, train without recurrence")),
    (edges(without=[("pool", "flat")]), "node pool: one node must follow, not 0 (none)"),
    (edges(("conv", "output"), without=[("conv", "if1")]), "node output: it must follow one node, not if2, conv: "),
    (edges(("input", "output"), without=[("input", "conv"), ("if2", "output")]), ("node conv: it must be between the "
                                                                                  "input "
                                                                                 "and the output: take it out of the "
                                                                                 "graph")),
    (edges(("if2", "nowhere")), "edges must be between nodes, not of nowhere, which is none"),
])
def test_only_chains(found, line):
    with pytest.raises(SourceError) as error:
        read(chained(layers(), edges=found))
    assert str(error.value).startswith(line)


@pytest.mark.parametrize(("more", "line"), [
    ({"in2": node("Input", shape=[3])}, "a network must have one input, not 2 (input, in2): export a network with one"),
    ({"out2": node("Output", shape=[3])}, ("a network must have one output, not 2 (out2, output): export a network "
                                           "with "
                                          "one")),
])
def test_one_input_and_one_output(more, line):
    with pytest.raises(SourceError) as error:
        read(chained(layers() | more))
    assert str(error.value) == line
