"""The training loop: one epoch after the other, each saved whole, so that an interruption costs at most one epoch.

Order and distortions of an epoch come from a generator seeded by the recipe's seed and the epoch, and the state saved
after it holds everything else (weights, optimiser, PyTorch's generator, history): a resumed training gives the same
bits as an uninterrupted one on the same machine with the same number of threads.
"""

import contextlib
import dataclasses
import hashlib
import json
import logging
import math
import pathlib
import sys
import time
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
import tqdm  # type: ignore[import-untyped]
from torch import Tensor
from torch.nn import functional

from arch.checkpoint import Checkpoint
from support.errors import first_line
from train import distributed, exact
from train.assembly import make_network
from train.augmentation import augment
from train.datasets import Split
from train.folder import TrainingError, TrainingFolder, differences, load_trained, load_weights
from train.methods import make_methods
from train.methods.method import Batch, Described, MethodError
from train.recipe import Recipe
from train.trainable import TrainableNetwork

__all__ = ["Training"]

_log = logging.getLogger(__name__)

AnyCheckpoint = TypeVar("AnyCheckpoint", bound=Described)

#: Steps between two measurements of the firing rate.
RATE_INTERVAL = 20


def _epoch_seed(seed: int, epoch: int) -> int:
    """Seed of an epoch: 63 bits that share nothing with those of its neighbours."""
    return int.from_bytes(hashlib.sha256(f"{seed} {epoch}".encode()).digest()[:8], "big") >> 1


def _digest(*splits: Split) -> str:
    """SHA-256 of images and labels."""
    digest = hashlib.sha256()
    for split in splits:
        for values in (split.images, split.labels):
            digest.update(f"{values.dtype} {tuple(values.shape)}".encode())
            digest.update(values.contiguous().numpy().data)
    return digest.hexdigest()


@dataclasses.dataclass(kw_only=True)
class Training:
    """A training in progress.

    Parameters
    ----------
    recipe : Recipe
        What is trained and how.
    train, validation : Split
        Images to learn from and to choose by.
    folder : Path
        Where state, metrics, curves and the best checkpoint go.
    provenance : mapping
        What every checkpoint says about its making, besides recipe and accuracies.
    device : torch.device
        Where the network is trained; the exact forward runs on the CPU.
    progress : bool
        Show a progress bar on stderr.
    """

    recipe: Recipe
    train: Split
    validation: Split
    folder: pathlib.Path
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    device: torch.device = dataclasses.field(default_factory=lambda: torch.device("cpu"))
    progress: bool = False

    def __post_init__(self) -> None:
        self.check_data(self.train, self.validation)
        torch.manual_seed(self.recipe.seed)
        self.methods = make_methods(self.recipe.methods)
        self.network, maker = make_network(self.recipe, self.methods)
        self.network.to(self.device)
        self.network.use_compiled(self.recipe.compiled)
        for method in self.methods:
            if maker is not None and method.needs_spiking_network:
                raise MethodError(f"{method.kind} must have a spiking network, not one of spike times: leave it or "
                                  f"{maker.kind} out of the recipe")
        if self.recipe.start is not None:
            self.load_weights(self.recipe.start)
        self._parallel: torch.nn.Module = self.network
        if distributed.processes() > 1:
            if maker is not None:
                raise TrainingError(f"{maker.kind} must be trained by one process: its BatchNorm is not exchanged")
            if self.recipe.batch_size % distributed.processes():
                raise TrainingError(f"batch_size must be a multiple of the {distributed.processes()} processes, "
                                    f"not {self.recipe.batch_size}")
            distributed.use_global_norm(self.network)
            # Statistics are equal everywhere without being sent around.
            self._parallel = torch.nn.parallel.DistributedDataParallel(self.network, broadcast_buffers=False)
        for method in self.methods:
            method.begin(self)
        self._make_optimiser()
        self._rate_factor = 1.0
        self.history: list[dict[str, Any]] = []
        self._data = _digest(self.train, self.validation)
        self.steps_per_epoch = len(self.train) // self.recipe.batch_size
        if not self.steps_per_epoch:
            raise TrainingError(f"training images must be at least one batch of {self.recipe.batch_size}, "
                                f"not {len(self.train)}")

    def _make_optimiser(self) -> None:
        """Make the optimiser: weight decay pulls at the latent weights only."""
        latent = [part.weight for part in self.network.synapses()]
        others = [value for value in self.network.parameters() if all(value is not weight for weight in latent)]
        groups = [{"params": latent, "weight_decay": self.recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
        self.optimiser: torch.optim.Optimizer
        if self.recipe.optimiser == "sgd":
            self.optimiser = torch.optim.SGD(groups, lr=self.recipe.learning_rate, momentum=0.9)
        else:
            self.optimiser = torch.optim.AdamW(groups, lr=self.recipe.learning_rate)

    def check_data(self, *splits: Split) -> None:
        """Check that images and labels are those of the recipe's architecture; raises :exc:`TrainingError`."""
        source = self.recipe.architecture["input"]
        shape = tuple(source[side] for side in ("channels", "height", "width"))
        if source["encoding"] == "events":
            shape = self.recipe.architecture["timesteps"], *shape
        classes = self.recipe.architecture["layers"][-1]["classes"]
        for split in splits:
            if split.images.shape[1:] != shape:
                raise TrainingError(f"images must be {' x '.join(map(str, shape))} like the architecture's input, "
                                    f"not {' x '.join(map(str, split.images.shape[1:]))}")
            if len(split) and int(split.labels.max()) >= classes:
                raise TrainingError(f"labels must be below the {classes} classes of the readout, "
                                    f"not {int(split.labels.max())}")

    @property
    def files(self) -> TrainingFolder:
        """Where what the training leaves goes."""
        return TrainingFolder(path=self.folder, name=self.recipe.name)

    def folder_of(self, name: str) -> pathlib.Path:
        """Return the folder of the training of another recipe: it lies beside the folder of this training."""
        return self.folder.parent / name

    def load_trained(self, name: str) -> TrainableNetwork:
        """Return the trained network of the recipe ``name``, as of :func:`train.folder.load_trained`."""
        return load_trained(self.folder_of(name))

    def load_weights(self, name: str) -> str:
        """Copy the trained weights of the recipe ``name``, as of :func:`train.folder.load_weights`."""
        return load_weights(self.network, self.folder_of(name))

    def resume(self) -> bool:
        """Load the state after the last epoch, if the folder has one, and say whether it had.

        Raises :exc:`TrainingError` if the folder holds other things than this training; see
        :meth:`train.folder.TrainingFolder.check`.
        """
        files = self.files
        files.check(self.recipe)
        if not files.state.exists():
            if files.result.exists():
                raise TrainingError(f"{self.folder}: holds the result of a training without its state.pt: "
                                    f"give another folder with -o")
            return False
        wrong: list[str] = []
        try:
            state = torch.load(files.state, map_location=self.device, weights_only=True)
            recipe = json.loads(state["recipe"])
            wrong += differences(self.recipe, recipe)
            if state["data"] != self._data:
                wrong.append("data")
            if not wrong:
                self._take_state(state)
        except Exception as error:
            # torch.load raises whatever the broken file provokes.
            raise TrainingError(f"{files.state}: state cannot be read: {first_line(error)}: "
                                f"give another folder with -o") from None
        if wrong:
            raise TrainingError(f"{self.folder}: holds a training with another {', '.join(wrong)}: "
                                f"give another folder with -o")
        return True

    def _take_state(self, state: Mapping[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        torch.set_rng_state(state["rng"].cpu())
        for method, kept in zip(self.methods, state["methods"], strict=True):
            method.load_state(kept)
        self._rate_factor = state["rate_factor"]
        self.history = json.loads(state["history"])

    def _save_state(self) -> None:
        state = {"recipe": json.dumps(self.recipe.to_json()), "data": self._data, "network": self.network.state_dict(),
                 "optimiser": self.optimiser.state_dict(), "rng": torch.get_rng_state(),
                 "methods": [method.state() for method in self.methods], "rate_factor": self._rate_factor,
                 "history": json.dumps(self.history)}
        self.files.write_state(state, self.history)

    def learning_rate(self, step: int) -> float:
        """Learning rate of a step, counted from the start: a ramp, then a cosine to 0 or what a method wants."""
        peak = self.recipe.learning_rate * self._rate_factor
        warmup = self.recipe.warmup_epochs * self.steps_per_epoch
        if step < warmup:
            return peak * (step + 1) / math.ceil(warmup)
        for method in self.methods:
            share = method.rate_share(step / self.steps_per_epoch)
            if share is not None:
                return peak * share
        total = self.recipe.epochs * self.steps_per_epoch
        done = (step - warmup) / max(total - warmup, 1)
        return peak * 0.5 * (1 + math.cos(math.pi * done))

    def scale_learning_rate(self, factor: float) -> None:
        """Multiply the learning rate of all steps to come by ``factor``."""
        self._rate_factor *= factor

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.recipe.bfloat16)

    def loss(self, images: Tensor, labels: Tensor, spikes: list[Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Return the loss of one batch, with its methods' terms, and the scores ``[B, classes]``, averaged over time.

        Images are float or uint8 ``[B, C, H, W]``, or events ``[B, T, C, H, W]``; labels int64.
        """
        if not self.methods:
            scores = self._parallel(images, spikes)
            return functional.cross_entropy(scores, labels, label_smoothing=self.recipe.label_smoothing), scores
        kept: list[Tensor] | None = [] if any(method.needs_spikes for method in self.methods) else None
        by_step = self._parallel(images, spikes, by_step=True, attached=kept)
        batch = Batch(images=images, labels=labels, scores=by_step, spikes=tuple(kept or ()))
        scores = by_step.mean(0)
        replaced = (method.replace_loss(batch) for method in self.methods)
        loss = next((loss for loss in replaced if loss is not None), None)
        if loss is None:
            loss = functional.cross_entropy(scores, labels, label_smoothing=self.recipe.label_smoothing)
        for method in self.methods:
            term = method.add_loss(batch)
            if term is not None:
                loss = loss + term
        return loss, scores

    def step(self, images: Tensor, labels: Tensor, spikes: list[Tensor] | None = None) -> tuple[float, float]:
        """Learn from one batch, as of :meth:`loss`; return its loss and accuracy."""
        self.network.train()
        images, labels = (distributed.share(values).to(self.device) for values in (images, labels))
        with self._autocast():
            loss, scores = self.loss(images, labels, spikes)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        for method in self.methods:
            method.before_step()
        self.optimiser.step()
        self.network.clamp()
        for method in self.methods:
            method.after_step()
        right = (scores.argmax(1) == labels).float().mean()
        loss_mean, right_mean = distributed.mean(torch.stack([loss.detach().float(), right])).tolist()
        return loss_mean, right_mean

    @torch.no_grad()
    def plain_accuracy(self, split: Split) -> float:
        """Share of right classes of the network as it is trained, in evaluation mode: for networks without spikes."""
        self.network.eval()
        right = 0
        with self._autocast():
            size = exact.batch_size(self.recipe.architecture["timesteps"])
            for images, labels in zip(split.images.split(size), split.labels.split(size), strict=True):
                right += int((self.network(images.to(self.device)).argmax(1).cpu() == labels).sum())
        return right / len(split)

    def _learn(self, epoch: int, bar: Any) -> dict[str, Any]:
        """Make the steps of an epoch; return the metrics of its training images."""
        generator = torch.Generator().manual_seed(_epoch_seed(self.recipe.seed, epoch))
        order = torch.randperm(len(self.train), generator=generator)
        plain = epoch >= self.recipe.epochs - self.recipe.plain_epochs
        loss_sum = right_sum = 0.0
        rates: list[list[float]] = []
        for step in range(self.steps_per_epoch):
            chosen = order[step * self.recipe.batch_size:(step + 1) * self.recipe.batch_size]
            images, labels = self.train.images[chosen], self.train.labels[chosen]
            if not plain:
                images = augment(images, self.recipe.augmentation, generator)
            for group in self.optimiser.param_groups:
                group["lr"] = self.learning_rate(epoch * self.steps_per_epoch + step)
            spikes: list[Tensor] | None = [] if step % RATE_INTERVAL == 0 else None
            loss, right = self.step(images, labels, spikes)
            if not math.isfinite(loss):
                raise TrainingError(f"loss became {loss} in step {step + 1} of epoch {epoch + 1}: "
                                    f"lower the learning rate")
            loss_sum += loss
            right_sum += right
            if spikes is not None:
                rates.append([self.network.firing_rate(maps) for maps in spikes])
            if bar is not None:
                shown = step + 1
                bar.set_postfix_str(f"epoch {epoch + 1}/{self.recipe.epochs}, loss {loss_sum / shown:.4f}, "
                                    f"accuracy {right_sum / shown:.2%}, "
                                    f"firing rate {sum(rates[-1]) / len(rates[-1]):.1%}", refresh=False)
                bar.update()
        rate = [sum(column) / len(rates) for column in zip(*rates, strict=True)]
        return {"loss": loss_sum / self.steps_per_epoch, "accuracy": right_sum / self.steps_per_epoch,
                "firing_rate": sum(rate) / len(rate), "firing_rates": rate}

    def run_epoch(self, bar: Any = None) -> dict[str, Any]:
        """Train one epoch, validate it and save everything; return its metrics."""
        self.folder.mkdir(parents=True, exist_ok=True)
        epoch = len(self.history)
        began = time.monotonic()
        for method in self.methods:
            method.begin_epoch(epoch)
        learned = self._learn(epoch, bar)
        trained = time.monotonic()
        exportable = self.network.exportable
        checkpoint: Checkpoint | None = self.network.checkpoint() if exportable else None
        if checkpoint is None:
            accuracy = self.plain_accuracy(self.validation)
        else:
            accuracy = exact.accuracy(checkpoint, self.validation.images, self.validation.labels)
        # Accuracies with and without spikes are not compared: the best network is one of the last form.
        form = self.network.form
        best = max((entry["validation_accuracy"] for entry in self.history if entry["form"] == form), default=0.0)
        entry = {
            "epoch": epoch + 1, **learned,
            "validation_accuracy": accuracy, "exportable": exportable, "form": form,
            "learning_rate": self.learning_rate((epoch + 1) * self.steps_per_epoch - 1),
            "seconds": round(trained - began, 2), "validation_seconds": round(time.monotonic() - trained, 2)}
        for method in self.methods:
            method.end_epoch(entry)
        self.history.append(entry)
        if not distributed.rank():
            # The best network first: a state that knows of an epoch means that its files are there.
            if accuracy >= best:
                if checkpoint is not None:
                    self.described(checkpoint, epoch + 1, validation_accuracy=accuracy).save(self.files.checkpoint)
                self.files.write_best(self.recipe, self.network, epoch=epoch + 1, accuracy=accuracy)
            self._save_state()
        return entry

    def described(self, checkpoint: AnyCheckpoint, epoch: int, **more: Any) -> AnyCheckpoint:
        """Return the checkpoint with its whole provenance: this training, the epoch and ``more``, what was measured."""
        made = {**self.provenance, "recipe": self.recipe.to_json(), "dataset": self.recipe.dataset,
                "seed": self.recipe.seed, "epochs": self.recipe.epochs, "epoch": epoch,
                "validation_images": len(self.validation), **more}
        return dataclasses.replace(checkpoint, provenance=made)

    def run(self) -> None:
        """Train the epochs that are left."""
        done = len(self.history)
        total = self.recipe.epochs * self.steps_per_epoch
        bar = None
        if self.progress and not distributed.rank():
            interactive = sys.stderr.isatty()
            bar = tqdm.tqdm(total=total, initial=done * self.steps_per_epoch, unit="step", dynamic_ncols=interactive,
                            mininterval=0.5 if interactive else 30, file=sys.stderr)
        try:
            for _ in range(done, self.recipe.epochs):
                entry = self.run_epoch(bar)
                if bar is not None:
                    # The line would stand behind the bar; the next step draws the bar again, below it.
                    bar.clear()
                if not distributed.rank():
                    _log.info("epoch %d: loss %.4f, accuracy %.2f %%, validation accuracy %.2f %%, "
                              "firing rate %.1f %%, %.1f s", entry["epoch"], entry["loss"], 100 * entry["accuracy"],
                              100 * entry["validation_accuracy"], 100 * entry["firing_rate"], entry["seconds"])
        finally:
            if bar is not None:
                bar.close()
