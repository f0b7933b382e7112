"""Measure a finished training: its exported network on the whole test set, in integers."""

import json
import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from arch import network_file
from arch.checkpoint import Checkpoint
from arch.network import Network, OrPool
from arch.ttfs import checkpoint as ttfs_checkpoint
from arch.ttfs import network_file as ttfs_network_file
from arch.ttfs.network import EarliestPool
from arch.ttfs.network import Network as TtfsNetwork
from benchmarks.methods.measurement import LAYOUT, BenchmarkError, read_json, read_result
from benchmarks.notation import notation
from export import steps
from export.folding import fold
from export.ttfs import conversion as ttfs
from reference import latency
from reference.network import Reference, classify
from reference.ttfs.network import Reference as TtfsReference
from support.errors import InputError
from support.files import check_output, write_atomically
from support.progress import Progress
from support.provenance import revision
from train import datasets, exact, metrics
from train.catalogue import RecipeError
from train.folder import load_trained, load_trained_recipe
from train.recipe import Recipe

__all__ = ["MAX_FRACTION", "VERIFIED", "measure"]

#: Test images on which a network with spike times is compared value for value with the trained one.
VERIFIED = 1000
#: Networks of so many timesteps are measured with early exits.
EXIT_TIMESTEPS = 8
#: Validation accuracy that early exits may lose.
TOLERANCES = (0.0, 0.001, 0.005)
#: Most fractional bits that an export tries: networks of many timesteps need more than the 8 of T = 4.
MAX_FRACTION = 16
#: The exported network, beside the training.
NETWORK = "network.safetensors"
#: What is measured, beside the training.
MEASUREMENT = "benchmark.json"


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
    with Progress("measuring the network") as shown:
        for start in range(0, len(images), size):
            batch = images[start:start + size]
            result = reference.run(batch, spikes=True, step_scores=True)
            assert result.spikes is not None
            assert result.step_scores is not None
            scores.append(result.step_scores.transpose(1, 0, 2))
            found.append((len(batch), metrics.activity(network, batch, result.spikes)))
            shown.update(f"{start + len(batch)} of {len(images)} images")
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
    """Run ``images`` on the simulated RTL and compare every spike; a limit's name where the network does not fit.

    The circuit is the first of the iCEBreaker's that bears the network: with weights baked in, or from the flash.
    """
    if not len(images):
        return {}
    # Needs Verilator and Amaranth.
    from reference.engines import ReferenceEngine, first_difference
    from sim.choice import choose_engine

    try:
        engine, circuit = choose_engine(network, board="icebreaker")
    except InputError as error:
        return {"rtl_limit": str(error)}
    with engine:
        reference = ReferenceEngine(network)
        expected, actual = reference.classify(images, spikes=True), engine.classify(images, spikes=True)
        difference = first_difference(network, images, expected, actual, reference, engine)
    if difference is not None:
        raise BenchmarkError(f"the RTL differs from the reference: {difference}")
    assert actual.cycles is not None
    return {"rtl_images": len(images), "rtl_cycles": int(actual.cycles[0]), "rtl_weights": circuit.weights.value}


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
        source = read_json(folder.parent / name / "result.json", f"the result of the training {name}")
        if "float_test_accuracy" in source:
            return float(source["float_test_accuracy"])
    return None


def _facts(folder: pathlib.Path, result: Mapping[str, Any], recipe: Recipe,
           provenance: Mapping[str, Any], *, verify: bool) -> dict[str, Any]:
    return {"layout": LAYOUT, "name": recipe.name,
            "dataset": recipe.dataset if verify else f"{recipe.dataset}, files that are not the official ones",
            "network": notation(recipe.architecture),
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


def _recipe_of(path: pathlib.Path, provenance: Mapping[str, Any]) -> Recipe:
    """Return the recipe that the checkpoint ``path`` was trained by; raises :exc:`BenchmarkError`."""
    if "recipe" not in provenance:
        raise BenchmarkError(f"{path}: must be of a recipe, which its provenance has not")
    try:
        return Recipe.from_json(provenance["recipe"])
    except RecipeError as error:
        raise BenchmarkError(f"{path}: recipe of the provenance: {error}") from None


def _run_ttfs(network: TtfsNetwork, images: np.ndarray) -> tuple[np.ndarray, float]:
    """Scores, ``int64[1, N, classes]``, and the share of neurons that spike, without the input."""
    reference = TtfsReference(network)
    scores, spikes, places = [], 0, 0
    size = exact.batch_size(network.code.timesteps)
    with Progress("measuring the network") as shown:
        for start in range(0, len(images), size):
            ran = reference.run(images[start:start + size], times=True)
            assert ran.times is not None
            scores.append(ran.scores)
            spikes += sum(int((times < network.code.timesteps).sum()) for times in ran.times[1:])
            places += sum(times.size for times in ran.times[1:])
            shown.update(f"{min(start + size, len(images))} of {len(images)} images")
    return np.concatenate(scores)[None], spikes / places


def _measure_ttfs(folder: pathlib.Path, data: pathlib.Path, result: Mapping[str, Any],
                  verify: bool) -> dict[str, Any]:
    """Measure a network with spike times: converted, and compared value for value with the trained one."""
    path = folder / result["checkpoint"]
    checkpoint = ttfs_checkpoint.load(path)
    recipe = _recipe_of(path, checkpoint.provenance)
    converted = ttfs.convert(checkpoint, {"name": result["recipe"]})
    check_output(folder / NETWORK, inputs=[path])
    ttfs_network_file.save(converted, folder / NETWORK)
    _, test = _splits(recipe, data, verify)
    images, labels = test.images.numpy(), test.labels.numpy()
    scores, rate = _run_ttfs(converted, images)
    accuracy = metrics.accuracy(scores, labels)
    identity = ttfs.verify(checkpoint, converted, images[:VERIFIED])
    wrong = sum(identity.mismatches) + identity.scores
    if wrong or accuracy != result["test_accuracy"]:
        raise BenchmarkError(f"{folder}: the integer network differs from the trained one in {wrong} values of "
                             f"{VERIFIED} images, and in accuracy: {accuracy:.4%} and {result['test_accuracy']:.4%}")
    code = converted.code
    layers = [layer for layer in checkpoint.layers if not isinstance(layer, EarliestPool)]
    scale = float(layers[-1].scale[0]) * checkpoint.theta0 * 2.0**-code.unit_bits
    thresholds = sum(8 * code.timesteps * len(layer.weights) for layer in layers[:-1])
    return {**_facts(folder, result, recipe, checkpoint.provenance, verify=verify),
            "weights_kind": f"{result['code']['weights']} ({code.bits} bits)",
            "timesteps": code.timesteps, "weights": converted.weight_count,
            "compression": 4 * converted.weight_count / (converted.weight_count * code.bits / 8 + thresholds),
            "network_sha256": ttfs_network_file.digest(converted), "exact": converted.metadata["exact"],
            "accuracy": accuracy,
            "test_images": len(labels), **_sureness(scores, labels, scale), "firing_rate": rate,
            "identical_values": sum(identity.places), "event_operations": None, "dense_operations": None}


def _describe_float(folder: pathlib.Path, result: Mapping[str, Any], verify: bool) -> dict[str, Any]:
    """Row of a network with float weights, which has no integers: its training has measured the test set."""
    recipe, network = load_trained_recipe(folder), load_trained(folder)
    return {**_facts(folder, result, recipe, {}, verify=verify),
            "weights_kind": "float", "timesteps": network.timesteps,
            "weights": sum(part.weight.numel() for part in network.synapses()),
            "compression": 1.0, "accuracy": None, "exact": None, "test_images": result["test_images"],
            "calibration_error": None, "firing_rate": None, "event_operations": None, "dense_operations": None}


def measure(folder: pathlib.Path, data: pathlib.Path, *, verify: bool = True,
            rtl_images: int = 0) -> dict[str, Any]:
    """Export and measure one finished training; return what is written to its ``benchmark.json``.

    Parameters
    ----------
    folder : Path
        Folder that ``python -m train`` filled.
    data : Path
        Folder of the files of the data set.
    verify : bool
        Whether only the official files are accepted.
    rtl_images : int
        How many test images are run on the simulated RTL too, if the network fits, with every spike compared.

    Raises
    ------
    :exc:`support.errors.InputError`
        If the training is not finished, or the data are missing; as :exc:`BenchmarkError`, if the integers do not
        give what the training measured.
    :exc:`OSError`
        If a file cannot be read or written.
    """
    result = read_result(folder)
    check_output(folder / MEASUREMENT)
    if rtl_images and ("code" in result or "checkpoint" not in result):
        raise BenchmarkError(f"{folder}: --rtl must be left out for a network with spike times or float weights: the "
                             f"array runs neither")
    if "code" in result:
        measured = _measure_ttfs(folder, data, result, verify)
    elif "checkpoint" in result:
        measured = _measure_spiking(folder, data, result, verify, rtl_images)
    else:
        measured = _describe_float(folder, result, verify)
    write_atomically(folder / MEASUREMENT, (json.dumps(measured, indent=2) + "\n").encode())
    return measured


def _measure_spiking(folder: pathlib.Path, data: pathlib.Path, result: Mapping[str, Any], verify: bool,
                     rtl_images: int) -> dict[str, Any]:
    """Measure a network with spikes: exported, on the whole test set, and on the RTL if that is wanted."""
    path = folder / result["checkpoint"]
    checkpoint = Checkpoint.load(path)
    recipe = _recipe_of(path, checkpoint.provenance)
    network, rows = _export(checkpoint, result["recipe"])
    check_output(folder / NETWORK, inputs=[path])
    network_file.save(network, folder / NETWORK)
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
    # Copies of weights that stand for an average pooling, and identities, were not trained.
    weights = sum(row.weights or 0 for row in rows)
    neurons = [layer for layer in activity if layer.firing_rate is not None and layer.kind != "or-pool"]
    spikes = sum((layer.firing_rate or 0.0) * layer.neurons for layer in neurons)
    return {
        **_facts(folder, result, recipe, checkpoint.provenance, verify=verify),
        "weights_kind": _weights_kind(network, checkpoint),
        "timesteps": network.timesteps, "weights": weights, "network_sha256": network_file.digest(network),
        "compression": 4 * weights / sum(row.bytes or 0 for row in rows),
        "exact": certified, "accuracy": accuracy, "test_images": len(labels),
        **_sureness(scores, labels, checkpoint.score_scale),
        "firing_rate": spikes / sum(layer.neurons for layer in neurons),
        "event_operations": sum(layer.event_operations for layer in activity),
        "dense_operations": sum(layer.dense_operations for layer in activity),
        "pixel_operations": sum(layer.pixel_operations for layer in activity),
        "threshold_sweep": result.get("threshold_sweep"),
        **_over_time(network, scores, labels, validation), **_on_rtl(network, images[:rtl_images]),
    }
