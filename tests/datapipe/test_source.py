"""Inputs: their shares, what makes one another, and a collection that is moved or changed between two runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass

import pytest

from datapipe import Kept, Outcome, Segment, Step, VideoRecord
from datapipe.recipe import read_recipe
from datapipe.records import stable_number
from datapipe.run import run_recipe
from datapipe.source import Shard, source_entries
from datapipe.steps.probe_video import ProbeVideo
from datapipe.workdir import open_stores
from longvt_plugins.errors import ConfigError
from longvt_plugins.hookspecs import hookimpl

DRAWN = [50, 443, 967]
SEGMENT = "talk-7f88ce0e21fbe1c6.segment-d2d210fe1bd915bc"


@dataclass(frozen=True)
class Halve(Step[VideoRecord, Segment]):
    """Two segments a video."""

    name, version = "halve", 1

    def process(self, record: VideoRecord) -> list[Outcome[Segment]]:
        middle = record.duration / 2
        return [
            Kept(Segment.of(record, start=0.0, end=middle)),
            Kept(Segment.of(record, start=middle, end=record.duration)),
        ]


class Plugin:
    """Brings both steps."""

    @hookimpl
    def register_steps(self, register):
        register(ProbeVideo)
        register(Halve)


def run(source, work) -> dict[str, int]:
    from longvt_plugins.plugins import create_plugin_manager

    steps = create_plugin_manager(entry_points=False, extra=(Plugin(),)).steps
    result = run_recipe(read_recipe({"input": str(source), "steps": ["probe_video", "halve"]}, {}), work, steps=steps)
    assert result.stopped is None
    return result.worked


def segments(work) -> list[dict]:
    (store,) = open_stores(work)
    found = list(store.kept("halve"))
    store.close()
    return found


def test_a_collection_that_is_moved_keeps_its_results_which_name_its_new_place(make_video, tmp_path):
    for name in ("a/talk.mp4", "b/talk.mp4"):
        make_video(tmp_path / "old" / name)
    (tmp_path / "old" / "a" / "talk.srt").write_text("1\n00:00:00,000 --> 00:00:02,000\nHello\n")
    assert run(tmp_path / "old", tmp_path / "work") == {"probe_video": 2, "halve": 2}
    before = segments(tmp_path / "work")
    (tmp_path / "old").rename(tmp_path / "new")
    assert run(tmp_path / "new", tmp_path / "work") == {"probe_video": 0, "halve": 0}
    after = segments(tmp_path / "work")
    assert [record["id"] for record in after] == [record["id"] for record in before]
    assert {record["path"] for record in after} == {str(tmp_path / "new" / n) for n in ("a/talk.mp4", "b/talk.mp4")}
    (store,) = open_stores(tmp_path / "work")
    assert [record["subtitles_path"] for record in store.kept("probe_video") if record["subtitles_path"]] == [
        str(tmp_path / "new" / "a" / "talk.srt")
    ]


def test_a_file_or_its_subtitles_that_are_replaced_are_worked_on_again_and_others_are_not(make_video, tmp_path):
    for name in ("a.mp4", "b.mp4"):
        make_video(tmp_path / "films" / name)
    run(tmp_path / "films", tmp_path / "work")
    make_video(tmp_path / "films" / "a.mp4", seconds=4)
    assert run(tmp_path / "films", tmp_path / "work") == {"probe_video": 1, "halve": 1}
    assert sorted(record["duration"] for record in segments(tmp_path / "work")) == [4.0, 4.0, 6.0, 6.0]
    (tmp_path / "films" / "b.vtt").write_text("WEBVTT\n")
    assert run(tmp_path / "films", tmp_path / "work") == {"probe_video": 1, "halve": 1}


def test_an_entry_that_comes_twice_is_one(make_video, tmp_path):
    make_video(tmp_path / "a.mp4")
    (tmp_path / "list.txt").write_text("a.mp4\na.mp4\n")
    assert run(tmp_path / "list.txt", tmp_path / "work") == {"probe_video": 1, "halve": 1}


def test_every_video_is_in_exactly_one_share_whatever_process_asks(tmp_path):
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps({"id": f"r{n}", "video": f"v{n % 50}"}) + "\n" for n in range(200)))
    shares = [[video for _, video, _, _ in source_entries(source, Shard(index, 4))] for index in range(4)]
    assert sum(map(len, shares)) == 200
    assert sum(len(set(share)) for share in shares) == 50
    assert all(len(set(share)) > 5 for share in shares)


def test_numbers_that_are_drawn_are_written_down_here_since_a_salted_hash_would_change_them():
    assert [stable_number("talk", seed, below=1000) for seed in range(3)] == DRAWN
    code = "from datapipe.records import stable_number; print(stable_number('talk', 0, below=1000))"
    for salt in ("1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": salt}
        said = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout
        assert int(said) == DRAWN[0]


def test_ids_are_written_down_here_so_that_no_version_changes_them():
    video = VideoRecord(id="talk-7f88ce0e21fbe1c6", path="/a.mp4", duration=9.0, width=64, height=48, size_bytes=1)
    assert Segment.of(video, start=1, end=2.5).id == Segment.of(video, start=1.0, end=2.5000000001).id
    assert Segment.of(video, start=1, end=2.5).id == SEGMENT


def test_there_is_no_share_outside():
    with pytest.raises(ConfigError, match="shard 4 of 4: with N shards they are numbered from 0 to N - 1"):
        Shard(4, 4)
