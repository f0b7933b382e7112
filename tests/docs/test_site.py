"""The site: it is made without a warning, and names in docstrings lead to what they mean."""

import pathlib
import subprocess
import sys

import pytest

from docs.site import command
from docs.site.names import qualified
from docs.site.sources import ROOT, pages, without_foreign_links

PAGE = pathlib.PurePosixPath("docs/page.md")
KNOWN = [PAGE, pathlib.PurePosixPath("README.md"), pathlib.PurePosixPath("docs/other.md")]


def make(*arguments):
    """Run the command, in a process of its own: what Sphinx imports warns, which is an error in a test."""
    return subprocess.run([sys.executable, "-m", "docs.site", *arguments], cwd=ROOT, capture_output=True, text=True)


def test_the_site_is_made_without_a_warning(tmp_path):
    output = tmp_path / "site"
    done = make("-o", str(output), "--no-run")
    assert done.returncode == 0, done.stderr
    made = {path.relative_to(output).as_posix() for path in output.rglob("*.html")}
    texts = [page for page in pages() if page.suffix in (".md", ".ipynb")]
    assert {str(page.with_suffix(".html")) for page in texts} | {"index.html", "search.html"} <= made
    gateware = (output / "reference/gateware.html").read_text()
    assert 'id="gateware.engine.pif.PifUnit"' in gateware
    # A name of another module is a link to where it is defined.
    assert 'href="arch.html#arch.network.Network"' in gateware
    # Without a package's reference the page of contents has a link to nothing. The site stays as it was.
    done = make("-o", str(output), "--no-run", "--packages")
    assert done.returncode == 1
    assert done.stderr.endswith("ERROR: pages must be without a warning of Sphinx: it has named them above\n")
    assert [path.name for path in tmp_path.iterdir()] == ["site"]
    assert (output / "reference/gateware.html").read_text() == gateware


@pytest.mark.parametrize(("text", "wanted"), [
    ("see [other](other.md)", "see [other](other.md)"),
    ("see [other](other.md#part) and [it](../README.md)", "see [other](other.md#part) and [it](../README.md)"),
    ("see [`pif`](../gateware/engine/pif.py)", "see `pif`"),
    ("see [a folder](../firmware/c)", "see a folder"),
    ("see [web](https://example.org/a.md), [mail](mailto:a@example.org), [here](#part)",
     "see [web](https://example.org/a.md), [mail](mailto:a@example.org), [here](#part)"),
    ("`[code](none.md)` and [gone](none.md)", "`[code](none.md)` and gone"),
    ("```\n[code](none.md)\n```\n[gone](none.md)\n", "```\n[code](none.md)\n```\ngone\n"),
])
def test_links_to_what_is_not_on_the_site_become_text(text, wanted):
    assert without_foreign_links(text, PAGE, KNOWN) == wanted


@pytest.mark.parametrize(("target", "module", "owner", "wanted"), [
    ("Network", "arch.network_file", None, "arch.network.Network"),
    ("Network", "arch.network", "Network", "arch.network.Network"),
    ("timesteps", "arch.network", "Network", "arch.network.Network.timesteps"),
    ("BoardError", "boards.families.ice40", "Ice40", "boards.families.family.BoardError"),
    ("FOLDERS", "benchmarks.mutation.sample", None, "benchmarks.mutation.sample.FOLDERS"),
    ("arch.network.Network", "gateware.system", None, "arch.network.Network"),
    ("bytes", "arch.network", None, None),
    ("numpy.ndarray", "arch.network", None, "numpy.ndarray"),
])
def test_names_mean_what_they_mean_in_their_module(target, module, owner, wanted):
    __import__(module)
    assert qualified(target, module, owner) == wanted


def test_what_is_no_site_is_not_written_over(tmp_path, capsys):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").touch()
    assert command.main(["-o", str(tmp_path / "file")]) == 1
    assert command.main(["-o", str(tmp_path / "folder")]) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"ERROR: {tmp_path}/file: output must be a folder, not a file",
        f"ERROR: {tmp_path}/folder: folder must be empty or have an earlier site: name another one with -o"]


def test_without_sphinx_the_extra_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sphinx.cmd.build", None)
    assert command.main(["-o", str(tmp_path / "site")]) == 3
    assert capsys.readouterr().err == ("ERROR: Sphinx is not installed: it comes with Sterna's extra docs, as in "
                                       "pip install '.[docs]', and with make test\n")
