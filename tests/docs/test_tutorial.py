"""The tutorial runs in less than two minutes, and shows what its text promises."""

import json
import pathlib
import re
import subprocess
import sys

NOTEBOOK = pathlib.Path(__file__).resolve().parents[2] / "docs" / "tutorial.ipynb"

#: Runs the notebook where it is, and writes it with what it has printed.
RUN = """
import sys, nbclient, nbformat
notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": sys.argv[2]}}).execute()
nbformat.write(notebook, sys.argv[3])
"""


def outputs(notebook):
    """What the cells have printed, and the last page that they have shown."""
    said, page = [], ""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            said.append("".join(output.get("text", [])))
            page = "".join(output.get("data", {}).get("text/html", [])) or page
    return "".join(said), page


def test_the_tutorial_runs_and_its_claims_hold(tmp_path):
    result = tmp_path / "result.ipynb"
    done = subprocess.run([sys.executable, "-c", RUN, NOTEBOOK, NOTEBOOK.parent, result],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said, page = outputs(json.loads(result.read_text()))
    floating, coded, trained = (float(share) for share in re.findall(r"([\d.]+)% of 512 test images", said))
    assert coded < floating < trained
    assert trained > 90
    assert "exact: yes, every spike of every layer, for every input" in said
    assert "agreement: scores, classes and every layer's spikes of 4 images are equal" in said
    assert "exact, by the cycle model" in said
    assert "sterna.bin" in said
    assert page.startswith('<iframe srcdoc="&lt;!DOCTYPE html&gt;')


def test_the_notebook_is_kept_without_what_it_prints():
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert all(cell["execution_count"] is None and not cell["outputs"] for cell in cells if cell["cell_type"] == "code")
