"""A drawing becomes an image like those on which a network of digits was trained.

The rule is that of MNIST: the drawing is scaled, with its proportions, so that its longer side fills 20 of the 28
pixels of the image, with grey levels at its edges; then it is moved so that its centre of mass is pixel 14 of rows and
columns, counted from 0. In images of another size, box and centre keep their proportions. A drawing whose mass is far
from its middle is moved as far as the image has room.

Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits": "normalized to fit in a 20x20 pixel box while
preserving their aspect ratio", "centered in a 28x28 image by computing the center of mass of the pixels". That this is
pixel 14, and not the middle between 13 and 14, was measured on the test images that ship: 14.02 +- 0.3.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image

from support.errors import InputError

__all__ = ["BOX", "SIDE", "as_drawn", "as_mnist"]

#: Sides of MNIST's images, and of the box that a digit fills in them, in pixels.
SIDE, BOX = 28, 20

Pixels = npt.NDArray[np.uint8]


def as_drawn(drawing: Pixels, height: int, width: int) -> Pixels:
    """Scale a whole drawing, empty edges too: a pixel is the mean of what it covers.

    Parameters
    ----------
    drawing
        ``uint8[rows, columns]``, ink is 255.
    height, width
        Size of the image, in pixels.

    Returns
    -------
    image
        ``uint8[height, width]``.
    """
    return _scaled(drawing, height, width)


def as_mnist(drawing: Pixels, height: int, width: int) -> Pixels:
    """Scale and move the ink of a drawing by the rule of MNIST; arguments and result are those of :func:`as_drawn`.

    Raises
    ------
    :exc:`support.errors.InputError`
        If there is no ink.
    """
    rows, columns = np.flatnonzero(drawing.any(axis=1)), np.flatnonzero(drawing.any(axis=0))
    if not len(rows):
        raise InputError("drawing must have ink, not be empty: draw something")
    ink = drawing[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]
    scale = min(height * BOX / SIDE / ink.shape[0], width * BOX / SIDE / ink.shape[1])
    small = _scaled(ink, max(1, round(scale * ink.shape[0])), max(1, round(scale * ink.shape[1])))
    image = np.zeros((height, width), np.uint8)
    top, left = (_begin(small.sum(axis=1 - axis, dtype=np.int64), size) for axis, size in enumerate((height, width)))
    image[top:top + small.shape[0], left:left + small.shape[1]] = small
    return image


def _begin(mass: npt.NDArray[np.int64], size: int) -> int:
    """Return where ink with this mass per row begins, so that its centre is in the middle of ``size`` rows."""
    # Ink that is thinner than half a grey level has no mass.
    centre = float(mass @ np.arange(len(mass)) / mass.sum()) if mass.any() else (len(mass) - 1) / 2
    return min(max(round(size / 2 - centre), 0), size - len(mass))


def _scaled(drawing: Pixels, height: int, width: int) -> Pixels:
    # The mean of what a pixel covers where the drawing is larger, lines between pixels where it is smaller.
    larger = drawing.shape[0] >= height and drawing.shape[1] >= width
    method = Image.Resampling.BOX if larger else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(drawing).resize((width, height), method))
