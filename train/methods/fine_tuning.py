"""Fine-tuning: a float network of another package, as a NIR graph, is what a training begins with and learns from."""

import dataclasses
import logging
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor
from torch.nn import functional

from arch.strict_json import short
from support.errors import InputError, printable
from train.datasets import Split
from train.methods.context import TrainingContext
from train.methods.distillation import divergence
from train.methods.method import Batch, Method, MethodError, check_number
from train.sources.float_network import FloatNetwork, likeliest_factor
from train.sources.graph import check_facts, digest, read_source
from train.sources.student import begin_with

__all__ = ["FineTuning"]

_log = logging.getLogger(__name__)

#: Images on which currents of the two networks are matched.
_MATCHED = 256


@dataclasses.dataclass(kw_only=True, eq=False)
class FineTuning(Method):
    """Begin with a float network, and learn from labels and from it: ``(1 - mu) CE + mu tau^2 KL(float || ternary)``.

    The network begins with the values of :mod:`train.sources.student`. In every step the float network sees the same
    distorted images by its own rule (:mod:`train.sources.float_network`), and its scores, averaged over time, are
    scaled once so that they fit the labels of the validation images best: ``tau`` means the same for counted spikes and
    for currents. ``mu`` is small by default: the float network has mostly not seen distorted images, and where the
    ternary network becomes better than it, it holds it back.

    Parameters
    ----------
    graph : str
        The NIR file.
    sha256 : str
        Its SHA-256: another file of that name is refused.
    facts : mapping
        What the file does not say, as in the side-car of a graph (``docs/formats.md``).
    weight : float
        ``mu``, 0 to 1.
    temperature : float
        ``tau``, 0.01 to 1000.

    Raises
    ------
    MethodError
        An option is wrong; in :meth:`begin`: the file is another one, its layers are not those of the recipe, or the
        recipe names a ``start`` as well.
    InputError, OSError
        In :meth:`begin`: the file cannot be read.
    """

    kind: ClassVar[str] = "fine-tuning"
    needs_spiking_network: ClassVar[bool] = True
    decides: ClassVar[frozenset[str]] = frozenset({"the loss", "the gains that BatchNorm begins with"})

    graph: str
    sha256: str
    facts: Mapping[str, Any]
    weight: float = 0.1
    temperature: float = 4.0

    def __post_init__(self) -> None:
        for name in ("graph", "sha256"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value:
                raise MethodError(f"{name} of fine-tuning must be a text, not {short(value)}")
        try:
            check_facts(self.facts)
        except InputError as error:
            raise MethodError(f"facts of fine-tuning: {error}") from None
        check_number("weight of fine-tuning", self.weight, 0, 1)
        check_number("temperature of fine-tuning", self.temperature, 0.01, 1000)

    def begin(self, training: TrainingContext) -> None:
        """Read the float network, say how good it is, and give its values to the network."""
        graph = printable(self.graph)
        if training.recipe.start is not None:
            raise MethodError(f"start must be left out beside fine-tuning, which begins with {graph}")
        if digest(self.graph) != self.sha256:
            raise MethodError(f"{graph}: must be the file that the recipe was made of, and its SHA-256 is another: "
                              f"begin again with --from, in another folder")
        self._smoothing = training.recipe.label_smoothing
        self._network = FloatNetwork(read_source(self.graph, self.facts)).to(training.device)
        validation = training.validation
        scores = self._network.scores(validation.images)
        self._factor = likeliest_factor(scores, validation.labels)
        self._accuracy = float((scores.argmax(1) == validation.labels).float().mean())
        _log.info("%s: the float network has %.2f %% of %d validation images right; if its package finds more, the "
                  "options do not describe it", graph, 100 * self._accuracy, len(validation))
        try:
            begin_with(training.network, self._network, training.train.images[:_MATCHED].to(training.device))
        except InputError as error:
            raise MethodError(f"{graph}: {error}") from None

    def replace_loss(self, batch: Batch) -> Tensor:
        """Return the whole loss."""
        student = batch.scores.mean(0)
        teacher = self._network(batch.images).mean(0) * self._factor
        loss = functional.cross_entropy(student, batch.labels, label_smoothing=self._smoothing)
        return (1 - self.weight) * loss + self.weight * divergence(teacher, student, self.temperature)

    def measure(self, test: Split) -> Mapping[str, Any]:
        """Return the accuracies of the float network."""
        return {"teacher_validation_accuracy": self._accuracy,
                "teacher_test_accuracy": self._network.accuracy(test.images, test.labels)}
