"""Turns the layers of a network into passes of the streamed circuit: what each reads, in which order, how it is cut.

Nothing is placed in memory yet: addresses are offsets within maps.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from arch.network import (
    Convolution,
    Encoding,
    FullyConnected,
    Layer,
    Network,
    Neurons,
    OrPool,
    Readout,
    Shape,
    projection_of,
    shortcut_of,
)
from gateware.engine.configuration import PLANES, EngineConfig
from gateware.mapper.limits import Finding
from gateware.mapper.streamed.passes import IMAGE, MapShape, Pass, Tile, Walk, runs_of_sum

__all__ = ["MAX_LOOP", "LoweringError", "lower"]

#: Most turns of the loops over kernel rows, the side of a pooling window, time blocks, and parts of a filter.
MAX_LOOP = 8


class SumsError(Exception):
    """A layer cannot be cut into passes; the message stands behind the layer's name."""


class LoweringError(Exception):
    """Layers of a network cannot be cut into passes: ``findings`` has one of each, ``passes`` those of the others."""

    def __init__(self, findings: Sequence[Finding], passes: Sequence[Pass]):
        super().__init__(str(findings[0]))
        self.findings = tuple(findings)
        self.passes = tuple(passes)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Step:
    """A layer with weights, or an OR-pool on its own, and the OR-pools behind it."""

    index: int
    last_index: int
    layer: Layer
    #: Side of the windows of spikes that are ORed; 1 without.
    pool: int
    source: Shape
    target: Shape


def lower(network: Network, config: EngineConfig) -> tuple[Pass, ...]:
    """Turn a network into passes.

    Raises
    ------
    :exc:`LoweringError`
        If layers cannot be cut so that the loops and rings of the circuit run them.
    """
    blocks = -(-network.timesteps // config.timesteps)
    maps   = {IMAGE: _image(network, config, blocks)}
    before = IMAGE
    passes: list[Pass] = []
    findings: list[Finding] = []
    for step in _steps(network, blocks):
        maps[step.last_index] = MapShape(layer=step.last_index, shape=step.target, planes=blocks,
                                         words=-(-step.target[0] // config.width))
        try:
            passes += _passes(network, config, step, maps, before, blocks)
        except SumsError as error:
            findings.append(Finding(where=f"layer {step.index} ({step.layer.kind})", problem=str(error)))
        before = step.last_index
    if findings:
        raise LoweringError(findings, passes)
    return tuple(passes)


def _image(network: Network, config: EngineConfig, blocks: int) -> MapShape:
    planes = PLANES // config.timesteps if network.input.encoding is Encoding.PIXELS else blocks
    return MapShape(layer=IMAGE, shape=network.input.shape, words=-(-network.input.channels // config.width),
                    planes=planes)


def _steps(network: Network, blocks: int) -> list[_Step]:
    """Join every layer with the OR-pools behind it, where the pooling loops can run them."""
    seen  = {source for layer in network.layers for source in _extra_sources(layer)}
    # Membranes are kept between blocks for each position of a window.
    most  = MAX_LOOP if blocks == 1 else 5
    steps: list[_Step] = []
    for index, (layer, source, target) in enumerate(network.shapes()):
        last = steps[-1] if steps else None
        if isinstance(layer, OrPool):
            assert last is not None
            summed = isinstance(last.layer, Convolution) and last.layer.pool > 1
            if index - 1 not in seen and not summed and last.pool * layer.size <= most:
                steps[-1] = dataclasses.replace(last, pool=last.pool * layer.size, target=target, last_index=index)
                continue
        pool = layer.size if isinstance(layer, OrPool) else 1
        steps.append(_Step(index=index, last_index=index, layer=layer, pool=pool, source=source, target=target))
    return steps


def _extra_sources(layer: Layer) -> list[int]:
    """Layers whose maps ``layer`` reads beside the map before it."""
    found = [shortcut_of(layer)]
    if (projection := projection_of(layer)) is not None:
        found.append(projection.source)
    return [source for source in found if source is not None]


def _grouped(weights: npt.NDArray[np.int8], config: EngineConfig) -> npt.NDArray[np.int8]:
    """Group filters ``[out, ..., in]`` by lanes, inputs in whole words: ``[groups, lanes, ..., words, width]``."""
    out, channels = weights.shape[0], weights.shape[-1]
    padding = [(0, -out % config.lanes), *[(0, 0)] * (weights.ndim - 2), (0, -channels % config.width)]
    padded  = np.pad(weights, padding)
    return padded.reshape(-1, config.lanes, *padded.shape[1:-1], padded.shape[-1] // config.width, config.width)


def _passes(network: Network, config: EngineConfig, step: _Step, maps: dict[int, MapShape], before: int,
            blocks: int) -> list[Pass]:
    """Cut one step into passes."""
    layer, source = step.layer, maps[before]
    pixels = before == IMAGE and network.input.encoding is Encoding.PIXELS
    if isinstance(layer, Readout):
        return [_readout(config, step, source, maps, blocks, pixels=pixels)]
    if isinstance(layer, Convolution):
        return _convolution(config, step, source, maps, blocks, pixels=pixels)
    if isinstance(layer, FullyConnected):
        return [_fully_connected(config, step, source, maps, blocks, pixels=pixels)]
    return _or_pool(config, step, source, maps, blocks)


def _second_slice(walk: Walk) -> Walk | None:
    """The walk through the high slice of pixels, if they have one."""
    assert walk.source.planes <= 2
    return dataclasses.replace(walk, plane=1) if walk.source.planes == 2 else None


def _convolution(config: EngineConfig, step: _Step, source: MapShape, maps: dict[int, MapShape], blocks: int, *,
                 pixels: bool) -> list[Pass]:
    layer = step.layer
    assert isinstance(layer, Convolution)
    kernel, stride, padding = layer.kernel, layer.stride, layer.padding
    if kernel > MAX_LOOP:
        raise SumsError(f"rows of the kernel must be at most {MAX_LOOP}, not {kernel}")
    pool, summed = (layer.pool, True) if layer.pool > 1 else (step.pool, False)
    sums_each = blocks * (1 if summed else pool**2)
    row_words = source.shape[2] * source.words
    # [groups, lanes, kernel row, kernel column, words, width]
    filters = _grouped(layer.weights.transpose(0, 2, 3, 1), config)
    groups  = filters.shape[0]

    projection = projection_of(layer)
    extra = None if projection is None else _grouped(projection.weights[:, :, 0, 0], config)
    identity = extra is not None and _is_block_diagonal(extra, config)
    rows = kernel * kernel * source.words + (0 if extra is None else 1 if identity else extra.shape[2])
    tiles, parts = _cut(config, step.target, sums_each, kernel, rows)

    part_kernel = kernel // parts
    first = Walk(
        source=source, kernel=part_kernel, run=kernel * source.words, words=source.words, row_words=row_words,
        stride=stride, padding=padding, part_rows=part_kernel, blocks=not pixels)
    weights = filters.reshape(groups, config.lanes, parts, -1, config.width)
    second, reuse = None, False
    if pixels:
        second, reuse = _second_slice(first), True
    if (shortcut := shortcut_of(layer)) is not None:
        second, reuse = dataclasses.replace(first, source=maps[shortcut]), True
    elif projection is not None and extra is not None:
        second, more = _projection(maps[projection.source], projection.stride, extra, parts, identity=identity)
        weights = np.concatenate([weights, more], axis=3)
    common = Pass(
        layer=step.index, last_layer=step.last_index, kind=layer.kind, neurons=layer.neurons, first=first,
        source_size=(row_words, source.shape[1]), second=second, reuse=reuse and second is not None, pixels=pixels,
        tile=tiles[0], pool=pool, summed=summed, blocks=blocks, parts=parts, channels=len(layer.weights),
        target=maps[step.last_index],
        segment=_segment(config, runs_of_sum(first, second, pixels=pixels)), weights=_rows(weights))
    return [dataclasses.replace(common, tile=tile) for tile in tiles]


def _projection(source: MapShape, stride: int, extra: npt.NDArray[np.int8], parts: int, *,
                identity: bool) -> tuple[Walk, npt.NDArray[np.int8]]:
    """Walk through the map of a projection; weights as ``[groups, lanes, parts, words, width]``."""
    groups, lanes, words, width = extra.shape
    run = 1 if identity else -(-words // parts)
    more = np.zeros((groups, lanes, parts, run, width), np.int8)
    if identity:
        slots = width // lanes
        for group in range(groups):
            more[group, :, parts - 1, 0] = extra[group, :, group // slots]
    else:
        flat = np.zeros((groups, lanes, parts * run, width), np.int8)
        flat[:, :, :words] = extra
        more[:] = flat.reshape(more.shape)
    walk = Walk(source=source, run=run, words=source.words, row_words=source.shape[2] * source.words, stride=stride,
                part_words=0 if identity else run, group_slots=1 if identity else 0)
    return walk, more


def _is_block_diagonal(extra: npt.NDArray[np.int8], config: EngineConfig) -> bool:
    """Whether every group of output channels sees only the word with the channels of the same numbers."""
    slots = config.width // config.lanes
    if extra.shape[2] != -(-extra.shape[0] // slots):
        return False
    group, word = np.arange(extra.shape[0])[:, None], np.arange(extra.shape[2])[None, :]
    used = np.any(extra, axis=(1, 3)) & np.asarray(group // slots != word)
    return not used.any()


def _or_pool(config: EngineConfig, step: _Step, source: MapShape, maps: dict[int, MapShape], blocks: int) -> list[Pass]:
    """Run an OR-pool on its own: neurons that repeat the spike of their channel, ORed over the window."""
    channels = source.shape[0]
    neurons = Neurons(threshold=np.ones(channels, np.int64), bias=np.zeros(channels, np.int64),
                      initial=np.zeros(channels, np.int64))
    extra = _grouped(np.eye(channels, dtype=np.int8), config)
    walk, weights = _projection(source, 1, extra, 1, identity=True)
    tiles, _ = _cut(config, step.target, blocks * step.pool**2, 1, 1)
    common = Pass(
        layer=step.index, last_layer=step.last_index, kind=step.layer.kind, neurons=neurons, first=walk,
        source_size=(source.shape[2] * source.words, source.shape[1]), tile=tiles[0],
        pool=step.pool, blocks=blocks, channels=channels, target=maps[step.last_index],
        segment=_segment(config, (walk.sum_words,)), weights=_rows(weights))
    return [dataclasses.replace(common, tile=tile) for tile in tiles]


def _whole_map(config: EngineConfig, layer: FullyConnected | Readout, source: MapShape, *, most: int) -> tuple[
        Walk, npt.NDArray[np.int8], int]:
    """Walk through a map at once: the walk, weights as ``[groups, lanes, parts, words, width]``, and parts."""
    channels, rows, columns = source.shape
    weights = layer.weights.reshape(-1, channels, rows, columns).transpose(0, 2, 3, 1)
    grouped = _grouped(weights, config)
    grouped = grouped.reshape(*grouped.shape[:2], -1, config.width)
    words   = grouped.shape[2]
    parts   = -(-words // most)
    if parts > MAX_LOOP:
        raise SumsError(f"words of its input must be at most {MAX_LOOP * most}, not {words}")
    run = -(-words // parts)
    padded = np.pad(grouped, ((0, 0), (0, 0), (0, parts * run - words), (0, 0)))
    return (Walk(source=source, run=run, words=run, row_words=run, part_rows=1),
            padded.reshape(*grouped.shape[:2], parts, run, config.width), parts)


def _fully_connected(config: EngineConfig, step: _Step, source: MapShape, maps: dict[int, MapShape], blocks: int, *,
                     pixels: bool) -> Pass:
    layer = step.layer
    assert isinstance(layer, FullyConnected)
    most = config.max_run if blocks == 1 else min(config.max_run, _ring_rows(config))
    first, weights, parts = _whole_map(config, layer, source, most=most)
    if pixels:
        # A slice of every word needs the same row again: rows wait in the ring for the second slice.
        first, weights, parts = _whole_map(config, layer, source, most=min(most, _ring_rows(config)))
        first = dataclasses.replace(first, blocks=False)
    second = _second_slice(first) if pixels else None
    if (shortcut := shortcut_of(layer)) is not None:
        first, weights, parts = _whole_map(config, layer, source, most=min(most, _ring_rows(config)))
        second = dataclasses.replace(first, source=maps[shortcut])
    return Pass(
        layer=step.index, last_layer=step.last_index, kind=layer.kind, neurons=layer.neurons, first=first,
        source_size=(first.run, parts), second=second, reuse=second is not None, pixels=pixels,
        tile=Tile(row=0, column=0, rows=1, columns=1), blocks=blocks, parts=parts, channels=len(layer.weights),
        target=maps[step.last_index], segment=_segment(config, runs_of_sum(first, second, pixels=pixels)),
        weights=_rows(weights))


def _readout(config: EngineConfig, step: _Step, source: MapShape, maps: dict[int, MapShape], blocks: int, *,
             pixels: bool) -> Pass:
    """Sum the scores over all time blocks: the words of each meet the same weight rows."""
    layer = step.layer
    assert isinstance(layer, Readout)
    if pixels:
        raise SumsError("reads pixels, and the array's readout sums spikes")
    most = config.max_run if blocks == 1 else min(config.max_run, _ring_rows(config))
    first, weights, parts = _whole_map(config, layer, source, most=most)
    return Pass(
        layer=step.index, last_layer=step.last_index, kind=layer.kind, neurons=None, first=first,
        source_size=(first.run, parts), tile=Tile(row=0, column=0, rows=1, columns=1), parts=parts, blocks=blocks,
        channels=layer.classes, target=None, segment=_segment(config, (first.sum_words,)), weights=_rows(weights))


def _rows(weights: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """Order ``[groups, lanes, parts, words, width]`` as ``[groups, rows, lanes, width]``."""
    ordered = weights.transpose(0, 2, 3, 1, 4)
    return np.ascontiguousarray(ordered.reshape(ordered.shape[0], -1, *ordered.shape[3:]))


def _ring_rows(config: EngineConfig) -> int:
    """Rows of a part that the ring holds at once, given that bytes under way need room."""
    return config.weight_rows - 4


def _cut(config: EngineConfig, target: Shape, sums_each: int, kernel: int, rows: int) -> tuple[list[Tile], int]:
    """Choose tiles of the result and parts of the filter.

    All rows of a part must be in the ring if the pass has more than one sum. Parts also let rows of the next part come
    while this one is computed, so a pass whose sums fit the memory of partial sums is cut into all its kernel rows.
    """
    _, height, width = target
    ring, sums = _ring_rows(config), config.partial_slots
    whole = [Tile(row=0, column=0, rows=height, columns=width)]
    positions = height * width
    if positions * sums_each <= sums:
        parts = kernel if positions * sums_each > 1 and rows // kernel >= config.lanes else 1
        if parts == 1 and rows > ring and positions * sums_each > 1:
            parts = kernel
        if positions * sums_each > 1 and -(-rows // parts) > ring:
            raise SumsError(f"weight rows of a kernel row must be at most {ring}, not {-(-rows // parts)}")
        return whole, parts
    if rows <= ring:
        return whole, 1
    if -(-rows // kernel) > ring:
        raise SumsError(f"weight rows of a kernel row must be at most {ring}, not {-(-rows // kernel)}")
    most = sums // sums_each
    if not most:
        raise SumsError(f"sums of a position, {sums_each}, must be at most {sums}")
    if most >= width:
        lines = most // width
        return [Tile(row=row, column=0, rows=min(lines, height - row), columns=width)
                for row in range(0, height, lines)], kernel
    return [Tile(row=row, column=column, rows=1, columns=min(most, width - column))
            for row in range(height) for column in range(0, width, most)], kernel


def _segment(config: EngineConfig, lengths: Sequence[int]) -> int:
    """Choose the words of a segment: as many as an accumulator holds, but the last one not shorter than P words.

    The words of a sum are those of :func:`runs_of_sum`.
    """
    most, least = config.max_segment, config.lanes

    def wait(size: int) -> tuple[int, int]:
        """Clocks that short last segments of a sum wait, and its segments."""
        short = sum(max(0, least - length % size) for length in lengths if length % size and length > size)
        return short, sum(math.ceil(length / size) for length in lengths)

    return min(range(min(least, most), most + 1), key=wait)


def maps_of(passes: Sequence[Pass]) -> list[MapShape]:
    """All maps that passes read or write, the image first, each once."""
    found: dict[int, MapShape] = {}
    for item in passes:
        for walk in item.walks():
            found.setdefault(walk.source.layer, walk.source)
        if item.target is not None:
            found.setdefault(item.target.layer, item.target)
    return [found[layer] for layer in sorted(found)]
