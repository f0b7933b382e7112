"""What a training reads: recipes, archives of data sets, and the result that it left."""

import functools
import gzip
import io
import json
import pathlib
import random
import tarfile
from typing import Any

import numpy as np

from support.errors import InputError
from tests.fuzz.kinds import Kind, Sample
from tests.fuzz.mutations import damage_bytes, damage_json, hostile_integer
from tests.train.datasets.test_cifar import COUNTS, made, records
from train.catalogue import FOLDER
from train.datasets import DATASETS
from train.folder import TrainingFolder
from train.recipe import Recipe, load_recipe

__all__ = ["KINDS"]


def _read_as(name: str, read: Any, path: pathlib.Path) -> Any:
    """Call ``read`` with a folder that has the file under the ``name`` that it must have there."""
    place = path.parent / "place"
    place.mkdir(exist_ok=True)
    (place / name).write_bytes(path.read_bytes())
    try:
        return read(place)
    except InputError as error:
        # The judge wants to see the file's name.
        raise InputError(str(error).replace(str(place), str(path))) from error


# Recipes.

_NAMES = ("mnist-conv", "nmnist-conv", "cifar10-distilled", "cifar10-conversion-aware", "tsnn-nmnist",
          "cifar10-temporal")


def _check_recipe(found: Recipe, content: bytes) -> None:
    written = found.to_json()
    assert Recipe.from_json(json.loads(json.dumps(written, allow_nan=False))) == found
    assert type(found.epochs) is type(found.seed) is type(found.batch_size) is int
    assert found.dataset in DATASETS
    assert len(found.name) <= 100


def _recipes(folder: pathlib.Path) -> list[Sample]:
    return [Sample(content=(FOLDER / f"{name}.json").read_bytes(), read=lambda path: load_recipe(str(path)),
                   identity=Recipe.to_json, check=_check_recipe) for name in _NAMES]


def _forge_json(rng: random.Random, content: bytes) -> bytes:
    return damage_json(rng, content.decode()).encode("utf-8", "surrogatepass")


# Results.

def _check_result(found: Any, content: bytes) -> None:
    kind = "" if "test_accuracy" in found else "float_"
    for key in ("epoch", "epochs", "test_images", f"{kind}validation_accuracy", f"{kind}test_accuracy"):
        assert type(found[key]) in (int, float), key
        assert 0 <= found[key] < float("inf"), key


def _result(place: pathlib.Path) -> Any:
    return TrainingFolder(path=place, name="mnist-conv").read_result()


def _results(folder: pathlib.Path) -> list[Sample]:
    common = {"recipe": "mnist-conv", "train_seconds": 1.5, "epoch": 3, "epochs": 5, "test_images": 100}
    return [Sample(content=json.dumps(common | more).encode(), identity=lambda found: found, check=_check_result,
                   read=functools.partial(_read_as, "result.json", _result))
            for more in ({"validation_accuracy": 0.5, "test_accuracy": 0.25},
                         {"float_validation_accuracy": 0.5, "float_test_accuracy": 1})]


# Archives of data sets.

def _check_arrays(found: Any, content: bytes) -> None:
    for images, labels in found:
        assert images.dtype == labels.dtype == np.uint8
        assert images.shape == (len(labels), 3, 32, 32)
        assert 1 <= len(labels) <= 1000
        assert labels.max() <= 9


def _archives(folder: pathlib.Path) -> list[Sample]:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name in COUNTS:
            member = tarfile.TarInfo(f"made-bin/{name}")
            content = records(name).tobytes()
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return [Sample(content=gzip.compress(packed.getvalue(), compresslevel=1, mtime=0), check=_check_arrays,
                   read=functools.partial(_read_as, "made.tar.gz", lambda place: made().load_arrays(place, False)),
                   identity=lambda found: [array.tobytes() for split in found for array in split])]


#: Fields of a header (POSIX.1-2008, pax, "ustar Interchange Format"): begin and end.
_FIELDS = ((0, 100), (100, 108), (124, 136), (136, 148), (156, 157), (157, 257), (257, 265), (345, 500))


def _forge_archive(rng: random.Random, content: bytes) -> bytes:
    """Alter fields of headers of the archive and mend their checksums, or any of its bytes, and pack it again."""
    made = bytearray(gzip.decompress(content))
    if rng.randrange(3) == 0:
        return gzip.compress(damage_bytes(rng, bytes(made)), compresslevel=1, mtime=0)
    headers = [at for at in range(0, len(made), 512) if made[at + 257:at + 262] == b"ustar"]
    for _ in range(rng.choice((1, 1, 3))):
        at = rng.choice(headers)
        begin, end = rng.choice(_FIELDS)
        text = rng.choice((rng.randbytes(end - begin), f"{hostile_integer(rng) % 2**33:o}".encode(),
                           b"made-bin/two.bin", b"\x80" + rng.randbytes(end - begin - 1),
                           b"xgLKSAV12356"[rng.randrange(12):], b"-1", b""))
        made[at + begin:at + end] = text[:end - begin].ljust(end - begin, b"\0")
        made[at + 148:at + 156] = b" " * 8
        made[at + 148:at + 156] = b"%06o\0 " % sum(made[at:at + 512])
    return gzip.compress(bytes(made), compresslevel=1, mtime=0)


KINDS = (
    Kind(name="recipe", samples=_recipes, forgeries=(_forge_json,), protected=False, suffix=".json"),
    Kind(name="training-result", samples=_results, forgeries=(_forge_json,), protected=False, suffix=".json"),
    Kind(name="data-set-archive", samples=_archives, forgeries=(_forge_archive,), suffix=".tar.gz"),
)
