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
import os
import pathlib
import pickle
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import tqdm  # type: ignore[import-untyped]
from torch import Tensor
from torch.nn import functional

from arch.checkpoint import Checkpoint
from support.errors import InputError
from train import distributed, exact
from train.augmentation import augment
from train.datasets import Split
from train.methods import make_methods
from train.methods.method import Batch, Method, MethodError
from train.network import SpikingNetwork, build
from train.quantisers import make_quantiser
from train.recipe import Recipe
from train.ttfs.network import CatNetwork

__all__ = ["Training", "TrainingError", "load_trained", "load_trained_recipe", "load_weights", "write_atomically"]

_log = logging.getLogger(__name__)

#: Steps between two measurements of the firing rate.
RATE_INTERVAL = 20
#: Validation images on which spikes of the plain float32 forward are compared with the exact ones at the end.
FLOAT_IMAGES = 1000


class TrainingError(InputError):
    """A training cannot go on. The message is one line."""


def write_atomically(path: pathlib.Path, write: Callable[[pathlib.Path], object]) -> None:
    """Let ``write`` make a temporary file and rename it to ``path``: an interruption leaves the old file or none."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as folder:
        temporary = pathlib.Path(folder) / path.name
        write(temporary)
        temporary.replace(path)


def _epoch_seed(seed: int, epoch: int) -> int:
    """Seed of an epoch: 63 bits that share nothing with those of its neighbours."""
    return int.from_bytes(hashlib.sha256(f"{seed} {epoch}".encode()).digest()[:8], "big") >> 1


def _read_best(folder: pathlib.Path) -> dict[str, Any]:
    """Return the best network of a training, finished or not."""
    path = folder / "best.pt"
    if not path.exists():
        raise TrainingError(f"{path}: best network is missing: train again, into another folder")
    try:
        best: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(best, dict):
            raise TypeError(f"a {type(best).__name__} is in it, not a training's best network")
        best["recipe"] = Recipe.from_json(json.loads(best["recipe"]))
        missing = {"form", "network", "epoch", "validation_accuracy"} - best.keys()
        if missing:
            raise ValueError(f"no {' and no '.join(sorted(missing))} in it")
    except (KeyError, TypeError, ValueError, RuntimeError, OSError, pickle.UnpicklingError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TrainingError(f"{path}: weights cannot be read: {reason}") from None
    return best


def _read_finished(folder: pathlib.Path) -> dict[str, Any]:
    """Return the best network of a training that has been finished."""
    if not (folder / "result.json").exists():
        raise TrainingError(f"{folder}: must hold a finished training, with its result.json: train it first, "
                            f"to its end, into {folder}")
    return _read_best(folder)


def _make_network(recipe: Recipe, methods: Sequence[Method]) -> SpikingNetwork | CatNetwork:
    """Return the untrained network of a recipe; raises :exc:`MethodError`, :exc:`CheckpointError`."""
    for method in methods:
        made = method.make_network(recipe.architecture, recipe.weights)
        if made is not None:
            return made
    network = build(recipe.architecture)
    network.use_initial(recipe.initial_membrane)
    for part in network.synapses():
        part.quantiser = make_quantiser(recipe.weights)
    return network


def load_trained(folder: pathlib.Path) -> SpikingNetwork | CatNetwork:
    """Return the best network of the training in ``folder``, as it was trained (float or quantised, spikes or not).

    In evaluation mode, on the CPU.

    Raises
    ------
    :exc:`TrainingError`
        If there is none, it is not finished, it cannot be read, or a method's own quantisers are not in the recipe.
    """
    best = _read_finished(folder)
    recipe: Recipe = best["recipe"]
    methods = make_methods(recipe.methods)
    for method in methods:
        if not method.keeps_quantisers(recipe.weights):
            raise TrainingError(f"{folder}: must hold a training whose weights are those of its recipe, "
                                f"{recipe.weights}, and {method.kind} exchanged them")
    network = _make_network(recipe, methods)
    try:
        network.use_form(best["form"])
        network.load_state_dict(best["network"])
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise TrainingError(f"{folder / 'best.pt'}: weights cannot be read: {reason}") from None
    return network.eval()


def load_trained_recipe(folder: pathlib.Path) -> Recipe:
    """Return the recipe of the training in ``folder``; raises :exc:`TrainingError`."""
    recipe: Recipe = _read_finished(folder)["recipe"]
    return recipe


def _weighted_places(architecture: Mapping[str, Any]) -> list[int]:
    return [place for place, layer in enumerate(architecture["layers"]) if layer["kind"] != "or-pool"]


def _moved(state: Mapping[str, Any], places: Mapping[int, int]) -> dict[str, Any]:
    """Return the state of a network with each layer of its chain at the place that ``places`` gives for its own."""
    moved = {}
    for key, value in state.items():
        group, *rest = key.split(".", 2)
        if group == "chain":
            key = f"chain.{places[int(rest[0])]}.{rest[1]}"
        moved[key] = value
    return moved


def load_weights(network: SpikingNetwork | CatNetwork, folder: pathlib.Path) -> str:
    """Copy weights, BatchNorm and thresholds of the best network of the training in ``folder`` into ``network``.

    Layers with weights are matched in their order, so the two may pool differently: in layers of their own, or before
    the neurons.

    Returns
    -------
    str
        The form of that network (:attr:`train.network.SpikingNetwork.form`).

    Raises
    ------
    :exc:`TrainingError`
        If there is none, it is not finished, it cannot be read, or its layers have other shapes.
    """
    best = _read_finished(folder)
    source, target = (_weighted_places(layout) for layout in (best["recipe"].architecture, network.architecture))
    if len(source) != len(target):
        raise TrainingError(f"{folder}: the trained network must have the layers of this recipe: it has {len(source)} "
                            f"with weights, not {len(target)}")
    try:
        network.load_state_dict(_moved(best["network"], dict(zip(source, target, strict=True))))
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise TrainingError(f"{folder}: the trained network must have the layers of this recipe: {reason}") from None
    form: str = best["form"]
    return form


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
        self._check_data()
        torch.manual_seed(self.recipe.seed)
        self.methods = make_methods(self.recipe.methods)
        # Methods but one work on spiking networks; that one makes a network of its own.
        self.network: Any = _make_network(self.recipe, self.methods).to(self.device)
        self.network.use_compiled(self.recipe.compiled)
        for method in self.methods:
            if method.needs_spiking_network and not isinstance(self.network, SpikingNetwork):
                raise MethodError(f"{method.kind} must have a spiking network, not one of spike times: leave it or "
                                  f"conversion-aware out of the recipe")
        if self.recipe.start is not None:
            load_weights(self.network, self.folder.parent / self.recipe.start)
        self._parallel: torch.nn.Module = self.network
        if distributed.processes() > 1:
            if not isinstance(self.network, SpikingNetwork):
                raise TrainingError("conversion-aware must be trained by one process: its BatchNorm is not exchanged")
            if self.recipe.batch_size % distributed.processes():
                raise TrainingError(f"batch_size must be a multiple of the {distributed.processes()} processes, "
                                    f"not {self.recipe.batch_size}")
            distributed.use_global_norm(self.network)
            # Statistics are equal everywhere without being sent around.
            self._parallel = torch.nn.parallel.DistributedDataParallel(self.network, broadcast_buffers=False)
        for method in self.methods:
            method.begin(self)
        latent = [part.weight for part in self.network.synapses()]
        others = [value for value in self.network.parameters() if all(value is not weight for weight in latent)]
        groups = [{"params": latent, "weight_decay": self.recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
        self.optimiser: torch.optim.Optimizer
        if self.recipe.optimiser == "sgd":
            self.optimiser = torch.optim.SGD(groups, lr=self.recipe.learning_rate, momentum=0.9)
        else:
            self.optimiser = torch.optim.AdamW(groups, lr=self.recipe.learning_rate)
        self._rate_factor = 1.0
        self.history: list[dict[str, Any]] = []
        self._data = _digest(self.train, self.validation)
        self.steps_per_epoch = len(self.train) // self.recipe.batch_size
        if not self.steps_per_epoch:
            raise TrainingError(f"training images must be at least one batch of {self.recipe.batch_size}, "
                                f"not {len(self.train)}")

    def _check_data(self) -> None:
        source = self.recipe.architecture["input"]
        shape = tuple(source[side] for side in ("channels", "height", "width"))
        if source["encoding"] == "events":
            shape = self.recipe.architecture["timesteps"], *shape
        classes = self.recipe.architecture["layers"][-1]["classes"]
        for split in (self.train, self.validation):
            if split.images.shape[1:] != shape:
                raise TrainingError(f"images must be {' x '.join(map(str, shape))} like the architecture's input, "
                                    f"not {' x '.join(map(str, split.images.shape[1:]))}")
            if len(split) and int(split.labels.max()) >= classes:
                raise TrainingError(f"labels must be below the {classes} classes of the readout, "
                                    f"not {int(split.labels.max())}")

    @property
    def best_path(self) -> pathlib.Path:
        """Checkpoint of the best epoch by validation."""
        return self.folder / f"{self.recipe.name}.safetensors"

    @property
    def trained_path(self) -> pathlib.Path:
        """Weights of the best epoch, float or quantised: what other trainings start from or learn from."""
        return self.folder / "best.pt"

    @property
    def result_path(self) -> pathlib.Path:
        """What came out, as JSON: accuracies, and whether there is a checkpoint."""
        return self.folder / "result.json"

    @property
    def state_path(self) -> pathlib.Path:
        """State after the last epoch."""
        return self.folder / "state.pt"

    @property
    def metrics_path(self) -> pathlib.Path:
        """One JSON line per epoch."""
        return self.folder / "metrics.jsonl"

    def resume(self) -> bool:
        """Load the state after the last epoch, if there is one; raises :exc:`TrainingError`."""
        if not self.state_path.exists():
            if self.result_path.exists():
                raise TrainingError(f"{self.folder}: holds the result of a training without its state.pt: "
                                    f"give another folder with -o")
            return False
        wrong: list[str] = []
        try:
            state = torch.load(self.state_path, map_location=self.device, weights_only=True)
            recipe = json.loads(state["recipe"])
            wrong += [key for key, value in self.recipe.to_json().items() if recipe.get(key) != value]
            if state["data"] != self._data:
                wrong.append("data")
            if not wrong:
                self._take_state(state)
        except Exception as error:
            # torch.load raises whatever the broken file provokes.
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise TrainingError(f"{self.state_path}: state cannot be read: {reason}: "
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
        write_atomically(self.state_path, lambda path: torch.save(state, path))
        lines = "".join(f"{json.dumps(entry)}\n" for entry in self.history)
        write_atomically(self.metrics_path, lambda path: path.write_text(lines))

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

    def run_epoch(self, bar: Any = None) -> dict[str, Any]:
        """Train one epoch, validate it and save everything; return its metrics."""
        self.folder.mkdir(parents=True, exist_ok=True)
        epoch = len(self.history)
        began = time.monotonic()
        for method in self.methods:
            method.begin_epoch(epoch)
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
        trained = time.monotonic()
        exportable = self.network.exportable
        checkpoint = self.network.checkpoint() if exportable else None
        if checkpoint is None:
            accuracy = self.plain_accuracy(self.validation)
        else:
            accuracy = exact.accuracy(checkpoint, self.validation.images, self.validation.labels)
        rate = [sum(column) / len(rates) for column in zip(*rates, strict=True)]
        # Accuracies with and without spikes are not compared: the best network is one of the last form.
        form = self.network.form
        best = max((entry["validation_accuracy"] for entry in self.history if entry["form"] == form), default=0.0)
        entry = {
            "epoch": epoch + 1, "loss": loss_sum / self.steps_per_epoch, "accuracy": right_sum / self.steps_per_epoch,
            "validation_accuracy": accuracy, "exportable": exportable, "form": form,
            "firing_rate": sum(rate) / len(rate), "firing_rates": rate,
            "learning_rate": self.learning_rate((epoch + 1) * self.steps_per_epoch - 1),
            "seconds": round(trained - began, 2), "validation_seconds": round(time.monotonic() - trained, 2)}
        for method in self.methods:
            method.end_epoch(entry)
        self.history.append(entry)
        # The best network first: a state that knows of an epoch means that its files are there.
        if distributed.rank():
            return entry
        if accuracy >= best:
            if checkpoint is not None:
                self._described(checkpoint, epoch + 1, accuracy).save(self.best_path)
            trained_network = {"recipe": json.dumps(self.recipe.to_json()), "network": self.network.state_dict(),
                               "form": form, "epoch": epoch + 1, "validation_accuracy": accuracy}
            write_atomically(self.trained_path, lambda path: torch.save(trained_network, path))
        self._save_state()
        return self.history[-1]

    def _described(self, checkpoint: Checkpoint, epoch: int, accuracy: float, **more: Any) -> Checkpoint:
        made = {**self.provenance, "recipe": self.recipe.to_json(), "dataset": self.recipe.dataset,
                "seed": self.recipe.seed, "epochs": self.recipe.epochs, "epoch": epoch,
                "validation_accuracy": accuracy, "validation_images": len(self.validation), **more}
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
                _log.info("epoch %d: loss %.4f, accuracy %.2f %%, validation accuracy %.2f %%, firing rate %.1f %%, "
                          "%.1f s", entry["epoch"], entry["loss"], 100 * entry["accuracy"],
                          100 * entry["validation_accuracy"], 100 * entry["firing_rate"], entry["seconds"])
        finally:
            if bar is not None:
                bar.close()

    def finish(self, test: Split) -> dict[str, Any]:
        """Choose between running and measured BatchNorm statistics by validation, and measure the test set, once.

        Returns the content of :attr:`result_path`; what has spikes is also in the checkpoint's provenance. Raises
        :exc:`TrainingError` if a file of the epochs or of an earlier call is missing or broken.
        """
        if self.result_path.exists():
            return self._read_result()
        best = _read_best(self.folder)
        if best["recipe"].to_json() != self.recipe.to_json():
            raise TrainingError(f"{self.trained_path}: must be of this training: give another folder with -o")
        result: dict[str, Any] = {
            "recipe": self.recipe.name, "epochs": self.recipe.epochs, "epoch": best["epoch"],
            "validation_images": len(self.validation), "test_images": len(test),
            "train_seconds": round(sum(entry["seconds"] for entry in self.history), 1)}
        spiking = self.history[-1]["exportable"]
        converted = None
        if not spiking:
            # Of a resumed training no epoch may have begun that chose what neurons pass on.
            self.network.use_form(best["form"])
            self.network.load_state_dict(best["network"])
            result |= {"float_validation_accuracy": best["validation_accuracy"],
                       "float_test_accuracy": self.plain_accuracy(test)}
            self.network.eval()
            for method in self.methods:
                converted = method.export(self) or converted
                result |= method.measure(self, test)
        if converted is not None:
            accuracy = exact.accuracy(converted, self.validation.images, self.validation.labels)
            self._described(converted, best["epoch"], accuracy, **converted.provenance).save(self.best_path)
        if spiking or converted is not None:
            checkpoint = self._finish_checkpoint(test, recalibrated=converted is None)
            result |= {key: checkpoint.provenance[key] for key in
                       ("epoch", "validation_accuracy", "test_accuracy", "statistics")}
            result["checkpoint"] = self.best_path.name
        write_atomically(self.result_path, lambda path: path.write_text(json.dumps(result, indent=2) + "\n"))
        return result

    def _read_result(self) -> dict[str, Any]:
        remedy = "remove it, and the same command measures again what the epochs left"
        try:
            result = json.loads(self.result_path.read_text())
            kind = "" if "test_accuracy" in result else "float_"
            for key in ("epoch", "epochs", "test_images", f"{kind}validation_accuracy", f"{kind}test_accuracy"):
                float(result[key])
        except (ValueError, TypeError, KeyError) as error:
            raise TrainingError(f"{self.result_path}: result cannot be read: {error}: {remedy}") from None
        checkpoint = result.get("checkpoint")
        if checkpoint is not None and not (self.folder / str(checkpoint)).is_file():
            raise TrainingError(f"{self.folder / str(checkpoint)}: is missing beside {self.result_path.name}: "
                                f"give another folder with -o")
        found: dict[str, Any] = result
        return found

    def _finish_checkpoint(self, test: Split, *, recalibrated: bool) -> Checkpoint:
        if not self.best_path.exists():
            raise TrainingError(f"{self.best_path}: best checkpoint is missing: train again, into another folder")
        checkpoint = Checkpoint.load(self.best_path)
        provenance = checkpoint.provenance
        if "test_accuracy" in provenance:
            return checkpoint
        best, statistics = provenance["validation_accuracy"], "running"
        if self.recipe.calibration_images and recalibrated:
            measured = exact.recalibrate(checkpoint, self.train.images[:self.recipe.calibration_images],
                                         over_mean=self.network.norm_over_mean)
            accuracy = exact.accuracy(measured, self.validation.images, self.validation.labels)
            if accuracy > best:
                checkpoint, best, statistics = measured, accuracy, "measured"
        wrong, compared = exact.mismatches(checkpoint, self.validation.images[:FLOAT_IMAGES])
        _log.info("plain float32 forward: %d of %d spikes differ from the exact forward", wrong, compared)
        checkpoint = self._described(checkpoint, provenance["epoch"], best, statistics=statistics,
                                     float32_mismatches=wrong, float32_compared=compared,
                                     test_accuracy=exact.accuracy(checkpoint, test.images, test.labels),
                                     test_images=len(test))
        checkpoint.save(self.best_path)
        return checkpoint

    def draw_curves(self) -> pathlib.Path:
        """Draw loss, accuracies and firing rate over the epochs as a PNG; needs matplotlib."""
        os.environ.setdefault("MPLBACKEND", "Agg")
        from matplotlib.figure import Figure

        figure = Figure(figsize=(13, 3.5), layout="constrained")
        loss, accuracy, rate = figure.subplots(1, 3)
        epochs = [entry["epoch"] for entry in self.history]
        loss.semilogy(epochs, [entry["loss"] for entry in self.history])
        loss.set_title("training loss")
        for key, label in (("accuracy", "training (distorted images)"), ("validation_accuracy", "validation")):
            accuracy.plot(epochs, [100 * entry[key] for entry in self.history], label=label)
        accuracy.set_title("accuracy, %")
        accuracy.legend()
        chain = self.recipe.architecture["layers"]
        names = [layer.get("name") or f"{chain[index - 1].get('name', 'pool')} pooled"
                 for index, layer in enumerate(chain[:-1])]
        # A network with spike times has those of its input too.
        names = ["input"] * (len(self.history[0]["firing_rates"]) - len(names)) + names
        for name, column in zip(names, zip(*(entry["firing_rates"] for entry in self.history), strict=True),
                                strict=True):
            rate.plot(epochs, [100 * value for value in column], label=name)
        rate.set_title("firing rate, %")
        # Outside: there are as many curves as layers.
        rate.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")
        for axes in (loss, accuracy, rate):
            axes.set_xlabel("epoch")
            axes.grid(alpha=0.3)
        figure.suptitle(self.recipe.name)
        path = self.folder / "curves.png"
        write_atomically(path, lambda temporary: figure.savefig(temporary, dpi=100))
        return path
