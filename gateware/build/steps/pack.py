"""Packing: the routed design gets its network and becomes a bitstream."""

import dataclasses
import pathlib
from collections.abc import Collection, Mapping
from typing import Any

from boards import Board
from gateware.build.steps.step import Step, digests
from gateware.swap.filling import Filling, pack_files
from support.provenance import tool_versions

__all__ = ["Bitstream", "Pack"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Bitstream:
    """What packing leaves in its folder."""

    #: Name of the file.
    file: str


class Pack(Step[Bitstream]):
    """Make the bitstream of a routed design.

    Parameters
    ----------
    board : :class:`boards.Board`
    routed : :class:`pathlib.Path`
        The folder that the design is in.
    filling : :class:`gateware.swap.filling.Filling`, optional
        The network that takes the place of the marks in its memories; None leaves them as they are.
    """

    kind = name = "pack"

    def __init__(self, board: Board, routed: pathlib.Path, *, filling: Filling | None = None):
        self._board = board
        self._routed = routed
        self._filling = filling
        self._invocation = board.fpga.pack()

    def key(self) -> Mapping[str, Any]:
        return {"files": digests(self._routed, self._invocation.inputs), "tool": self._invocation.tool.name,
                "filling": None if self._filling is None else self._filling.digest(),
                "arguments": self._invocation.arguments, "versions": tool_versions(*self._board.fpga.packages)}

    def run(self, folder: pathlib.Path) -> Bitstream:
        """Fill and pack.

        Raises
        ------
        :exc:`boards.BoardError`
            If the tools have made something of a memory whose contents cannot be replaced.
        :exc:`support.errors.ToolchainError`
            If the tool is missing or fails.
        """
        fpga = self._board.fpga
        files: Mapping[str, bytes] = {name: (self._routed / name).read_bytes() for name in self._invocation.inputs}
        if self._filling is not None:
            files = self._filling.apply(fpga, files)
        return Bitstream(file=pack_files(fpga, files, folder))

    def outputs(self, result: Bitstream) -> Collection[str]:
        return (result.file,)

    def load(self, content: dict[str, Any]) -> Bitstream:
        return Bitstream(**content)
