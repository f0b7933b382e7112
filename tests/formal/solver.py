"""Asks the SAT solver of Yosys: proofs by induction or up to a bound, and traces that refute."""

import dataclasses
import re
from pathlib import Path

from support.tools import YOSYS, ToolError, run_tool

__all__ = ["Question", "ask"]

#: From Amaranth's RTLIL to what ``sat`` takes. What is undefined may be anything; so may what keeps its value at reset.
_PREPARE = """\
prep -top bench -flatten
memory_map
setattr -unset init a:kept_at_reset
setundef -anyseq
chformal -lower
async2sync
dffunmap
opt -full
"""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """A design and what to find out of its assertions."""

    #: What is asked, for whoever reads that the answer is another.
    asks: str
    #: The design, in RTLIL, with the top module ``bench``.
    design: str
    #: Clocks: the length of the induction, or the clocks that are looked at from reset on.
    clocks: int
    #: Prove for all time by induction; else look at so many clocks.
    induction: bool = False
    #: A trace must be found in which an assertion fails; else none may be there.
    refuted: bool = False
    #: For a long trace that refutes: clocks from reset in which no failure is looked for. The others are then looked at
    #: together: one after the other, the solver would compare each state with all before it.
    skipped: int = 0

    @property
    def command(self) -> str:
        """The command of Yosys. It fails unless the answer is the one that is wanted."""
        method = "-tempinduct" if self.induction else "-tempinduct-baseonly"
        # Shorter inductions are not tried: each would take a trace that means nothing.
        steps = f" -initsteps {self.clocks - 1}" if self.induction and self.clocks > 1 else ""
        answer = "-falsify" if self.refuted else "-verify"
        if self.skipped:
            return f"sat {answer} -seq {self.clocks} -prove-skip {self.skipped} -prove-asserts -set-assumes bench"
        return f"sat {answer} {method} -maxsteps {self.clocks}{steps} -prove-asserts -set-assumes bench"


def ask(questions: list[Question], folder: Path, *, limit_seconds: float = 600) -> list[int]:
    """Answer questions, all in one run of Yosys.

    Returns
    -------
    For each question the clocks: the length of the induction; the bound; or the clock, counted from 1, in which the
    assertion fails, or by which it does where clocks are skipped.

    Raises
    ------
    :exc:`AssertionError`
        If an answer is not the one that is wanted: with what was asked, and where the log is.
    """
    lines = []
    for number, question in enumerate(questions):
        (folder / f"bench{number}.il").write_text(question.design)
        lines.append(f"design -reset\nread_rtlil bench{number}.il\n{_PREPARE}"
                     f"tee -o {_answer(number)} {question.command}")
    (folder / "proof.ys").write_text("\n".join(lines) + "\n")
    try:
        run_tool(YOSYS, ["-q", "proof.ys"], cwd=folder, log=folder / "yosys.log", limit_seconds=limit_seconds)
    except ToolError as error:
        reached = [number for number in range(len(questions)) if (folder / _answer(number)).exists()]
        raise AssertionError(f"{questions[max(reached, default=0)].asks}: {error}") from None
    return [_clocks(question, (folder / _answer(number)).read_text()) for number, question in enumerate(questions)]


def _answer(number: int) -> str:
    return f"answer{number}.log"


def _clocks(question: Question, answer: str) -> int:
    if question.skipped:
        assert "SAT proof finished - model found: FAIL!" in answer, answer[-2000:]
        return question.clocks
    verdict = "model found for base case: FAIL!" if question.refuted else \
        "Induction step proven: SUCCESS!" if question.induction else "proved base case for"
    assert verdict in answer, answer[-2000:]
    return int(re.findall(r"^\*\* Trying induction with length (\d+) \*\*$", answer, re.MULTILINE)[-1])
