"""``longvt video``, run as a process on real files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

import longvt_plugins.synthetic
from longvt_plugins.testing import read_stamp, write_stamped_video

AGENT = Path(longvt_plugins.synthetic.__file__).parent / "checkpoints" / "agent"


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("film") / "a film.mp4"
    write_stamped_video(path, 90, size=(160, 90), gop=24, sound=True)
    return path


@pytest.fixture
def cache(tmp_path) -> dict[str, str]:
    """A cache of the test's own, as the environment of a command."""
    return {"LONGVT_CACHE": str(tmp_path / "cache")}


# longvt video probe


def test_probe_tells_what_a_file_holds_and_costs(run, film):
    lines = run("longvt", "video", "probe", film).stdout.splitlines()
    size = film.stat().st_size
    assert lines == [
        str(film),
        "  length     90.00 s (0:01:30), 360 frames",
        "  picture    160x90, h264 in mp4",
        "  rate       4.00 frames a second",
        "  groups     15, of 24 frames (24 to 24)",
        f"  size       {size / 1000:.1f} kB, {size * 8 / 90 / 1000:.0f} kbit/s",
        "  beside     sound",
        "  damage     none in its packets; --decode looks inside them",
        "  tokens     for qwen2_5_vl, labels included",
        # 168x84: 18 tokens and 2 marks a frame, and of the 90 labels 10 have two characters and 80 three.
        f"             overview: {90 * 20 + 10 * 2 + 80 * 3:,} (90 frames of 168x84)",
        f"             crop of 60 s: {60 * 20 + 10 * 2 + 50 * 3:,} (60 frames of 168x84)",
        f"             crop of 90 s: {90 * 20 + 10 * 2 + 80 * 3:,} (90 frames of 168x84)",
    ]


def test_probe_gives_json(run, film):
    told = json.loads(run("longvt", "video", "probe", film, "--json", "--decode").stdout)
    assert (told["path"], told["duration"], told["codec"], told["frames"]) == (str(film), 90, "h264", 360)
    assert (told["key_frames"], told["gop_max"], told["damage"]) == (15, 24, [])
    assert told["tokens"]["overview"] == {"seconds": 90, "frames": 90, "width": 168, "height": 84, "tokens": 2060}


def test_probe_counts_tokens_for_other_models(run, film):
    def overview(model):
        return json.loads(run("longvt", "video", "probe", film, "--json", "--model", model).stdout)["tokens"][
            "overview"
        ]

    # Qwen3-VL enlarges frames to 256x256 pixels or more, whatever their shape.
    assert overview("qwen3_vl")["tokens"] == 90 * (12 * 6 + 2) + 260
    assert overview(str(AGENT))["frames"] == 90


def test_probe_tells_of_damage(run, tmp_path):
    path = tmp_path / "cut.mp4"
    write_stamped_video(path, 40, container_options={"movflags": "faststart"}, grain=4)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    told = run("longvt", "video", "probe", path).stdout
    assert "\n  damage     truncated: nothing after " in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["probe", "missing.mp4"], "longvt: no video file '{folder}/missing.mp4': No such file or directory\n"),
        (["probe", "notes.txt"], "longvt: {folder}/notes.txt: not a video file"),
        (
            ["probe", "notes.txt", "--model", "qwen9"],
            "longvt: no model 'qwen9': it must be qwen2_5_vl, qwen3_vl or the",
        ),
        (["sheet", "notes.txt", "--out", "a.jpg"], "longvt: {folder}/notes.txt: not a video file"),
        (["sheet", "notes.txt", "--out", "a.gif"], "longvt: --out must end in .jpg, .jpeg, .png, not 'a.gif'\n"),
        (["cache", "--dir", "."], "longvt: . is no folder of cached videos: it has no CACHEDIR.TAG\n"),
        (["cache", "--dir", ".", "--clear"], "longvt: . is no folder of cached videos: it has no CACHEDIR.TAG\n"),
    ],
)
def test_a_fault_is_one_line_and_exit_code_2(run, tmp_path, monkeypatch, cache, arguments, told):
    (tmp_path / "notes.txt").write_text("no video, but some text that is long enough to be looked at\n" * 20)
    monkeypatch.chdir(tmp_path)
    done = run("longvt", "video", *arguments, env=cache, code=2)
    assert done.stderr.startswith(told.format(folder=tmp_path))
    assert done.stderr.count("\n") == 1
    assert not done.stdout


# longvt video sheet


def test_sheet_writes_a_picture_of_frames(run, film, tmp_path, cache):
    out = tmp_path / "new" / "sheet.jpg"
    options = ["--start", "10", "--end", "14", "--frames", "4", "--columns", "2"]
    assert run("longvt", "video", "sheet", film, "--out", out, *options, env=cache).stdout == f"{out}\n"
    sheet = Image.open(out)
    assert (sheet.format, sheet.size) == ("JPEG", (2 * 164, 2 * 112))
    places = [(0, 0), (164, 0), (0, 112), (164, 112)]
    assert [read_stamp(sheet.crop((x, y, x + 160, y + 90))) for x, y in places] == [40, 44, 48, 52]


def test_sheet_shows_24_frames_of_the_whole_video_by_default(run, film, tmp_path, cache):
    out = tmp_path / "sheet.png"
    run("longvt", "video", "sheet", film, "--out", out, env=cache)
    with Image.open(out) as sheet:
        columns, rows = sheet.width // 164, sheet.height // 112
        assert columns * rows >= 24 > columns * (rows - 1)
        assert read_stamp(sheet.crop((0, 0, 160, 90))) == 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--start", "95"], "longvt: no part of the video, which lasts 90 s: from 95 to 90 s\n"),
        (["--start", "9", "--end", "9"], "longvt: no part of the video, which lasts 90 s: from 9 to 9 s\n"),
        (["--start", "nan"], "longvt: no part of the video, which lasts 90 s: from nan to 90 s\n"),
        (["--frames", "0"], "longvt: a sheet has 1 to 256 frames, not 0\n"),
        (["--reader", "vhs"], "longvt: No video reader named 'vhs'. Installed: decord (built-in), pyav (built-in), "),
    ],
)
def test_sheet_refuses_what_it_cannot_draw(run, film, tmp_path, cache, options, told):
    done = run("longvt", "video", "sheet", film, "--out", tmp_path / "a.jpg", *options, env=cache, code=2)
    assert done.stderr.startswith(told)
    assert not (tmp_path / "a.jpg").exists()


# longvt video cache


def test_cache_tells_what_it_holds_and_is_cleared(run, film, tmp_path, cache):
    def stats():
        return json.loads(run("longvt", "video", "cache", "--json", env=cache).stdout)

    assert stats()["bytes"] == 0
    for _ in range(2):
        run("longvt", "video", "sheet", film, "--out", tmp_path / "a.jpg", "--frames", "6", env=cache)
    told = stats()
    assert (told["videos"], told["misses"], told["disk_hits"]) == (1, 6, 6)
    lines = run("longvt", "video", "cache", env=cache).stdout.splitlines()
    assert lines[0] == cache["LONGVT_CACHE"]
    assert lines[1].endswith(" in 1 pack, of 1 video")
    assert lines[3] == "  given    12 frames: 0 from memory, 6 from disk, 6 decoded (50% spared)"

    cleared = run("longvt", "video", "cache", "--clear", env=cache).stdout
    assert cleared.startswith(f"{cache['LONGVT_CACHE']}: ")
    assert cleared.endswith(" freed\n")
    assert stats()["bytes"] == 0


def test_cache_of_another_folder_is_named(run, tmp_path):
    told = json.loads(run("longvt", "video", "cache", "--dir", tmp_path / "other", "--json").stdout)
    assert (told["folder"], told["videos"]) == (str(tmp_path / "other"), 0)
