"""What a proof states: a bench with its properties, the method, and for each property a fault that it catches."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.formal.bench import Bench
from tests.formal.faults import Fault
from tests.formal.solver import Question, ask

__all__ = ["Claim", "Proof", "check"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """One property of a proof."""

    #: What it says, in a sentence.
    says: str
    #: The situation that occurs in some trace.
    situation: str
    #: The fault with which a trace breaks the property.
    fault: Fault
    #: What the fault is, in a sentence.
    faulty: str
    #: Clocks from reset in which the situation, and the failure, are looked for.
    within: int = 20
    #: The first clocks of those, in which they are not looked for; given for long traces, which are found sooner so.
    skipped: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Proof:
    """Properties of a block that one bench proves together."""

    #: The block: a component, or a function whose results the bench takes as numbers.
    block: Any
    #: Its parameters, in words.
    parameters: str
    #: Makes the bench around the block, or around the block with a fault.
    bench: Callable[[Any], Bench]
    #: The properties, by the names that they have in the bench and in docs/proofs.md.
    claims: dict[str, Claim]
    #: Clocks of the induction, or those that are looked at from reset on.
    clocks: int
    #: Proven for all time.
    induction: bool = True

    @property
    def method(self) -> str:
        """The method, as docs/proofs.md has it."""
        return f"induction, k = {self.clocks}" if self.induction else f"{self.clocks} clocks from reset"


def check(proof: Proof, folder: Path) -> None:
    """Prove the properties; find a trace to the situation of each; and refute each with its fault."""
    bench = proof.bench(proof.block)
    assert bench.properties == list(proof.claims)
    questions = [Question(asks=f"proof of {', '.join(proof.claims)}", design=bench.everything(), clocks=proof.clocks,
                          induction=proof.induction)]
    for name, claim in proof.claims.items():
        questions += [
            Question(asks=f"{name}: {claim.situation}", design=proof.bench(proof.block).never(name),
                     clocks=claim.within, skipped=claim.skipped, refuted=True),
            Question(asks=f"{name}, where {claim.faulty}", clocks=claim.within, skipped=claim.skipped, refuted=True,
                     design=proof.bench(claim.fault.seeded(proof.block)).only(name)),
        ]
    ask(questions, folder)
