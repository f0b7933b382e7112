"""What the page is told, as values of JSON: where the board is, and what it and the reference computed."""

import base64
import dataclasses
import os
import time
from typing import Any

import numpy as np
import numpy.typing as npt

from arch.link import Info
from arch.network import Convolution, Encoding, FullyConnected, Layer, OrPool
from firmware.demo.board import Answer, Status
from firmware.demo.inputs import Chosen, takes_drawings
from firmware.demo.networks import Catalogue, KnownNetwork
from firmware.host.models import FAULTS, Model
from firmware.host.ports import SIMULATED
from reference.engines import EngineResult

__all__ = ["comparison", "description"]

#: Folder of Linux's pseudo-terminals.
_PSEUDO_TERMINALS = "/dev/pts"


def description(status: Status, catalogue: Catalogue, port: str) -> dict[str, Any]:
    """Say where the board is and what networks it has; ``port`` is what the user named."""
    return {
        "state": status.state.value, "text": status.text, "seconds": time.monotonic() - status.since,
        "engine": _engine(port), "port": port if port in SIMULATED else status.port,
        "models": [_model(model, catalogue) for model in status.models], "selected": status.selected,
        "counters": dataclasses.asdict(status.counters),
    }


def _engine(port: str) -> str:
    """Say what computes behind a port."""
    if port in SIMULATED:
        return "simulated RTL (Verilator)"
    if port.startswith("pipe:") or os.path.realpath(port).startswith(f"{_PSEUDO_TERMINALS}/"):
        return "program in the place of a board"
    return "board"


def _model(model: Model, catalogue: Catalogue) -> dict[str, Any]:
    if model.info is None:
        assert model.fault is not None
        return {"number": model.number, "refused": FAULTS[model.fault]}
    info, known = model.info, catalogue.find(model.info.digest.hex())
    found = {
        "number": model.number, "network": info.digest.hex(), "name": info.name, "encoding": info.input.encoding.value,
        "channels": info.channels, "height": info.image_height, "width": info.image_width, "classes": info.classes,
        "timesteps": info.timesteps, "lanes": info.lanes, "synapses": info.width,
        "circuit_timesteps": info.circuit_timesteps, "clock_khz": info.clock_khz, "refused": _refused(info, known),
    }
    if known is None:
        return found
    return found | {"file": known.path.name, "class_names": known.class_names,
                    "samples": 0 if known.samples is None else len(known.samples.images),
                    "drawing": takes_drawings(known.network.input)}


def _refused(info: Info, known: KnownNetwork | None) -> str | None:
    """Say why the page does not serve a network; None if it does."""
    if known is None:
        return "no file of it is known for the reference: name it, python -m firmware.demo NETWORK"
    if info.input.encoding is Encoding.EVENTS:
        return "its input is events, and this page shows networks of pixels: use python -m firmware.host"
    return None


def comparison(known: KnownNetwork, chosen: Chosen, expected: EngineResult, answer: Answer) -> dict[str, Any]:
    """Put what a board and the reference computed of one image side by side."""
    actual = answer.result
    assert actual.cycles is not None
    assert actual.stall_cycles is not None
    assert actual.flash_stall_cycles is not None
    cycles = int(actual.cycles[0])
    return {
        "input": {"title": chosen.title, "index": chosen.index, "count": chosen.count, "label": chosen.label,
                  "channels": chosen.image.shape[1], "height": chosen.image.shape[2], "width": chosen.image.shape[3],
                  "pixels": _base64(chosen.image[0])},
        "board": {"class": int(actual.classes[0]), "scores": actual.scores[0].tolist(), "cycles": cycles,
                  "milliseconds": cycles / answer.info.clock_khz, "stalls": int(actual.stall_cycles[0]),
                  "flash_stalls": int(actual.flash_stall_cycles[0])},
        "reference": {"class": int(expected.classes[0]), "scores": expected.scores[0].tolist()},
        "differences": _differences(expected, actual),
        "layers": _layers(known, expected),
        "counters": dataclasses.asdict(answer.counters), "repeated": answer.repeated,
    }


def _differences(expected: EngineResult, actual: EngineResult) -> list[str]:
    """Name every score, and the class, in which a board differs from the reference."""
    pairs = [("class", int(expected.classes[0]), int(actual.classes[0]))]
    pairs += [(f"score {index}", int(left), int(right))
              for index, (left, right) in enumerate(zip(expected.scores[0], actual.scores[0], strict=True))]
    return [f"{what}: {left} expected, not {right}" for what, left, right in pairs if left != right]


def _layers(known: KnownNetwork, expected: EngineResult) -> list[dict[str, Any]]:
    """Return shapes, firing rates and spikes of all layers but the readout: eight spikes a byte, the first highest."""
    assert expected.spikes is not None
    layers = []
    for index, (layer, maps) in enumerate(zip(known.network.layers, expected.spikes, strict=False)):
        assert maps is not None
        timesteps, channels, height, width = maps.shape[1:]
        layers.append({
            "title": f"{index + 1}. {_title(layer)}", "timesteps": timesteps, "channels": channels, "height": height,
            "width": width, "rate": float(maps.mean()),
            "rates": [float(rate) for rate in maps[0].reshape(timesteps, -1).mean(axis=1)],
            "spikes": _base64(np.packbits(maps[0])),
        })
    return layers


def _title(layer: Layer) -> str:
    match layer:
        case Convolution():
            stride = f", stride {layer.stride}" if layer.stride > 1 else ""
            return f"convolution {layer.kernel} x {layer.kernel}{stride}"
        case OrPool():
            return f"or-pool {layer.size} x {layer.size}"
        case FullyConnected():
            return "fully connected"
    return layer.kind


def _base64(array: npt.NDArray[np.uint8]) -> str:
    return base64.b64encode(array.tobytes()).decode("ascii")
