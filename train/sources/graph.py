"""The file of a float network: what it is told by, and what else a recipe says about it."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from export.sources.nir import sidecar
from export.sources.nir.file import MAX_BYTES
from export.sources.nir.importing import Source, read_nir
from support.files import read_file

__all__ = ["check_facts", "digest", "read_source"]


def digest(graph: str) -> str:
    """SHA-256 of the file of a graph; raises :exc:`support.errors.InputError`, :exc:`OSError`."""
    return hashlib.sha256(read_file(graph, limit=MAX_BYTES)).hexdigest()


def _text(facts: Mapping[str, Any]) -> Mapping[str, str]:
    return {sidecar.KEY: json.dumps(facts)}


def check_facts(facts: Mapping[str, Any]) -> None:
    """Check what a file does not say, as in its side-car; raises :exc:`export.sources.chain.SourceError`."""
    sidecar.parse(_text(facts))


def read_source(graph: str, facts: Mapping[str, Any]) -> Source:
    """Return the network of the NIR file ``graph``; ``facts`` as in the side-car of one.

    Raises :exc:`export.sources.chain.SourceError`, :exc:`OSError`.
    """
    return read_nir(graph, sidecar.parse(_text(facts)))
