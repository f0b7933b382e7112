"""From a module in memory to a certified network: record, trace, translate, export, compare with its own forward."""

import dataclasses
import importlib.metadata
import math
import operator
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from arch.limits import MAX_SIDE, MAX_TIMESTEPS
from arch.network import MAX_FRACTION, Encoding, Reset, Shape
from export.exported import Exported, export_trained
from export.sources.chain import Chain, Flatten, Node, SourceError, SpikingNeurons, exact
from export.sources.live.comparison import compare
from export.sources.live.layers import check_evaluation, layer_nodes
from export.sources.live.package import Package
from export.sources.live.recording import Leaf, leaves_of, record
from export.sources.live.result import check_result
from export.sources.live.tracing import Place, path_of
from export.sources.rational import RationalNetwork
from export.sources.rules import Rule
from export.sources.translation import Frame, translate
from support import provenance
from support.errors import printable

__all__ = ["Stated", "export_module"]

#: Relative distance of neighbours of the types of floats.
_EPSILON = {"torch.float64": 2.0**-52, "torch.float32": 2.0**-23, "torch.bfloat16": 2.0**-7, "torch.float16": 2.0**-10}
_RESETS = {Reset.SUBTRACT: "minus the threshold", Reset.ZERO: "to zero"}


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Stated:
    """What a module does not say, as it was given."""

    timesteps: int
    encoding: str | Encoding
    scale: str | float | Fraction | None
    zero_point: int
    shape: Shape | None
    readout: str | None

    def frame(self) -> Frame:
        """Return what is stated about inputs and scores; raises :exc:`SourceError` for what cannot be."""
        if not _is_integer(self.timesteps) or not 1 <= self.timesteps <= MAX_TIMESTEPS:
            raise SourceError(f"timesteps must be an integer from 1 to {MAX_TIMESTEPS}, not "
                              f"{printable(repr(self.timesteps))}")
        kinds = [kind.value for kind in Encoding]
        if self.encoding not in (*kinds, *Encoding):
            raise SourceError(f"encoding must be {' or '.join(kinds)}, not {printable(str(self.encoding))}")
        if self.readout not in (None, "spikes", "currents"):
            raise SourceError(f"readout must be spikes, currents or None, not {printable(str(self.readout))}")
        currents = None if self.readout is None else self.readout == "currents"
        encoding = Encoding(self.encoding)
        if encoding is Encoding.EVENTS:
            if self.scale not in (None, 1) or self.zero_point:
                raise SourceError("scale and zero_point must be left out for events, which are 0 and 1")
            return Frame(timesteps=self.timesteps, encoding=encoding, currents=currents)
        if self.zero_point not in (0, 128):
            raise SourceError(f"zero_point must be 0 or 128, not {self.zero_point}")
        return Frame(timesteps=self.timesteps, encoding=encoding, scale=self._fraction(), zero_point=self.zero_point,
                     currents=currents)

    def _fraction(self) -> Fraction:
        """Return the scale of pixels; raises :exc:`SourceError` if it is missing or no exact number."""
        if self.scale is None:
            raise SourceError("scale must be given for pixels: what a pixel p of 0 to 255 is multiplied with, as "
                              "\"1/255\" if images were 0 to 1")
        try:
            # A float has been rounded: 1 / 255 is none of them.
            scale = exact(str(self.scale)) if isinstance(self.scale, str | int | Fraction) else Fraction(0)
        except ValueError:
            scale = Fraction(0)
        if scale <= 0:
            raise SourceError(f"scale must be a positive quotient in exact form, as \"1/255\" or Fraction(1, 255), not "
                              f"{printable(repr(self.scale))}")
        # Beyond, products with it need not be floats.
        if not Fraction("1e-30") < scale < Fraction("1e30"):
            raise SourceError(f"scale must be between 1e-30 and 1e30, not {printable(repr(self.scale))}")
        return scale


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Runs:
    """How a module is run, and on what."""

    package: Package
    module: Any
    forward: Callable[[Any], Any]
    leaves: list[Leaf]
    example: Any
    frame: Frame
    #: Images in a call, and the shape of one of them in one timestep as the module sees it.
    batch: int
    sample: tuple[int, ...]
    #: Whether the module sees all timesteps, the first axis.
    frames: bool

    def inputs(self, images: npt.NDArray[Any]) -> list[npt.NDArray[np.float64]]:
        """Return what the module is called with for one batch, each timestep a call unless it sees all of them."""
        frame = self.frame
        if frame.encoding is Encoding.PIXELS:
            values = (images.astype(np.float64) - frame.zero_point) * frame.scale.numerator / frame.scale.denominator
            steps = np.repeat(values[None], frame.timesteps, axis=0)
        else:
            steps = images.astype(np.float64).swapaxes(0, 1)
        steps = steps.reshape(frame.timesteps, self.batch, *self.sample)
        return [steps] if self.frames else list(steps)

    def places(self, inputs: list[npt.NDArray[np.float64]]) -> list[Place]:
        """Record calls with ``inputs``, and return the path through the layers over all of them."""
        recordings = record(self.module, self.forward, self.leaves, inputs, self.example, self.package.reset)
        paths = [path_of(recording, self.batch, self.sample) for recording in recordings]
        if len({tuple(place.leaf.name for place in path) for path in paths}) > 1:
            raise SourceError("a module must call the same layers in every timestep")
        places = [dataclasses.replace(
            same[0], calls=[call for place in same for call in place.calls],
            seen=np.concatenate([place.seen for place in same]), given=np.concatenate([place.given for place in same]))
            for same in zip(*paths, strict=True)]
        if self.frame.currents is None:
            check_result(places[-1], [recording.results for recording in recordings], self.batch,
                         _EPSILON[str(self.example.dtype)])
        return places

    def is_neuron(self, place: Place) -> bool:
        """Whether the layer is of neurons that have a place."""
        return place.leaf.kind[0] == self.package.name and place.leaf.kind[1] in self.package.neurons

    def steps_of(self, place: Place) -> int:
        """Return over how many timesteps neurons were run; raises if not those of the module's mode."""
        name, module = printable(place.leaf.name), place.leaf.module
        images = (self.batch, *place.seen.shape[2:])
        if self.package.all_at_once(module):
            if len(place.calls) != 1 or place.calls[0].seen.shape != (len(place.seen), *images):
                raise SourceError(f"node {name}: neurons in multi-step mode must see all timesteps at once, the first "
                                  f"axis: give a forward that does, or set_step_mode(module, 's')")
            return len(place.seen)
        if any(call.seen.shape != images for call in place.calls):
            raise SourceError(f"node {name}: neurons must see one timestep, {images}, not "
                              f"{place.calls[0].seen.shape}: step through the timesteps, or use multi-step mode")
        return len(place.calls)


def _sizes(package: Package, example: Any, stated: Stated) -> tuple[int, tuple[int, ...], bool]:
    """Return the images in a call, the shape of one in one timestep, and whether the call has all timesteps."""
    if str(getattr(example, "dtype", None)) not in _EPSILON:
        raise SourceError("example must be a tensor of floats, like those that the module is called with")
    shape = tuple(int(size) for size in example.shape)
    if len(shape) not in (2, 3, 4, 5) or not math.prod(shape):
        raise SourceError(f"example must be images x channels x height x width, or images x inputs, or with the "
                          f"timesteps before, not of {shape}")
    frames = len(shape) in (3, 5)
    if frames and shape[0] != stated.timesteps:
        raise SourceError(f"example must have the {stated.timesteps} timesteps as its first axis, not {shape[0]}: an "
                          f"image without images and timesteps around it needs an axis for the images")
    return shape[frames], shape[frames + 1:], frames


def _checked_shape(stated: Any) -> Shape:
    """Return what is stated as three sizes; raises :exc:`SourceError` if it is something else."""
    try:
        channels, height, width = map(operator.index, stated)
    except (TypeError, ValueError):
        channels = height = width = 0
    if min(channels, height, width) < 1:
        raise SourceError(f"shape must be channels, height and width, such as (1, 28, 28), not "
                          f"{printable(repr(stated))}")
    return channels, height, width


def _network_shape(sample: tuple[int, ...], stated: Shape | None) -> Shape:
    """Return the shape of an image, of which the module sees ``sample``; raises :exc:`SourceError` for another."""
    if stated is not None:
        stated = _checked_shape(stated)
    if stated is not None and math.prod(stated) != math.prod(sample):
        raise SourceError(f"shape must have the {math.prod(sample)} values of an image of example, not "
                          f"{' x '.join(map(str, stated))}")
    if len(sample) == 3:
        if stated not in (None, sample):
            raise SourceError(f"shape must be left out, as images of example have {' x '.join(map(str, sample))}")
        return sample[0], sample[1], sample[2]
    if stated is None and sample[0] > MAX_SIDE:
        raise SourceError(f"shape must be given, channels, height and width, as the module sees {sample[0]} numbers in "
                          f"a row")
    return (1, 1, sample[0]) if stated is None else stated


def _noise(frame: Frame, shape: Shape, count: int, seed: int) -> npt.NDArray[Any]:
    """Return random pixels ``uint8[count, C, H, W]``, or events ``bool[count, T, C, H, W]``."""
    rng = np.random.default_rng(seed)
    if frame.encoding is Encoding.PIXELS:
        return rng.integers(0, 256, (count, *shape), dtype=np.uint8)
    return rng.random((count, frame.timesteps, *shape)) < 0.3


def _check_images(images: Any, frame: Frame, shape: Shape) -> None:
    """Refuse what is no array of images for the network; raises :exc:`SourceError`."""
    if not isinstance(images, np.ndarray):
        raise SourceError(f"images must be an array of NumPy, not {printable(type(images).__name__)}: give "
                          f"images.numpy() of a tensor")
    pixels = frame.encoding is Encoding.PIXELS
    wanted = shape if pixels else (frame.timesteps, *shape)
    kind = np.dtype(np.uint8 if pixels else bool)
    if images.dtype != kind or images.shape[1:] != wanted or not len(images):
        raise SourceError(f"images must be {kind.name} of images x {' x '.join(map(str, wanted))}, not "
                          f"{images.dtype.name} of {' x '.join(map(str, images.shape))}")


def _chain(runs: _Runs, places: list[Place], shape: Shape) -> Chain:
    """Return the nodes of a path."""
    nodes: list[Node] = []
    before: tuple[int, ...] = runs.sample
    for place in places:
        name = printable(place.leaf.name)
        nodes += place.pools
        if len(before) == 3 and place.seen.ndim == 3 and not (nodes and isinstance(nodes[-1], Flatten)):
            nodes.append(Flatten(name=f"{name}, input"))
        if runs.is_neuron(place):
            nodes.append(runs.package.read(name, place))
        else:
            nodes = layer_nodes(nodes, place)
        before = place.given.shape[2:]
    return Chain(shape=shape, flat=len(runs.sample) == 1, nodes=tuple(nodes))


def _provenance(package: Package, module: Any, chain: Chain, stated: Stated) -> dict[str, Any]:
    """Return what the network says about its making."""
    try:
        version = importlib.metadata.version(package.name)
    except importlib.metadata.PackageNotFoundError:
        version = "unknown"
    neurons = [node for node in chain.nodes if isinstance(node, SpikingNeurons)]
    resets = {node.name: _RESETS[node.reset] for node in neurons if node.reset is not None}
    reset = next(iter(resets.values()), "none") if len(set(resets.values())) < 2 else ", ".join(
        f"{text} in {name}" for name, text in resets.items())
    sign = ">" if package.comparison.value == "gt" else ">="
    scale = {} if stated.scale is None else {"scale": str(stated.scale)}
    return {"source": package.name, "module": printable(type(module).__name__), "package_version": version,
            "rule": f"of {package.title} {version}: a membrane {sign} its threshold spikes, reset {reset}",
            "stated": {"timesteps": stated.timesteps, "encoding": Encoding(stated.encoding).value,
                       "zero_point": stated.zero_point} | scale}


def _traced(runs: _Runs, images: npt.NDArray[Any]) -> tuple[list[Place], bool]:
    """Return the path over all timesteps, and whether the module is called once for each of them."""
    inputs = runs.inputs(images)
    places = runs.places(inputs[:1])
    counts = {printable(place.leaf.name): runs.steps_of(place) for place in places if runs.is_neuron(place)}
    steps = next(iter(counts.values()), 1)
    if len(set(counts.values())) > 1:
        raise SourceError(f"all neurons must run over the same timesteps, not {counts}")
    timesteps = runs.frame.timesteps
    if steps == timesteps:
        if timesteps > 1 and not runs.frames and runs.frame.encoding is Encoding.EVENTS:
            raise SourceError("example must have the timesteps as its first axis, as events differ in each and the "
                              "forward runs all of them")
        return places, False
    if steps == 1 and not runs.frames:
        return runs.places(inputs), True
    raise SourceError(f"the forward must run {timesteps} timesteps, as stated, or one, not {steps}: state the number "
                      f"that it runs")


def _own_spikes(runs: _Runs, images: npt.NDArray[Any], each: bool, count: int) -> list[npt.NDArray[np.bool_]]:
    """Spikes of the first ``count`` layers of neurons in the module's own forward, ``bool[images, T, ...]``."""
    found: list[list[npt.NDArray[np.bool_]]] = [[] for _ in range(count)]
    for start in range(0, len(images), runs.batch):
        part = images[start:start + runs.batch]
        # A module may be made for one number of images.
        filled = np.resize(part, (runs.batch, *part.shape[1:]))
        inputs = runs.inputs(filled)
        neurons = [place for place in runs.places(inputs if each else inputs[:1]) if runs.is_neuron(place)]
        for place, kept in zip(neurons, found, strict=False):
            if not np.isin(place.given, (0, 1)).all():
                raise SourceError(f"node {printable(place.leaf.name)}: it must give spikes of 0 and 1")
            kept.append(place.given.swapaxes(0, 1)[:len(part)] > 0)
    return [np.concatenate(parts) for parts in found]


def export_module(package: Package, module: Any, example: Any, stated: Stated, *,
                  forward: Callable[[Any], Any] | None, images: npt.NDArray[Any] | None, name: str,
                  max_fraction: int) -> Exported:
    """Export ``module``, of which the neurons are of ``package``; see :func:`export.sources.snntorch.from_snntorch`."""
    if not all(hasattr(module, key) for key in ("named_modules", "register_forward_hook")):
        raise SourceError(f"module must be a module of PyTorch, not {printable(type(module).__name__)}")
    if not isinstance(name, str) or not name or printable(name) != name:
        raise SourceError(f"name must be one line of printable text, not {repr(name)[:42]}")
    if not _is_integer(max_fraction) or not 0 <= max_fraction <= MAX_FRACTION:
        raise SourceError(f"max_fraction must be an integer from 0 to {MAX_FRACTION}, not "
                          f"{printable(repr(max_fraction))}")
    frame = stated.frame()
    batch, sample, frames = _sizes(package, example, stated)
    shape = _network_shape(sample, stated.shape)
    if images is not None:
        _check_images(images, frame, shape)
    runs = _Runs(package=package, module=module, forward=forward or module, leaves=leaves_of(module, (package.name,)),
                 example=example, frame=frame, batch=batch, sample=sample, frames=frames)
    check_evaluation(runs.leaves)
    places, each = _traced(runs, _noise(frame, shape, batch, seed=1))
    chain = _chain(runs, places, shape)
    neurons = [node for node in chain.nodes if isinstance(node, SpikingNeurons)]
    # Each layer of neurons has a reset of its own.
    rule = Rule(comparison=package.comparison, reset=Reset.ZERO, package=package.name)
    trained = translate(chain, rule, frame, _provenance(package, module, chain, stated))
    exported = export_trained(trained, {
        "name": name, "export": {"command": f"from_{package.name}", "revision": provenance.revision(),
                                 "tool_versions": provenance.tool_versions("numpy"), "max_fraction": max_fraction},
        "training": dict(trained.provenance)}, max_fraction=max_fraction, images=images)
    return _with_own_forward(exported, trained, runs, each, [node.name for node in neurons], images)


def _with_own_forward(exported: Exported, trained: RationalNetwork, runs: _Runs, each: bool, names: list[str],
                      images: npt.NDArray[Any] | None) -> Exported:
    """Compare with the module's own forward, and add what that found to what the network says about its making."""
    kept = names[:len(trained.neurons)]
    if images is None:
        count = -(-int(exported.report["verified_images"]) // runs.batch) * runs.batch
        images = _noise(runs.frame, exported.network.input.shape, count, seed=2)
    own = _own_spikes(runs, images, each, len(kept))
    kind = str(runs.example.dtype)
    found = compare(trained, exported.network, images, own, kept, _EPSILON[kind])
    return exported.with_training(own_forward=dataclasses.asdict(found) | {"floats": kind.removeprefix("torch.")})
