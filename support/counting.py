"""How texts count things."""

__all__ = ["counted"]


def counted(number: int, noun: str) -> str:
    """Return the number with its noun, such as ``1 image`` or ``10,000 images``: the plural takes an s."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
