"""Records what other packages compute of graphs that Sterna wrote: ``data/read-PACKAGE.nir`` gives ``.npz``.

The test writes the graphs anew and compares them and their spikes. In the environments of ``record_spikes.py``:

    nir==1.0.8 ... spikingjelly==2.0.0     record_readback.py spikingjelly
    nir==1.0.4 ... norse==1.1.0            record_readback.py norse

The graphs themselves: ``python -c "from tests.export.sources.nir.test_exporting import write; write()"`` in Sterna's.
"""

import pathlib
import sys

import nir
import numpy as np
import torch

DATA = pathlib.Path(__file__).parent / "data"


def read(package, graph):
    """The module that the package makes of ``graph``, and the type of its neurons."""
    if package == "spikingjelly":
        from spikingjelly.activation_based.nir_exchange import from_nir
        return from_nir.import_from_nir(graph), from_nir._NIRStatefulModule
    import norse.torch as norse
    return norse.from_nir(graph, ignore_warnings=True), norse.IAFCell


def alone(output):
    """What one image gave: Norse flattens the batch axis away."""
    values = output.detach().numpy()
    return values[0] if values.ndim in (2, 4) else values


for package in sys.argv[1:]:
    graph = nir.read(DATA / f"read-{package}.nir")
    images = np.random.default_rng(0).choice(np.array([0, 32, 64, 128, 255], dtype=np.uint8), (16, 1, 8, 8))
    arrays = {"pixels": images}
    for image in images:
        net, kind = read(package, graph)
        found = [module for module in net.modules() if isinstance(module, kind)]
        places = [[] for _ in found]
        for module, place in zip(found, places, strict=True):
            module.register_forward_hook(lambda _module, _inputs, output, place=place: place.append(
                alone(output[0] if isinstance(output, tuple) else output)))
        state, total = None, 0
        with torch.no_grad():
            for _ in range(4):
                out = net(torch.from_numpy(image[None].astype(np.float32)), state)
                out, state = out if isinstance(out, tuple) else (out, None)
                total = total + alone(out)
        for index, place in enumerate(places):
            arrays.setdefault(f"spikes-{index}", []).append(np.array(place) > 0)
        arrays.setdefault("scores", []).append(total)
    arrays = {name: np.array(values) for name, values in arrays.items()}
    print(package, {name: (values.shape, float(values.mean())) for name, values in arrays.items()})
    np.savez_compressed(DATA / f"read-{package}.npz", **arrays)
