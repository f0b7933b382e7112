"""The end of a training: the statistics are chosen, the network is converted if need be, and the test set measured.

All choices are made on validation images; the test images are measured once, and what they gave stands in
``result.json``, so that the same command does not measure again.
"""

import logging
from typing import Any

from arch.checkpoint import Checkpoint
from support.counting import counted
from train import exact
from train.datasets import Split
from train.folder import TrainingError, read_best
from train.network import SpikingNetwork, from_checkpoint
from train.training import Training

__all__ = ["finish"]

_log = logging.getLogger(__name__)

#: Validation images on which spikes of the plain float32 forward are compared with the exact ones at the end.
FLOAT_IMAGES = 1000


def finish(training: Training, test: Split) -> dict[str, Any]:
    """Choose between running and measured BatchNorm statistics by validation, and measure the test set, once.

    Parameters
    ----------
    training : Training
        After its last epoch. A network without spikes is the best one afterwards.
    test : Split
        Images for measurements, not for choices.

    Returns
    -------
    The content of ``result.json``; what has spikes is also in the checkpoint's provenance.

    Raises
    ------
    :exc:`TrainingError`
        If a file of the epochs or of an earlier call is missing or broken.
    """
    files = training.files
    if files.result.exists():
        return files.read_result()
    best = read_best(training.folder)
    if best["recipe"].to_json() != training.recipe.to_json():
        raise TrainingError(f"{files.best}: must be of this training: give another folder with -o")
    result: dict[str, Any] = {
        "recipe": training.recipe.name, "epochs": training.recipe.epochs, "epoch": best["epoch"],
        "validation_images": len(training.validation), "test_images": len(test),
        "train_seconds": round(sum(entry["seconds"] for entry in training.history), 1)}
    spiking = training.history[-1]["exportable"]
    converted = None
    if not spiking:
        # Of a resumed training no epoch may have begun that chose what neurons pass on.
        training.network.use_form(best["form"])
        training.network.load_state_dict(best["network"])
        result |= {"float_validation_accuracy": best["validation_accuracy"],
                   "float_test_accuracy": training.plain_accuracy(test)}
        training.network.eval()
        for method in training.methods:
            converted = method.export(training) or converted
            outcome = method.finish(training, test)
            result |= outcome.entries
            if outcome.checkpoint is not None:
                training.described(outcome.checkpoint, best["epoch"], **outcome.checkpoint.provenance).save(
                    files.checkpoint)
                result["checkpoint"] = files.checkpoint.name
    if converted is not None:
        accuracy = exact.accuracy(converted, training.validation.images, training.validation.labels)
        training.described(converted, best["epoch"], validation_accuracy=accuracy,
                           **converted.provenance).save(files.checkpoint)
    if spiking or converted is not None:
        checkpoint = _finish_checkpoint(training, test, recalibrated=converted is None)
        result |= {key: checkpoint.provenance[key] for key in
                   ("epoch", "validation_accuracy", "test_accuracy", "statistics")}
        result["checkpoint"] = files.checkpoint.name
    for method in training.methods:
        result |= method.measure(test)
    files.write_result(result)
    return result


def _finish_checkpoint(training: Training, test: Split, *, recalibrated: bool) -> Checkpoint:
    """Return the checkpoint of the best epoch, measured; ``recalibrated``: other statistics are tried first."""
    path = training.files.checkpoint
    if not path.exists():
        raise TrainingError(f"{path}: best checkpoint is missing: train again, into another folder")
    checkpoint = Checkpoint.load(path)
    provenance = checkpoint.provenance
    if "test_accuracy" in provenance:
        return checkpoint
    best, statistics = provenance["validation_accuracy"], "running"
    if training.recipe.calibration_images and recalibrated:
        assert isinstance(training.network, SpikingNetwork)
        _log.info("measuring BatchNorm's statistics on %s, and how good they are on %s",
                  counted(min(training.recipe.calibration_images, len(training.train)), "training image"),
                  counted(len(training.validation), "validation image"))
        measured = exact.recalibrate(checkpoint, training.train.images[:training.recipe.calibration_images],
                                     over_mean=training.network.norm_over_mean)
        accuracy = exact.accuracy(measured, training.validation.images, training.validation.labels)
        if accuracy > best:
            checkpoint, best, statistics = measured, accuracy, "measured"
    wrong, compared = exact.mismatches(from_checkpoint(checkpoint, frozen=True),
                                       training.validation.images[:FLOAT_IMAGES], checkpoint)
    _log.info("plain float32 forward: %d of %d spikes differ from the exact forward", wrong, compared)
    _log.info("measuring the exact accuracy on %s", counted(len(test), "test image"))
    checkpoint = training.described(checkpoint, provenance["epoch"], validation_accuracy=best, statistics=statistics,
                                    float32_mismatches=wrong, float32_compared=compared,
                                    test_accuracy=exact.accuracy(checkpoint, test.images, test.labels),
                                    test_images=len(test))
    checkpoint.save(path)
    return checkpoint
