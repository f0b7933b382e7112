"""Simulated boards that are kept, so that a board that was simulated before starts at once.

Making the circuit of a board imports Amaranth and the mapper and elaborates the design: over a second, whose result is
always the same. So it is kept: which program simulates the circuit, and what is in its memories and its flash, in a
file beside the program, under :meth:`sim.board.request.BoardRequest.key`.

Why what is kept is never stale: the result is a function of the request, of the contents of the files that it names,
of the sources of this project, and of the versions of Python, Amaranth, numpy, Yosys and Verilator. All of these are in
the key, which is computed anew at every start: whatever of them changes, the name of the file changes, and nothing is
found. A file could change while the board is made of it. Therefore the key is computed a second time when the board is
made, and the board is not kept unless the key is the same, nor if a source was written just before this program began
or later: it could then run with an older one. The compiled program stands under a hash of its own, which has the text
of its Verilog in it; if it is missing, nothing is found. Nor is a file that a disk has damaged: its first line is the
SHA-256 of the rest.
"""

import base64
import dataclasses
import hashlib
import json
import os
import pathlib
from typing import Any

from sim.power_on import PowerOn
from sim.verilated import CompiledDesign, MemoryShape
from sim.verilator import default_folder, make_cache
from support.files import read_file, write_atomically

__all__ = ["keep", "kept"]

#: Largest file of a board: an image of 16 MiB, in letters, and its networks.
_MAX_BYTES = 1 << 26
#: The line before the board: the SHA-256 of what follows it, in hexadecimal digits.
_DIGEST_BYTES = 65


def _file(key: str, folder: pathlib.Path | None) -> pathlib.Path:
    return (default_folder() if folder is None else folder) / f"board-{key}.json"


def _to_json(board: PowerOn) -> bytes:
    fields = {field.name: getattr(board, field.name) for field in dataclasses.fields(board)}
    design = board.design
    return json.dumps(fields | {
        "design": {"program": str(design.program), "top": design.top,
                   "shapes": {name: dataclasses.asdict(shape) for name, shape in design.shapes.items()}},
        "memories": {name: [int(row) for row in rows] for name, rows in board.memories.items()},
        "flash": None if board.flash is None else [board.flash[0], base64.b64encode(board.flash[1]).decode()],
    }).encode()


def _from_json(content: bytes) -> PowerOn:
    fields: dict[str, Any] = json.loads(content)
    design, flash = fields["design"], fields["flash"]
    return PowerOn(**fields | {
        "design": CompiledDesign(program=pathlib.Path(design["program"]), top=design["top"],
                                 shapes={name: MemoryShape(**shape) for name, shape in design["shapes"].items()}),
        "random": tuple(fields["random"]),
        "flash": None if flash is None else (flash[0], base64.b64decode(flash[1])),
    })


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode() + b"\n"


def keep(key: str, board: PowerOn, folder: pathlib.Path | None = None) -> None:
    """Keep a board under its key, in ``folder`` (default: that of compiled simulations)."""
    file = _file(key, folder)
    make_cache(file.parent)
    content = _to_json(board)
    write_atomically(file, _digest(content) + content)


def kept(key: str, folder: pathlib.Path | None = None) -> PowerOn | None:
    """Return the board that was kept under a key; None if there is none, if it was damaged, or its program is gone."""
    try:
        found = read_file(_file(key, folder), limit=_MAX_BYTES)
    except FileNotFoundError:
        return None
    content = found[_DIGEST_BYTES:]
    if found[:_DIGEST_BYTES] != _digest(content):
        return None
    board = _from_json(content)
    return board if os.access(board.design.program, os.X_OK) else None
