"""What is known of a kind of file that is damaged: how valid ones are made and read, and what a reader may accept."""

import dataclasses
import pathlib
import random
from collections.abc import Callable
from typing import Any

from tests.fuzz.mutations import damage_bytes

__all__ = ["Kind", "Sample"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """A valid file, and who reads it."""

    content: bytes
    #: Reads the file of this name; raises what the project raises for bad files.
    read: Callable[[pathlib.Path], Any]
    #: Makes of what was read something that is equal only for equal contents.
    identity: Callable[[Any], Any]
    #: Checks what was read, of the file with this content: asserts that it is whole, of the right types and in range.
    check: Callable[[Any, bytes], None]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """A kind of file."""

    name: str
    #: Makes the valid files; called once.
    samples: Callable[[pathlib.Path], list[Sample]]
    #: Damage that mends nothing.
    damage: Callable[[random.Random, bytes], bytes] = damage_bytes
    #: Damages that know the format: they change a field, and mend the hashes and checksums that would tell.
    forgeries: tuple[Callable[[random.Random, bytes], bytes], ...] = ()
    #: The format has a checksum over all that is read: damage that does not mend it must be refused, or change nothing.
    protected: bool = True
    #: Suffix of the name of the file.
    suffix: str = ""
