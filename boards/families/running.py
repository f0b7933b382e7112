"""Runs a tool of a family."""

import pathlib
from collections.abc import Callable

from boards.families.family import Invocation
from support.tools import ToolError, run_tool

__all__ = ["run_invocation"]


def run_invocation(invocation: Invocation, folder: pathlib.Path, *, on_line: Callable[[str], None] | None = None,
                   limit_seconds: float | None = None) -> None:
    """Run a tool of a family in a folder that has its inputs; raises as :func:`support.tools.run_tool`.

    Also raises :exc:`ToolError` if the tool ends well without an output.
    """
    log = folder / f"{invocation.tool.name}.log"
    run_tool(invocation.tool, invocation.arguments, cwd=folder, log=log, limit_seconds=limit_seconds, on_line=on_line,
             watch=None if invocation.log is None else folder / invocation.log)
    for name in invocation.outputs:
        if not (folder / name).exists():
            raise ToolError(f"{invocation.tool.name} failed: it wrote no {name} (see {log})")
