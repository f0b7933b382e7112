"""Weights and constants of a network as memory images: ``.hex`` and ``.mem`` for ``$readmemh``, and ``.bin``.

The layout is generic, in the order of the network file, for engines other than ours (which lays out its own rows):
``docs/formats.md`` describes it. Per layer with weights there are

* ``layerN-weights``: 2-bit codes, four to a byte, the first in the least significant bits, tensor in C order;
* ``layerN-projection``: the same for the weights of its projection, if it has one;
* ``layerN-constants``: for each channel threshold, bias, initial membrane, as 48-bit two's complement.

``.bin`` is bytes, least significant first. ``.hex`` and ``.mem`` hold one word per line, most significant digit first:
weights in words of a chosen width, the first weight in the least significant bits, the last word filled up with zeros;
constants in words of 48 bits. ``.mem`` begins with a comment and the address ``@0``.
"""

import numpy as np

from arch import ternary
from arch.network import Network, OrPool, Readout, projection_of

__all__ = ["CONSTANT_BYTES", "MAX_WORD_BITS", "memory_images"]

#: Bytes of a constant: the network bounds them to 48 bits.
CONSTANT_BYTES = 6
#: Widest words of weights, in bits: those of the widest array with room to spare.
MAX_WORD_BITS = 1024


def _words(content: bytes, word_bytes: int) -> list[str]:
    padded = content + bytes(-len(content) % word_bytes)
    return [padded[start:start + word_bytes][::-1].hex() for start in range(0, len(padded), word_bytes)]


def memory_images(network: Network, *, word_bytes: int = 4) -> dict[str, bytes]:
    """Return the content of all files by name.

    Parameters
    ----------
    network : the network
    word_bytes : width of the words of weights in ``.hex`` and ``.mem``, in bytes, up to :data:`MAX_WORD_BITS`

    Raises
    ------
    :exc:`ValueError`
        If ``word_bytes`` is not in that range.
    """
    if not 1 <= word_bytes <= MAX_WORD_BITS // 8:
        raise ValueError(f"word width must be 1 to {MAX_WORD_BITS // 8} bytes, not {word_bytes!r}")
    images: dict[str, bytes] = {}
    for index, layer in enumerate(network.layers):
        if isinstance(layer, OrPool):
            continue
        contents = [("weights", layer.weights.shape, ternary.pack_array(layer.weights).tobytes(), word_bytes)]
        projection = projection_of(layer)
        if projection is not None:
            contents.append(("projection", projection.weights.shape, ternary.pack_array(projection.weights).tobytes(),
                             word_bytes))
        if not isinstance(layer, Readout):
            neurons = layer.neurons
            table = np.stack([neurons.threshold, neurons.bias, neurons.initial], axis=1).reshape(-1).tolist()
            constants = b"".join(value.to_bytes(CONSTANT_BYTES, "little", signed=True) for value in table)
            contents.append(("constants", layer.weights.shape, constants, CONSTANT_BYTES))
        for what, weights, content, size in contents:
            name = f"layer{index}-{what}"
            words = _words(content, size)
            text = "\n".join(words) + "\n"
            shape = " x ".join(map(str, weights))
            head = f"// {name}: {layer.kind}, weights {shape}, {len(words)} words of {8 * size} bits\n@0\n"
            images |= {f"{name}.bin": content, f"{name}.hex": text.encode(), f"{name}.mem": (head + text).encode()}
    return images
