"""The mapper's result for the streamed circuit: passes in their places, ready to become an image in flash."""

import dataclasses

from arch.network import Network
from gateware.engine.configuration import EngineConfig
from gateware.mapper.streamed.allocation import Allocation
from gateware.mapper.streamed.passes import IMAGE, MapShape, Pass

__all__ = ["StreamedPlan"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StreamedPlan:
    """A network laid out for the streamed circuit."""

    network: Network
    config: EngineConfig
    passes: tuple[Pass, ...]
    allocation: Allocation

    def address(self, shape: MapShape) -> int:
        """First word of a map."""
        return self.allocation.addresses[shape.layer]

    @property
    def image(self) -> MapShape:
        """The image as a map."""
        return next(item.first.source for item in self.passes if item.first.source.layer == IMAGE)

    @property
    def weight_rows(self) -> int:
        """Weight rows of the stream, rows of tiles counted each time."""
        return sum(item.groups * item.group_rows for item in self.passes)
