"""What is wrong with an image of models."""

from support.errors import InputError

__all__ = ["ImageError"]


class ImageError(InputError):
    """An image, or what it is to be made of, does not follow the format."""
