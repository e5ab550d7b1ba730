"""search_captions: captions with the words of a query, beside the video or in one file for many."""

from __future__ import annotations

import json

import pytest

from longvt_plugins import ToolContext, ToolError
from longvt_plugins.errors import ConfigError
from longvt_plugins.testing import plugin_manager

CAPTIONS = [
    {"start": 9.6, "end": 20.0, "caption": "A dog barks at the gate.", "model": "m", "cost": 0.1},
    {"start": 0.0, "end": 9.6, "caption": "A red car leaves\nthe yard through the gate."},
]


@pytest.fixture
def film(tmp_path):
    """Nothing of the video itself is read."""
    path = tmp_path / "a" / "film.mp4"
    path.parent.mkdir()
    path.write_bytes(b"")
    return path


def write(path, records):
    path.write_text("\n".join(json.dumps(record) for record in records) + "\n\n")


def search(video, query, specification="search_captions"):
    (tool,) = plugin_manager().select_tools([specification])
    with ToolContext({"video_1.mp4": video}) as ctx:
        (block,) = tool(ctx, {"video_path": "video_1.mp4", "query": query})
    return block["text"].splitlines()


def test_captions_beside_the_video_are_searched(film):
    write(film.with_name("film.captions.jsonl"), CAPTIONS)

    assert search(film, "red gate") == [
        "2 of 2 captions, best first:",
        "0s to 9.6s: A red car leaves the yard through the gate.",
        "9.6s to 20s: A dog barks at the gate.",
    ]
    assert search(film, "cat") == ["none of the 2 captions has a word of the query; try other words"]


def test_one_file_may_hold_the_captions_of_many_videos(film, tmp_path):
    records = [
        {**CAPTIONS[0], "video": "film.mp4"},
        {**CAPTIONS[1], "video": str(film)},
        {**CAPTIONS[1], "video": "b/film.mp4", "caption": "A gate in another film of this name."},
        {**CAPTIONS[1], "video": "lm.mp4", "caption": "A gate elsewhere."},
    ]
    write(tmp_path / "all.jsonl", records)
    assert search(film, "gate", f"search_captions:captions={tmp_path / 'all.jsonl'}")[0] == (
        "2 of 2 captions, best first:"
    )


def test_what_the_pipeline_keeps_is_such_a_file(film, tmp_path):
    from dataclasses import asdict

    from datapipe.records.stages import Caption

    own = Caption(
        id="c", video="film-0123", path=str(film), duration=20.0, start=0.0, end=9.6, text="A red car.", subtitles="Hm."
    )
    write(tmp_path / "kept.jsonl", [asdict(own), {**asdict(own), "path": "/other/film.mp4", "text": "A red dog."}])

    assert search(film, "red", f"search_captions:captions={tmp_path / 'kept.jsonl'}") == [
        "1 of 1 captions, best first:",
        "0s to 9.6s: A red car.",
    ]


def test_a_video_without_captions_cannot_be_searched(film, tmp_path):
    with pytest.raises(ToolError, match=r"video_1\.mp4 has no captions"):
        search(film, "gate")
    write(tmp_path / "all.jsonl", [{**CAPTIONS[0], "video": "other.mp4"}])
    with pytest.raises(ToolError, match=r"video_1\.mp4 has no captions"):
        search(film, "gate", f"search_captions:captions={tmp_path / 'all.jsonl'}")
    with pytest.raises(ToolError, match="query is empty"):
        search(film, "")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 1: the line is not JSON"),
        ("[1]", "line 1: the line must be a JSON object, not list"),
        ('{"start": 0, "end": 1}', "line 1: 'caption' must be a text, not None"),
        ('{"start": "0", "end": 1, "caption": "x"}', "line 1: 'start' must be seconds, not '0'"),
        ('{"start": NaN, "end": 1, "caption": "x"}', "line 1: 'start' must be seconds, not nan"),
        ('{"start": 5, "end": 1, "caption": "x"}', "line 1: a caption from 5 s to 1 s is of no part of a video"),
    ],
)
def test_a_faulty_captions_file_is_the_users_mistake(film, line, said):
    film.with_name("film.captions.jsonl").write_text(line)
    with pytest.raises(ConfigError) as told:
        search(film, "gate")
    assert said in str(told.value)


def test_a_missing_captions_file_is_the_users_mistake(film):
    with pytest.raises(ConfigError, match=r"option captions: there is no file /nowhere/all\.jsonl"):
        search(film, "gate", "search_captions:captions=/nowhere/all.jsonl")
