"""What a build leaves and a flash holds: images of models, bases, bitstreams and reports."""

import dataclasses
import functools
import hashlib
import json
import math
import pathlib
import random
import zlib
from collections.abc import Callable
from typing import Any

from arch.flash.header import CRC_OFFSET, HEADER_BYTES, KEPT_OFFSET, SEAL_BYTES, seal_bytes
from arch.flash.image import DIRECTORY_BYTES, Model, build_image, load_image
from boards.programming import LoadedBitstream, load_bitstream
from gateware.reports.network import Report
from gateware.reports.overlay import OverlayReport
from gateware.reports.prebuilt import FOLDER
from gateware.swap.base import Base, load_base
from support.errors import InputError
from support.files import read_file
from tests.export.into.builds import make_build
from tests.flash_models import SMALL, random_model
from tests.fuzz.archives import forge_archive, repacked
from tests.fuzz.kinds import Kind, Sample
from tests.fuzz.mutations import damage_json, damage_part, hostile_integer

__all__ = ["KINDS"]


# Images of models.

def _written(models: Any) -> bytes:
    return build_image([Model(circuit=model.header.circuit, info=model.header.info, digest=model.header.digest,
                              buffers=model.header.buffers, sections=model.sections) for model in models])


def _check_image(found: Any, content: bytes) -> None:
    # There is exactly one image of these models.
    assert _written(found) == content


def _images(folder: pathlib.Path) -> list[Sample]:
    one, two = (random_model(seed, SMALL, [(1, 3), (2, 2)]) for seed in (1, 2))
    return [Sample(content=build_image(models), read=load_image, identity=_written, check=_check_image)
            for models in ([one], [one, two])]


def _streams(content: bytes) -> list[tuple[int, int]]:
    """Begin and end of each stream of a valid image."""
    found = []
    for place in range(0, DIRECTORY_BYTES, HEADER_BYTES):
        header = content[place:place + HEADER_BYTES]
        if header[:4] == b"STFM":
            begin = header[KEPT_OFFSET + 7] * 65536 - (1 << 20) + SEAL_BYTES
            found.append((begin, begin + int.from_bytes(header[112:116], "little")))
    return found


def _forge_header(rng: random.Random, content: bytes) -> bytes:
    """Alter a field of a header; mend its CRC, and the seal that repeats it."""
    streams = _streams(content)
    number = rng.randrange(len(streams))
    place = number * HEADER_BYTES
    header = bytearray(content[place:place + CRC_OFFSET])
    for _ in range(rng.choice((1, 1, 2))):
        at, size = rng.randrange(CRC_OFFSET), rng.choice((1, 2, 4))
        value = rng.choice((hostile_integer(rng), rng.getrandbits(32), header[at] + 1, header[at] - 1))
        header[at:at + size] = (value % (1 << 8 * size)).to_bytes(size, "little")
    made = bytes(header[:CRC_OFFSET])
    made += zlib.crc32(made).to_bytes(4, "little")
    begin = streams[number][0]
    return (content[:place] + made + content[place + HEADER_BYTES:begin - SEAL_BYTES] + seal_bytes(made)
            + content[begin:])


def _forge_stream(rng: random.Random, content: bytes) -> bytes:
    """Alter bytes of a stream, and mend the CRC of its last section, or of what is now as long as one."""
    begin, end = rng.choice(_streams(content))
    made = bytearray(content)
    for _ in range(rng.choice((1, 2, 4))):
        made[rng.randrange(begin, end - 4)] = rng.choice((0, 1, 0xFE, 0xFF, rng.randrange(256)))
    # The stream has two sections; where the second begins follows from the first one's shape.
    first = begin + random_model(1, SMALL, [(1, 3)]).sections[0].byte_count()
    for start, stop in ((begin, first), (first, end)):
        made[stop - 4:stop] = zlib.crc32(bytes(made[start:stop - 4])).to_bytes(4, "little")
    return bytes(made)


def _damage_used(rng: random.Random, content: bytes) -> bytes:
    """Damage headers, seals or streams, which are few of an image's bytes, or any of them."""
    begin, end = rng.choice(_streams(content))
    return damage_part(rng, content, *rng.choice((
        (0, 2 * HEADER_BYTES), (0, DIRECTORY_BYTES), (begin - SEAL_BYTES, end), (0, len(content)))))


# Reports and bases.

#: Types that a value may have, by what an annotation calls it.
_TYPES = {"str": (str,), "bool": (bool,), "int": (int,), "float": (int, float), "int | bool": (int, bool)}


def _check_report(found: Any, content: bytes) -> None:
    assert type(found).from_json(found.to_json()) == found
    for field in dataclasses.fields(found):
        kind = field.type.__name__ if type(field.type) is type else str(field.type)
        value = getattr(found, field.name)
        if value is None:
            assert kind.endswith(" | None"), field.name
            continue
        kind = kind.removesuffix(" | None")
        values = [value]
        if kind.startswith(("list[", "dict[str, ")):
            assert type(value) is (list if kind.startswith("list[") else dict), field.name
            values = value if type(value) is list else list(value.values())
            kind = kind[:-1].removeprefix("list[").removeprefix("dict[str, ")
        # The rest are dataclasses, which came back from JSON as they were.
        for item in values if kind in _TYPES else ():
            assert type(item) in _TYPES[kind], field.name
            assert type(item) is not float or math.isfinite(item), field.name


def _report_sample(content: bytes, kind: type[Any]) -> Sample:
    return Sample(content=content, check=_check_report, identity=lambda found: found.to_json(),
                  read=lambda path: kind.from_json(read_file(path, limit=1 << 24), name=str(path)))


def _reports(folder: pathlib.Path) -> list[Sample]:
    make_build(folder / "reports")
    shipped = sorted(FOLDER.glob("*.json"))
    return [_report_sample((folder / "reports" / "report.json").read_bytes(), Report),
            *(_report_sample(path.read_bytes(), OverlayReport) for path in shipped)]


def _forge_json(rng: random.Random, content: bytes) -> bytes:
    return damage_json(rng, content.decode()).encode("utf-8", "surrogatepass")


def _check_base(found: Base, content: bytes) -> None:
    assert Base.from_bytes(found.to_bytes(), name="again").to_bytes() == found.to_bytes()
    assert type(found.baud) is type(found.image_bytes) is type(found.classes) is int
    assert min(found.baud, found.image_bytes, found.classes) > 0
    assert type(found.clock_hz) in (int, float)
    for field in dataclasses.fields(found.config):
        assert type(getattr(found.config, field.name)) is field.type, field.name


def _bases(folder: pathlib.Path) -> list[Sample]:
    make_build(folder / "base")
    place = folder / "place"
    place.mkdir()

    def read(path: pathlib.Path) -> Base:
        # A base has one name in its folder; the messages name it there.
        found = place / "base.zip"
        found.unlink(missing_ok=True)
        found.hardlink_to(path)
        return Base.from_bytes(read_file(found, limit=1 << 28), name=str(path))

    content = (folder / "base" / "base.zip").read_bytes()
    (place / "base.zip").write_bytes(content)
    assert load_base(place)[1] == content
    return [Sample(content=content, read=read, check=_check_base, identity=lambda found: found.to_bytes())]


def _forge_circuit(rng: random.Random, content: bytes) -> bytes:
    return repacked(content, rng, lambda data: _forge_json(rng, data), "circuit.json")


# Bitstreams.

def _bitstream_identity(found: LoadedBitstream) -> Any:
    return dataclasses.astuple(found)


def _check_bitstream(found: LoadedBitstream, content: bytes) -> None:
    assert type(found.board) is str
    assert type(found.baud) is int
    assert found.network is None or type(found.network) is str
    assert found.network_sha256 is None or type(found.network_sha256) is str


def _beside(folder: pathlib.Path, *, damage_report: bool) -> list[Sample]:
    """A bitstream and its report, one of which is damaged."""
    bitstream = random.Random(7).randbytes(2000)
    report = json.dumps({"board": "icebreaker", "baud": 3_000_000, "network": "a", "network_sha256": "b" * 64,
                         "bitstream_sha256": hashlib.sha256(bitstream).hexdigest()}).encode()

    def read(path: pathlib.Path) -> LoadedBitstream:
        place = path.parent / "beside"
        place.mkdir(exist_ok=True)
        damaged = path.read_bytes()
        (place / "sterna.bin").write_bytes(bitstream if damage_report else damaged)
        (place / "report.json").write_bytes(damaged if damage_report else report)
        return _renamed(lambda: load_bitstream(place / "sterna.bin"), place, path)

    return [Sample(content=report if damage_report else bitstream, read=read, check=_check_bitstream,
                   identity=_bitstream_identity)]


def _renamed(read: Callable[[], Any], place: pathlib.Path, path: pathlib.Path) -> Any:
    """Call ``read``; let its error name ``path`` if it names ``place``, as the judge wants it."""
    try:
        return read()
    except InputError as error:
        raise InputError(str(error).replace(str(place), str(path))) from error


KINDS = (
    Kind(name="flash-image", samples=_images, damage=_damage_used, forgeries=(_forge_header, _forge_stream)),
    Kind(name="report", samples=_reports, forgeries=(_forge_json,), protected=False, suffix=".json"),
    Kind(name="base", samples=_bases, forgeries=(forge_archive, _forge_circuit), suffix=".zip"),
    Kind(name="bitstream", samples=functools.partial(_beside, damage_report=False)),
    Kind(name="report-beside-bitstream", samples=functools.partial(_beside, damage_report=True),
         forgeries=(_forge_json,), protected=False, suffix=".json"),
)
