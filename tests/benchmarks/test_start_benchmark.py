"""benchmarks/start.py: what it writes, and that nothing heavy is loaded; times are measured, not tested."""

import json
import subprocess
import sys
from pathlib import Path

START = Path(__file__).resolve().parents[2] / "benchmarks" / "start.py"


def test_it_writes_its_figures_and_finds_nothing_heavy(tmp_path):
    file = tmp_path / "start.json"
    done = subprocess.run(
        [sys.executable, START, "--rounds", "1", "--json", file], capture_output=True, text=True, check=True
    )
    figures = json.loads(file.read_text())
    assert {"help_s", "import_ms"} <= set(figures)
    assert (figures["help_loads"], figures["import_loads"]) == ([], [])
    assert "goal: below 0.3 s" in done.stdout
