"""Places the maps of a network in the spike memory, by the passes between which each is alive."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from gateware.mapper.streamed.passes import IMAGE, MapShape, Pass

__all__ = ["Allocation", "Lifetime", "allocate", "lifetimes", "most_alive"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Lifetime:
    """A map, and the passes from the first to the last in which its words must stay."""

    map: MapShape
    first: int
    last: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Allocation:
    """Where the maps are."""

    #: First word of each map, by the layer that writes it; that of image buffer 0 for the image.
    addresses: Mapping[int, int]
    #: Image buffers: with two, one is filled while the engine reads the other, which begins half the memory later.
    buffers: int
    #: Highest word in use, plus one.
    words: int


def lifetimes(passes: Sequence[Pass]) -> list[Lifetime]:
    """Find the passes between which every map is alive: from the first that writes it to the last that reads it.

    The image is alive all the time, because the next one may come at any time.
    """
    found: dict[int, list[int]] = {}
    shapes: dict[int, MapShape] = {}
    for number, item in enumerate(passes):
        maps = [walk.source for walk in item.walks()]
        if item.target is not None:
            maps.append(item.target)
        for shape in maps:
            shapes[shape.layer] = shape
            found.setdefault(shape.layer, [number, number])[1] = number
    found[IMAGE] = [0, len(passes) - 1]
    return [Lifetime(map=shapes[layer], first=first, last=last) for layer, (first, last) in sorted(found.items())]


def most_alive(passes: Sequence[Pass]) -> tuple[int, int]:
    """Return the number of the pass in which the most words of maps are alive, with one image, and the words."""
    lives = lifetimes(passes)
    words = [sum(life.map.total_words for life in lives if life.first <= number <= life.last)
             for number in range(len(passes))]
    return words.index(max(words)), max(words)


def allocate(passes: Sequence[Pass], words: int) -> Allocation | None:
    """Place all maps in a memory of ``words`` words; None if no order that is tried finds room.

    Two image buffers are tried before one. Maps are placed one by one, each at the lowest address that is free during
    its life; the orders tried are by size, by time, and by both.
    """
    lives = lifetimes(passes)
    image = next(life for life in lives if life.map.layer == IMAGE)
    others = [life for life in lives if life.map.layer != IMAGE]
    orders: tuple[Callable[[Lifetime], tuple[int, ...]], ...] = (
        lambda life: (life.first,),
        lambda life: (-life.map.total_words, life.first),
        lambda life: (-(life.last - life.first), -life.map.total_words),
        lambda life: (-life.map.total_words * (life.last - life.first + 1), life.first),
    )
    size = image.map.total_words
    for buffers in (2, 1):
        if size > words // buffers:
            continue
        taken = [(start, start + size) for start in (0, words // 2)[:buffers]]
        for order in orders:
            addresses = _first_fit(sorted(others, key=order), taken, words)
            if addresses is not None:
                addresses[IMAGE] = 0
                top = max([taken[-1][1], *(addresses[life.map.layer] + life.map.total_words for life in others)])
                return Allocation(addresses=addresses, buffers=buffers, words=top)
    return None


def _first_fit(lives: Sequence[Lifetime], taken: Sequence[tuple[int, int]], words: int) -> dict[int, int] | None:
    """Place maps in this order beside what is ``taken`` for good; None if one finds no room."""
    addresses: dict[int, int] = {}
    placed: list[Lifetime] = []
    for life in lives:
        busy = sorted([*taken, *((addresses[other.map.layer], addresses[other.map.layer] + other.map.total_words)
                                 for other in placed if other.first <= life.last and life.first <= other.last)])
        start = 0
        for low, high in busy:
            if low - start >= life.map.total_words:
                break
            start = max(start, high)
        if start + life.map.total_words > words:
            return None
        addresses[life.map.layer] = start
        placed.append(life)
    return addresses
