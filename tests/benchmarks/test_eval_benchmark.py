"""benchmarks/eval.py and benchmarks/eval_failures.py: what their tables say, and that they run."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from longvt_plugins.testing_adversary import MODES

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def cell(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("eval_failures").cell


def seen(**changes):
    nothing = {
        "asked": 2,
        "refused": 0,
        "cached": True,
        "executed": False,
        "failed": False,
        "accuracy": 1.0,
        "text": "",
    }
    return {**nothing, **changes}


@pytest.mark.parametrize(
    ("observed", "told"),
    [
        (seen(), "scored right, cached"),
        (seen(accuracy=0.0, cached=False), "scored wrong, asked again"),
        (seen(failed=True, accuracy=None, cached=False), "failed, not scored, asked again"),
        (seen(executed=True), "**code is run**, scored right, cached"),
        (seen(asked=11), "scored right, never stops (11 turns until the server made it), cached"),
        (
            seen(refused=2, accuracy=0.0, text="['[LMMS_EVAL_REQUEST_FAILED after 3 retries] x']"),
            "the server refuses its history, a text about the failure is the answer, cached",
        ),
        (seen(accuracy=0.0, text="['Error: NoneType']"), "a text about an error is the answer, cached"),
    ],
)
def test_a_cell_says_what_became_of_a_question(cell, observed, told):
    assert cell(observed) == told


def run(script, *arguments):
    pytest.importorskip("lmms_eval")
    done = subprocess.run(
        [sys.executable, BENCHMARKS / script, *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_the_built_in_model_runs_code_and_loses_replies_and_ours_does_not(tmp_path):
    modes = ["two rounds", "injected code", "500 for ever"]
    run("eval_failures.py", "--modes", *modes, "--json", tmp_path / "seen.json", "--markdown", tmp_path / "table.md")
    observed = json.loads((tmp_path / "seen.json").read_text())
    ours, theirs = observed["longvt"], observed["async_openai, lenient server"]
    assert [ours["injected code"]["executed"], theirs["injected code"]["executed"]] == [False, True]
    assert [ours["two rounds"]["accuracy"], theirs["two rounds"]["accuracy"]] == [1.0, 0.0]
    assert [ours["500 for ever"]["cached"], theirs["500 for ever"]["cached"]] == [False, True]
    table = (tmp_path / "table.md").read_text()
    assert all(f"| {name}: {MODES[name].about} |" in table for name in modes)


@pytest.mark.slow
@pytest.mark.timeout(1200)  # eight evaluations, each in a process of its own
def test_the_comparison_of_speed_writes_its_figures(tmp_path):
    run("eval.py", "--quick", "--json", tmp_path / "figures.json")
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["samples_x_async_openai"] > 1
    assert 0 < figures["overhead_share"] < 1
    for each in figures["throughput"].values():
        assert each["right"] == each["samples"]
