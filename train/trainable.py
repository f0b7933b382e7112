"""What the training loop asks of a network, of whatever family: the base of all networks that can be trained."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

__all__ = ["TrainableNetwork"]


class TrainableNetwork(nn.Module):
    """A network for the training loop; a family of networks derives from it and fills in all of it.

    A network has a *form*: what its neurons pass on (spikes, rates or real numbers) and whether its weights are
    quantised. A method may change the form between epochs, and accuracies of different forms are not compared.
    """

    #: Timesteps T of an inference.
    timesteps: int

    @property
    def architecture(self) -> Mapping[str, Any]:
        """What the network is made of, as in :mod:`arch.architecture`."""
        raise NotImplementedError

    @property
    def exportable(self) -> bool:
        """Whether the network, as it is now, has a checkpoint of :mod:`arch.checkpoint` that computes the same."""
        raise NotImplementedError

    @property
    def form(self) -> str:
        """The form of the network, in words."""
        raise NotImplementedError

    def use_form(self, form: str) -> None:
        """Take the form ``form``, a value that :attr:`form` had; raises :exc:`ValueError`."""
        raise NotImplementedError

    def use_compiled(self, compiled: bool) -> None:
        """Choose whether the neurons' loops are compiled (needs g++ on a CPU)."""
        raise NotImplementedError

    def synapses(self) -> Iterator[Any]:
        """Iterate over the parts that have latent weights (``.weight``), from the input to the readout."""
        raise NotImplementedError

    def clamp(self) -> None:
        """Bring parameters back into their bounds; called after each step of the optimiser."""
        raise NotImplementedError

    def checkpoint(self, provenance: Mapping[str, Any] | None = None) -> Any:
        """Return the trained network as data, a checkpoint of its family.

        Raises :exc:`arch.checkpoint.CheckpointError` if its weights are float.
        """
        raise NotImplementedError

    @staticmethod
    def firing_rate(maps: Tensor) -> float:
        """Return the share of places with a spike in what one layer passes on, a tensor of any shape."""
        raise NotImplementedError

    def forward(self, images: Tensor, maps: list[Tensor] | None = None, *, by_step: bool = False,
                attached: list[Tensor] | None = None) -> Tensor:
        """Return scores, float32 ``[B, classes]``, or those of each timestep, ``[T, B, classes]``, with ``by_step``.

        Parameters
        ----------
        images : ``[B, C, H, W]`` pixels 0 to 255 (uint8 or float), or events 0 and 1 ``[B, T, C, H, W]``
        maps : list, optional
            What the layers before the readout pass on is appended to it, without gradients.
        by_step : bool
            Return the scores of each timestep.
        attached : list, optional
            Like ``maps``, with gradients.
        """
        raise NotImplementedError
