"""Random distortions of whole batches of uint8 images."""

import dataclasses
import math

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Augmentation", "augment"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Augmentation:
    """How far images are distorted; each image draws its own distortion, uniformly. All zero: not at all."""

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
    #: Share of images that are mirrored left to right.
    mirror: float = 0.0
    #: Share of images in which one square is erased (set to 0).
    erase: float = 0.0
    #: Side of the erased square, in pixels.
    erase_side: int = 8

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
                raise ValueError(f"augmentation {field.name} must be a number from 0, not {value!r}")
        if self.elastic_points < 2 or not isinstance(self.elastic_points, int):
            raise ValueError(f"augmentation elastic_points must be an integer from 2, not {self.elastic_points!r}")


def augment(images: Tensor, how: Augmentation, generator: torch.Generator) -> Tensor:
    """Return distorted copies, float32 with whole values 0 to 255, of images uint8 ``[B, C, H, W]``.

    What comes in from outside the image is 0. The result depends only on the arguments (and the generator's state).
    """
    count, _, height, width = images.shape

    def draw(extent: float, columns: int = 1) -> Tensor:
        return (torch.rand(count, columns, generator=generator) * 2 - 1) * extent

    size = torch.tensor([width, height])
    angle = draw(math.radians(how.rotation))[:, 0]
    stretch = 1 + draw(how.scaling, 2)
    shear = draw(how.shear)[:, 0]
    flip = 1 - 2 * (torch.rand(count, generator=generator) < how.mirror).float()
    offset = draw(how.shift, 2) * 2 / size
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
    distorted = functional.grid_sample(images.float(), grid, mode="bilinear", align_corners=False)
    if how.erase:
        erased = torch.rand(count, generator=generator) < how.erase
        row = torch.randint(0, height, (count, 1), generator=generator)
        column = torch.randint(0, width, (count, 1), generator=generator)
        rows = (torch.arange(height) - row).abs() * 2 <= how.erase_side
        columns = (torch.arange(width) - column).abs() * 2 <= how.erase_side
        hole = (rows[:, :, None] & columns[:, None, :]) & erased[:, None, None]
        distorted = distorted.masked_fill(hole[:, None], 0)
    return distorted.round_()
