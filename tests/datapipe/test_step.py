"""A step: its configuration is checked, and no record can end a run, while a bug does."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from datapipe import Dropped, Failed, Kept, Outcome, Step, VideoRecord
from longvt_plugins.errors import ConfigError, NotAVideoError, PluginError
from longvt_plugins.judges import JudgeConfig
from longvt_plugins.video import FrameSampling

RECORD = {"id": "a-1", "path": "/a.mp4", "duration": 9.0, "width": 64, "height": 48, "size_bytes": 1}


@dataclass(frozen=True)
class DropShort(Step[VideoRecord, VideoRecord]):
    """Drops short videos."""

    name, version = "drop_short", 1
    min_seconds: float = 2.0

    def process(self, record: VideoRecord) -> Outcome[VideoRecord]:
        return Kept(record) if record.duration >= self.min_seconds else Dropped("shorter than min_seconds")


@dataclass(frozen=True)
class Everything(Step[str, str]):
    """Has a field of every type that recipes use."""

    name, version = "have_everything", 3
    model: str
    fps: float = 1.0
    frames: int = 8
    strict: bool = False
    mode: Literal["fast", "exact"] = "fast"
    folder: Path | None = None
    labels: tuple[str, ...] = ()
    sampling: FrameSampling = field(default_factory=FrameSampling)
    judge: JudgeConfig = field(default_factory=JudgeConfig)

    def process(self, record: str) -> Outcome[str]:
        if record == "unreadable":
            raise NotAVideoError("unreadable has\nno video stream")
        if record == "gone":
            raise FileNotFoundError(2, "No such file", record)
        if record == "bug":
            raise KeyError("scenes")
        return Kept(record.upper())


def test_a_step_is_made_from_what_yaml_says():
    step = Everything.from_config(
        {
            "model": "m",
            "fps": 2,
            "mode": "exact",
            "folder": "out",
            "labels": ["a", "b"],
            "sampling": {"max_frames": 4},
            "judge": {"name": "llm", "options": {"retries": 3}},
        }
    )
    assert (step.fps, step.mode, step.folder, step.labels) == (2.0, "exact", Path("out"), ("a", "b"))
    assert step.sampling == FrameSampling(max_frames=4)
    assert step.judge == JudgeConfig("llm", {"retries": 3})


def test_every_fault_is_told_at_once_each_with_its_path():
    with pytest.raises(ConfigError) as error:
        Everything.from_config(
            {
                "fsp": 2,
                "fps": "fast",
                "frames": 1.5,
                "strict": "no",
                "mode": "slow",
                "labels": ["a", 7],
                "sampling": {"max_frame": 4},
                "judge": {"name": 3},
            }
        )
    faults = str(error.value).removeprefix("step 'have_everything': ").split("; ")
    assert sorted(fault.partition(":")[0] for fault in faults) == sorted(
        ["fsp", "model", "fps", "frames", "strict", "mode", "labels.1", "sampling.max_frame", "judge.name"]
    )
    assert "fsp: there is no such field" in faults
    assert "sampling.max_frame: there is no such field" in faults, "inside the configuration as well"
    assert "model: field required" in faults


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({"min_seconds": True}, "min_seconds: input should be a valid number, not true"),
        ({"min_seconds": "5"}, 'min_seconds: input should be a valid number, not "5"'),
        ({"min_seconds": None}, "min_seconds: input should be a valid number, not null"),
        ({"min_seconds": float("nan")}, "min_seconds: input should be a finite number"),
        ({"name": "other"}, "name: there is no such field"),
        ({"version": 2}, "version: there is no such field"),
        ({"min_seconds": object()}, "Object of type object is not JSON serializable"),
    ],
)
def test_nothing_is_guessed(config, complaint):
    with pytest.raises(ConfigError) as error:
        DropShort.from_config(config)
    assert str(error.value).startswith(f"step 'drop_short': {complaint}")


def test_a_step_whose_types_cannot_be_checked_says_so():
    class Opaque: ...

    @dataclass(frozen=True)
    class Odd(Step[str, str]):
        name, version = "be_odd", 1
        thing: Opaque = None

        def process(self, record: str) -> Outcome[str]:
            return Kept(record)

    with pytest.raises(PluginError, match="step 'be_odd': a type hint cannot be checked"):
        Odd.from_config({})


def test_a_record_type_that_only_type_checkers_import_is_named():
    @dataclass(frozen=True)
    class Blind(Step[str, str]):
        name, version = "be_blind", 1

        def process(self, record: NotImported) -> Outcome[str]:  # noqa: F821
            return Kept(record)

    with pytest.raises(
        PluginError, match=r"step 'be_blind': a type hint of process cannot be resolved: .*'NotImported'"
    ):
        Blind.read_record("a")


def test_a_step_without_process_cannot_be_made():
    @dataclass(frozen=True)
    class Idle(Step[str, str]):
        name, version = "idle", 1

    with pytest.raises(TypeError, match="abstract method"):
        Idle()


def test_a_step_gives_one_outcome_for_every_record_in_their_order():
    step = DropShort(min_seconds=5)
    records = [VideoRecord(**RECORD | {"duration": seconds}) for seconds in (9.0, 3.0, 7.0)]
    assert list(step(records)) == [Kept(records[0]), Dropped("shorter than min_seconds"), Kept(records[2])]


def test_a_record_that_cannot_be_read_is_a_failure_with_type_and_line_and_not_the_end():
    assert list(Everything("m")(["a", "unreadable", "gone", "b"])) == [
        Kept("A"),
        Failed("NotAVideoError: unreadable has no video stream"),
        Failed("FileNotFoundError: [Errno 2] No such file: 'gone'"),
        Kept("B"),
    ]


def test_a_bug_ends_the_run_with_its_traceback():
    outcomes = Everything("m")(["a", "bug", "b"])
    assert next(outcomes) == Kept("A")
    with pytest.raises(KeyError, match="scenes"):
        next(outcomes)


def test_records_are_taken_one_by_one_as_they_are_asked_for():
    taken = []

    def source():
        for letter in "abc":
            taken.append(letter)
            yield letter

    outcomes = Everything("m")(source())
    assert taken == []
    next(outcomes)
    assert taken == ["a"]


def test_a_step_that_returns_something_else_is_a_bug():
    @dataclass(frozen=True)
    class Bare(Step[str, str]):
        name, version = "be_bare", 1

        def process(self, record: str) -> Outcome[str]:
            return record

    with pytest.raises(TypeError, match="step 'be_bare' must return Kept, Dropped or Failed, not str"):
        Bare().attempt("a")


def test_a_record_is_read_as_the_type_that_process_takes():
    assert DropShort.read_record(RECORD) == VideoRecord(**RECORD)
    assert Everything.read_record("a") == "a"
    with pytest.raises(ConfigError, match=r"^record for step 'drop_short': height: field required$"):
        DropShort.read_record({name: value for name, value in RECORD.items() if name != "height"})
