"""One step by itself: every record ends in exactly one file, and a run that was killed goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from datapipe import ContextStep, Dropped, Kept, Outcome, Step, StepContext
from datapipe.run import RunOptions
from datapipe.source import Shard
from datapipe.step_alone import StepSettings, run_step
from longvt_plugins.errors import VideoError
from longvt_plugins.hookspecs import hookimpl
from longvt_plugins.testing import plugin_manager

from . import pipeline_steps
from .conftest import write_numbers
from .pipeline_steps import Number


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


@dataclass(frozen=True)
class Compare(ContextStep[Number, Number]):
    """Keeps numbers of which another step kept none."""

    name, version = "compare", 1
    beside: ClassVar[Mapping[str, type]] = {"others": Number}

    async def work(self, record: Number, context: StepContext) -> Outcome[Number]:
        return Dropped("known") if record.number in [n.number for n in context.beside["others"]] else Kept(record)


class Plugin:
    """Brings both."""

    @hookimpl
    def register_steps(self, register):
        register(Sort)
        register(Compare)


def lines(path: Path) -> list:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def run(tmp_path, *numbers) -> dict[str, list]:
    source = tmp_path / "in.jsonl"
    source.write_text("".join(f"{json.dumps(number)}\n" for number in numbers))
    try:
        counts, _ = run_step(
            "sort_numbers", source, tmp_path / "out", StepSettings(), steps=plugin_manager(Plugin()).steps
        )
    finally:
        written = {name: lines(tmp_path / "out" / f"{name}.jsonl") for name in ("kept", "dropped", "failed")}
    assert counts == {name: len(written[name]) for name in written}
    return written


def test_every_record_ends_in_exactly_one_file(tmp_path):
    written = run(tmp_path, 1, 2, 7, 3, "three")
    assert sorted(written["kept"]) == ["«1»", "«3»"]
    assert written["dropped"] == [{"record": 2, "reason": "even"}]
    assert sorted(written["failed"], key=str) == [
        {
            "record": "three",
            "error": "ConfigError: record for step 'sort_numbers': input should be a valid integer, not \"three\"",
        },
        {"record": 7, "error": "VideoError: seven"},
    ]


def test_a_bug_ends_the_run_and_what_was_done_before_is_on_disk(tmp_path):
    with pytest.raises(ZeroDivisionError):
        run(tmp_path, 1, 2, 9, 3)
    done = [*lines(tmp_path / "out" / "kept.jsonl"), *lines(tmp_path / "out" / "dropped.jsonl")]
    assert {"record": 9, "reason": "even"} not in done
    assert len(done) < 4


def test_a_configuration_with_paths_can_be_written_down(tmp_path):
    run(tmp_path, 1)
    assert json.loads((tmp_path / "out" / "step.json").read_text())["config"] == {"folder": "unused"}


def test_shares_write_files_of_their_own(tmp_path):
    source = write_numbers(tmp_path / "in.jsonl", 30)
    steps = plugin_manager(pipeline_steps).steps
    for index in range(2):
        settings = StepSettings(options=RunOptions(Shard(index, 2)))
        run_step("drop_thirds", source, tmp_path / "out", settings, steps=steps)
    shares = [lines(tmp_path / "out" / f"kept-0000{index}-of-00002.jsonl") for index in range(2)]
    assert sorted(record["number"] for share in shares for record in share) == [n for n in range(1, 31) if n % 3]
    assert all(shares)


def test_records_of_another_file_are_looked_at(tmp_path):
    source, others = (
        write_numbers(tmp_path / "in.jsonl", 10, videos=1),
        write_numbers(tmp_path / "b.jsonl", 4, videos=1),
    )
    settings = StepSettings(beside={"others": others})
    counts, _ = run_step("compare", source, tmp_path / "out", settings, steps=plugin_manager(Plugin()).steps)
    assert counts == {"kept": 6, "dropped": 4, "failed": 0}


KILLED = """
import os, sys
from dataclasses import dataclass
from datapipe import Kept, Step
from datapipe.step_alone import StepSettings, run_step
from longvt_plugins.hookspecs import hookimpl
from longvt_plugins.testing import plugin_manager

@dataclass(frozen=True)
class Die(Step[int, int]):
    name, version = "die", 1

    def process(self, record: int):
        with open("worked", "a") as file:
            file.write(f"{record} ")
        if os.path.getsize("worked") > 800 and "once" in sys.argv:
            os._exit(9)
        return Kept(record)

class Plugin:
    @hookimpl
    def register_steps(self, register):
        register(Die)

run_step("die", "in.jsonl", "out", StepSettings(), steps=plugin_manager(Plugin()).steps)
"""


def test_a_run_that_is_killed_goes_on_with_what_it_had_not_saved(tmp_path):
    (tmp_path / "in.jsonl").write_text("".join(f"{n}\n" for n in range(1000)))
    for flags, code in ((["once"], 9), ([], 0)):
        done = subprocess.run([sys.executable, "-c", KILLED, *flags], cwd=tmp_path, env=os.environ, check=False)
        assert done.returncode == code
    assert sorted(lines(tmp_path / "out" / "kept.jsonl")) == list(range(1000))
    worked = (tmp_path / "worked").read_text().split()
    assert len(worked) < 1000 + 300, "what was in the threads' hands, and no more, is worked on again"
