"""What it costs to fit a network to a circuit: channels that were moved, spikes and accuracy that this changes.

The fitted network is compared with the one that the same checkpoint gives with as many fractional bits as any network
may have, which computes what was trained.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from arch.network import MAX_FRACTION, Network
from export import steps
from export.fitting import Room
from export.folding import FoldedLayer
from export.sources.rational import Trained
from export.steps import CertifiedLayer
from reference.network import Reference
from support.counting import counted

__all__ = ["changed_spikes", "fit_metadata", "format_fit", "unfitted"]

#: Images that are compared at once.
_BATCH = 100


def unfitted(checkpoint: Trained, folded: list[FoldedLayer]) -> Network:
    """Return the network with as many fractional bits as it needs, up to :data:`arch.network.MAX_FRACTION`."""
    return steps.assemble(checkpoint, steps.certify(checkpoint, folded, max_fraction=MAX_FRACTION), {})


def changed_spikes(fitted: Network, trained: Network, images: npt.NDArray[Any]) -> tuple[int, int]:
    """Count the places, neurons times timesteps times images, where spikes differ, and all of them.

    Each network runs from end to end, so a change in one layer counts in those behind it as well.
    """
    changed = compared = 0
    for start in range(0, len(images), _BATCH):
        batch = images[start:start + _BATCH]
        ours, theirs = (Reference(network).run(batch, spikes=True).spikes for network in (fitted, trained))
        assert ours is not None
        assert theirs is not None
        for mine, other in zip(ours, theirs, strict=True):
            changed += int(np.count_nonzero(mine != other))
            compared += mine.size
    return changed, compared


def fit_metadata(room: Room, certified: list[CertifiedLayer]) -> dict[str, Any]:
    """What the network's file says about the fit, before anything is measured."""
    return {"board": room.board, "title": room.title, "fraction": room.fraction, "membrane_width": room.membrane_width,
            "moved_channels": sum(len(layer.inexact) for layer in certified),
            "channels": sum(layer.channels for layer in certified)}


def format_fit(metadata: Mapping[str, Any]) -> list[str]:
    """Lay out the lines of the report about the fit; none for a network that was not fitted."""
    fit = metadata.get("fit")
    if fit is None:
        return []
    circuit = f"the {fit['title']} (F at most {fit['fraction']}, membranes of {fit['membrane_width']} bits)"
    if not fit["moved_channels"]:
        return [f"fit: no channel had to be moved for {circuit}"]
    spikes, accuracy = "unknown: give --calibration", "unknown: give --test-images and --test-labels"
    if "spikes_compared" in fit:
        spikes = (f"{fit['spikes_changed']:,} of {fit['spikes_compared']:,} differ on {fit['calibration_images']:,} "
                  f"calibration images")
    if "trained_accuracy" in fit:
        points = 100 * (metadata["accuracy"] - fit["trained_accuracy"])
        accuracy = (f"{points:+.2f} points, {100 * metadata['accuracy']:.2f} % instead of "
                    f"{100 * fit['trained_accuracy']:.2f} % of {counted(metadata['accuracy_images'], 'image')}")
    moved = f"{fit['moved_channels']} of {counted(fit['channels'], 'channel')}"
    return [f"fit: {moved} moved to the nearest constants that fit {circuit}",
            f"fit, spikes: {spikes}", f"fit, accuracy: {accuracy}"]
