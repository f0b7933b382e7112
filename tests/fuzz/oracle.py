"""The one judge of all readers of files: a damaged file is refused in one line that names it, or read as it should be.

A reader may raise nothing but :exc:`support.errors.InputError`, may take seconds and not minutes, and may not ask for
memory without end.
"""

import contextlib
import pathlib
import random
import resource
import signal
import traceback
from collections.abc import Iterator
from typing import Any

from support.errors import InputError
from tests.fuzz.kinds import Kind, Sample

__all__ = ["LONGEST", "Exceeded", "damaged", "faults", "limited", "wrong_message"]

#: Most characters of a message, without the name of the file.
LONGEST = 600
#: Most seconds of the processor for one file, and most bytes that a reader may ask for.
_SECONDS, _BYTES = 10.0, 1 << 30
#: Damaged copies that are drawn before one is different from the original.
_DRAWS = 20


class Exceeded(BaseException):
    """A reader did not end in time. No reader catches it."""


@contextlib.contextmanager
def limited(seconds: float = _SECONDS, extra_bytes: int = _BYTES) -> Iterator[None]:
    """Let the context take so many seconds of the processor, and so many bytes more than the process has.

    Raises :exc:`Exceeded` when the time is over; who asks for more memory gets a :exc:`MemoryError`.
    """
    def stop(*_: Any) -> None:
        raise Exceeded(f"more than {seconds} s of the processor")

    used = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    resource.setrlimit(resource.RLIMIT_AS, (used + extra_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def wrong_message(message: str, path: pathlib.Path) -> str | None:
    """Return what is wrong with the message of an error, None if nothing is."""
    if not message.isprintable():
        return "is not one line of printable characters"
    if str(path) not in message:
        return "does not name the file"
    if len(message.replace(str(path), "")) > LONGEST:
        return f"has more than {LONGEST} characters"
    return None


def damaged(rng: random.Random, kind: Kind, content: bytes) -> tuple[bytes, bool]:
    """Return a damaged copy, and whether somebody who knows the format has made it."""
    for _ in range(_DRAWS):
        forged = bool(kind.forgeries) and rng.random() < 0.7
        made = rng.choice(kind.forgeries)(rng, content) if forged else kind.damage(rng, content)
        if made != content:
            return made, forged
    raise AssertionError(f"{kind.name}: {_DRAWS} damaged copies are equal to the original")


def _fault(path: pathlib.Path, sample: Sample, original: Any, damaged: bytes, same: bool) -> str | None:
    """Return what the reader of a damaged file did wrong, None if nothing; ``same`` if no other content may be read."""
    try:
        with limited():
            found = sample.read(path)
    except InputError as error:
        wrong = wrong_message(str(error), path)
        return wrong and f"message {wrong}: {str(error)[:200]!r}"
    except (Exception, Exceeded) as error:
        frames = traceback.extract_tb(error.__traceback__)[-3:]
        where = " < ".join(f"{pathlib.Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))
        return f"{type(error).__name__} at {where}: {str(error)[:200]!r}"
    try:
        sample.check(found, damaged)
    except AssertionError as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        return f"accepted, and not well-formed: {frame.line}: {str(error)[:200]}"
    if same and sample.identity(found) != original:
        return "accepted in silence, with another content"
    return None


def faults(kind: Kind, cases: range, seed: int, folder: pathlib.Path) -> Iterator[str]:
    """Read a damaged file for each number in ``cases``; yield what readers did wrong, with the file that shows it."""
    samples = kind.samples(folder)
    path = folder / f"damaged{kind.suffix}"
    originals = []
    for sample in samples:
        path.write_bytes(sample.content)
        found = sample.read(path)
        sample.check(found, sample.content)
        originals.append(sample.identity(found))
    for case in cases:
        rng = random.Random(f"{seed} {kind.name} {case}")
        number = rng.randrange(len(samples))
        changed, forged = damaged(rng, kind, samples[number].content)
        path.write_bytes(changed)
        fault = _fault(path, samples[number], originals[number], changed, kind.protected and not forged)
        if fault is not None:
            kept = folder / f"case-{case}{kind.suffix}"
            kept.write_bytes(changed)
            yield f"{kind.name}, case {case} of seed {seed}, a copy of sample {number} kept as {kept}: {fault}"
