"""The ``datapipe`` command on real files: what it keeps, drops and quarantines."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from longvt_plugins import VideoConfig


def read(path: Path) -> list:
    """The lines of a file in the order of their videos, without how long it took to make them."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        if isinstance(line, dict):
            line.pop("provenance", None)
            if isinstance(line.get("record"), dict):
                line["record"].pop("provenance", None)
    return sorted(lines, key=lambda line: line.get("path", "") if isinstance(line, dict) else "")


@pytest.fixture
def videos(make_video, tmp_path) -> Path:
    """Two good videos of one name, a short one, an upper-case suffix, a broken file and what is no video at all."""
    root = tmp_path / "videos"
    make_video(root / "b" / "talk.mp4", seconds=6, size=(48, 64))
    make_video(root / "a" / "talk.mp4", seconds=6)
    make_video(root / "short.mp4", seconds=2)
    make_video(root / "LOUD.mp4", seconds=5).rename(root / "LOUD.MP4")
    (root / "broken.mp4").write_bytes(b"not a video, whatever its name says")
    (root / "notes.txt").write_text("not a video")
    (root / "folder.mp4").mkdir()
    return root


def test_steps_lists_what_is_installed_with_its_fields(run, example_plugin):
    listing = run("datapipe", "steps", path=example_plugin).stdout
    assert "probe_video 1 (datapipe, longvt-plugins " in listing
    assert "  min_seconds: float = 0.0\n" in listing
    assert "drop_portrait 1 (zoom, longvt-zoom 0.1.0): Drops videos that are higher than wide.\n" in listing


def test_a_folder_is_probed_and_nothing_is_lost(run, videos, tmp_path):
    out = tmp_path / "out"
    done = run("datapipe", "step", "probe_video", "--input", videos, "--output", out, "--set", "min_seconds=3")
    assert done.stdout == "probe_video: 3 kept, 1 dropped, 1 failed of 5\n"
    kept = read(out / "kept.jsonl")
    names = [str(Path(record["path"]).relative_to(videos)) for record in kept]
    assert names == ["LOUD.MP4", "a/talk.mp4", "b/talk.mp4"]
    assert [(record["duration"], record["width"], record["height"]) for record in kept] == [
        *((5.0, 64, 48), (6.0, 64, 48), (6.0, 48, 64))
    ]
    assert len({record["id"] for record in kept}) == 3
    assert [record["size_bytes"] for record in kept] == [(videos / name).stat().st_size for name in names]
    (dropped,) = read(out / "dropped.jsonl")
    assert (dropped["record"]["place"], dropped["reason"]) == ("short.mp4", "shorter than 3 s")
    (failed,) = read(out / "failed.jsonl")
    assert failed["record"]["place"] == "broken.mp4"
    assert failed["error"].startswith("NotAVideoError: ")
    assert "broken.mp4" in failed["error"]


def test_what_was_run_is_written_beside_the_results(run, videos, tmp_path):
    run("datapipe", "step", "probe_video", "--input", videos, "--output", tmp_path / "o", "--set", "min_seconds=3")
    written = json.loads((tmp_path / "o" / "step.json").read_text())
    assert written["config"].pop("video") == asdict(VideoConfig())
    assert written == {
        "step": "probe_video",
        "version": 1,
        "config": {"min_seconds": 3.0},
        "input": str(videos),
    }


def test_how_videos_are_opened_is_a_nested_setting(run, videos, tmp_path):
    done = run(
        *("datapipe", "step", "probe_video", "--input", videos, "--output", tmp_path / "isolated"),
        *("--set", "video={isolate: true, decode_timeout: 60.0}"),
    )
    plain = run("datapipe", "step", "probe_video", "--input", videos, "--output", tmp_path / "plain")
    assert done.stdout == plain.stdout
    for name in ("kept.jsonl", "failed.jsonl"):
        assert read(tmp_path / "isolated" / name) == read(tmp_path / "plain" / name)
    refused = run(
        *("datapipe", "step", "probe_video", "--input", videos, "--output", tmp_path / "o"),
        *("--set", "video={isolated: true}"),
        code=2,
    )
    assert "step 'probe_video': video.isolated: there is no such field" in refused.stderr


def test_ids_stay_when_the_collection_is_moved(run, videos, tmp_path):
    run("datapipe", "step", "probe_video", "--input", videos, "--output", tmp_path / "one")
    moved = videos.rename(tmp_path / "elsewhere")
    run("datapipe", "step", "probe_video", "--input", moved, "--output", tmp_path / "two")
    ids = [[record["id"] for record in read(tmp_path / run / "kept.jsonl")] for run in ("one", "two")]
    assert ids[0] == ids[1]


def test_a_list_of_paths_gives_the_same_records_as_the_folder(run, videos, tmp_path):
    listing = videos / "list.txt"
    listing.write_text("a/talk.mp4\n\nb/talk.mp4\n")
    run("datapipe", "step", "probe_video", "--input", listing, "--output", tmp_path / "one")
    run("datapipe", "step", "probe_video", "--input", videos, "--output", tmp_path / "two")
    all_records = read(tmp_path / "two" / "kept.jsonl")
    assert read(tmp_path / "one" / "kept.jsonl") == [record for record in all_records if "talk" in record["path"]]


def test_kept_records_are_the_input_of_the_next_step(run, videos, tmp_path, example_plugin):
    run("datapipe", "step", "probe_video", "--input", videos, "--output", tmp_path / "one")
    kept = tmp_path / "one" / "kept.jsonl"
    done = run("datapipe", "step", "drop_portrait", "--input", kept, "--output", tmp_path / "two", path=example_plugin)
    assert done.stdout == "drop_portrait: 3 kept, 1 dropped, 0 failed of 4\n"
    portrait, *others = [record for record in read(kept) if record["height"] > record["width"]]
    assert others == []
    assert read(tmp_path / "two" / "dropped.jsonl") == [{"record": portrait, "reason": "portrait"}]
    assert read(tmp_path / "two" / "kept.jsonl") == [record for record in read(kept) if record != portrait]


def test_jsonl_with_relative_paths_lies_beside_its_videos(run, videos, tmp_path):
    (videos / "list.jsonl").write_text('{"path": "a/talk.mp4"}\n{"path": "b/talk.mp4", "language": "en"}\n')
    run("datapipe", "step", "probe_video", "--input", videos / "list.jsonl", "--output", tmp_path / "out")
    assert [record["path"] for record in read(tmp_path / "out" / "kept.jsonl")] == [
        *(str(videos / "a/talk.mp4"), str(videos / "b/talk.mp4"))
    ]


def test_a_record_that_the_step_cannot_take_is_quarantined(run, videos, tmp_path):
    (videos / "list.jsonl").write_text('{"file": "a/talk.mp4"}\n{"path": "a/talk.mp4"}\n[1]\n')
    done = run("datapipe", "step", "probe_video", "--input", videos / "list.jsonl", "--output", tmp_path / "out")
    assert done.stdout == "probe_video: 1 kept, 0 dropped, 2 failed of 3\n"
    failed = read(tmp_path / "out" / "failed.jsonl")
    assert {"file": "a/talk.mp4"} in [line["record"] for line in failed]
    assert [1] in [line["record"] for line in failed]
    assert all(line["error"].startswith("ConfigError: record for step 'probe_video': ") for line in failed)


def test_a_missing_file_fails_and_the_rest_goes_on(run, videos, tmp_path):
    (videos / "list.txt").write_text("gone.mp4\na/talk.mp4\n")
    done = run("datapipe", "step", "probe_video", "--input", videos / "list.txt", "--output", tmp_path / "out")
    assert done.stdout == "probe_video: 1 kept, 0 dropped, 1 failed of 2\n"
    assert read(tmp_path / "out" / "failed.jsonl")[0]["error"].startswith("VideoNotFoundError: ")


def test_the_exit_code_is_1_when_everything_failed(run, tmp_path):
    (tmp_path / "list.txt").write_text("gone.mp4\nlost.mp4\n")
    done = run("datapipe", "step", "probe_video", "--input", tmp_path / "list.txt", "--output", tmp_path / "o", code=1)
    assert done.stdout == "probe_video: 0 kept, 0 dropped, 2 failed of 2\n"


def test_what_an_earlier_run_did_is_not_done_again(run, videos, tmp_path):
    for _ in range(2):
        done = run("datapipe", "step", "probe_video", "--input", videos, "--output", tmp_path / "out")
    assert "5 done before" in done.stderr
    assert len(read(tmp_path / "out" / "kept.jsonl")) == 4


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"name": "probe_vdeo"}, "No step named 'probe_vdeo'. Did you mean 'probe_video'?"),
        ({"--set": "min_second=3"}, "step 'probe_video': min_second: there is no such field"),
        ({"--set": "min_seconds=soon"}, 'min_seconds: input should be a valid number, not "soon"'),
        ({"--set": "min_seconds"}, "--set takes KEY=VALUE, not 'min_seconds'"),
        ({"--set": "min_seconds=[1"}, "--set min_seconds: the value is not YAML"),
        ({"--input": "missing"}, "input missing cannot be read: No such file or directory"),
        ({"--input": "empty"}, "does not hold a video (.avi, "),
        ({"--input": "bad.jsonl"}, "bad.jsonl, line 2 is not JSON"),
        ({"--input": "blank.txt"}, "blank.txt does not hold a record"),
        ({"--input": "binary.txt"}, "binary.txt cannot be read: it is not UTF-8 text"),
        ({"--output": "bad.jsonl"}, "output bad.jsonl cannot be written: File exists"),
        (
            {"--input": "out/kept.jsonl", "--output": "out"},
            "would be overwritten by the results: give another --output",
        ),
    ],
)
def test_bad_input_is_one_clear_line(run, tmp_path, monkeypatch, change, complaint):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "good.jsonl").write_text('"a.mp4"\n')
    (tmp_path / "bad.jsonl").write_text('"a.mp4"\n{"path": \n')
    (tmp_path / "out" / "kept.jsonl").write_text('"a.mp4"\n')
    (tmp_path / "blank.txt").write_text("\n \n")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    options = {"name": "probe_video", "--input": "good.jsonl", "--output": "results"} | change
    name = options.pop("name")
    flags = [text for pair in options.items() for text in pair]
    done = run("datapipe", "step", name, *flags, code=2)
    assert done.stderr.startswith("datapipe: ")
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1
    assert (tmp_path / "out" / "kept.jsonl").read_text() == '"a.mp4"\n'


def test_without_a_command_the_usage_is_shown(run):
    assert "usage: datapipe" in run("datapipe", code=2).stderr
