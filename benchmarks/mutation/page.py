"""Makes the page of the mutation score of results: scores with their intervals, and every survivor."""

import collections
import math
from collections.abc import Mapping, Sequence

from benchmarks.mutation.kinds import Kind
from benchmarks.mutation.mutants import Mutant
from benchmarks.mutation.results import Outcome, Result, Timing
from support.errors import InputError

__all__ = ["interval", "page", "summary"]

#: Of a standard normal distribution, 95 % lies within so many deviations.
_DEVIATIONS = 1.959964

_HEAD = """\
# The mutation score

How many small faults that are put into the sources the tests find. A *mutant* is a module with one such fault: another
operator, an inverted condition, a number that is one more, a statement of the circuit that is missing. It is *killed*
if a test fails with it, *killed by time* if the tests do not end in time, and *survives* if all pass. A survivor is
*equivalent* if it is argued, in a sentence below, that it behaves as the original; any other one is a gap of the tests.
The score is the share of both kinds of killed mutants among those that are not equivalent. The interval, of 95 %, is
Wilson's, and says how far the score of all mutants may be from that of the sample.
"""


def interval(successes: int, total: int) -> tuple[float, float]:
    """Return Wilson's interval of 95 % for a share of which a sample has ``successes`` of ``total``.

    E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", Journal of the American
    Statistical Association 22 (1927). Without a sample it is all that is possible, 0 to 1.
    """
    if total == 0:
        return 0.0, 1.0
    share, square = successes / total, _DEVIATIONS**2
    middle = share + square / (2 * total)
    spread = _DEVIATIONS * math.sqrt(share * (1 - share) / total + square / (4 * total**2))
    scale = 1 + square / total
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


class _Count:
    """Mutants by what became of them."""

    def __init__(self) -> None:
        self.killed = self.timeout = self.survived = self.equivalent = 0

    def add(self, result: Result, argued: bool) -> None:
        name = "equivalent" if argued else str(result.outcome)
        setattr(self, name, getattr(self, name) + 1)

    def cells(self) -> list[str]:
        """Cells of a row: mutants, killed, by time, survived, equivalent, score, interval."""
        dead = self.killed + self.timeout
        total = dead + self.survived
        low, high = interval(dead, total)
        score = [f"{dead / total:.1%}", f"{low:.1%} to {high:.1%}"] if total else ["-", "-"]
        numbers = (total + self.equivalent, self.killed, self.timeout, self.survived, self.equivalent)
        return [*(f"{number:,}" for number in numbers), *score]


def _counted(mutants: Sequence[Mutant], results: Mapping[str, Result],
             arguments: Mapping[str, str]) -> tuple[dict[str, _Count], dict[Kind, _Count], _Count]:
    """Count by folder, by kind, and in all."""
    folders: dict[str, _Count] = collections.defaultdict(_Count)
    kinds: dict[Kind, _Count] = collections.defaultdict(_Count)
    total = _Count()
    for mutant in mutants:
        result, argued = results[mutant.key], mutant.key in arguments
        if argued and result.outcome is not Outcome.SURVIVED:
            raise InputError(f"mutant that is argued to be equivalent must survive, and {mutant.name!r} is killed by "
                             f"{result.by}: delete its argument")
        for count in (folders[mutant.path.rpartition("/")[0]], kinds[mutant.kind], total):
            count.add(result, argued)
    return folders, kinds, total


def summary(mutants: Sequence[Mutant], results: Mapping[str, Result], arguments: Mapping[str, str]) -> str:
    """Return the score of a sample in a line; raises as :func:`page`."""
    *_, total = _counted(mutants, results, arguments)
    number, killed, timeout, survived, equivalent, score, bounds = total.cells()
    return (f"{number} mutants: {killed} killed, {timeout} killed by time, {survived} survived, {equivalent} "
            f"equivalent; score {score} ({bounds})")


def _code(text: str) -> str:
    """Text as code, which may have backticks in it."""
    fence = "``" if "`" in text else "`"
    space = " " if "`" in text else ""
    return f"{fence}{space}{text}{space}{fence}"


def _table(first: str, rows: Sequence[tuple[str, _Count]]) -> list[str]:
    head = [first, "mutants", "killed", "killed by time", "survived", "equivalent", "score", "95 % interval"]
    lines = [head, ["---"] * len(head), *([name, *count.cells()] for name, count in rows)]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def page(mutants: Sequence[Mutant], results: Mapping[str, Result], arguments: Mapping[str, str], *,
         command: str, population: int, seed: int, left_out: Sequence[Timing]) -> str:
    """Return the page of a sample.

    Parameters
    ----------
    mutants : sequence of :class:`Mutant`
        The sample.
    results : mapping of :class:`str` to :class:`Result`
        Results by the keys of the mutants: there must be one for each.
    arguments : mapping of :class:`str` to :class:`str`
        Why mutants are equivalent, by their keys.
    command : :class:`str`
        The command that makes the page.
    population : :class:`int`
        All mutants, of which the sample was drawn.
    seed : :class:`int`
        Seed of the sample.
    left_out : sequence of :class:`Timing`
        Test files that could not judge, with their problems.

    Raises
    ------
    :exc:`InputError`
        If a mutant that is argued to be equivalent was killed.
    """
    folders, kinds, total = _counted(mutants, results, arguments)
    revisions = sorted({results[mutant.key].revision for mutant in mutants})
    hours = sum(results[mutant.key].seconds for mutant in mutants) / 3600
    made = (f"Made by `{command}`: {len(mutants):,} of {population:,} mutants, drawn with seed {seed} so that each "
            f"module has its share; tried on revision {', '.join(f'`{name}`' for name in revisions)}; their tests took "
            f"{hours:.1f} hours.")
    lines = [_HEAD, made, "", "## Score", ""]
    lines += _table("folder", [*((f"`{name}/`", folders[name]) for name in sorted(folders)), ("all", total)])
    lines += ["", "## Kinds of faults", ""]
    lines += _table("kind", [(kind.value, kinds[kind]) for kind in Kind if kind in kinds])
    survivors = [mutant for mutant in mutants if results[mutant.key].outcome is Outcome.SURVIVED]
    gaps = [mutant for mutant in survivors if mutant.key not in arguments]
    lines += ["", "## Survivors", ""]
    if not gaps:
        lines.append("None.")
    for mutant in gaps:
        lines += [f"* {_code(mutant.name)}", f"  {_code(mutant.text)}"]
    lines += ["", "## Equivalent", ""]
    if len(gaps) == len(survivors):
        lines.append("None.")
    for mutant in survivors:
        if mutant.key in arguments:
            lines += [f"* {_code(mutant.name)}", f"  {_code(mutant.text)}", f"  {arguments[mutant.key]}"]
    if left_out:
        lines += ["", "## Tests that judged nothing", "", "They did not pass without a mutant:", ""]
        lines += [f"* `{timing.test}` {timing.problem}" for timing in left_out]
    return "\n".join(lines) + "\n"
