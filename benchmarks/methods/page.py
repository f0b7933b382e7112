"""Make ``docs/benchmarks.md`` of measurements: one row per recipe, comparisons, and what the papers report."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.markdown import table_lines
from benchmarks.methods.kept import KeptRows
from benchmarks.methods.measure import VERIFIED
from benchmarks.methods.measurement import BenchmarkError
from benchmarks.training_command import training_command
from support.counting import counted

__all__ = ["COMPARISONS", "PAPERS", "rtl_cell", "table"]

#: Headings of the page.
METHODS, COMPARED, SURENESS = "Methods, measured", "Comparisons", "Sureness"
OVER_TIME, THRESHOLDS = "Accuracy over time", "Thresholds of converted networks"
#: Timesteps of the page's table over time.
STEPS_SHOWN = (1, 2, 4, 8, 16, 24, 32, 64)
#: What seeds of one recipe have in common.
SHARED = ("dataset", "network", "methods", "epochs", "timesteps", "weights", "weights_kind", "test_images", "needs")
#: Words for an exported network's ``exact``, as of :class:`arch.certificate.State`; of several runs, the first counts.
CERTIFIED = {False: "no", None: "not certified (leaky)", True: "yes"}

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


def rtl_cell(row: Mapping[str, Any]) -> str:
    """Return in words what the simulated RTL gave for a measurement, ``-`` if it was not asked."""
    if "rtl_images" in row:
        where = ", weights from flash" if row.get("rtl_weights") == "flash" else ""
        return f"equal on {counted(row['rtl_images'], 'image')}, {row['rtl_cycles']:,} clocks{where}"
    return f"does not fit: {row['rtl_limit']}" if "rtl_limit" in row else "-"


Runs = Mapping[str, Sequence[Mapping[str, Any]]]


def _merged(head: Sequence[str], rows: Sequence[Sequence[str]], kept: Sequence[Mapping[str, str]],
            order: Callable[[Sequence[str]], Any]) -> list[Sequence[str]]:
    """Join rows with those that are kept, in the order of a key; what these lack is not measured."""
    return sorted([*rows, *([row.get(column, "-") for column in head] for row in kept)], key=order)


def _lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table and an empty one."""
    return [*table_lines(head, rows), ""]


def _label(name: str, runs: Sequence[Mapping[str, Any]]) -> str:
    return name if len(runs) == 1 else f"{name}, {len(runs)} seeds"


def _certified(runs: Sequence[Mapping[str, Any]]) -> str:
    """Say what the certificates of all runs prove together; a network with float weights has none."""
    if runs[0]["accuracy"] is None:
        return "-"
    found = [row["exact"] for row in runs]
    return next(words for exact, words in CERTIFIED.items() if exact in found)


def _method_rows(groups: Runs) -> list[list[str]]:
    rows = []
    for name, runs in groups.items():
        first = runs[0]
        certified = _certified(runs)
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
            _percent([row["firing_rate"] for row in runs], "{:.1f}"), operations, rtl_cell(first),
            _spread([row["train_seconds"] / 60 for row in runs], "{:.0f}", " min"),
            f"`{training_command(name, first['epochs'])}`"
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


def _grouped(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Return measurements by their recipes; raises as :func:`table`."""
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
    return groups


def _first(cells: Sequence[str]) -> str:
    return cells[0]


def _methods(groups: Runs, kept: KeptRows) -> list[str]:
    head = ("recipe", "data set", "network", "methods", "weights", "T", "compression", "float accuracy",
            "exported accuracy", "exact", "ECE", "firing rate", "SOPs per image (events; dense)", "RTL", "training",
            "command")
    return [
        f"# {METHODS}", "",
        "Made by `python -m benchmarks.methods table RUNS`; do not edit. Rows of trainings that are not in RUNS are",
        "kept. Every number of an exported network was",
        "measured with its integers on the whole test set, by `python -m benchmarks.methods measure RUN --data DIR`;",
        "choices were made on validation images. Several seeds: mean ± standard error. *Network*: 32C3 is 32 channels",
        "of a 3 x 3 convolution, MP max-pooling (OR of spikes), AP average pooling of currents before the neurons",
        "or of spikes before a layer, + the summed spikes of a shortcut, +i an identity and +p a projection",
        "shortcut; exported networks are quantised in all layers, first and last too. *Float accuracy*: of the",
        "same network before its conversion, or of the float network that it starts from or learns from, on the",
        "same test set, computed as in the training (bfloat16). *Exact*: certified in every channel.",
        "*Compression*: float32 weights against packed weights and 64-bit constants. *ECE*: see below. *SOPs*:",
        "synaptic operations that spikes cause (events), all synapses x timesteps (dense); the first layer of an",
        "image, which sees pixels and not spikes, is in neither. *Training* is wall-clock time on the machine",
        "that trained, often shared with other work, without the networks that a recipe starts from or learns",
        "from; the command is to be run after theirs. *RTL*: every spike of test images, simulated on the first",
        "circuit of the iCEBreaker that bears the network, and the clocks of an inference. A cell with - was not",
        "measured.", "",
        *_lines(head, _merged(head, _method_rows(groups), kept.of(METHODS), _first))]


def _comparisons(groups: Runs, kept: KeptRows) -> list[str]:
    head = ("question", "network", "against", "accuracy", "ECE", "ECE of mean scores")
    questions = [question for question, _, _ in COMPARISONS]

    def order(cells: Sequence[str]) -> tuple[int, str]:
        return (questions.index(cells[0]), "") if cells[0] in questions else (len(questions), cells[1])

    rows = _merged(head, _comparison_rows(groups), kept.of(COMPARED), order)
    return [] if not rows else [
        f"## {COMPARED}", "",
        "Differences of test accuracy, in percentage points, and of two ECEs (below; negative is better); of",
        "several seeds with the standard error of the difference.", "", *_lines(head, rows)]


def _sureness(groups: Runs, kept: KeptRows) -> list[str]:
    head = ("recipe", "ECE", "negative log-likelihood", "Brier", "predictive entropy", "mutual information",
            "ECE of mean scores", "negative log-likelihood of mean scores", "Brier of mean scores")
    return [
        f"## {SURENESS}", "",
        "Of the predictive distribution, the mean over time of each timestep's softmax: *ECE* is the expected",
        "calibration error, 15 bins; negative log-likelihood; Brier score, a sum over classes; predictive",
        "entropy; and mutual information, what timesteps disagree about. The last three columns are of the",
        "softmax of the mean scores instead, which is surer. No temperature is fitted, logarithms are natural.",
        "", *_lines(head, _merged(head, _sureness_rows(groups), kept.of(SURENESS), _first))]


def _over_time(groups: Runs, kept: KeptRows) -> list[str]:
    rows = [row for runs in groups.values() for row in runs if row.get("early_exit")]
    old = kept.of(OVER_TIME)
    longest = max([row["timesteps"] for row in rows], default=0)
    shown = [step for step in STEPS_SHOWN if step <= longest or any(f"t = {step}" in row for row in old)]
    head = ("recipe", *(f"t = {step}" for step in shown), "early exit: tolerance, accuracy, mean timesteps")
    return [] if not rows and not old else [
        f"## {OVER_TIME}", "",
        "One run of T timesteps, read out after each. *Early exit* stops an image when the best class leads by a",
        "margin, set per timestep on validation images so that at most the tolerance is lost there; the rest is",
        "the whole test set. Measured on the reference: an array with T side by side has no time left to save.", "",
        *_lines(head, _merged(head, _time_rows(rows, shown), old, _first))]


def _thresholds(groups: Runs, kept: KeptRows) -> list[str]:
    head = ("recipe", "percentile", "spiking network", "its ANN", "validation images")
    swept = [row for runs in groups.values() for row in runs if row.get("threshold_sweep")]
    rows = _merged(head, _sweep_rows(swept), kept.of(THRESHOLDS), _first)
    return [] if not rows else [
        f"## {THRESHOLDS}", "",
        "A layer's threshold is a percentile of its activations, or the level of least squared error. What",
        "is best on validation images, after all timesteps, is exported.", "", *_lines(head, rows)]


def table(rows: Sequence[Mapping[str, Any]], before: str = "") -> str:
    """Return the page: one row per method and data set, seeds of one recipe as mean and standard error.

    Parameters
    ----------
    rows : sequence of mappings
        Measurements, as of :func:`benchmarks.methods.measure.measure`.
    before : :class:`str`
        An older page: its rows of recipes that ``rows`` lacks are kept.

    Raises
    ------
    :exc:`BenchmarkError`
        If measurements of one name are not seeds of one recipe, or ``before`` has a row that is no row of its table.
    """
    groups = _grouped(rows)
    kept = KeptRows(before, list(groups))
    lines = [line for section in (_methods, _comparisons, _sureness, _over_time, _thresholds)
             for line in section(groups, kept)]
    lines += ["## What the papers report", "",
              "Quoted, not rerun. Most choose the best epoch by the test set; ours does not.", "",
              *_lines(("method", "data set", "network", "weights", "accuracy", "source", "what differs from ours"),
                      PAPERS)]
    return "\n".join(lines)
