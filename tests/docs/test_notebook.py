"""The notebook: its cells run one after another, and in a real kernel it learns and draws."""

import json
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "notebooks" / "train_tiny.ipynb"
QUICK = 'VIDEOS, TRACES, SFT_STEPS, RL_STEPS, ROLLOUTS, QUESTIONS = 2, 2, 2, 1, 8, 1\nFOLDER = "."\n'


def sources():
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert not any(cell.get("outputs") for cell in cells)  # it is kept without results
    return [
        QUICK if "parameters" in cell["metadata"].get("tags", ()) else "".join(cell["source"])
        for cell in cells
        if cell["cell_type"] == "code"
    ]


def test_its_cells_run(tmp_path, monkeypatch):
    """Without a kernel, so that what is loaded already is not loaded again; small numbers, nothing is learnt."""
    import matplotlib

    matplotlib.use("agg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    names = {"__name__": "notebook"}
    for source in sources():
        exec(compile(source, "cell", "exec"), names)
    assert set(names["scores"]) == {"base", "SFT", "RL"}
    assert (tmp_path / "curves.png").stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_it_learns_in_a_real_kernel(tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient", reason="the extra docs is not installed")
    import nbformat

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    told = "import json; print(json.dumps({**scores, 'loss': curve(sft, 'loss')[1]}))"
    notebook.cells.append(nbformat.v4.new_code_cell(told))
    nbclient.NotebookClient(notebook, timeout=1500, resources={"metadata": {"path": str(tmp_path)}}).execute()
    found = json.loads(notebook.cells[-1].outputs[-1]["text"])
    assert sum(found["loss"][-10:]) < 0.5 * sum(found["loss"][:10])
    assert found["base"]["right"] < 0.25  # eight colours: chance is 0.125
    assert found["SFT"]["looked"] > 0.6  # the base never does; of 24 questions one is 0.04
    for stage in ("SFT", "RL"):
        assert found[stage]["right"] >= found["base"]["right"] + 0.1
    assert any("image/png" in output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", ()))
