"""The gates of the embedded accelerator in plain Python: what becomes of each packet, without clocks."""

from collections.abc import Iterable, Sequence

from arch.link import ErrorCode

__all__ = ["answers", "image_events"]


def image_events(packets: Iterable[Sequence[int]], image_bytes: int) -> list[str | int | ErrorCode]:
    """Say what the image gate does with packets: "begin", the bytes, "commit" or "abort", and each refusal."""
    events: list[str | int | ErrorCode] = []
    for packet in packets:
        events += ["begin", *packet[:image_bytes]]
        events += ["commit"] if len(packet) == image_bytes else ["abort", ErrorCode.WRONG_LENGTH]
    return events


def answers(images: Iterable[Sequence[int] | ErrorCode]) -> list[tuple[int, bool, bool]]:
    """Say what the result gate sends, as word, last and error, for images that have a result or were refused."""
    words = []
    for image in images:
        if isinstance(image, ErrorCode):
            words.append((int(image), True, True))
        else:
            words += [(word, place == len(image) - 1, False) for place, word in enumerate(image)]
    return words
