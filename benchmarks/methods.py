"""Measure finished trainings with the exported integer network, and write ``docs/benchmarks.md`` from the measurements.

Usage, from the checkout::

    python -m benchmarks.methods measure RUN [RUN ...] --data DIR
    python -m benchmarks.methods table RUNS

``measure`` exports the checkpoint of each folder that ``python -m train`` filled, runs the bit-exact reference on the
whole test set and writes ``benchmark.json`` and the network beside it. ``table`` collects the ``benchmark.json`` of
all folders in RUNS. Nothing is in the page that was not measured so; only the papers' own numbers are quoted.
"""

import argparse
import json
import pathlib
import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from arch import network_file
from arch.checkpoint import Checkpoint, CheckpointError
from arch.network import Network, NetworkError, OrPool
from arch.ttfs import network_file as ttfs_network_file
from export import steps
from export.certificate import RealValueError
from export.folding import fold
from export.ttfs import conversion as ttfs
from sim import latency
from sim.reference import Reference, classify
from sim.ttfs.reference import Reference as TtfsReference
from support.errors import InputError
from support.files import write_atomically
from support.provenance import revision
from train import datasets, exact, metrics
from train.folder import TrainingError, load_trained, load_trained_recipe
from train.methods.conversion_aware import ConversionAware
from train.methods.method import MethodError
from train.recipe import Recipe, RecipeError, load_recipe, shipped_recipes
from train.ttfs.network import CatNetwork

__all__ = ["BenchmarkError", "create_parser", "main", "measure", "table"]

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"
#: Test images on which a network with spike times is compared value for value with the trained one.
VERIFIED = 1000
#: Networks of so many timesteps are measured with early exits.
EXIT_TIMESTEPS = 8
#: Timesteps of the page's table over time.
STEPS_SHOWN = (1, 2, 4, 8, 16, 24, 32, 64)
#: Validation accuracy that early exits may lose.
TOLERANCES = (0.0, 0.001, 0.005)
#: Most fractional bits that an export tries: networks of many timesteps need more than the 8 of T = 4.
MAX_FRACTION = 16

#: Raised when what is measured changes: older measurements are refused.
LAYOUT = 2

#: What every measurement has.
COMMON = {"name", "dataset", "network", "methods", "seed", "epochs", "needs", "float_test_accuracy", "train_seconds",
          "weights_kind", "timesteps", "weights", "compression", "accuracy", "exact", "test_images",
          "calibration_error", "firing_rate", "event_operations", "dense_operations"}
#: What a measurement of an exported network has besides.
MEASURED = {"negative_log_likelihood", "brier", "predictive_entropy", "mutual_information",
            "calibration_error_of_mean_scores", "negative_log_likelihood_of_mean_scores", "brier_of_mean_scores"}
#: What seeds of one recipe have in common.
SHARED = ("dataset", "network", "methods", "epochs", "timesteps", "weights", "weights_kind", "test_images", "needs")

#: What the papers say of themselves: method, data set, network, weights, accuracy, source, what differs from ours.
PAPERS = (
    ("TSNN", "CIFAR-10", "VGG-9, 68 M", "ternary, all layers, T = 4", "89.07 %", "Wu et al. 2022, abstract",
     "best test epoch, training script with the defects named in training.md; no pooling before layer 7"),
    ("TSNN with shortcuts", "CIFAR-10", "VGG-9, 68 M", "ternary, all layers, T = 4", "89.91 %",
     "Wu et al. 2022, abstract", "as above"),
    ("TSNN", "CIFAR-100", "VGG-11, 68 M", "ternary, all layers, T = 4", "65.24 %", "Wu et al. 2022, abstract",
     "as above"),
    ("TSNN", "N-MNIST", "3 conv + 2 fc, 0.6 M", "ternary, all layers, T = 4", "98.43 %", "Wu et al. 2022, abstract",
     "whole N-MNIST; ours is the subset of 1,000 training and 100 test samples of the SLAYER project"),
    ("binary SNN by conversion", "CIFAR-100", "VGG-15", "binary but first and last layer", "64.8 % (ANN)",
     "Lu and Sengupta 2020, README of the code", "the spiking network's accuracy was not found"),
    ("TTFS, conversion-aware", "CIFAR-10", "VGG-16", "5-bit logarithmic", "91.7 %", "Lew et al. 2022, abstract", ""),
    ("CBP-QSNN", "CIFAR-10", "VGG-16, T = 32", "binary but first and last layer", "91.51 %",
     "Yoo and Jeong 2023, as cited in arXiv 2511.12502, table 2", ""),
)

#: Pairs of recipes that answer a question: the question, the one, what it is compared with.
COMPARISONS = (
    ("distillation and regulariser against plain training", "cifar10-distilled", "cifar10-ternary"),
    ("loss of every timestep against plain training", "cifar10-temporal", "cifar10-ternary"),
    ("indirect against direct quantisation", "cifar10-indirect", "cifar10-ternary"),
    ("constrained backpropagation and distillation against plain training", "cifar10-cbp-ternary", "cifar10-ternary"),
    ("constrained backpropagation and distillation against distillation and regulariser", "cifar10-cbp-ternary",
     "cifar10-distilled"),
    ("longer constrained backpropagation with slower multipliers", "cifar10-cbp-ternary-long", "cifar10-cbp-ternary"),
    ("binary against ternary weights by constrained backpropagation", "cifar10-cbp-binary", "cifar10-cbp-ternary"),
    ("constrained backpropagation from a converted network against one of direct training", "cifar10-cbp-converted",
     "cifar10-cbp-ternary"),
    ("spike times: T = 12, tau = 2 against 24, 4", "cifar10-conversion-aware-12-2", "cifar10-conversion-aware-24-4"),
    ("spike times: T = 48, tau = 8 against 24, 4", "cifar10-conversion-aware-48-8", "cifar10-conversion-aware-24-4"),
    ("summed-spike shortcuts against none", "cifar10-deep-shortcut", "cifar10-deep"),
)


class BenchmarkError(InputError):
    """A folder cannot be measured or a page not be made. The message is one line."""


def _read_json(path: pathlib.Path, what: str) -> dict[str, Any]:
    try:
        content: Any = json.loads(path.read_text())
    except OSError:
        raise BenchmarkError(f"{path}: {what} is missing: finish the training first") from None
    except ValueError as error:
        raise BenchmarkError(f"{path}: {what} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise BenchmarkError(f"{path}: {what} must be a JSON object, not {content!r:.40}")
    return content


def _read_measurement(path: pathlib.Path) -> dict[str, Any]:
    found = _read_json(path, "the measurement")
    wanted = COMMON | (MEASURED if found.get("accuracy") is not None else set())
    if found.get("layout") != LAYOUT or not wanted <= found.keys():
        raise BenchmarkError(f"{path}: must be a measurement of this revision: measure {path.parent} again")
    return found


def _read_result(folder: pathlib.Path) -> dict[str, Any]:
    """Return what a training reported."""
    path = folder / "result.json"
    found = _read_json(path, "the training's result")
    kinds: dict[str, type | tuple[type, ...]] = {"recipe": str, "train_seconds": (int, float), "test_images": int}
    if "code" in found or "checkpoint" in found:
        kinds |= {"test_accuracy": float}
    else:
        kinds |= {"float_test_accuracy": float}
    if "checkpoint" in found:
        kinds |= {"checkpoint": str}
    for key, kind in kinds.items():
        if not isinstance(found.get(key), kind):
            raise BenchmarkError(f"{path}: the training's result must have {key}: remove the file and repeat the "
                                 f"command of the training, which measures again")
    return found


def _export(checkpoint: Checkpoint, name: str) -> tuple[Network, list[steps.LayerReport]]:
    steps.ternarise(checkpoint)
    certified = steps.certify(checkpoint, fold(checkpoint), max_fraction=MAX_FRACTION)
    network = steps.assemble(checkpoint, certified, {"name": name, "training": dict(checkpoint.provenance)})
    return network, steps.size(network, certified)


def _run(network: Network, images: np.ndarray) -> tuple[np.ndarray, list[metrics.Activity]]:
    """Scores of each timestep, ``int64[T, N, classes]``, and the mean activity of each layer."""
    reference = Reference(network)
    scores, found = [], []
    size = exact.batch_size(network.timesteps)
    for start in range(0, len(images), size):
        batch = images[start:start + size]
        result = reference.run(batch, spikes=True, step_scores=True)
        assert result.spikes is not None
        assert result.step_scores is not None
        scores.append(result.step_scores.transpose(1, 0, 2))
        found.append((len(batch), metrics.activity(network, batch, result.spikes)))
        sys.stderr.write(f"\r{start + len(batch)} of {len(images)} images")
    sys.stderr.write("\n")
    mean = []
    for layers in zip(*(layers for _, layers in found), strict=True):
        def average(name: str, layers: Sequence[metrics.Activity] = layers) -> float | None:
            values = [getattr(layer, name) for layer in layers]
            if None in values:
                return None
            return sum(value * count for value, (count, _) in zip(values, found, strict=True)) / len(images)

        mean.append(metrics.Activity(
            layer=layers[0].layer, kind=layers[0].kind, neurons=layers[0].neurons, firing_rate=average("firing_rate"),
            event_operations=average("event_operations") or 0.0, dense_operations=layers[0].dense_operations,
            pixel_operations=layers[0].pixel_operations))
    return np.concatenate(scores, axis=1), mean


def _on_rtl(network: Network, images: np.ndarray) -> dict[str, Any]:
    """Run ``images`` on the simulated RTL and compare every spike; a limit's name where the network does not fit."""
    if not len(images):
        return {}
    # Needs Verilator and Amaranth.
    from gateware.engine.configuration import ConfigError
    from sim.engines import ReferenceEngine, first_difference
    from sim.rtl import RtlEngine

    try:
        engine = RtlEngine(network)
    except ConfigError as error:
        return {"rtl_limit": str(error)}
    with engine:
        reference = ReferenceEngine(network)
        expected, actual = reference.run(images, spikes=True), engine.run(images, spikes=True)
        difference = first_difference(network, images, expected, actual, reference, engine)
    if difference is not None:
        raise BenchmarkError(f"the RTL differs from the reference: {difference}")
    assert actual.cycles is not None
    return {"rtl_images": len(images), "rtl_cycles": int(actual.cycles[0])}


def _over_time(network: Network, scores: np.ndarray, labels: np.ndarray, validation: datasets.Split) -> dict[str, Any]:
    """Accuracy after each timestep and, of many timesteps, with early exits whose margins are set on validation images.

    ``scores`` are those of the test images, ``int64[T, N, classes]``.
    """
    cumulated = scores.cumsum(axis=0).transpose(1, 0, 2)
    found: dict[str, Any] = {
        "accuracy_by_step": [float(share) for share in (classify(cumulated) == labels[:, None]).mean(axis=0)]}
    if network.timesteps >= EXIT_TIMESTEPS:
        seen = np.concatenate([latency.cumulated_scores(network, images.numpy())
                               for images in validation.images.split(exact.batch_size(network.timesteps))])
        found["early_exit"] = []
        for tolerance in TOLERANCES:
            margins = latency.calibrate_margins(seen, validation.labels.numpy(), tolerance=tolerance)
            exits = latency.exit_early(cumulated, margins)
            found["early_exit"].append({"tolerance": tolerance, "accuracy": exits.accuracy(labels),
                                        "mean_timesteps": exits.mean_timesteps})
    return found


def _splits(recipe: Recipe, data: pathlib.Path, verify: bool) -> tuple[datasets.Split, datasets.Split]:
    """Validation and test images of a recipe."""
    images, test = datasets.load(datasets.DATASETS[recipe.dataset], data, verify=verify,
                                 framing=recipe.make_framing())
    return datasets.split_validation(images, recipe.validation_images)[1], test


def _float_accuracy(folder: pathlib.Path, result: Mapping[str, Any], recipe: Recipe) -> float | None:
    """Test accuracy of the float network: of the training itself, or of the one it starts from or learns from."""
    if "float_test_accuracy" in result:
        return float(result["float_test_accuracy"])
    for name in recipe.needs:
        source = _read_json(folder.parent / name / "result.json", f"the result of the training {name}")
        if "float_test_accuracy" in source:
            return float(source["float_test_accuracy"])
    return None


def _notation(architecture: Mapping[str, Any]) -> str:
    """Layers in the field's shorthand, which the page explains."""
    found = []
    for layer in architecture["layers"]:
        shortcut = "+" if "shortcut" in layer else ""
        if layer["kind"] == "convolution":
            stride = f"s{layer['stride']}" if layer["stride"] > 1 else ""
            found.append(f"{layer['channels']}C{layer['kernel']}{stride}{shortcut}")
            if layer.get("pool", 1) > 1:
                found.append(f"AP{layer['pool']}")
        elif layer["kind"] == "or-pool":
            found.append(f"MP{layer['size']}")
        else:
            found.append(f"FC{layer['classes'] if layer['kind'] == 'readout' else layer['neurons']}{shortcut}")
    return "-".join(found)


def _facts(folder: pathlib.Path, result: Mapping[str, Any], recipe: Recipe,
           provenance: Mapping[str, Any], *, verify: bool) -> dict[str, Any]:
    return {"layout": LAYOUT, "name": recipe.name,
            "dataset": recipe.dataset if verify else f"{recipe.dataset}, files that are not the official ones",
            "network": _notation(recipe.architecture),
            "methods": [method["kind"] for method in recipe.methods],
            "seed": recipe.seed, "epochs": recipe.epochs, "needs": recipe.needs,
            "float_test_accuracy": _float_accuracy(folder, result, recipe),
            "train_seconds": result["train_seconds"], "train_command": provenance.get("command"),
            "train_revision": provenance.get("git_revision"), "revision": revision()}


def _weights_kind(network: Network, checkpoint: Checkpoint) -> str:
    """What the codes of an exported network are: binary where no weight is 0."""
    kinds = {described["name"]: "ternary" if (layer.weights == 0).any() else "binary"
             for layer, described in zip(network.layers, checkpoint.architecture["layers"], strict=True)
             if not isinstance(layer, OrPool)}
    most = statistics.mode(kinds.values())
    others = [name for name, kind in kinds.items() if kind != most]
    exception = f", {kinds[others[0]]} in {' and '.join(others)}" if others else ""
    return f"{most}{exception} (2 bits)"


def _sureness(scores: np.ndarray, labels: np.ndarray, scale: float) -> dict[str, float]:
    """Metrics of scores ``[T, N, classes]``: of the mean over time of the softmax, and of the softmax of the mean."""
    found, of_mean = (metrics.calibration(values, labels, scale) for values in (scores, scores.mean(0, keepdims=True)))
    return {"calibration_error": found.calibration_error,
            "negative_log_likelihood": found.negative_log_likelihood, "brier": found.brier,
            "predictive_entropy": found.entropy, "mutual_information": found.mutual_information,
            "calibration_error_of_mean_scores": of_mean.calibration_error,
            "negative_log_likelihood_of_mean_scores": of_mean.negative_log_likelihood,
            "brier_of_mean_scores": of_mean.brier}


def _measure_ttfs(folder: pathlib.Path, data: pathlib.Path, result: Mapping[str, Any],
                  verify: bool) -> dict[str, Any]:
    """Measure a network with spike times: converted, and compared value for value with the trained one."""
    network = load_trained(folder)
    if not isinstance(network, CatNetwork):
        raise BenchmarkError(f"{folder / 'result.json'}: must be of the training in best.pt, which has no spike times")
    converted = ttfs.convert(network, {"name": result["recipe"]})
    ttfs_network_file.save(converted, folder / "network.safetensors")
    recipe = load_trained_recipe(folder)
    _, test = _splits(recipe, data, verify)
    images, labels = test.images.numpy(), test.labels.numpy()
    reference = TtfsReference(converted)
    scores, spikes, places = [], 0, 0
    size = exact.batch_size(converted.code.timesteps)
    for start in range(0, len(images), size):
        ran = reference.run(images[start:start + size], times=True)
        assert ran.times is not None
        scores.append(ran.scores)
        spikes += sum(int((times < converted.code.timesteps).sum()) for times in ran.times[1:])
        places += sum(times.size for times in ran.times[1:])
        sys.stderr.write(f"\r{min(start + size, len(images))} of {len(images)} images")
    sys.stderr.write("\n")
    summed = np.concatenate(scores)[None]
    accuracy = metrics.accuracy(summed, labels)
    identity = ttfs.verify(network, converted, images[:VERIFIED])
    wrong = sum(identity.mismatches) + identity.scores
    if wrong or accuracy != result["test_accuracy"]:
        raise BenchmarkError(f"{folder}: the integer network differs from the trained one in {wrong} values of "
                             f"{VERIFIED} images, and in accuracy: {accuracy:.4%} and {result['test_accuracy']:.4%}")
    parts = list(network.synapses())
    scale = float(parts[-1].integer_codes()[1]) * network.theta0 * 2.0**-converted.code.unit_bits
    weights = sum(part.weight.numel() for part in parts)
    packed = weights * converted.code.bits / 8 + sum(8 * converted.code.timesteps * len(part.weight)
                                                     for part in parts[:-1])
    options = next(method for method in recipe.methods if method["kind"] == ConversionAware.kind)
    return {**_facts(folder, result, recipe, {}, verify=verify),
            "weights_kind": f"{options.get('weights', ConversionAware.weights)} ({converted.code.bits} bits)",
            "timesteps": converted.code.timesteps, "weights": weights, "compression": 4 * weights / packed,
            "network_sha256": ttfs_network_file.digest(converted), "exact": converted.metadata["exact"],
            "accuracy": accuracy,
            "test_images": len(labels), **_sureness(summed, labels, scale), "firing_rate": spikes / places,
            "identical_values": sum(identity.places), "event_operations": None, "dense_operations": None}


def _describe_float(folder: pathlib.Path, result: Mapping[str, Any], verify: bool) -> dict[str, Any]:
    """Row of a network with float weights, which has no integers: its training has measured the test set."""
    recipe, network = load_trained_recipe(folder), load_trained(folder)
    timesteps = network.encoder.T if isinstance(network, CatNetwork) else network.timesteps
    return {**_facts(folder, result, recipe, {}, verify=verify), "weights_kind": "float", "timesteps": timesteps,
            "weights": sum(part.weight.numel() for part in network.synapses()), "compression": 1.0, "accuracy": None,
            "exact": None, "test_images": result["test_images"], "calibration_error": None,
            "firing_rate": None, "event_operations": None, "dense_operations": None}


def measure(folder: pathlib.Path, data: pathlib.Path, *, verify: bool = True,
            rtl_images: int = 0) -> dict[str, Any]:
    """Export and measure one finished training; return what is written to its ``benchmark.json``.

    ``rtl_images`` of the test images are run on the simulated RTL too, if the network fits, with every spike compared.

    Raises :exc:`BenchmarkError`, :exc:`CheckpointError`, :exc:`train.datasets.DataError`, :exc:`TrainingError`,
    :exc:`train.recipe.RecipeError`, :exc:`OSError`.
    """
    if rtl_images < 0:
        raise BenchmarkError(f"--rtl must be 0 or more, not {rtl_images}")
    result = _read_result(folder)
    if "code" in result:
        measured = _measure_ttfs(folder, data, result, verify)
    elif "checkpoint" in result:
        measured = _measure_spiking(folder, data, result, verify, rtl_images)
    else:
        measured = _describe_float(folder, result, verify)
    write_atomically(folder / "benchmark.json", (json.dumps(measured, indent=2) + "\n").encode())
    return measured


def _measure_spiking(folder: pathlib.Path, data: pathlib.Path, result: Mapping[str, Any], verify: bool,
                     rtl_images: int) -> dict[str, Any]:
    """Measure a network with spikes: exported, on the whole test set, and on the RTL if that is wanted."""
    checkpoint = Checkpoint.load(folder / result["checkpoint"])
    path = folder / result["checkpoint"]
    if "recipe" not in checkpoint.provenance:
        raise BenchmarkError(f"{path}: must be of a recipe, which its provenance has not")
    try:
        recipe = Recipe.from_json(checkpoint.provenance["recipe"])
    except RecipeError as error:
        raise BenchmarkError(f"{path}: recipe of the provenance: {error}") from None
    network, rows = _export(checkpoint, result["recipe"])
    network_file.save(network, folder / "network.safetensors")
    validation, test = _splits(recipe, data, verify)
    images, labels = test.images.numpy(), test.labels.numpy()
    if recipe.architecture["input"]["encoding"] == "events":
        images = images.astype(bool)
    scores, activity = _run(network, images)
    accuracy = metrics.accuracy(scores, labels)
    certified = network.metadata["exact"]
    if certified and accuracy != result["test_accuracy"]:
        raise BenchmarkError(f"{folder}: integers give {accuracy:.4%} where the training measured "
                             f"{result['test_accuracy']:.4%}, though every channel is certified exact")
    neurons = [layer for layer in activity if layer.firing_rate is not None and layer.kind != "or-pool"]
    spikes = sum((layer.firing_rate or 0.0) * layer.neurons for layer in neurons)
    return {
        **_facts(folder, result, recipe, checkpoint.provenance, verify=verify),
        "weights_kind": _weights_kind(network, checkpoint),
        "timesteps": network.timesteps, "weights": network.weight_count, "network_sha256": network_file.digest(network),
        "compression": 4 * network.weight_count / sum(row.bytes or 0 for row in rows),
        "exact": certified, "accuracy": accuracy, "test_images": len(labels),
        **_sureness(scores, labels, float(checkpoint.tensors["readout.alpha"])),
        "firing_rate": spikes / sum(layer.neurons for layer in neurons),
        "event_operations": sum(layer.event_operations for layer in activity),
        "dense_operations": sum(layer.dense_operations for layer in activity),
        "pixel_operations": sum(layer.pixel_operations for layer in activity),
        "threshold_sweep": result.get("threshold_sweep"),
        **_over_time(network, scores, labels, validation), **_on_rtl(network, images[:rtl_images]),
    }


def _spread(values: Sequence[float | None], form: str, unit: str = "") -> str:
    """Mean and, of several values, standard error; - where one was not measured."""
    measured = [value for value in values if value is not None]
    if len(measured) < len(values) or not values:
        return "-"
    if len(measured) == 1:
        return form.format(measured[0]) + unit
    error = statistics.stdev(measured) / len(measured) ** 0.5
    return f"{form.format(statistics.mean(measured))} ± {form.format(error)}{unit}"


def _float_cell(runs: Sequence[Mapping[str, Any]]) -> str:
    """Accuracy of the float networks; of one that all seeds start from or learn from, once."""
    values = [row["float_test_accuracy"] for row in runs]
    return _percent(values[:1] if runs[0]["needs"] and len(set(values)) == 1 else values)


def _percent(values: Sequence[float | None], form: str = "{:.2f}") -> str:
    return _spread([None if value is None else 100 * value for value in values], form, " %")


def _rtl_cell(row: Mapping[str, Any]) -> str:
    if "rtl_images" in row:
        return f"equal on {row['rtl_images']} images, {row['rtl_cycles']:,} clocks"
    return f"does not fit: {row['rtl_limit']}" if "rtl_limit" in row else "-"


Runs = Mapping[str, Sequence[Mapping[str, Any]]]


def _lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table and an empty one."""
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head),
            *("| " + " | ".join(cells) + " |" for cells in rows), ""]


def _label(name: str, runs: Sequence[Mapping[str, Any]]) -> str:
    return name if len(runs) == 1 else f"{name}, {len(runs)} seeds"


def _command(name: str, epochs: int) -> str:
    """Command that trains the recipe, shipped or not, for so many epochs."""
    if name not in shipped_recipes():
        return f"python -m train --recipe {name}.json --data DIR"
    return f"python -m train --recipe {name} --data DIR" + (
        f" --epochs {epochs}" if load_recipe(name).epochs != epochs else "")


def _method_rows(groups: Runs) -> list[list[str]]:
    rows = []
    for name, runs in groups.items():
        first = runs[0]
        certified = {True: "yes", False: "no", None: "-"}[
            None if first["exact"] is None else all(row["exact"] for row in runs)]
        if "identical_values" in first:
            certified += f"; {first['identical_values']:,} trained values of {VERIFIED:,} images compared, all equal"
        operations = "-"
        if first["event_operations"] is not None:
            events = _spread([row["event_operations"] / 1e6 for row in runs], "{:.1f}", " M")
            operations = f"{events}; {first['dense_operations'] / 1e6:.1f} M"
        rows.append([
            _label(name, runs), first["dataset"], first["network"], ", ".join(first["methods"]) or "none",
            f"{first['weights']:,} {first['weights_kind']}", str(first["timesteps"]),
            f"{first['compression']:.1f} x", _float_cell(runs),
            _percent([row["accuracy"] for row in runs]), certified,
            _spread([row["calibration_error"] for row in runs], "{:.3f}"),
            _percent([row["firing_rate"] for row in runs], "{:.1f}"), operations, _rtl_cell(first),
            _spread([row["train_seconds"] / 60 for row in runs], "{:.0f}", " min"),
            f"`{_command(name, first['epochs'])}`"
            + (f" after {' and '.join(first['needs'])}" if first["needs"] else "")])
    return rows


def _difference(first: Sequence[float], second: Sequence[float], form: str) -> str:
    """Difference of means with its standard error, where both have several values."""
    difference = statistics.mean(first) - statistics.mean(second)
    if min(len(first), len(second)) == 1:
        return form.format(difference)
    error = sum(statistics.variance(values) / len(values) for values in (first, second)) ** 0.5
    return f"{form.format(difference)} ± {form.format(error).lstrip('+')}"


def _comparison_rows(groups: Runs) -> list[list[str]]:
    """Pairs of :data:`COMPARISONS` that were both measured, and networks against their own float network."""
    rows = []
    for question, one, other in COMPARISONS:
        if one not in groups or other not in groups:
            continue
        first, second = ([100 * row["accuracy"] for row in groups[name]] for name in (one, other))
        errors = [_difference([row[key] for row in groups[one]], [row[key] for row in groups[other]], "{:+.3f}")
                  for key in ("calibration_error", "calibration_error_of_mean_scores")]
        rows.append([question, _label(one, groups[one]), _label(other, groups[other]),
                     _difference(first, second, "{:+.2f}") + " points", *errors])
    for name, runs in groups.items():
        for row in runs:
            if row["accuracy"] is not None and row["float_test_accuracy"] is not None:
                difference = 100 * (row["accuracy"] - row["float_test_accuracy"])
                rows.append(["exported against float", f"{name}, seed {row['seed']}",
                             f"float, {100 * row['float_test_accuracy']:.2f} %", f"{difference:+.2f} points", "-", "-"])
    return rows


def _sureness_rows(groups: Runs) -> list[list[str]]:
    keys = ("calibration_error", "negative_log_likelihood", "brier", "predictive_entropy", "mutual_information",
            "calibration_error_of_mean_scores", "negative_log_likelihood_of_mean_scores", "brier_of_mean_scores")
    return [[_label(name, runs), *(_spread([row[key] for row in runs], "{:.3f}") for key in keys)]
            for name, runs in groups.items() if runs[0]["accuracy"] is not None]


def _time_rows(rows: Sequence[Mapping[str, Any]], steps_shown: Sequence[int]) -> list[list[str]]:
    found = []
    for row in rows:
        cells = [f"{100 * row['accuracy_by_step'][step - 1]:.2f} %" if step <= row["timesteps"] else "-"
                 for step in steps_shown]
        exits = "; ".join(f"{100 * entry['tolerance']:g} %, {100 * entry['accuracy']:.2f} %, "
                          f"{entry['mean_timesteps']:.1f}" for entry in row["early_exit"])
        found.append([f"{row['name']}, seed {row['seed']}", *cells, exits])
    return found


def _sweep_rows(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    return [[f"{row['name']}, seed {row['seed']}", threshold, f"{100 * accuracy:.2f} %",
             f"{100 * row['threshold_sweep']['ann_accuracy']:.2f} %", f"{row['threshold_sweep']['images']:,}"]
            for row in rows for threshold, accuracy in row["threshold_sweep"]["accuracies"].items()]


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the page: one row per method and data set, seeds of one recipe as mean and standard error.

    Raises :exc:`BenchmarkError` if measurements of one name are not seeds of one recipe.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: (row["name"], row["seed"])):
        groups.setdefault(row["name"], []).append(row)
    for name, runs in groups.items():
        seeds = [row["seed"] for row in runs]
        if len(set(seeds)) < len(seeds):
            raise BenchmarkError(f"{name}: must be measured once for each seed, not with {seeds}")
        differing = [key for key in SHARED if any(row[key] != runs[0][key] for row in runs)]
        if differing:
            raise BenchmarkError(f"{name}: measurements must be seeds of one recipe, but differ in "
                                 f"{' and '.join(differing)}")
    lines = [
        "# Methods, measured", "",
        "Made by `python -m benchmarks.methods table RUNS`; do not edit. Every number of an exported network was",
        "measured with its integers on the whole test set, by `python -m benchmarks.methods measure RUN --data DIR`;",
        "choices were made on validation images. Several seeds: mean ± standard error. *Network*: 32C3 is 32 channels",
        "of a 3 x 3 convolution, MP max-pooling (OR of spikes), AP average pooling of currents before the neurons, +",
        "the summed spikes of a shortcut; exported networks are quantised in all layers, first and last too. *Float",
        "accuracy*: of the same network before its conversion, or of the float network that it starts from or learns",
        "from, on the same test set, computed as in the training (bfloat16). *Exact*: certified in every channel.",
        "*Compression*: float32 weights against packed weights and 64-bit constants. *ECE*: see below. *SOPs*:",
        "synaptic operations that spikes cause (events), all synapses x timesteps (dense); the first layer of an",
        "image, which sees pixels and not spikes, is in neither. *Training* is wall-clock time on the machine that",
        "trained, often shared with other work, without the networks that a recipe starts from or learns from; the",
        "command is to be run after theirs. *RTL*: every spike of test images, simulated, and the clocks of an",
        "inference. A cell with - was not measured.", "",
        *_lines(("recipe", "data set", "network", "methods", "weights", "T", "compression", "float accuracy",
                 "exported accuracy", "exact", "ECE", "firing rate", "SOPs per image (events; dense)", "RTL",
                 "training", "command"), _method_rows(groups))]
    compared = _comparison_rows(groups)
    if compared:
        lines += ["## Comparisons", "",
                  "Differences of test accuracy, in percentage points, and of two ECEs (below; negative is better); of",
                  "several seeds with the standard error of the difference.", "",
                  *_lines(("question", "network", "against", "accuracy", "ECE", "ECE of mean scores"), compared)]
    lines += ["## Sureness", "",
              "Of the predictive distribution, the mean over time of each timestep's softmax: *ECE* is the expected",
              "calibration error, 15 bins; negative log-likelihood; Brier score, a sum over classes; predictive",
              "entropy; and mutual information, what timesteps disagree about. The last three columns are of the",
              "softmax of the mean scores instead, which is surer. No temperature is fitted, logarithms are natural.",
              "",
              *_lines(("recipe", "ECE", "negative log-likelihood", "Brier", "predictive entropy",
                       "mutual information", "ECE of mean scores", "negative log-likelihood of mean scores",
                       "Brier of mean scores"), _sureness_rows(groups))]
    over_time = [row for runs in groups.values() for row in runs if row.get("early_exit")]
    if over_time:
        steps_shown = [step for step in STEPS_SHOWN if step <= max(row["timesteps"] for row in over_time)]
        lines += [
            "## Accuracy over time", "",
            "One run of T timesteps, read out after each. *Early exit* stops an image when the best class leads by a",
            "margin, set per timestep on validation images so that at most the tolerance is lost there; the rest is",
            "the whole test set. Measured on the reference: an array with T side by side has no time left to save.", "",
            *_lines(("recipe", *(f"t = {step}" for step in steps_shown),
                     "early exit: tolerance, accuracy, mean timesteps"), _time_rows(over_time, steps_shown))]
    swept = [row for runs in groups.values() for row in runs if row.get("threshold_sweep")]
    if swept:
        lines += ["## Thresholds of converted networks", "",
                  "A layer's threshold is a percentile of its activations, or the level of least squared error. What",
                  "is best on validation images, after all timesteps, is exported.", "",
                  *_lines(("recipe", "percentile", "spiking network", "its ANN", "validation images"),
                          _sweep_rows(swept))]
    lines += ["## What the papers report", "",
              "Quoted, not rerun. Most choose the best epoch by the test set; ours does not.", "",
              *_lines(("method", "data set", "network", "weights", "accuracy", "source", "what differs from ours"),
                      PAPERS)]
    return "\n".join(lines)


def create_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.methods",
                                     description="Measure trainings in integers, and make docs/benchmarks.md of them.")
    commands = parser.add_subparsers(dest="task", required=True)
    measuring = commands.add_parser("measure", help="export and measure finished trainings")
    measuring.add_argument("runs", metavar="RUN", type=pathlib.Path, nargs="+",
                           help="folder that python -m train filled")
    measuring.add_argument("--data", metavar="DIR", type=pathlib.Path, required=True, help="read the data set from DIR")
    measuring.add_argument("--unverified", action="store_true", help="accept data files that are not the official ones")
    measuring.add_argument("--rtl", metavar="N", type=int, default=0,
                           help="run N test images on the simulated RTL, if the network fits (default: 0)")
    tabling = commands.add_parser("table", help="write docs/benchmarks.md")
    tabling.add_argument("runs", metavar="RUNS", type=pathlib.Path, help="folder of measured folders")
    tabling.add_argument("-o", "--output", metavar="FILE", type=pathlib.Path, default=PAGE, help="write FILE instead")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line: 0 done, 1 bad input, 2 usage."""
    arguments = create_parser().parse_args(argv)
    try:
        if arguments.task == "measure":
            for folder in arguments.runs:
                row = measure(folder, arguments.data, verify=not arguments.unverified,
                              rtl_images=arguments.rtl)
                of, accuracy = (("", row["accuracy"]) if row["accuracy"] is not None else
                                ("float, ", row["float_test_accuracy"]))
                sys.stdout.write(f"{row['name']}: {of}{accuracy:.2%} of {row['test_images']} test images\n")
        else:
            found = sorted(arguments.runs.glob("*/benchmark.json"))
            if not found:
                raise BenchmarkError(f"{arguments.runs}: must hold folders with a benchmark.json: measure them first")
            page = table([_read_measurement(path) for path in found])
            write_atomically(arguments.output, page.encode())
            sys.stdout.write(f"{arguments.output}: {len(found)} measurements\n")
    except (BenchmarkError, CheckpointError, datasets.DataError, steps.ExportError, MethodError, NetworkError,
            RealValueError, RecipeError, TrainingError, OSError) as error:
        sys.stderr.write(f"ERROR: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
