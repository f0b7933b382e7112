"""Damage to files: what disks, lines, editors and enemies do to bytes and to JSON, drawn from a generator.

Every function takes a :class:`random.Random` and returns a damaged copy. It may happen to be equal to the original.
"""

import copy
import json
import random
from collections.abc import Callable
from typing import Any

__all__ = ["DEEP", "NUMBERS", "damage_bytes", "damage_json", "damage_part", "hostile_integer"]

#: Depths of nested lists: ordinary ones, those around the interpreter's limit of 1,000 calls, and one far beyond.
DEEP = (2, 20, 90, 110, 300, 900, *range(930, 1000, 3), 5000, 100_000)

#: Integers at which sizes, offsets and types end, and some that no type holds.
NUMBERS = (0, 1, 2, 3, 5, 7, 8, 16, 31, 32, 63, 64, 127, 128, 255, 256, 1000, 65535, 65536, 2**24, 2**30, 2**31 - 1,
           2**31, 2**32 - 1, 2**32, 2**47, 2**53 + 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64)

#: Texts that stand in JSON as they are: what a strict reader refuses, or what Python reads as a number of no type.
_RAW = ("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e308", "5e-324", "-0.0", "1.0", "9" * 400, "-" + "9" * 400,
        "9" * 4299, "9" * 5000, "01", "+1", ".5", "0x10", "'a'", "undefined", "[1,]", "{,}", "\x00", "//", '"\t"',
        '"\ud800"'.encode("unicode_escape").decode(), "\ufeff{}")
_STRINGS = ("", " ", "a", "é", "\n", "a\nERROR: b", "\x1b[2J", "\x00", "\ud800", "\u202e", "../../etc/passwd",
            "/dev/zero", "0", "1", "true", "null", "NaN", "__class__", "kind", "%s%n{0}", "x" * 300, "y" * 100_000)


def hostile_integer(rng: random.Random) -> int:
    """Draw an integer at which something may end, or a neighbour of one, of either sign."""
    return rng.choice((1, 1, 1, -1)) * rng.choice(NUMBERS) + rng.choice((0, 0, -1, 1))


def _span(rng: random.Random, length: int) -> tuple[int, int]:
    """Draw begin and end of a piece, which is short more often than long."""
    size = min(length, rng.choice((1, 1, 2, 4, 8, 16, 64, 256, 4096)))
    begin = rng.randint(0, length - size)
    return begin, begin + size


def _flip(rng: random.Random, content: bytes) -> bytes:
    place = rng.randrange(len(content))
    return content[:place] + bytes((content[place] ^ 1 << rng.randrange(8),)) + content[place + 1:]


def _replace(rng: random.Random, content: bytes) -> bytes:
    begin, end = _span(rng, len(content))
    piece = rng.choice((rng.randbytes(end - begin), bytes(end - begin), b"\xff" * (end - begin), b"9" * (end - begin)))
    return content[:begin] + piece + content[end:]


def _number(rng: random.Random, content: bytes) -> bytes:
    size = rng.choice((1, 2, 4, 8))
    place = rng.randrange(max(1, len(content) - size + 1))
    number = hostile_integer(rng) % (1 << 8 * size)
    return content[:place] + number.to_bytes(size, rng.choice(("little", "big"))) + content[place + size:]


def _truncate(rng: random.Random, content: bytes) -> bytes:
    return content[:rng.choice((rng.randrange(len(content)), max(0, len(content) - rng.randint(1, 9)),
                                min(len(content) - 1, rng.randrange(16))))]


def _insert(rng: random.Random, content: bytes) -> bytes:
    place = rng.choice((rng.randint(0, len(content)), 0, len(content)))
    size = rng.choice((1, 1, 2, 7, 8, 100, 4096))
    piece = rng.choice((rng.randbytes(size), bytes(size), b"\xff" * size, b" " * size))
    return content[:place] + piece + content[place:]


def _delete(rng: random.Random, content: bytes) -> bytes:
    begin, end = _span(rng, len(content))
    return content[:begin] + content[end:]


def _double(rng: random.Random, content: bytes) -> bytes:
    begin, end = rng.choice((_span(rng, len(content)), (0, len(content))))
    return content[:end] + content[begin:end] + content[end:]


def _swap(rng: random.Random, content: bytes) -> bytes:
    begin, middle, end = sorted(rng.randint(0, len(content)) for _ in range(3))
    return content[:begin] + content[middle:end] + content[begin:middle] + content[end:]


_BYTES: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    _flip, _flip, _replace, _number, _truncate, _insert, _delete, _double, _swap)


def damage_bytes(rng: random.Random, content: bytes) -> bytes:
    """Damage ``content`` in one place, or in a few."""
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        content = rng.choice(_BYTES)(rng, content) if content else rng.randbytes(rng.randint(1, 99))
    return content


def damage_part(rng: random.Random, content: bytes, begin: int, end: int) -> bytes:
    """Damage the bytes from ``begin`` to ``end`` only, whose number may change."""
    return content[:begin] + damage_bytes(rng, content[begin:end]) + content[end:]


def _value(rng: random.Random, raw: dict[str, str]) -> Any:
    """Draw a JSON value; what :func:`json.dumps` does not write gets a mark, and its text goes into ``raw``."""
    kind = rng.randrange(6)
    if kind == 0:
        return hostile_integer(rng)
    if kind == 1:
        return rng.choice(_STRINGS)
    if kind == 2:
        return rng.choice((None, True, False, [], {}, 0.5, -1.5, 1e300, [0] * 10, [[]], {"": 0}, ["a", 1],
                           {"kind": []}))
    if kind == 3:
        depth = rng.choice(DEEP)
        return _mark(raw, rng.choice(("[" * depth + "]" * depth, '{"a":' * depth + "0" + "}" * depth, "[" * depth)))
    return _mark(raw, rng.choice(_RAW))


def _mark(raw: dict[str, str], text: str) -> str:
    mark = f"~raw{len(raw)}~"
    raw[mark] = text
    return mark


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every container below ``value`` with each of its keys or indices."""
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        at = waiting.pop()
        keys = list(at) if isinstance(at, dict) else range(len(at)) if isinstance(at, list) else ()
        found += [(at, key) for key in keys]
        waiting += [at[key] for key in keys]
    return found


def _alter(rng: random.Random, value: Any, raw: dict[str, str]) -> Any:
    """Alter one place of the JSON ``value``."""
    places = _places(value)
    if not places or rng.randrange(40) == 0:
        return _value(rng, raw)
    at, key = rng.choice(places)
    how = rng.randrange(8)
    if how == 0:
        del at[key]
    elif how == 1:
        other, second = rng.choice(places)
        at[key], other[second] = copy.deepcopy(other[second]), copy.deepcopy(at[key])
    elif how == 2 and isinstance(at, dict):
        at[rng.choice((*_STRINGS, *at))] = _value(rng, raw)
    elif how == 2:
        at.insert(key, rng.choice((_value(rng, raw), copy.deepcopy(at[key]))))
    elif how == 3 and isinstance(at, dict):
        # The key twice: once more behind the one that is there.
        at[key] = _mark(raw, f"{json.dumps(at[key])},{json.dumps(key)}:{json.dumps(at[key])}")
    elif how == 4 and isinstance(at[key], int | float):
        at[key] = rng.choice((-at[key], at[key] + 1, at[key] - 1, float(at[key]), str(at[key]), [at[key]], at[key] * 2))
    else:
        at[key] = _value(rng, raw)
    return value


def damage_json(rng: random.Random, text: str, *, sort_keys: bool = False) -> str:
    """Alter the values of the JSON ``text`` in one place or in a few, or its characters."""
    if rng.randrange(6) == 0:
        return damage_bytes(rng, text.encode()).decode("utf-8", "replace")
    raw: dict[str, str] = {}
    value = json.loads(text)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        value = _alter(rng, value, raw)
    made = json.dumps(value, sort_keys=sort_keys, separators=rng.choice(((",", ":"), (",", ":"), (", ", ": "))))
    for mark, content in raw.items():
        made = made.replace(f'"{mark}"', content)
    return made
