"""docs/proofs.md says of every property what is proven of it, and how."""

import importlib
import pathlib
import re

HERE = pathlib.Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "proofs.md"


def proofs():
    """All proofs of this folder."""
    for file in sorted(HERE.glob("test_*.py")):
        yield from getattr(importlib.import_module(f"tests.formal.{file.stem}"), "PROOFS", ())


def test_the_page_has_every_property_as_the_tests_have_it():
    rows = [[cell.strip() for cell in line.strip("|").split("|")]
            for line in PAGE.read_text(encoding="utf-8").splitlines() if re.match(r"\| `[a-z0-9-]+` \|", line)]
    assert sorted(rows) == sorted(
        [f"`{name}`", f"`{proof.block.__name__}`, {proof.parameters}", claim.says, proof.method, claim.situation,
         claim.faulty] for proof in proofs() for name, claim in proof.claims.items())


def test_names_of_properties_are_distinct():
    names = [name for proof in proofs() for name in proof.claims]
    assert len(set(names)) == len(names)
    assert len(names) >= 85
