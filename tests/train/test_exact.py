import copy
import dataclasses
import functools
import math

import numpy as np
import pytest
import torch

from arch.checkpoint import Checkpoint
from arch.network import Encoding, Input, Reset
from export import steps
from export.evaluation import layer_spikes
from export.folding import fold
from reference.network import Reference
from train import exact
from train.layers import Convolution, FullyConnected, Identity, OrPool, Projection, Readout
from train.network import SpikingNetwork, build

SEED = 21


def small_network(*, reset=Reset.SUBTRACT, leak_shift=None, zero_point=0, encoding=Encoding.PIXELS):
    """An untrained network with made BatchNorm statistics, of both signs of gamma."""
    torch.manual_seed(SEED)
    source = Input(encoding=encoding, channels=2, height=9, width=8, zero_point=zero_point)
    behaviour = {"timesteps": 3, "reset": reset, "leak_shift": leak_shift}
    network = SpikingNetwork(source, [Convolution(2, 5, 3, stride=2, padding=1, **behaviour),
                                      Convolution(5, 6, 2, **behaviour), OrPool(2),
                                      FullyConnected(12, 7, **behaviour), Readout(7, 4)], timesteps=3)
    for layer in network.chain:
        if isinstance(layer, Convolution | FullyConnected):
            layer.norm.weight.data = torch.randn(layer.norm.num_features)
            layer.norm.bias.data = 0.3 * torch.randn(layer.norm.num_features) + 0.3
            layer.norm.running_mean = 0.1 * torch.randn(layer.norm.num_features)
            layer.norm.running_var = 0.5 + torch.rand(layer.norm.num_features)
    return network.eval()


def graph_network(*, encoding=Encoding.PIXELS, reset=Reset.SUBTRACT, leak_shift=None):
    """Pools behind pixels and behind a sum; sums of a convolution, an or-pool and a fully connected layer."""
    torch.manual_seed(SEED)
    source = Input(encoding=encoding, channels=2, height=9, width=8)
    behaviour = {"timesteps": 3, "reset": reset, "leak_shift": leak_shift}
    network = SpikingNetwork(source, [
        Convolution(2, 5, 3, padding=2, pool=2, **behaviour), Convolution(5, 5, 3, padding=1, **behaviour),
        Convolution(5, 6, 2, shortcut=0, padding=1, pool=3, **behaviour),
        Convolution(6, 6, 3, padding=1, **behaviour), Convolution(6, 7, 1, shortcut=2, **behaviour),
        FullyConnected(28, 9, **behaviour), FullyConnected(9, 9, **behaviour),
        FullyConnected(9, 9, shortcut=5, **behaviour), Readout(9, 4)], timesteps=3)
    for layer in network.chain:
        if isinstance(layer, Convolution | FullyConnected):
            layer.norm.weight.data = 0.5 + torch.rand(layer.norm.num_features)
            layer.norm.weight.data[1].neg_()
            layer.norm.bias.data = 0.3 * torch.randn(layer.norm.num_features) + 0.3
            layer.norm.running_mean = 0.1 * torch.randn(layer.norm.num_features)
            layer.norm.running_var = 0.5 + torch.rand(layer.norm.num_features)
    return network.eval()


def residual_network(*, encoding=Encoding.PIXELS, reset=Reset.SUBTRACT, leak_shift=None):
    """An identity, a projection with a stride before a pool, and one of the layer before."""
    torch.manual_seed(SEED)
    source = Input(encoding=encoding, channels=2, height=8, width=8)
    behaviour = {"timesteps": 3, "reset": reset, "leak_shift": leak_shift}
    network = SpikingNetwork(source, [
        Convolution(2, 5, 3, padding=1, **behaviour),
        Convolution(5, 5, 3, padding=1, projection=Identity(source=0), **behaviour),
        OrPool(2),
        Convolution(5, 6, 3, padding=1, pool=2, projection=Projection(source=0, channels=5, stride=2),
                    **behaviour),
        Convolution(6, 6, 3, padding=1, projection=Projection(source=3, channels=6), **behaviour),
        FullyConnected(24, 8, **behaviour), FullyConnected(8, 9, **behaviour), Readout(9, 4)], timesteps=3)
    return normalised(network)


def averaging_network(*, dense=True, encoding=Encoding.PIXELS, reset=Reset.SUBTRACT, leak_shift=None):
    """Means of windows of pixels, of a sum of spikes before a pool of currents, and before a layer without a kernel."""
    torch.manual_seed(SEED)
    source = Input(encoding=encoding, channels=2, height=9, width=9)
    behaviour = {"timesteps": 3, "reset": reset, "leak_shift": leak_shift}
    network = SpikingNetwork(source, [
        Convolution(2, 5, 2, padding=1, input_pool=3, **behaviour), Convolution(5, 5, 3, padding=1, **behaviour),
        Convolution(5, 6, 3, padding=2, input_pool=2, shortcut=0, pool=2, **behaviour),
        *([FullyConnected(6, 16, input_pool=2, **behaviour), Readout(16, 4)] if dense else
          [Readout(6, 4, input_pool=2)])], timesteps=3)
    return normalised(network)


#: Networks whose layers see more than the one before, by name.
MAKERS = {"graph": graph_network, "residual": residual_network, "averaging": averaging_network,
          "averaging-readout": functools.partial(averaging_network, dense=False)}


def normalised(network):
    """Give BatchNorm made statistics, and gains of both signs."""
    for layer in network.chain:
        if isinstance(layer, Convolution | FullyConnected):
            layer.norm.weight.data = 0.5 + torch.rand(layer.norm.num_features)
            layer.norm.weight.data[1].neg_()
            layer.norm.bias.data = 0.3 * torch.randn(layer.norm.num_features) + 0.3
            layer.norm.running_mean = 0.1 * torch.randn(layer.norm.num_features)
            layer.norm.running_var = 0.5 + torch.rand(layer.norm.num_features)
    return network.eval()


def made_images(count, *, events=False, high=256, sides=(9, 8)):
    shape = (count, 3, 2, *sides) if events else (count, 2, *sides)
    return torch.from_numpy(np.random.default_rng(SEED).integers(0, 2 if events else high, shape, dtype=np.uint8))


def images_of(checkpoint, count):
    """Images of the size and kind of a checkpoint's input."""
    source = checkpoint.architecture["input"]
    return made_images(count, events=source["encoding"] == "events", sides=(source["height"], source["width"]))


def slow_sums(frame, size):
    total = np.zeros((len(frame), frame.shape[1] // size, frame.shape[2] // size), int)
    for c, y, x in np.ndindex(total.shape):
        total[c, y, x] = frame[c, y * size:(y + 1) * size, x * size:(x + 1) * size].sum()
    return total


def slow_beside(projection, get, maps):
    """Currents of a projection, position by position."""
    step = projection["stride"]
    codes = np.eye(len(maps[0])) if projection["weights"] == "identity" else get["projection_ternary"][:, :, 0, 0]
    found = []
    for frame in maps:
        current = np.zeros((len(codes), -(-frame.shape[1] // step), -(-frame.shape[2] // step)), int)
        for c, y, x in np.ndindex(current.shape):
            current[c, y, x] = (codes[c] * frame[:, y * step, x * step]).sum()
        found.append(current)
    return found


def slow(checkpoint, image):
    """One image, neuron by neuron, in Python and numpy: scores and spikes per layer."""
    source, steps = checkpoint.architecture["input"], checkpoint.architecture["timesteps"]
    if source["encoding"] == "events":
        maps = [frame.astype(int) for frame in image]
    else:
        maps = [image.astype(int) - source["zero_point"]] * steps
    every, outputs = [], {}
    for index, layer in enumerate(checkpoint.architecture["layers"]):
        if "shortcut" in layer:
            maps = [frame + other for frame, other in zip(maps, outputs[layer["shortcut"]], strict=True)]
        get = {key.split(".")[1]: value.astype(float) for key, value in checkpoint.tensors.items()
               if key.split(".")[0] == layer.get("name")}
        if layer["kind"] == "or-pool":
            size = layer["size"]
            out = []
            for frame in maps:
                pooled = np.zeros((len(frame), frame.shape[1] // size, frame.shape[2] // size), int)
                for c, y, x in np.ndindex(pooled.shape):
                    pooled[c, y, x] = frame[c, y * size:(y + 1) * size, x * size:(x + 1) * size].any()
                out.append(pooled)
            maps = out
            every.append(maps)
            continue
        codes = get["ternary"].astype(int)
        averaged = layer.get("input_pool", 1)
        maps = [slow_sums(frame, averaged) for frame in maps]
        beside = None
        if "projection" in layer:
            beside = slow_beside(layer["projection"], get, outputs[layer["projection"]["source"]])
        currents = []
        for step, frame in enumerate(maps):
            if layer["kind"] == "convolution":
                k, s, p = layer["kernel"], layer["stride"], layer["padding"]
                padded = np.pad(frame, ((0, 0), (p, p), (p, p)))
                current = np.zeros((len(codes), (padded.shape[1] - k) // s + 1, (padded.shape[2] - k) // s + 1), int)
                for c, y, x in np.ndindex(current.shape):
                    current[c, y, x] = (codes[c] * padded[:, y * s:y * s + k, x * s:x * s + k]).sum()
                if beside is not None:
                    current = current + beside[step]
                pool = layer.get("pool", 1)
                current = slow_sums(current, pool) / pool**2
            else:
                current = (codes @ frame.reshape(-1))[:, None, None]
            currents.append(current)
        if layer["kind"] == "readout":
            return sum(currents)[:, 0, 0], every
        root = np.sqrt(get["variance"] + layer["epsilon"])
        gain = get["alpha"] * (get["gamma"] / root) * (source["scale"] if index == 0 else 1)
        offset = get["beta"] - get["gamma"] / root * get["mean"]
        membrane = np.full(currents[0].shape, float(get["initial"]))
        out = []
        for current in currents:
            if layer["leak_shift"] is not None:
                membrane *= 1 - 2.0**-layer["leak_shift"]
            membrane = membrane + (gain[:, None, None] * current / averaged**2 + offset[:, None, None])
            fired = membrane >= get["theta"]
            membrane = np.where(fired, 0 if layer["reset"] == "zero" else membrane - get["theta"], membrane)
            out.append(fired.astype(int))
        maps = outputs[layer["name"]] = out
        every.append(maps)
    raise AssertionError("no readout")


@pytest.mark.parametrize("form", [{}, {"zero_point": 128}, {"reset": Reset.ZERO}, {"leak_shift": 2},
                                  {"encoding": Encoding.EVENTS}], ids=str)
def test_exact_forward_equals_a_slow_independent_computation(form):
    checkpoint = small_network(**form).checkpoint()
    images = made_images(6, events=form.get("encoding") is Encoding.EVENTS)
    scores, spikes = exact.forward(checkpoint, images)
    total = 0
    for number, image in enumerate(images.numpy()):
        expected, layers = slow(checkpoint, image)
        assert scores[number].tolist() == expected.tolist()
        assert len(spikes) == len(layers) == 4
        for maps, wanted in zip(spikes, layers, strict=True):
            assert maps.dtype is torch.uint8
            assert np.array_equal(maps[:, number].numpy(), np.stack(wanted))
            total += int(maps[:, number].sum())
    assert total > 100, "the network must not be silent"


@pytest.mark.parametrize("form", [{}, {"reset": Reset.ZERO}, {"leak_shift": 2}, {"encoding": Encoding.EVENTS}], ids=str)
@pytest.mark.parametrize("name", MAKERS)
def test_exact_forward_of_a_graph_equals_a_slow_independent_computation(name, form):
    checkpoint = MAKERS[name](**form).checkpoint()
    images = images_of(checkpoint, 6)
    scores, spikes = exact.forward(checkpoint, images)
    for number, image in enumerate(images.numpy()):
        expected, layers = slow(checkpoint, image)
        assert scores[number].tolist() == expected.tolist()
        for maps, wanted in zip(spikes, layers, strict=True):
            assert np.array_equal(maps[:, number].numpy(), np.stack(wanted))
    meeting = {"graph": ((0, 1), (2, 3), (5, 6)), "residual": ((0, 0), (1, 1), (3, 3))}
    for one, other in meeting.get(name, ((0, 1),)):
        assert int((spikes[one] & spikes[other]).sum()) > 5, "both maps must spike somewhere"


@pytest.mark.parametrize("form", [{}, {"reset": Reset.ZERO}, {"encoding": Encoding.EVENTS}], ids=str)
@pytest.mark.parametrize("make", [small_network, *MAKERS.values()], ids=["chain", *MAKERS])
def test_exact_forward_equals_the_reference_of_the_exported_network(make, form):
    checkpoint = make(**form).checkpoint()
    certified = steps.certify(checkpoint, fold(checkpoint), max_fraction=8)
    network = steps.assemble(checkpoint, certified, {})
    assert network.metadata["exact"] is True
    events = network.input.encoding is Encoding.EVENTS
    images = images_of(checkpoint, 60)
    scores, spikes = exact.forward(checkpoint, images)
    inputs = images.numpy().astype(bool) if events else images.numpy()
    result = Reference(network).run(inputs, spikes=True)
    for ours, theirs in zip(spikes, result.spikes, strict=True):
        assert np.array_equal(ours.movedim(0, 1).numpy(), theirs)
    assert np.array_equal(scores.numpy(), result.scores)
    verification = steps.verify(checkpoint, steps.pack(network), inputs)
    assert sum(verification.mismatches) == 0
    assert sum(verification.compared) > 1000


@pytest.mark.parametrize("make", [small_network, *MAKERS.values()], ids=["chain", *MAKERS])
def test_exact_forward_agrees_with_the_float_forward(make):
    network = make()
    images = images_of(network.checkpoint(), 200)
    scores, spikes = exact.forward(network.checkpoint(), images)
    maps = []
    with torch.no_grad():
        approximate = network(images, maps)
    for layer, (ours, theirs) in enumerate(zip(spikes, maps, strict=True)):
        share = (ours != theirs.movedim(-1, 2)).float().mean()
        assert share < 1e-3, f"layer {layer}"
    wrong, compared = exact.mismatches(network, images)
    assert compared == sum(ours.numel() for ours in spikes)
    assert wrong == sum(int((ours != theirs.movedim(-1, 2)).sum()) for ours, theirs in zip(spikes, maps, strict=True))
    scale = network.checkpoint().score_scale
    assert torch.allclose(approximate * 3 / scale, scores.float(), atol=1e-3)


def test_batches_give_what_all_images_at_once_give(monkeypatch):
    checkpoint = small_network().checkpoint()
    images = made_images(23)
    scores, _ = exact.forward(checkpoint, images)
    monkeypatch.setattr(exact, "_SLOTS", 5 * checkpoint.architecture["timesteps"] + 1)
    assert exact.predict(checkpoint, images).tolist() == scores.numpy().argmax(1).tolist()


def test_more_timesteps_make_smaller_batches():
    assert [exact.batch_size(timesteps) for timesteps in (1, 4, 32, 3000)] == [2000, 500, 62, 1]


def test_lowest_class_wins_a_tie():
    checkpoint = small_network().checkpoint()
    codes = checkpoint.tensors["readout.ternary"].copy()
    codes[1:] = codes[0]
    tied = dataclasses.replace(checkpoint, tensors={**checkpoint.tensors, "readout.ternary": codes})
    assert exact.predict(tied, made_images(9)).tolist() == [0] * 9
    assert exact.accuracy(tied, made_images(4), torch.tensor([0, 1, 0, 2])) == 0.5


def test_recalibrated_statistics_are_those_of_the_currents():
    checkpoint = exact.recalibrate(small_network().checkpoint(), made_images(40))
    # BatchNorm with measured statistics gives mean beta and standard deviation |gamma|: seen by a network with
    # these statistics, whose first layer is left as it is.
    again = exact.recalibrate(checkpoint, made_images(40))
    for name, array in checkpoint.tensors.items():
        assert np.array_equal(array, again.tensors[name]), name
    alpha, codes = checkpoint.tensors["conv1.alpha"], checkpoint.tensors["conv1.ternary"]
    current = torch.nn.functional.conv2d(made_images(40).float(), torch.from_numpy(codes.copy()).float(), stride=2,
                                         padding=1).double().numpy() * alpha[:, None, None] / 256
    assert checkpoint.tensors["conv1.mean"] == pytest.approx(current.mean((0, 2, 3)), rel=1e-5)
    assert checkpoint.tensors["conv1.variance"] == pytest.approx(current.var((0, 2, 3)), rel=1e-5)


def test_statistics_over_the_mean_are_those_of_currents_mean_over_time():
    made = graph_network().checkpoint()
    checkpoint = exact.recalibrate(made, made_images(40), over_mean=True)
    assert all(np.array_equal(checkpoint.tensors[f"conv1.{part}"],
                              exact.recalibrate(made, made_images(40)).tensors[f"conv1.{part}"])
               for part in ("mean", "variance"))
    # The second layer's mean spike, under the statistics that were found for the first.
    _, spikes = exact.forward(checkpoint, made_images(40))
    name, layer = "conv2", made.architecture["layers"][1]
    assert layer["name"] == name
    codes = torch.from_numpy(checkpoint.tensors[f"{name}.ternary"].copy()).double()
    current = torch.nn.functional.conv2d(spikes[0].double().mean(0), codes, stride=layer["stride"],
                                         padding=layer["padding"])
    if layer.get("pool", 1) > 1:
        current = torch.nn.functional.avg_pool2d(current, layer["pool"])
    current = current.numpy() * checkpoint.tensors[f"{name}.alpha"][:, None, None]
    assert checkpoint.tensors[f"{name}.mean"] == pytest.approx(current.mean((0, 2, 3)), rel=1e-5, abs=1e-7)
    assert checkpoint.tensors[f"{name}.variance"] == pytest.approx(current.var((0, 2, 3)), rel=1e-5)


def test_recalibrated_statistics_of_a_pool_are_those_of_the_mean_currents():
    made = graph_network().checkpoint()
    checkpoint = exact.recalibrate(made, made_images(40))
    again = exact.recalibrate(checkpoint, made_images(40))
    for name, array in checkpoint.tensors.items():
        assert np.array_equal(array, again.tensors[name]), name
    # What BatchNorm of the training sees in the first layer with the same weights.
    network = graph_network()
    seen = []
    network.chain[0].norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        network(made_images(40))
    (current,) = seen
    assert checkpoint.tensors["conv1.mean"] == pytest.approx(current.mean(0).numpy(), rel=1e-4, abs=1e-6)
    assert checkpoint.tensors["conv1.variance"] == pytest.approx(current.var(0, correction=0).numpy(), rel=1e-4)


def test_sums_beyond_float32_are_exact():
    """The odd sum lies between two numbers of float32."""
    source = Input(encoding=Encoding.PIXELS, channels=1, height=256, width=258)
    network = SpikingNetwork(source, [Readout(256 * 258, 2)], timesteps=1)
    network.chain[0].synapses.weight.data.fill_(1)
    images = torch.full((1, 1, 256, 258), 255, dtype=torch.uint8)
    images[0, 0, 0, 0] = 254
    total = 256 * 258 * 255 - 1
    assert total > 2**24
    assert total % 2
    assert exact.forward(network.checkpoint(), images)[0].tolist() == [[total, total]]


def test_integers_of_any_length_are_numbers():
    """JSON has integers that fit in no machine word; scale and epsilon may be written as such."""
    architecture = copy.deepcopy(dict(small_network().checkpoint().architecture))
    architecture["input"]["scale"] = architecture["layers"][0]["epsilon"] = 10**30
    network = build(architecture).eval()
    with torch.no_grad():
        network.chain[0].synapses.weight.mul_(1e-25)
    checkpoint, images = network.checkpoint(), made_images(20)
    assert (checkpoint.architecture["input"]["scale"], checkpoint.architecture["layers"][0]["epsilon"]) == (1e30, 1e30)
    given = dataclasses.replace(checkpoint, architecture=architecture)
    folded, described = (fold(each) for each in (given, checkpoint))
    assert folded[0].neurons == described[0].neurons
    assert torch.equal(exact.forward(given, images)[0], exact.forward(checkpoint, images)[0])
    measured, again = (exact.recalibrate(each, images) for each in (given, checkpoint))
    assert np.array_equal(measured.tensors["conv1.mean"], again.tensors["conv1.mean"])


def test_wrong_images_are_named():
    checkpoint = small_network().checkpoint()
    for wrong, text in ((torch.zeros(1, 2, 8, 8, dtype=torch.uint8), r"uint8 of \(1, 2, 8, 8\)"),
                        (torch.zeros(1, 2, 9, 8), r"float32 of \(1, 2, 9, 8\)")):
        with pytest.raises(ValueError, match=rf"^images must be uint8 of shape \(N, 2, 9, 8\), not {text}$"):
            exact.forward(checkpoint, wrong)


def last_bits_checkpoint():
    """Neurons with a weight of -1 behind one pixel of 3 whose current is the threshold but for roundings."""
    count, rng = 4000, np.random.default_rng(SEED)
    beta = rng.uniform(4, 16, count).astype(np.float32)
    tensors = {
        "fc.weight": -np.ones((count, 1)), "fc.alpha": np.ones(count), "fc.gamma": rng.uniform(0.5, 2, count),
        "fc.variance": rng.uniform(0.5, 2, count), "fc.mean": np.full(count, -3), "fc.beta": beta, "fc.theta": beta,
        "fc.initial": np.array(0), "r.weight": np.ones((2, count)), "r.alpha": np.array(1)}
    tensors = {name: values.astype(np.float32) for name, values in tensors.items()}
    tensors |= {f"{name}.ternary": tensors[f"{name}.weight"].astype(np.int8) for name in ("fc", "r")}
    return Checkpoint(tensors=tensors, architecture={
        "input": {"encoding": "pixels", "channels": 1, "height": 1, "width": 1, "zero_point": 0, "scale": 1},
        "timesteps": 1,
        "layers": [{"kind": "fully-connected", "name": "fc", "neurons": count, "reset": "subtract", "leak_shift": None,
                    "epsilon": 1e-5}, {"kind": "readout", "name": "r", "classes": 2}]})


def test_training_and_export_round_to_the_last_bit_as_ieee_754_says():
    """A square root that misses the last bit, as PyTorch's of float64 does for some values, moves spikes here."""
    made = last_bits_checkpoint()
    parts = ("gamma", "variance", "beta")

    def spikes(bits):
        found = []
        for gamma, variance, beta in zip(*(made.tensors[f"fc.{part}"].tolist() for part in parts), strict=True):
            root = math.sqrt(variance + 1e-5)
            slope = gamma / (root + bits * math.ulp(root))
            found.append(slope * -3.0 + (beta + slope * 3.0) >= beta)
        return found

    expected = spikes(0)
    for bits in (-1, 1):
        assert sum(one != other for one, other in zip(expected, spikes(bits), strict=True)) > 400
    trained = exact.forward(made, torch.full((1, 1, 1, 1), 3, dtype=torch.uint8))[1][0]
    assert trained.flatten().bool().tolist() == expected
    assert layer_spikes(made, 0, np.full((1, 1, 1, 1, 1), 3)).flatten().tolist() == expected
