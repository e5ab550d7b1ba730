"""The benchmark of the pipeline runs, and writes the figures that it promises."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "datapipe.py"


@pytest.mark.slow
def test_a_quick_run_writes_throughput_and_memory(tmp_path):
    out = tmp_path / "datapipe.json"
    command = [sys.executable, str(SCRIPT), "--quick", "--only", "throughput", "memory", "--json", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    figures = json.loads(out.read_text())
    assert figures["quick"] is True
    assert 0 < figures["throughput_share"] <= 1
    assert 0 < figures["peak_mb"] < 300
    assert (figures["records"], figures["million_records"]) == (200, 20_000)
    assert figures["million_growth_mb"] < 30
    assert figures["million_store_mb"] > 0
