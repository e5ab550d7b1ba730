"""Running one step: every record is saved as soon as it is done, beside what it came from."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from datapipe import Dropped, Kept, Outcome, Step
from datapipe.run_step import run_step
from longvt_plugins.errors import VideoError


@dataclass(frozen=True)
class Sort(Step[int, str]):
    """Keeps odd numbers, drops even ones, fails on 7 and has a bug at 9."""

    name, version = "sort_numbers", 1
    folder: Path = Path("unused")

    def process(self, record: int) -> Outcome[str]:
        if record == 7:
            raise VideoError("seven")
        if record == 9:
            raise ZeroDivisionError
        return Kept(f"«{record}»") if record % 2 else Dropped("even")


def run(tmp_path, *numbers) -> dict[str, list]:
    source = tmp_path / "in.jsonl"
    source.write_text("".join(f"{json.dumps(number)}\n" for number in numbers))
    try:
        counts = run_step(Sort(), source, tmp_path / "out")
    finally:
        written = {
            name: [json.loads(line) for line in (tmp_path / "out" / f"{name}.jsonl").read_text("utf-8").splitlines()]
            for name in ("kept", "dropped", "failed")
        }
    assert counts == {name: len(lines) for name, lines in written.items()}
    return written


def test_every_record_ends_in_exactly_one_file(tmp_path):
    assert run(tmp_path, 1, 2, 7, 3, "three") == {
        "kept": ["«1»", "«3»"],
        "dropped": [{"record": 2, "reason": "even"}],
        "failed": [
            {"record": 7, "error": "VideoError: seven"},
            {
                "record": "three",
                "error": "ConfigError: record for step 'sort_numbers': input should be a valid integer, not \"three\"",
            },
        ],
    }


def test_a_bug_ends_the_run_and_what_was_done_before_is_on_disk(tmp_path):
    with pytest.raises(ZeroDivisionError):
        run(tmp_path, 1, 2, 9, 3)
    assert (tmp_path / "out" / "kept.jsonl").read_text("utf-8") == '"«1»"\n'
    assert json.loads((tmp_path / "out" / "dropped.jsonl").read_text()) == {"record": 2, "reason": "even"}


KILLED = """
import os
from dataclasses import dataclass
from datapipe import Kept, Step
from datapipe.run_step import run_step

@dataclass(frozen=True)
class Die(Step[int, int]):
    name, version = "die", 1

    def process(self, record: int):
        return Kept(record) if record < 3 else os._exit(9)

run_step(Die(), "in.jsonl", "out")
"""


def test_a_run_that_is_killed_keeps_every_record_that_was_done(tmp_path):
    (tmp_path / "in.jsonl").write_text("1\n2\n3\n4\n")
    done = subprocess.run([sys.executable, "-c", KILLED], cwd=tmp_path, check=False)
    assert done.returncode == 9
    assert (tmp_path / "out" / "kept.jsonl").read_text() == "1\n2\n"


def test_a_configuration_with_paths_can_be_written_down(tmp_path):
    run(tmp_path, 1)
    assert json.loads((tmp_path / "out" / "step.json").read_text())["config"] == {"folder": "unused"}
