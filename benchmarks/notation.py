"""The field's shorthand for the layers of a network: 32C3 is a convolution of 3 x 3 with 32 channels.

MP is max-pooling (the OR of spikes), AP average pooling, FC a fully connected layer; + marks summed spikes of a
shortcut, +i and +p a shortcut that is an identity or a projection.
"""

from collections.abc import Mapping
from typing import Any

__all__ = ["notation"]


def notation(architecture: Mapping[str, Any]) -> str:
    """Return the layers of an architecture, as of :mod:`arch.architecture`, in the shorthand."""
    found = []
    for layer in architecture["layers"]:
        shortcut = _shortcut(layer)
        if layer.get("input_pool", 1) > 1:
            found.append(f"AP{layer['input_pool']}")
        if layer["kind"] == "convolution":
            stride = f"s{layer['stride']}" if layer["stride"] > 1 else ""
            found.append(f"{layer['channels']}C{layer['kernel']}{stride}{shortcut}")
            if layer.get("pool", 1) > 1:
                found.append(f"AP{layer['pool']}")
        elif layer["kind"] == "or-pool":
            found.append(f"MP{layer['size']}")
        else:
            found.append(f"FC{layer['classes'] if layer['kind'] == 'readout' else layer['neurons']}{shortcut}")
    return "-".join(found)


def _shortcut(layer: Mapping[str, Any]) -> str:
    if "projection" in layer:
        return "+i" if layer["projection"]["weights"] == "identity" else "+p"
    return "+" if "shortcut" in layer else ""
