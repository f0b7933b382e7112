"""Digest of source files: the key under which results of these sources are kept."""

import hashlib
import importlib.util
from pathlib import Path

__all__ = ["source_files", "sources_digest"]


def _folder(package: str) -> Path:
    """Folder of a package, which is found but not imported."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0])


def source_files(*packages: str) -> list[Path]:
    """Every source file of ``packages``, in Python, C++, Verilog and JSON, in the order of their names."""
    return [path for package in packages for path in sorted(_folder(package).rglob("*"))
            if path.suffix in (".py", ".cpp", ".h", ".v", ".json")]


def sources_digest(*packages: str) -> str:
    """SHA-256 of every source file of ``packages``, with its name."""
    digest = hashlib.sha256()
    for package in packages:
        parent = _folder(package).parent
        for path in source_files(package):
            digest.update(f"{path.relative_to(parent)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()
