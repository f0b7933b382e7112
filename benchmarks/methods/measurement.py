"""What ``benchmark.json`` of a measured training holds, and what a training's ``result.json`` must have for it."""

import json
import pathlib
from typing import Any

from support.errors import InputError
from support.files import read_file

__all__ = ["COMMON", "LAYOUT", "MEASURED", "BenchmarkError", "read_json", "read_measurement", "read_result"]

#: Raised when what is measured changes: older measurements are refused.
LAYOUT = 2

#: What every measurement has.
COMMON = {"name", "dataset", "network", "methods", "seed", "epochs", "needs", "float_test_accuracy", "train_seconds",
          "weights_kind", "timesteps", "weights", "compression", "accuracy", "exact", "test_images",
          "calibration_error", "firing_rate", "event_operations", "dense_operations"}
#: What a measurement of an exported network has besides.
MEASURED = {"negative_log_likelihood", "brier", "predictive_entropy", "mutual_information",
            "calibration_error_of_mean_scores", "negative_log_likelihood_of_mean_scores", "brier_of_mean_scores"}

#: Longest file that is read, in bytes.
_MAX_BYTES = 2**24


class BenchmarkError(InputError):
    """A folder cannot be measured or a page not be made. The message is one line."""


def read_json(path: pathlib.Path, what: str) -> dict[str, Any]:
    """Return the JSON object in ``path``, which is ``what``.

    Raises :exc:`BenchmarkError` if it is missing or malformed, and :exc:`OSError` if it must not be read.
    """
    try:
        content: Any = json.loads(read_file(path, limit=_MAX_BYTES))
    except InputError as error:
        raise BenchmarkError(str(error)) from None
    except (FileNotFoundError, NotADirectoryError):
        raise BenchmarkError(f"{path}: {what} is missing: finish the training first") from None
    except (ValueError, RecursionError) as error:
        raise BenchmarkError(f"{path}: {what} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise BenchmarkError(f"{path}: {what} must be a JSON object, not {content!r:.40}")
    return content


def read_measurement(path: pathlib.Path) -> dict[str, Any]:
    """Return a measurement; raises :exc:`BenchmarkError` if it is none of this revision."""
    found = read_json(path, "the measurement")
    wanted = COMMON | (MEASURED if found.get("accuracy") is not None else set())
    if found.get("layout") != LAYOUT or not wanted <= found.keys():
        raise BenchmarkError(f"{path}: must be a measurement of this revision: measure {path.parent} again")
    return found


def read_result(folder: pathlib.Path) -> dict[str, Any]:
    """Return what the training in ``folder`` reported; raises :exc:`BenchmarkError` if something is missing."""
    path = folder / "result.json"
    found = read_json(path, "the training's result")
    kinds: dict[str, type | tuple[type, ...]] = {"recipe": str, "train_seconds": (int, float), "test_images": int}
    exported = "code" in found or "checkpoint" in found
    kinds |= {"test_accuracy": float, "checkpoint": str} if exported else {"float_test_accuracy": float}
    for key, kind in kinds.items():
        if not isinstance(found.get(key), kind):
            raise BenchmarkError(f"{path}: the training's result must have {key}: remove the file and repeat the "
                                 f"command of the training, which measures again")
    return found
