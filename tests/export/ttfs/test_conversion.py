import copy
import dataclasses
import itertools
import math
import pathlib
import re
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch.nn import functional

from arch.ttfs import network_file
from arch.ttfs.network import Convolution, EarliestPool, FullyConnected, Network, Readout, layer_widths, membrane_range
from export.ttfs import __main__ as command
from export.ttfs import conversion as ttfs
from sim.ttfs.reference import Reference
from tests.train.test_training import finished
from train.folder import load_trained
from train.ttfs import network as cat_network
from train.ttfs.network import CatLayer, build_cat_network, exact_forward

SEED = 51
NEURONS = {"reset": "subtract", "leak_shift": None, "epsilon": 1e-5}
ARCHITECTURE = {
    "input": {"encoding": "pixels", "channels": 1, "height": 9, "width": 8, "zero_point": 0, "scale": 1 / 256},
    "timesteps": 4,
    "layers": [
        {"kind": "convolution", "name": "conv1", "channels": 6, "kernel": 3, "stride": 1, "padding": 1, **NEURONS},
        {"kind": "or-pool", "size": 2},
        {"kind": "convolution", "name": "conv2", "channels": 8, "kernel": 3, "stride": 2, "padding": 1, **NEURONS},
        {"kind": "fully-connected", "name": "fc", "neurons": 9, **NEURONS},
        {"kind": "readout", "name": "readout", "classes": 4}]}
#: The windows of ``docs/algorithms.md``, section 3.3, the weights, and theta0 on and off the powers of two.
VARIANTS = list(itertools.product([(24, 4), (12, 2), (48, 8)], ["log5", "ternary"], [1.0, 0.7]))
variants = pytest.mark.parametrize("variant", VARIANTS, ids=str)


def make_data(count=150):
    """Images whose class is the brightest of four places, with noise; one black, one white."""
    generator = torch.Generator().manual_seed(SEED)
    labels = torch.randint(0, 4, (count,), generator=generator)
    images = torch.randint(0, 150, (count, 1, 9, 8), generator=generator)
    for index, label in enumerate(labels.tolist()):
        images[index, :, 4 * (label // 2):4 * (label // 2) + 4, 4 * (label % 2):4 * (label % 2) + 4] += 100
    images[0], images[1] = 0, 255
    return images.to(torch.uint8), labels


def make_network(variant=VARIANTS[0], *, steps=12):
    """A trained network with channels of negative and of zero gain."""
    (T, tau), weights, theta0 = variant
    torch.manual_seed(SEED)
    network = build_cat_network(ARCHITECTURE, T=T, tau=tau, theta0=theta0, weights=weights)
    images, labels = make_data()
    optimiser = torch.optim.Adam(network.parameters(), lr=5e-3)
    for _ in range(steps):
        optimiser.zero_grad()
        functional.cross_entropy(network(images), labels).backward()
        optimiser.step()
    with torch.no_grad():
        network.chain[0].norm.weight[1] *= -1
        network.chain[2].norm.weight[2:4] *= -1
        network.chain[2].norm.weight[5] = 0
        network.chain[2].norm.bias[5] = 0.3
        network.chain[3].norm.weight[0] = 0
        network.chain[3].norm.bias[0] = -0.1
        network.chain[3].weight[4] = 0
    return network.eval()


def read_only(array):
    """A view that refuses to be written, as images read from a file."""
    view = array.view()
    view.flags.writeable = False
    return view


@variants
def test_the_integer_network_computes_the_trained_one_value_for_value(variant):
    network = make_network(variant)
    images, _ = make_data()
    converted = ttfs.convert(network)
    assert converted.metadata["exact"] is True
    result = Reference(converted).run(images.numpy(), times=True)
    scores, times = exact_forward(network, images)
    for ours, theirs in zip(result.times, times, strict=True):
        assert (ours == theirs.numpy()).all()
        values = network.theta0 * converted.code.values()
        # What a spike stands for is what the trained network passes on.
        assert (values[ours] == network.encoder.decode(theirs.long(), torch.float64).numpy()).all()
    assert (result.scores * 2.0**-converted.code.unit_bits == scores.numpy()).all()
    # Otherwise little was compared: spikes at many times, neurons with and without one.
    for ours in result.times:
        assert (ours < network.encoder.T).any()
        assert (ours == network.encoder.T).any()
    assert len(np.unique(result.times[1])) > network.encoder.T // 2
    found = ttfs.verify(network, converted, read_only(images.numpy()))
    assert found.mismatches == (0,) * 5
    assert found.scores == 0
    assert found.places == tuple(entry.size for entry in result.times)
    assert found.spikes == tuple(int((entry < network.encoder.T).sum()) for entry in result.times)


def test_the_layers_are_those_of_the_architecture():
    network = make_network()
    converted = ttfs.convert(network, {"name": "made"})
    assert [type(layer) for layer in converted.layers] == [Convolution, EarliestPool, Convolution, FullyConnected,
                                                           Readout]
    assert (converted.layers[2].stride, converted.layers[2].padding) == (2, 1)
    assert [output for _, _, output in converted.shapes()] == [(6, 9, 8), (6, 4, 4), (8, 2, 2), (9, 1, 1), (4, 1, 1)]
    assert converted.metadata == {
        "name": "made", "theta0": 1.0, "exact": True, "certificate": {"layers": [
            {"layer": index, "name": name, "exact": True, "inexact_channels": []}
            for index, name in ((0, "conv1"), (2, "conv2"), (3, "fc"))]}}
    again = network_file.loads(network_file.dumps(converted))
    images = make_data()[0].numpy()
    assert (Reference(again).run(images).scores == Reference(converted).run(images).scores).all()


def test_signs_of_gains_are_in_the_weights():
    network = make_network()
    converted = ttfs.convert(network)
    for index, signs in ((0, {1: -1}), (2, {2: -1, 3: -1, 5: 0}), (3, {0: 0})):
        codes = network.chain[index].integer_codes()[0].numpy()
        for channel in range(len(codes)):
            assert (converted.layers[index].weights[channel] == signs.get(channel, 1) * codes[channel]).all()


def enough(value):
    """A square root to 60 digits."""
    scale = 10**60
    return Fraction(math.isqrt(value.numerator * value.denominator * scale**2), value.denominator * scale)


def test_thresholds_are_the_smallest_membranes_that_reach_theta():
    network = make_network(VARIANTS[1])
    converted, code = ttfs.convert(network), network.code
    decided = 0
    for module, layer in zip(network.chain, converted.layers, strict=True):
        if not isinstance(layer, Convolution | FullyConnected):
            continue
        reach = membrane_range(code, layer.weights)
        _, scale = module.integer_codes()
        for channel, time in np.ndindex(layer.threshold.shape):
            norm = module.norm
            root = enough(Fraction(norm.running_var[channel].item()) + Fraction(norm.eps))
            gamma = Fraction(norm.weight[channel].item())
            gain = abs(gamma) * Fraction(network.theta0) * Fraction(scale[channel].item()) / root
            offset = Fraction(norm.bias[channel].item()) - gamma * Fraction(norm.running_mean[channel].item()) / root
            theta = Fraction(network.theta0) * Fraction(code.values()[time])
            low, high, limit = int(reach.low[channel]), int(reach.high[channel]), int(layer.threshold[channel, time])
            assert low <= limit <= high + 1
            unit = Fraction(1, 2**code.unit_bits)
            if limit <= high:
                assert gain * limit * unit + offset >= theta
            if limit > low:
                assert gain * (limit - 1) * unit + offset < theta
            decided += low < limit <= high
    assert decided > 100


def test_every_pixel_is_coded_as_in_training():
    for variant, scale in itertools.product(VARIANTS[::2], (1 / 256, 1 / 255, 0.003)):
        architecture = {**ARCHITECTURE, "input": {**ARCHITECTURE["input"], "scale": scale}}
        T, tau = variant[0]
        torch.manual_seed(SEED)
        network = build_cat_network(architecture, T=T, tau=tau, theta0=variant[2])
        converted = ttfs.convert(network)
        images = np.zeros((4, 1, 9, 8), np.uint8)
        images.reshape(-1)[:256] = np.arange(256)
        found = ttfs.verify(network, converted, images)
        assert found.mismatches[0] == 0
        assert found.spikes[0] > 200


@variants
def test_the_forward_reaches_theta_at_each_threshold_and_not_one_below(variant):
    """Monotony and these two membranes per threshold are why spikes are equal for every image."""
    network = make_network(variant)
    converted, unit = ttfs.convert(network), 2.0**-network.code.unit_bits
    theta = network.encoder.thresholds()
    for module, layer in zip(network.chain, converted.layers, strict=True):
        if not isinstance(layer, Convolution | FullyConnected):
            continue
        gain, offset = (value[:, None] for value in module.gain_and_offset(network.theta0))
        reach = membrane_range(network.code, layer.weights)
        at = torch.tensor(layer.threshold).double() * unit * gain.sign()
        below = torch.tensor(layer.threshold - 1).double() * unit * gain.sign()
        assert ((at * gain + offset >= theta).numpy() | (layer.threshold > reach.high[:, None])).all()
        assert ((below * gain + offset < theta).numpy() | (layer.threshold == reach.low[:, None])).all()


def test_where_float64_is_not_real_the_forward_counts_and_the_certificate_says_so():
    """An offset that only the forward has: the integers follow it, and the channel is named."""
    network = make_network()
    layer = network.chain[3]
    honest = CatLayer.gain_and_offset

    def off(self, theta0):
        gain, offset = honest(self, theta0)
        if self is layer:
            offset[6] += 1e-3
        return gain, offset

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CatLayer, "gain_and_offset", off)
        converted = ttfs.convert(network)
        found = ttfs.verify(network, converted, make_data()[0].numpy())
    assert (found.mismatches, found.scores) == ((0,) * 5, 0)
    assert converted.metadata["exact"] is False
    assert [entry["inexact_channels"] for entry in converted.metadata["certificate"]["layers"]] == [[], [], [6]]
    assert (converted.layers[3].threshold[6] < ttfs.convert(network).layers[3].threshold[6]).all()


@pytest.mark.parametrize("weights", ["log5", "ternary"])
def test_a_neuron_of_gain_one_copies_its_input(weights):
    """Every membrane is on a threshold: a tie spikes, in the forward, in exact arithmetic and in the integers."""
    epsilon = 2.0**-10
    architecture = {**ARCHITECTURE, "layers": [
        {**ARCHITECTURE["layers"][0], "channels": 1, "kernel": 1, "padding": 0, "epsilon": epsilon},
        ARCHITECTURE["layers"][-1]]}
    network = build_cat_network(architecture, T=24, tau=4, weights=weights)
    network.chain[0].weight.data.fill_(1)
    network.chain[0].norm.running_var.fill_(1 - epsilon)
    converted = ttfs.convert(network)
    assert converted.metadata["exact"] is True
    assert converted.layers[0].threshold.tolist() == converted.code.products()[1:2, :-1].tolist()
    images = make_data()[0]
    times = Reference(converted).run(images.numpy(), times=True).times
    assert (times[0] == times[1]).all()
    assert (exact_forward(network, images)[1][1].numpy() == times[1]).all()


def test_verification_counts_what_differs():
    network = make_network()
    images = make_data()[0].numpy()
    converted = ttfs.convert(network)
    *layers, readout = converted.layers
    moved = layers[0].threshold.copy()
    moved[2] = membrane_range(converted.code, layers[0].weights).high[2] + 1
    silent = Network(input=converted.input, code=converted.code, layers=(
        dataclasses.replace(layers[0], threshold=moved), *layers[1:], Readout(weights=-readout.weights)))
    found = ttfs.verify(network, silent, images)
    times = exact_forward(network, torch.from_numpy(images))[1]
    assert found.mismatches[0] == 0
    assert found.mismatches[1] == int((times[1][:, 2] < 24).sum())
    assert found.scores > 0


def test_accuracy_is_that_of_the_exact_forward():
    network = make_network()
    images, _ = make_data()
    labels = cat_network.predict(network, images)
    labels[:30] = (labels[:30] + 1) % 4
    assert cat_network.accuracy(network, images, labels) == 0.8
    assert ttfs.accuracy(ttfs.convert(network), images.numpy(), labels.numpy()) == 0.8


def test_membranes_stay_in_their_widths():
    network = make_network()
    converted = ttfs.convert(network)
    result = Reference(converted).run(make_data()[0].numpy(), internals=True)
    for widths, details in zip(layer_widths(converted), result.internals, strict=False):
        if details is not None:
            for found, allowed in ((details.membranes, widths.membrane), (details.accumulators, widths.accumulator)):
                assert allowed.low <= found.min() <= found.max() <= allowed.high
                assert allowed.bits <= 53


def test_pooling_takes_the_earliest_spike_which_is_the_largest_value():
    network = make_network()
    images = make_data()[0]
    times = Reference(ttfs.convert(network)).run(images.numpy(), times=True).times
    values = network.encoder.decode(torch.from_numpy(times[1]).long())
    pooled = network.encoder.decode(torch.from_numpy(times[2]).long())
    assert torch.equal(functional.max_pool2d(values, 2), pooled)


def test_what_cannot_be_converted_is_refused():
    floats = build_cat_network(ARCHITECTURE, T=24, tau=4, weights="float")
    with pytest.raises(ValueError, match=r"^weights must be log5 or ternary to be converted, not float$"):
        ttfs.convert(floats)
    for index, name, part in ((2, "conv2", "norm.running_var"), (3, "fc", "weight")):
        broken = make_network(steps=1)
        broken.chain[index].state_dict()[part][0] = math.inf
        with pytest.raises(ValueError, match=rf"^layer {name} must have finite weights and BatchNorm$"):
            ttfs.convert(broken)
    wide = copy.deepcopy(ARCHITECTURE)
    wide["layers"] = wide["layers"][-1:]
    with pytest.raises(ValueError, match=r"^membrane must stay below 2\^53, and may reach \d+: .*fraction$"):
        ttfs.convert(build_cat_network(wide, T=36, tau=1, weights="ternary", fraction=17))


def test_the_example_on_the_page_prints_what_it_says(capsys):
    page = (pathlib.Path(__file__).parents[3] / "docs" / "ttfs.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    torch.manual_seed(SEED)
    exec(program, {})
    assert capsys.readouterr().out.strip() == program.rpartition("# ")[2].strip()


def trained(folder, name, **more):
    """A finished training of two steps."""
    return str(finished(folder / name, name=name, epochs=1, batch_size=50, **more).folder)


def test_command_converts_a_training_and_repeats_its_scores(tmp_path, capsys):
    method = {"kind": "conversion-aware", "timesteps": 8, "tau": 2}
    folder = trained(tmp_path, "times", weights="float", methods=(method,))
    output = tmp_path / "times.safetensors"
    assert command.main([folder, "-o", str(output)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("code: T = 8, tau = 2, 5-bit weights, 16 fractional bits\nverified: ")
    converted = network_file.load(output)
    images = torch.randint(0, 256, (20, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(SEED))
    scores, _ = exact_forward(load_trained(pathlib.Path(folder)), images)
    ours = Reference(converted).run(images.numpy()).scores * 2.0**-converted.code.unit_bits
    assert np.array_equal(ours, scores.numpy())


def test_what_has_no_spike_times_gets_one_line(tmp_path, capsys):
    folder = trained(tmp_path, "plain")
    output = str(tmp_path / "out.safetensors")
    for arguments, line in (
            ([folder, "-o", output], (f"{folder}: holds a training without spike times: give its checkpoint to python "
                                      f"-m export")),
            ([str(tmp_path / "none"), "-o", output], (f"{tmp_path}/none: must hold a finished training, with its "
                                                      f"result.json: train it first, to its end, into "
                                                      f"{tmp_path}/none")),
            ([folder, "-o", str(tmp_path)], f"{tmp_path}: output must be a file, not a folder"),
            ([folder, "-o", f"{tmp_path}/no/out"], f"{tmp_path}/no/out: folder {tmp_path}/no must exist"),
            ([folder, "-o", output, "--verify-images", "0"], "--verify-images must be 1 or more, not 0")):
        assert command.main(arguments) == 1
        assert capsys.readouterr().err == f"ERROR: {line}\n"
