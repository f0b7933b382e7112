"""Distillation: a finished network of another recipe teaches by its scores (Hinton et al., arXiv 1503.02531).

The fourth source paper's "ternarization-aware distillation" (``docs/algorithms.md``, section 4.1) has a teacher of full
precision: train one with a recipe of ``"weights": "float"`` and name its folder here.
"""

import dataclasses
import pathlib
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from arch.strict_json import short
from train.methods.context import TrainingContext
from train.methods.method import Batch, Method, MethodError, check_number, check_trained
from train.trainable import TrainableNetwork

__all__ = ["Distillation", "divergence"]


def divergence(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """Return ``tau^2 KL(softmax(teacher / tau) || softmax(student / tau))``, the mean over all rows.

    Scores ``[..., classes]`` of the same shape, floating; the result is a scalar of their dtype. The factor ``tau^2``
    makes the size of the gradients independent of ``tau`` (arXiv 1503.02531, section 2).
    """
    wanted = functional.log_softmax(teacher / temperature, -1).flatten(0, -2)
    given = functional.log_softmax(student / temperature, -1).flatten(0, -2)
    return temperature**2 * functional.kl_div(given, wanted, reduction="batchmean", log_target=True)


@dataclasses.dataclass(kw_only=True, eq=False)
class Distillation(Method):
    """Learn from labels and from a teacher: ``(1 - mu) CE + mu tau^2 KL(teacher || student)``.

    CE is that of the scores averaged over time, with the recipe's label smoothing; the divergence compares averaged
    scores too, unless ``by_step``. The teacher sees the same distorted images, in evaluation mode, once a step: a step
    costs one forward pass of the teacher more.

    Parameters
    ----------
    teacher : str
        Name of the folder of a finished training, beside this training's folder.
    weight : float
        ``mu``, 0 to 1.
    temperature : float
        ``tau``, 0.01 to 1000.
    by_step : bool
        Every timestep of the student learns from the same timestep of the teacher, or from the teacher's average where
        the two have different numbers of timesteps (time folded, a teacher without spikes).

    Raises
    ------
    MethodError
        An option is wrong; in :meth:`begin`: the teacher was made for other images or classes.
    TrainingError
        In :meth:`begin`: the teacher is not there or cannot be read.
    """

    kind: ClassVar[str] = "distillation"
    decides: ClassVar[frozenset[str]] = frozenset({"the loss"})

    teacher: str
    weight: float = 0.5
    temperature: float = 4.0
    by_step: bool = False

    def __post_init__(self) -> None:
        check_trained("teacher of distillation", self.teacher)
        check_number("weight of distillation", self.weight, 0, 1)
        check_number("temperature of distillation", self.temperature, 0.01, 1000)
        if not isinstance(self.by_step, bool):
            raise MethodError(f"by_step of distillation must be true or false, not {short(self.by_step)}")

    def begin(self, training: TrainingContext) -> None:
        """Load the teacher."""
        network = training.load_trained(self.teacher)
        self._check(training.folder_of(self.teacher), network, training.network)
        network.use_compiled(training.recipe.compiled)
        self._network = network.to(training.device).eval()
        self._smoothing = training.recipe.label_smoothing

    @staticmethod
    def _check(folder: pathlib.Path, teacher: TrainableNetwork, student: TrainableNetwork) -> None:
        ours, theirs = student.architecture, teacher.architecture
        # Zero point and scale may differ: each network gets the pixels.
        for side in ("encoding", "channels", "height", "width"):
            if theirs["input"][side] != ours["input"][side]:
                raise MethodError(f"{folder}: input {side} of the teacher must be {ours['input'][side]} "
                                  f"like the student's, not {theirs['input'][side]}")
        if ours["input"]["encoding"] == "events" and theirs["timesteps"] != ours["timesteps"]:
            raise MethodError(f"{folder}: timesteps of the teacher must be {ours['timesteps']} like the student's, "
                              f"not {theirs['timesteps']}: both see the same frames of events")
        wanted, classes = ours["layers"][-1]["classes"], theirs["layers"][-1]["classes"]
        if classes != wanted:
            raise MethodError(f"{folder}: classes of the teacher must be {wanted} like the student's, not {classes}")

    def replace_loss(self, batch: Batch) -> Tensor:
        """Return the whole loss."""
        student = batch.scores
        with torch.no_grad():
            teacher = self._network(batch.images, by_step=True)
        loss = functional.cross_entropy(student.mean(0), batch.labels, label_smoothing=self._smoothing)
        if not self.by_step:
            teacher, student = teacher.mean(0), student.mean(0)
        elif len(teacher) != len(student):
            teacher = teacher.mean(0).expand_as(student)
        return (1 - self.weight) * loss + self.weight * divergence(teacher, student, self.temperature)
