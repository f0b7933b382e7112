"""Gathers what Sphinx reads: the pages as they stand in the repository, the page of contents, and a page per package.

The pages link to each other, and to files and folders that are no pages. The latter are not part of the site: of such a
link, its text stays.
"""

import pathlib
import posixpath
import re
import shutil
from collections.abc import Iterable, Sequence

__all__ = ["ROOT", "gather", "pages", "without_foreign_links"]

#: The checkout.
ROOT = pathlib.Path(__file__).resolve().parents[2]

#: Where pages are, from the top of the checkout, and what belongs to them.
_PATTERNS = ("*.md", "docs/*.md", "docs/*.ipynb", "docs/*.png", "docs/*.svg", "docs/decisions/*.md")

#: Packages whose modules have a reference, and what stands in the title of its page.
PACKAGES = {
    "arch": "The contract: networks, checkpoints, images, links",
    "reference": "The integer reference",
    "train": "Training",
    "export": "From a trained network to integers",
    "gateware": "The circuit, and the flow that builds it",
    "boards": "Boards and families of FPGAs",
    "sim": "Simulation",
    "firmware": "The host's side",
    "benchmarks": "What reproduces the numbers",
    "models": "Networks that ship",
    "support": "What knows nothing of spikes",
}

_FENCE = re.compile(r"^\s*(```|~~~)")
#: A link, whose text may be code; or code, in which there is no link.
_LINK_OR_CODE = re.compile(r"!?\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)|`[^`]*`")


def pages() -> list[pathlib.PurePosixPath]:
    """Return the pages and their pictures, from the top of the checkout."""
    return sorted(pathlib.PurePosixPath(path.relative_to(ROOT).as_posix())
                  for pattern in _PATTERNS for path in ROOT.glob(pattern))


def without_foreign_links(text: str, page: pathlib.PurePosixPath, known: Iterable[pathlib.PurePosixPath]) -> str:
    """Replace links to what is not on the site by their texts.

    Parameters
    ----------
    text : :class:`str`
        A page in Markdown.
    page : :class:`pathlib.PurePosixPath`
        Where the page is, from the top of the checkout.
    known : iterable of :class:`pathlib.PurePosixPath`
        What is on the site.
    """
    names = {str(path) for path in known}

    def replaced(match: re.Match[str]) -> str:
        target = (match["target"] or "").partition("#")[0]
        if not target or "://" in target or target.startswith("mailto:"):
            return match[0]
        there = posixpath.normpath(posixpath.join(page.parent, target))
        return match[0] if there in names else match["text"]

    lines, fenced = [], False
    for line in text.splitlines(keepends=True):
        if _FENCE.match(line):
            fenced = not fenced
        lines.append(line if fenced else _LINK_OR_CODE.sub(replaced, line))
    return "".join(lines)


def _modules(package: str) -> list[str]:
    """Public modules of a package, the package itself first, but those that are run and not imported."""
    names = []
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if not any(part.startswith("_") for part in parts):
            names.append(".".join(parts))
    return sorted(names)


def _reference(package: str, title: str) -> str:
    """Page of a package, in reStructuredText, as the docstrings are."""
    heading = f"{package}: {title}"
    lines = [heading, "=" * len(heading), ""]
    for name in _modules(package):
        is_package = (ROOT / name.replace(".", "/")).is_dir()
        lines += [name, "-" * len(name), "", f".. automodule:: {name}",
                  # What a package hands on has its place where it is defined.
                  *([] if is_package else ["   :members:", "   :show-inheritance:"]), ""]
    return "\n".join(lines)


def gather(folder: pathlib.Path, packages: Sequence[str] = tuple(PACKAGES)) -> None:
    """Write the sources of the site into ``folder``, which must be empty."""
    known = pages()
    for page in known:
        target = folder / page
        target.parent.mkdir(parents=True, exist_ok=True)
        if page.suffix == ".md":
            target.write_text(without_foreign_links((ROOT / page).read_text("utf-8"), page, known), "utf-8")
        else:
            shutil.copyfile(ROOT / page, target)
    for file in sorted((ROOT / "docs/site").glob("*.md")):
        shutil.copyfile(file, folder / file.name)
    reference = folder / "reference"
    reference.mkdir()
    for package in packages:
        (reference / f"{package}.rst").write_text(_reference(package, PACKAGES[package]), "utf-8")
