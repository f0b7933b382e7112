"""Networks that are written as NIR graphs in the tests; ``record_readback.py`` runs the same graphs elsewhere."""

import numpy as np

from arch.network import Convolution, Encoding, FullyConnected, Input, Network, Neurons, OrPool, Readout, Reset
from reference.generate import random_weights


def neurons(rng, channels, largest, reset, *, uniform=False, initial=True):
    threshold = rng.integers(4, largest, 1 if uniform else channels)
    return Neurons(threshold=np.resize(threshold, channels).astype(np.int64), bias=rng.integers(-4, 8, channels),
                   initial=rng.integers(-4, 4, channels) if initial else np.zeros(channels, dtype=np.int64),
                   fraction=2, reset=reset)


def network(seed=0, *, reset=Reset.SUBTRACT, encoding=Encoding.PIXELS, pool=True, **more):
    """A convolution, an OR-pool, a second convolution, a fully connected layer and a readout; 8 x 8 inputs."""
    rng = np.random.default_rng(seed)
    side = 4 if pool else 8
    bright = 2000 if encoding is Encoding.PIXELS else 12
    return Network(
        input=Input(encoding=encoding, channels=1, height=8, width=8,
                    zero_point=128 if encoding is Encoding.PIXELS and seed % 2 else 0),
        layers=(Convolution(weights=random_weights(rng, 4, 1, 3, 3), padding=1,
                            neurons=neurons(rng, 4, bright, reset, **more)),
                *([OrPool(size=2)] if pool else []),
                Convolution(weights=random_weights(rng, 6, 4, 3, 3), padding=1, stride=2,
                            neurons=neurons(rng, 6, 24, reset, **more)),
                FullyConnected(weights=random_weights(rng, 12, 6 * (side // 2)**2),
                               neurons=neurons(rng, 12, 24, reset, **more)),
                Readout(weights=random_weights(rng, 5, 12))),
        timesteps=4)


#: What packages read rightly: a hard reset, as both know no other in a NIR graph, first membranes of 0, no OR-pool; and
#: in SpikingJelly one threshold a layer.
READ_BACK = {
    "spikingjelly": network(2, reset=Reset.ZERO, pool=False, initial=False, uniform=True),
    "norse": network(4, reset=Reset.ZERO, pool=False, initial=False),
}
