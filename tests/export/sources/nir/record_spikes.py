"""Makes the NIR files in ``data/`` with the exporters of five packages, and records the spikes of their own forwards.

The tests compare with the records, and need none of the packages. One environment cannot hold all of them (November
2026: SpikingJelly 2.0.0 wants nir 1.0.7 or newer, Sinabs 3.1.3 and Rockpool 3.1.0 want nir 1.0.4 or older):

    nir==1.0.8 nirtorch==2.6 snntorch==1.0.0 spikingjelly==2.0.0            record_spikes.py snntorch spikingjelly
    nir==1.0.4 nirtorch==2.0.2 sinabs==3.1.3 norse==1.1.0 rockpool==3.1.0   record_spikes.py sinabs norse rockpool

Each network NAME gives NAME.nir, and NAME.npz with inputs (``pixels``, uint8, seen as p / 256, and ``events``, bool, 4
timesteps) and the spikes of every layer of neurons for both (``pixels-0``, ``events-0`` and so on, bool,
``[images, T, ...]``). Weights are -1, 0 and 1 times a power of two for each output channel, biases multiples of 1/8,
and half of the pixels multiples of 64, so that float32 rounds nothing, and membranes meet their thresholds exactly: the
tests see that ``>`` and ``>=`` give other spikes. Networks whose name ends in ``-float`` have random weights and no
record.
"""

import pathlib
import sys
import warnings

import nir
import numpy as np
import torch
from torch import nn

warnings.filterwarnings("ignore")
DATA = pathlib.Path(__file__).parent / "data"
TIMESTEPS, IMAGES = 4, 24
FLAT, MAP = (36,), (1, 8, 8)


def seed(net, ternary=True):
    """Set all weights and biases."""
    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            w = torch.randn_like(module.weight)
            scale = 2.0 ** -torch.randint(0, 3, (len(w),) + (1,) * (w.ndim - 1)).float()
            module.weight.data = torch.sign(w) * (w.abs() > 0.6) * scale if ternary else 0.2 * w
            if module.bias is not None:
                module.bias.data = torch.randint(-3, 4, module.bias.shape).float() / 8
    return net


def inputs(shape):
    """Images of which half have many ties, and frames of events."""
    rng = np.random.default_rng(0)
    coarse = rng.choice(np.array([0, 64, 128, 192], dtype=np.uint8), (IMAGES // 2, *shape))
    fine = rng.integers(0, 256, (IMAGES - IMAGES // 2, *shape), dtype=np.uint8)
    return np.concatenate([coarse, fine]), rng.random((IMAGES, TIMESTEPS, *shape)) < 0.3


def record(name, net, shape, neurons, run):
    """Run ``net`` on all inputs; ``run(x)`` takes ``[T, ...]`` of one image; ``neurons`` are modules that spike."""
    pixels, events = inputs(shape)
    frames = np.repeat(pixels[:, None].astype(np.float32) / 256, TIMESTEPS, axis=1)
    arrays = {"pixels": pixels, "events": events}
    for kind, batch in (("pixels", frames), ("events", events.astype(np.float32))):
        found = [[] for _ in neurons]
        hooks = [module.register_forward_hook(
            lambda _module, _inputs, output, place=place: place.append(
                (output[0] if isinstance(output, tuple) else output).detach().numpy()))
            for module, place in zip(neurons, found, strict=True)]
        with torch.no_grad():
            for image in batch:
                run(torch.from_numpy(image))
        for hook in hooks:
            hook.remove()
        for index, place in enumerate(found):
            steps = np.concatenate([part.reshape(-1, *part.shape[1:]) for part in place])
            assert set(np.unique(steps)) <= {0, 1}, f"{name}: a neuron spikes several times"
            arrays[f"{kind}-{index}"] = steps.reshape(len(batch), TIMESTEPS, *steps.shape[1:]) > 0
            share = arrays[f"{kind}-{index}"].mean()
            print(f"  {kind} layer {index}: {share:.1%} of neurons spike")
    np.savez_compressed(DATA / f"{name}.npz", **arrays)


def write(name, graph):
    """Write the graph as its package does."""
    nir.write(DATA / f"{name}.nir", graph)
    print(f"{name}: {(DATA / f'{name}.nir').stat().st_size} bytes")


def snntorch_files():
    import snntorch as snn
    from snntorch import utils
    from snntorch.export_nir import export_to_nir

    def neuron(shape, beta, threshold, **more):
        # One value a neuron: scalars have not the shape that nir 1.0.8 wants.
        return snn.Leaky(beta=torch.full(shape, beta), threshold=torch.full(shape, threshold), init_hidden=True, **more)

    def fc(beta=1.0, threshold=1.0, **more):
        return nn.Sequential(nn.Linear(36, 12), neuron((12,), beta, threshold, **more), nn.Linear(12, 5),
                             neuron((5,), beta, threshold, output=True, **more))

    def conv(beta=1.0, bias=False):
        return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, bias=bias), neuron((4, 8, 8), beta, 0.5), nn.AvgPool2d(2),
                             nn.Flatten(), nn.Linear(64, 10, bias=bias), neuron((10,), beta, 0.5, output=True))

    def each(name, net, shape, ternary=True):
        seed(net, ternary)
        write(name, export_to_nir(net, torch.rand(1, *shape), ignore_dims=[0]))
        if not ternary:
            return

        def run(image):
            utils.reset(net)
            for frame in image:
                net(frame[None])
        record(name, net, shape, [module for module in net if isinstance(module, snn.Leaky)], run)

    each("snntorch-conv-if", conv(), MAP)
    each("snntorch-fc-if-subtract", fc(threshold=0.75), FLAT)
    each("snntorch-fc-if-zero", fc(reset_mechanism="zero"), FLAT)
    each("snntorch-fc-lif-zero", fc(beta=0.5, reset_mechanism="zero"), FLAT)
    each("snntorch-fc-lif-subtract", fc(beta=0.5), FLAT)
    each("snntorch-fc-lif-float", fc(beta=0.9), FLAT, ternary=False)


def spikingjelly_files():
    from spikingjelly.activation_based import functional, layer, neuron
    from spikingjelly.activation_based.nir_exchange import export_to_nir

    def fc(make, **more):
        return nn.Sequential(layer.Linear(36, 12), make(**more), layer.Linear(12, 5), make(**more))

    def conv():
        return nn.Sequential(layer.Conv2d(1, 4, 3, padding=1, bias=False), neuron.IFNode(v_threshold=0.75, v_reset=0.0),
                             layer.AvgPool2d(2), layer.Flatten(), layer.Linear(64, 10, bias=False),
                             neuron.IFNode(v_threshold=0.75, v_reset=0.0))

    def each(name, net, shape, ternary=True):
        seed(net, ternary)
        write(name, export_to_nir(net, torch.rand(1, *shape)))
        if not ternary:
            return

        def run(image):
            functional.reset_net(net)
            for frame in image:
                net(frame[None])
        record(name, net, shape, [module for module in net if isinstance(module, neuron.BaseNode)], run)

    each("spikingjelly-conv-if", conv(), MAP)
    each("spikingjelly-fc-if", fc(neuron.IFNode, v_reset=0.0), FLAT)
    each("spikingjelly-fc-lif", fc(neuron.LIFNode, tau=2.0, v_reset=0.0, v_threshold=0.5), FLAT)
    each("spikingjelly-fc-lif-no-decay", fc(neuron.LIFNode, tau=4.0, decay_input=False, v_reset=0.0), FLAT)
    each("spikingjelly-fc-if-float", fc(neuron.IFNode, v_reset=0.0), FLAT, ternary=False)


def sinabs_files():
    import sinabs.layers as sl
    from sinabs.activation import MembraneReset, SingleSpike
    from sinabs.nir import to_nir

    def iaf(**more):
        return sl.IAFSqueeze(batch_size=1, **more)

    def each(name, net, shape, shaped=False, positive=False):
        seed(net)
        for module in net.modules() if positive else ():
            if isinstance(module, nn.Linear):
                module.weight.data = module.weight.data.abs()
        net(torch.zeros(TIMESTEPS, *shape))
        graph = to_nir(net, torch.rand(1, *shape))
        for node in graph.nodes.values() if shaped else ():
            # to_nir leaves these shapes out, and nir.write then fails.
            if isinstance(node, nir.Conv2d):
                node.input_shape = (8, 8)
                node.__post_init__()
            if isinstance(node, nir.Flatten):
                node.input_type = {"input": np.array([4, 4, 4])}
                node.__post_init__()
        write(name, graph)
        neurons = [module for module in net if isinstance(module, sl.IAFSqueeze)]

        def run(image):
            for module in neurons:
                module.reset_states()
            net(image)
        record(name, net, shape, neurons, run)

    single = {"spike_fn": SingleSpike}
    each("sinabs-conv-iaf", nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False), iaf(**single), sl.SumPool2d(2, 2), nn.Flatten(),
        nn.Linear(64, 10, bias=False), iaf(**single)), MAP, shaped=True)
    each("sinabs-fc-iaf-reset", nn.Sequential(
        nn.Linear(36, 12), iaf(reset_fn=MembraneReset(), **single), nn.Linear(12, 5),
        iaf(reset_fn=MembraneReset(), **single)), FLAT)
    # No current is larger than the threshold: a neuron cannot spike twice in a timestep, though it may.
    each("sinabs-fc-iaf-several", nn.Sequential(nn.Linear(36, 5), iaf(spike_threshold=22.0)), FLAT, positive=True)


def norse_files():
    import norse.torch as norse
    from norse.torch.utils.export_nir import to_nir

    def each(name, net, shape):
        seed(net)
        write(name, to_nir(net, torch.rand(1, *shape)))
        neurons = [module for module in net if isinstance(module, norse.IAFCell | norse.LIFBoxCell)]

        def run(image):
            state = None
            for frame in image:
                _, state = net(frame[None], state)
        record(name, net, shape, neurons, run)

    each("norse-fc-if", norse.SequentialState(nn.Linear(36, 12), norse.IAFCell(), nn.Linear(12, 5), norse.IAFCell()),
         FLAT)
    half = norse.LIFBoxParameters(tau_mem_inv=torch.as_tensor(500.0), v_th=torch.as_tensor(0.25))
    each("norse-fc-lifbox", norse.SequentialState(nn.Linear(36, 12), norse.LIFBoxCell(half), nn.Linear(12, 5),
                                                  norse.LIFBoxCell(half)), FLAT)


def rockpool_files():
    from rockpool.nn.combinators import Sequential
    from rockpool.nn.modules import LIFTorch, LinearTorch, to_nir
    write("rockpool-fc-lif-float", to_nir(Sequential(
        LinearTorch((36, 12)), LIFTorch(12), LinearTorch((12, 5)), LIFTorch(5)), torch.rand(1, 1, 36)))


PARTS = {"snntorch": snntorch_files, "spikingjelly": spikingjelly_files, "sinabs": sinabs_files, "norse": norse_files,
         "rockpool": rockpool_files}

if __name__ == "__main__":
    for part in sys.argv[1:] or PARTS:
        PARTS[part]()
