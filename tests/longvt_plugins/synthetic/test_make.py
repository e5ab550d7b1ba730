"""A world as a folder: rows, files, resuming, and refusing what belongs to another world."""

import hashlib
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace

import pytest

from longvt_plugins.errors import ConfigError
from longvt_plugins.rows import read_rows
from longvt_plugins.synthetic.make import count_missing, estimate, make_world, plan_split
from longvt_plugins.synthetic.questions import FAMILIES
from longvt_plugins.synthetic.world import TINY
from longvt_plugins.video.video import Video

BRIEF = replace(TINY, durations=(64,))


def files_of(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_world_holds_rows_videos_and_the_truth(tmp_path):
    make_world(tmp_path, BRIEF, {"train": 2, "test": 1}, seed=1, processes=1)
    assert files_of(tmp_path) == [
        "scripts/test/00000.json",
        "scripts/train/00000.json",
        "scripts/train/00001.json",
        "test.parquet",
        "train.parquet",
        "videos/test/00000.mp4",
        "videos/train/00000.mp4",
        "videos/train/00001.mp4",
        "world.json",
    ]
    script = json.loads((tmp_path / "scripts/train/00000.json").read_text())
    (row, _) = read_rows(tmp_path / "train.parquet")
    assert row["answer"] == script["events"][0]["flashes"][0]["colour"]
    assert row["video_segment"] == [script["events"][0]["hint"][end] for end in ("start", "end")]


def test_every_row_names_a_video_that_lasts_as_long_as_its_script(world):
    for row in world.rows[:12]:
        with Video.open(row["videos"]["video_1.mp4"]) as video:
            assert video.duration == pytest.approx(world.item(row).script.duration)
            assert row["video_segment"][1] <= video.duration


def test_a_world_can_be_moved(world, tmp_path):
    (tmp_path / "train.parquet").write_bytes((world.folder / "train.parquet").read_bytes())
    (row, *_) = read_rows(tmp_path / "train.parquet")
    assert row["videos"] == {"video_1.mp4": str(tmp_path / "videos/train/00000.mp4")}


def test_families_take_turns(world):
    assert [row["source"] for row in world.rows[:7]] == [
        f"longvt_synthetic/{family}" for family in (*FAMILIES, FAMILIES[0])
    ]


def test_splits_share_no_seed_and_no_video(tmp_path):
    splits = {"train": 6, "dev": 6, "test": 6}
    make_world(tmp_path, BRIEF, splits, seed=1, processes=1)
    seeds = [item.script.seed for split, count in splits.items() for item in plan_split(BRIEF, split, count, 1)]
    videos = [hashlib.sha256(path.read_bytes()).digest() for path in tmp_path.glob("videos/*/*.mp4")]
    assert len(set(seeds)) == len(seeds) == 18
    assert len(set(videos)) == len(videos) == 18


def test_another_seed_is_another_world_and_the_same_seed_the_same(tmp_path):
    assert plan_split(BRIEF, "train", 6, 1) == plan_split(BRIEF, "train", 6, 1)
    seeds = [{item.script.seed for item in plan_split(BRIEF, "train", 50, seed)} for seed in (1, 2)]
    assert not seeds[0] & seeds[1]


def test_ids_are_unique_and_tell_the_family_but_not_the_answer(world):
    assert len({row["id"] for row in world.rows}) == len(world.rows)
    for row in world.rows:
        assert row["id"].endswith(f"-{row['source'].rpartition('/')[2]}")
    # Answers that took turns in the order of the ids could be told from them.
    for family in ("what", "how_many"):
        rows = [row for item in plan_split(TINY, "train", 960, 1, (family,)) for row in item.rows]
        choices = len({row["answer"] for row in rows})
        by_place = [Counter(row["answer"] for row in rows[place::choices]) for place in range(choices)]
        told = sum(counts.most_common(1)[0][1] for counts in by_place) / len(rows)
        assert told < 1 / choices + 0.1


def test_finished_videos_are_kept_and_missing_ones_made(tmp_path):
    make_world(tmp_path, BRIEF, {"train": 3}, seed=1, processes=1)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("videos/*/*.mp4")}
    gone = tmp_path / "videos/train/00001.mp4"
    content = gone.read_bytes()
    gone.unlink()
    assert count_missing(tmp_path, BRIEF, {"train": 3}, seed=1) == 1
    told = []
    make_world(tmp_path, BRIEF, {"train": 3}, seed=1, processes=1, progress=lambda *numbers: told.append(numbers))
    assert told == [(3, 3)]
    assert gone.read_bytes() == content
    assert all(path.stat().st_mtime_ns == when for path, when in before.items() if path != gone)


def test_several_processes_make_the_same_world(tmp_path):
    for folder, processes in (("one", 1), ("two", 2)):
        make_world(tmp_path / folder, BRIEF, {"train": 5}, seed=1, processes=processes)
    for name in files_of(tmp_path / "one"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize(
    ("splits", "seed", "families"),
    [({"train": 2}, 1, FAMILIES), ({"train": 1}, 2, FAMILIES), ({"train": 1}, 1, ("when",))],
)
def test_a_folder_of_another_world_is_refused_in_one_line(tmp_path, splits, seed, families):
    make_world(tmp_path, BRIEF, {"train": 1}, seed=1, processes=1)
    with pytest.raises(ConfigError, match=r"holds another world \(.*\); choose another folder") as caught:
        make_world(tmp_path, BRIEF, splits, seed, families)
    assert "\n" not in str(caught.value)
    assert len(list(tmp_path.glob("videos/*/*.mp4"))) == 1


def test_a_world_that_is_not_json_is_refused(tmp_path):
    (tmp_path / "world.json").write_text("")
    with pytest.raises(ConfigError, match="is not JSON"):
        make_world(tmp_path, BRIEF, {"train": 1}, seed=1)


def test_a_run_that_was_killed_leaves_no_half_video_and_goes_on(tmp_path):
    command = [sys.executable, "-m", "longvt_plugins.cli", "synth", "--out", str(tmp_path), "--seed", "3"]
    command += ["--split", "train=10", "--processes", "1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    # Killed while it writes: a half file is there, and some are finished.
    while not (list(tmp_path.glob("videos/train/.*.mp4")) and list(tmp_path.glob("videos/train/[0-9]*.mp4"))):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    finished = {path: path.read_bytes() for path in tmp_path.glob("videos/train/[0-9]*.mp4")}
    items = plan_split(TINY, "train", 10, seed=3)
    assert 0 < len(finished) < 10
    for path in finished:
        with Video.open(path) as video:
            assert video.duration == pytest.approx(items[int(path.stem)].script.duration)
    subprocess.run(command, check=True, capture_output=True)
    assert all(path.read_bytes() == content for path, content in finished.items())
    assert [path.name for path in sorted((tmp_path / "videos/train").iterdir())] == [f"{n:05d}.mp4" for n in range(10)]
    assert len(read_rows(tmp_path / "train.parquet")) == 10


def test_the_estimate_grows_with_the_videos():
    (_, few), (_, many) = estimate(TINY, 10), estimate(TINY, 100)
    assert many == pytest.approx(10 * few)
    assert 10e6 < many < 200e6
