"""Random distortions of whole batches of uint8 images or of binary frames of events."""

import dataclasses
import math

import torch
from torch import Tensor
from torch.nn import functional

from arch.limits import MAX_SIDE
from arch.strict_json import short

__all__ = ["Augmentation", "augment"]


#: Smallest and largest value of each extent. Distortions by more than the largest image leave nothing to learn from.
_LIMITS = {"shift": (0, MAX_SIDE), "rotation": (0, 360), "scaling": (0, 1), "shear": (0, 100), "elastic": (0, MAX_SIDE),
           "elastic_points": (2, MAX_SIDE), "mirror": (0, 1), "crop_padding": (0, MAX_SIDE), "erase": (0, 1),
           "erase_side": (0, 2 * MAX_SIDE)}
_INTEGERS = ("elastic_points", "crop_padding")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Augmentation:
    """How far images are distorted; each image draws its own distortion, uniformly. All zero: not at all.

    Raises :exc:`ValueError` for an extent that is no number, negative, or larger than images are.
    """

    #: Largest shift along each axis, in pixels.
    shift: float = 0.0
    #: Largest rotation to either side, in degrees.
    rotation: float = 0.0
    #: Largest change of size along each axis, as a share.
    scaling: float = 0.0
    #: Largest shear to either side, as a tangent.
    shear: float = 0.0
    #: Standard deviation of the displacements of an elastic distortion, in pixels.
    elastic: float = 0.0
    #: Points of the elastic grid along each axis, at least 2.
    elastic_points: int = 5
    #: Share of images that are mirrored left to right; leave it at 0 where left and right make a difference.
    mirror: float = 0.0
    #: Pixels added on each side before a window of the old size is cut out at random: a shift by whole pixels, much
    #: faster than ``shift``, which interpolates.
    crop_padding: int = 0
    #: Share of images in which one square is erased (set to 0).
    erase: float = 0.0
    #: Side of the erased square, in pixels.
    erase_side: int = 8

    def __post_init__(self) -> None:
        for name, (low, high) in _LIMITS.items():
            value = getattr(self, name)
            kind, what = (int, "an integer") if name in _INTEGERS else (int | float, "a number")
            if not isinstance(value, kind) or isinstance(value, bool) or not low <= value <= high:
                raise ValueError(f"augmentation {name} must be {what} from {low} to {high}, not {short(value)}")
        if self.scaling >= 1:
            raise ValueError(f"augmentation scaling must be below 1, not {short(self.scaling)}")


def augment(images: Tensor, how: Augmentation, generator: torch.Generator) -> Tensor:
    """Return distorted copies, float32 with whole values, of images or frames.

    Parameters
    ----------
    images : Tensor
        Pixels uint8 ``[B, C, H, W]``, or frames of events uint8, 0 or 1, ``[B, T, C, H, W]``: all frames of a
        recording are distorted alike, and stay 0 or 1.
    how : Augmentation
        How far.
    generator : torch.Generator
        Source of all that is random, on the CPU: the result depends on nothing else.

    Returns
    -------
    Tensor
        float32, the same shape; whole values 0 to 255, or 0 and 1. What comes in from outside the image is 0.
    """
    if images.dim() == 5:
        return augment(images.flatten(1, 2), how, generator).unflatten(1, images.shape[1:3])
    count, _, height, width = images.shape

    def draw(extent: float, columns: int = 1) -> Tensor:
        return (torch.rand(count, columns, generator=generator) * 2 - 1) * extent

    # All are drawn even where the extent is 0, so that the other distortions of a recipe stay what they were.
    size = torch.tensor([width, height])
    angle = draw(math.radians(how.rotation))[:, 0]
    stretch = 1 + draw(how.scaling, 2)
    shear = draw(how.shear)[:, 0]
    mirrored = torch.rand(count, generator=generator) < how.mirror
    offset = draw(how.shift, 2) * 2 / size
    if how.rotation or how.scaling or how.shear or how.shift or how.elastic:
        flip = 1 - 2 * mirrored.float()
        cosine, sine = angle.cos(), angle.sin()
        matrix = torch.empty(count, 2, 3)
        matrix[:, 0, 0] = flip * cosine / stretch[:, 0]
        matrix[:, 0, 1] = flip * (shear * cosine - sine) / stretch[:, 0]
        matrix[:, 1, 0] = sine / stretch[:, 1]
        matrix[:, 1, 1] = (shear * sine + cosine) / stretch[:, 1]
        matrix[:, :, 2] = offset
        grid = functional.affine_grid(matrix, [count, 1, height, width], align_corners=False)
        if how.elastic:
            points = torch.randn(count, 2, how.elastic_points, how.elastic_points, generator=generator)
            field = functional.interpolate(points, (height, width), mode="bicubic", align_corners=True)
            grid = grid + field.movedim(1, -1) * (how.elastic * 2 / size)
        images = functional.grid_sample(images.float(), grid, mode="bilinear", align_corners=False).round_()
    elif how.mirror:
        # Whole pixels stay whole: nothing to interpolate. Interpolation would give the same values, slower.
        images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
    if how.crop_padding:
        images = _cropped(images, how.crop_padding, generator)
    if how.erase:
        erased = torch.rand(count, generator=generator) < how.erase
        row = torch.randint(0, height, (count, 1), generator=generator)
        column = torch.randint(0, width, (count, 1), generator=generator)
        # An even side reaches one pixel further up and left than down and right.
        rows, columns = ((-how.erase_side <= 2 * offset) & (2 * offset < how.erase_side)
                         for offset in (torch.arange(height) - row, torch.arange(width) - column))
        hole = (rows[:, :, None] & columns[:, None, :]) & erased[:, None, None]
        images = images.masked_fill(hole[:, None], 0)
    return images.float()


def _cropped(images: Tensor, padding: int, generator: torch.Generator) -> Tensor:
    """Return one window of each image ``[B, C, H, W]``, padded with zeros on all sides, at a place of its own."""
    count, _, height, width = images.shape
    row, column = torch.randint(0, 2 * padding + 1, (2, count), generator=generator)
    windows = functional.pad(images, (padding,) * 4).unfold(2, height, 1).unfold(3, width, 1)
    return windows[torch.arange(count), :, row, column]
