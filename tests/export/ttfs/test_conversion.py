import copy
import dataclasses
import itertools
import json
import math
import pathlib
import re
import shutil
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch.nn import functional

from arch.architecture import CheckpointError
from arch.network import NetworkError
from arch.ttfs import checkpoint as checkpoints
from arch.ttfs import network_file, trained_layers
from arch.ttfs.network import Convolution, EarliestPool, FullyConnected, Network, Readout
from arch.ttfs.widths import layer_widths, membrane_range
from export.ttfs import command, evaluation
from export.ttfs import conversion as ttfs
from reference.ttfs.network import Reference
from tests.train.test_training import finished, made, training
from train.finishing import finish
from train.folder import load_trained
from train.ttfs import exact
from train.ttfs.network import build_ttfs_network

ROOT = pathlib.Path(__file__).parents[3]
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
    network = build_ttfs_network(ARCHITECTURE, T=T, tau=tau, theta0=theta0, weights=weights)
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
    converted = ttfs.convert(network.checkpoint())
    assert converted.metadata["exact"] is True
    result = Reference(converted).run(images.numpy(), times=True)
    scores, times = exact.forward(network, images)
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
    found = ttfs.verify(network.checkpoint(), converted, read_only(images.numpy()))
    assert found.mismatches == (0,) * 5
    assert found.scores == 0
    assert found.places == tuple(entry.size for entry in result.times)
    assert found.spikes == tuple(int((entry < network.encoder.T).sum()) for entry in result.times)


def test_the_layers_are_those_of_the_architecture():
    network = make_network()
    converted = ttfs.convert(network.checkpoint(), {"name": "made"})
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
    converted = ttfs.convert(network.checkpoint())
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
    converted, code = ttfs.convert(network.checkpoint()), network.code
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
        network = build_ttfs_network(architecture, T=T, tau=tau, theta0=variant[2])
        converted = ttfs.convert(network.checkpoint())
        images = np.zeros((4, 1, 9, 8), np.uint8)
        images.reshape(-1)[:256] = np.arange(256)
        found = ttfs.verify(network.checkpoint(), converted, images)
        assert found.mismatches[0] == 0
        assert found.spikes[0] > 200


@variants
def test_the_forward_reaches_theta_at_each_threshold_and_not_one_below(variant):
    """Monotony and these two membranes per threshold are why spikes are equal for every image."""
    network = make_network(variant)
    converted, unit = ttfs.convert(network.checkpoint()), 2.0**-network.code.unit_bits
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
    trained = network.checkpoint()
    honest = trained_layers.BatchNorm.gain_and_offset

    def off(self, scale, theta0):
        gain, offset = honest(self, scale, theta0)
        if self is trained.layers[3].norm:
            offset[6] += 1e-3
        return gain, offset

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trained_layers.BatchNorm, "gain_and_offset", off)
        converted = ttfs.convert(trained)
        found = ttfs.verify(trained, converted, make_data()[0].numpy())
    assert (found.mismatches, found.scores) == ((0,) * 5, 0)
    assert converted.metadata["exact"] is False
    assert [entry["inexact_channels"] for entry in converted.metadata["certificate"]["layers"]] == [[], [], [6]]
    assert (converted.layers[3].threshold[6] < ttfs.convert(network.checkpoint()).layers[3].threshold[6]).all()


@pytest.mark.parametrize("weights", ["log5", "ternary"])
def test_a_neuron_of_gain_one_copies_its_input(weights):
    """Every membrane is on a threshold: a tie spikes, in the forward, in exact arithmetic and in the integers."""
    epsilon = 2.0**-10
    architecture = {**ARCHITECTURE, "layers": [
        {**ARCHITECTURE["layers"][0], "channels": 1, "kernel": 1, "padding": 0, "epsilon": epsilon},
        ARCHITECTURE["layers"][-1]]}
    network = build_ttfs_network(architecture, T=24, tau=4, weights=weights)
    network.chain[0].weight.data.fill_(1)
    network.chain[0].norm.running_var.fill_(1 - epsilon)
    converted = ttfs.convert(network.checkpoint())
    assert converted.metadata["exact"] is True
    assert converted.layers[0].threshold.tolist() == converted.code.products()[1:2, :-1].tolist()
    images = make_data()[0]
    times = Reference(converted).run(images.numpy(), times=True).times
    assert (times[0] == times[1]).all()
    assert (exact.forward(network, images)[1][1].numpy() == times[1]).all()


def test_verification_counts_what_differs():
    network = make_network()
    images = make_data()[0].numpy()
    converted = ttfs.convert(network.checkpoint())
    *layers, readout = converted.layers
    moved = layers[0].threshold.copy()
    moved[2] = membrane_range(converted.code, layers[0].weights).high[2] + 1
    silent = Network(input=converted.input, code=converted.code, layers=(
        dataclasses.replace(layers[0], threshold=moved), *layers[1:], Readout(weights=-readout.weights)))
    found = ttfs.verify(network.checkpoint(), silent, images)
    times = exact.forward(network, torch.from_numpy(images))[1]
    assert found.mismatches[0] == 0
    assert found.mismatches[1] == int((times[1][:, 2] < 24).sum())
    assert found.scores > 0


def test_accuracy_is_that_of_the_exact_forward():
    network = make_network()
    images, _ = make_data()
    labels = exact.predict(network, images)
    labels[:30] = (labels[:30] + 1) % 4
    assert exact.accuracy(network, images, labels) == 0.8
    assert ttfs.accuracy(ttfs.convert(network.checkpoint()), images.numpy(), labels.numpy()) == 0.8


def test_membranes_stay_in_their_widths():
    network = make_network()
    converted = ttfs.convert(network.checkpoint())
    result = Reference(converted).run(make_data()[0].numpy(), internals=True)
    for widths, details in zip(layer_widths(converted), result.internals, strict=False):
        if details is not None:
            for found, allowed in ((details.membranes, widths.membrane), (details.accumulators, widths.accumulator)):
                assert allowed.low <= found.min() <= found.max() <= allowed.high
                assert allowed.bits <= 53


def test_pooling_takes_the_earliest_spike_which_is_the_largest_value():
    network = make_network()
    images = make_data()[0]
    times = Reference(ttfs.convert(network.checkpoint())).run(images.numpy(), times=True).times
    values = network.encoder.decode(torch.from_numpy(times[1]).long())
    pooled = network.encoder.decode(torch.from_numpy(times[2]).long())
    assert torch.equal(functional.max_pool2d(values, 2), pooled)


def test_what_has_no_checkpoint_is_refused():
    floats = build_ttfs_network(ARCHITECTURE, T=24, tau=4, weights="float")
    with pytest.raises(CheckpointError, match=r"^weights must be log5 or ternary for a checkpoint, not float$"):
        floats.checkpoint()
    for index, name, part, what in ((2, "conv2", "norm.running_var", "variance"), (3, "fc", "weight", "scale")):
        broken = make_network(steps=1)
        broken.chain[index].state_dict()[part][0] = math.inf
        with pytest.raises(CheckpointError, match=rf"^layer {name}: {what} must be finite$"):
            broken.checkpoint()


def test_sums_that_float64_may_round_are_refused():
    wide = copy.deepcopy(ARCHITECTURE)
    wide["layers"] = wide["layers"][-1:]
    network = build_ttfs_network(wide, T=36, tau=1, weights="ternary", fraction=17)
    with pytest.raises(NetworkError, match=r"^membrane must stay below 2\^53, and may reach \d+: .*fraction$"):
        ttfs.convert(network.checkpoint())


@variants
def test_the_forward_without_torch_is_the_one_with_torch(variant):
    network = make_network(variant)
    images = make_data()[0]
    scores, times = exact.forward(network, images)
    ours, our_times = evaluation.exact_forward(network.checkpoint(), images.numpy())
    assert (ours == scores.numpy()).all()
    for mine, theirs in zip(our_times, times, strict=True):
        assert (mine == theirs.numpy()).all()


def drawn_network(seed, variant):
    """A network of random weights that depend on NumPy's generator alone."""
    (T, tau), weights, theta0 = variant
    network = build_ttfs_network(ARCHITECTURE, T=T, tau=tau, theta0=theta0, weights=weights)
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith("num_batches_tracked"):
                continue
            if name.endswith("running_var"):
                drawn = rng.uniform(0.05, 2, value.shape)
            elif name.endswith("norm.weight"):
                drawn = rng.normal(0.3, 0.8, value.shape)
            else:
                drawn = rng.normal(0, 0.4, value.shape)
            value.copy_(torch.from_numpy(drawn.astype(np.float32)))
        network.chain[2].norm.weight[5] = 0
        network.chain[3].weight[4] = 0
    return network.eval()


#: First digits of the digests of networks of :func:`drawn_network` as they were converted from the PyTorch module
#: itself, before there was a checkpoint: one for each of VARIANTS, whose index is the seed.
DIGESTS = (
    "9d5300530e8b6b48", "7038ccacfda459d1", "5899d4159a8f813f", "916c9d3c5c50cdde",
    "9a7726efec103dfa", "d9f2e87137816e17", "104d272a569e39fd", "9be46181c02311e3",
    "e048c72080cb5f21", "560b8aa8afb17385", "67afc95761e4444d", "7761ab11a8b417cd")


@pytest.mark.parametrize("seed", range(len(VARIANTS)))
def test_integers_are_those_of_earlier_versions(seed):
    converted = ttfs.convert(drawn_network(seed, VARIANTS[seed]).checkpoint())
    assert network_file.digest(converted)[:16] == DIGESTS[seed]
    assert converted.metadata["exact"] is True


def test_the_example_on_the_page_prints_what_it_says(capsys):
    page = (pathlib.Path(__file__).parents[3] / "docs" / "ttfs.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    torch.manual_seed(SEED)
    exec(program, {})
    assert capsys.readouterr().out.strip() == program.rpartition("# ")[2].strip()


@pytest.fixture(scope="module")
def times(tmp_path_factory):
    """Folder of a finished conversion-aware training of two steps."""
    method = {"kind": "conversion-aware", "timesteps": 8, "tau": 2}
    return finished(tmp_path_factory.mktemp("times"), name="times", epochs=1, batch_size=50, weights="float",
                    methods=(method,)).folder


def test_command_converts_what_a_training_wrote_and_repeats_its_scores(times, tmp_path, capsys):
    output = tmp_path / "times.safetensors"
    trained = times / "times.safetensors"
    assert command.main([str(trained), "-o", str(output)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("code: T = 8, tau = 2, 5-bit weights, 16 fractional bits\nverified: ")
    converted = network_file.load(output)
    images = torch.randint(0, 256, (20, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(SEED))
    scores, _ = exact.forward(load_trained(times), images)
    ours = Reference(converted).run(images.numpy()).scores * 2.0**-converted.code.unit_bits
    assert np.array_equal(ours, scores.numpy())
    result = json.loads((times / "result.json").read_text())
    assert result["checkpoint"] == "times.safetensors"
    training = converted.metadata["training"]
    assert converted.metadata["checkpoint_sha256"] == checkpoints.digest(checkpoints.load(trained))
    for key in ("epoch", "validation_accuracy", "test_accuracy", "float32_mismatches"):
        assert training[key] == result[key]
    assert training["recipe"]["name"] == "times"


def refused(capsys, arguments, line):
    assert command.main([str(argument) for argument in arguments]) == 1
    assert capsys.readouterr().err == f"ERROR: {line}\n"


def test_folder_of_an_earlier_version_gets_the_line_that_helps(times, tmp_path, capsys):
    folder = tmp_path / "times"
    shutil.copytree(times, folder)
    (folder / "times.safetensors").unlink()
    result = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps({key: value for key, value in result.items()
                                                    if key != "checkpoint"}))
    output = tmp_path / "out.safetensors"
    refused(capsys, [folder, "-o", output],
            f"{folder}: training has no checkpoint of a network with spike times: if it was trained with an earlier "
            f"version, remove {folder}/result.json and repeat the command of the training, which writes one without "
            f"training again")
    # Which is true.
    (folder / "result.json").unlink()
    method = {"kind": "conversion-aware", "timesteps": 8, "tau": 2}
    again = training(folder, name="times", epochs=1, batch_size=50, weights="float", methods=(method,))
    assert again.resume()
    again.run()
    finish(again, made(20, 3))
    assert checkpoints.digest(checkpoints.load(folder / "times.safetensors")) == checkpoints.digest(
        checkpoints.load(times / "times.safetensors"))
    assert command.main([str(folder / "times.safetensors"), "-o", str(output)]) == 0
    capsys.readouterr()
    refused(capsys, [folder, "-o", output],
            f"{folder}: checkpoint must be a file, not a folder: give the NAME.safetensors in it")


def test_wrong_files_and_numbers_get_one_line(times, tmp_path, capsys):
    trained = times / "times.safetensors"
    output = tmp_path / "out.safetensors"
    stranger = tmp_path / "stranger.safetensors"
    stranger.write_bytes(b"nonsense" * 9)
    refused(capsys, [tmp_path / "none", "-o", output], f"{tmp_path}/none: No such file or directory")
    refused(capsys, [trained, "-o", tmp_path], f"{tmp_path}: output must be a file, not a folder")
    refused(capsys, [trained, "-o", trained],
            f"{trained}: output must not be the input {trained}: give another name")
    refused(capsys, [trained, "-o", f"{tmp_path}/no/out"], f"{tmp_path}/no/out: folder {tmp_path}/no must exist")
    for number in (0, 1_000_001):
        refused(capsys, [trained, "-o", output, "--verify-images", number],
                f"--verify-images must be 1 to 1000000, not {number}")
    assert command.main([str(stranger), "-o", str(output)]) == 1
    assert capsys.readouterr().err == (
        f"ERROR: {stranger}: not a checkpoint of a network with spike times: its header must be at most 16777216 "
        f"bytes, not {int.from_bytes(b'nonsense', 'little')}\n")
    assert not output.exists()


def test_command_needs_no_torch(times, tmp_path):
    program = ("import sys; sys.modules['torch'] = None; from export.ttfs.command import main; "
               f"sys.exit(main([{str(times / 'times.safetensors')!r}, '-o', {str(tmp_path / 'out')!r}]))")
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
