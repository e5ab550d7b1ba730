"""search_subtitles: lines with the words of a query, from files beside a video and tracks inside it."""

from __future__ import annotations

import shutil

import pytest

from longvt_plugins import ToolContext, ToolError
from longvt_plugins.budget import Budget
from longvt_plugins.errors import VideoError
from longvt_plugins.testing import call_tool, plugin_manager
from longvt_plugins.tools.search_subtitles import search_subtitles

SRT = """1
00:00:01,000 --> 00:00:03,500
<i>Nobody</i> knows
the code.

2
00:00:05,000 --> 00:00:06,200
Welcome back!

3
00:00:08,000 --> 00:00:09,000
The code is 4711, the code of the door.
"""

VTT = """WEBVTT

00:01.000 --> 00:03.500 align:start
<v Ann>Nobody knows the code.</v>

00:12.000 --> 00:13.000
Never mind.
"""


@pytest.fixture
def film(stamped, tmp_path):
    return shutil.copy(stamped, tmp_path / "film.mp4")


def said(blocks):
    (block,) = blocks
    return block["text"].splitlines()


def search(video, query, specification="search_subtitles", **context):
    (tool,) = plugin_manager().select_tools([specification])
    with ToolContext({"video_1.mp4": video}, **context) as ctx:
        return said(tool(ctx, {"video_path": "video_1.mp4", "query": query}))


def test_the_best_line_comes_first_with_its_seconds(film, tmp_path):
    (tmp_path / "film.srt").write_text(SRT)

    assert search(film, "the door CODE?") == [
        "2 of 3 lines of subtitles, best first:",
        "8s to 9s: The code is 4711, the code of the door.",
        "1s to 3.5s: Nobody knows the code.",
    ]


def test_no_word_in_common_finds_nothing_and_says_so(film, tmp_path):
    (tmp_path / "film.srt").write_text(SRT)
    assert search(film, "zebra") == ["none of the 3 lines of subtitles has a word of the query; try other words"]
    assert search(film, "?!") == ["none of the 3 lines of subtitles has a word of the query; try other words"]


def test_web_subtitles_are_read_too(film, tmp_path):
    (tmp_path / "film.vtt").write_text(VTT)
    assert search(film, "mind")[1:] == ["12s to 13s: Never mind."]
    assert search(film, "nobody")[1:] == ["1s to 3.5s: Nobody knows the code."]


@pytest.mark.parametrize("codec", ["srt", "ass", "mov_text"])
def test_a_track_inside_the_video_is_searched(film, tmp_path, codec):
    target = tmp_path / ("inside.mp4" if codec == "mov_text" else "inside.mkv")
    with_track(
        film, target, codec, [(1.0, 2.5, "{\\i1}Nobody{\\i0} knows\\Nthe code."), (8.0, 1.0, "The code is 4711.")]
    )

    assert search(target, "4711 code") == [
        "2 of 2 lines of subtitles, best first:",
        "8s to 9s: The code is 4711.",
        "1s to 3.5s: Nobody knows the code.",
    ]


def test_a_file_beside_the_video_comes_before_a_track_inside(film, tmp_path):
    target = tmp_path / "inside.mkv"
    with_track(film, target, "srt", [(1.0, 1.0, "from inside")])
    (tmp_path / "inside.srt").write_text(SRT.replace("Welcome back!", "from beside"))
    assert search(target, "from") == ["1 of 3 lines of subtitles, best first:", "5s to 6.2s: from beside"]


def test_a_language_can_be_asked_for(film, tmp_path):
    (tmp_path / "film.en.srt").write_text(SRT)
    (tmp_path / "film.de.srt").write_text(SRT.replace("Welcome back!", "Willkommen!"))

    assert search(film, "willkommen", "search_subtitles:language=de")[1:] == ["5s to 6.2s: Willkommen!"]
    assert search(film, "welcome", "search_subtitles:language=en")[1:] == ["5s to 6.2s: Welcome back!"]
    with pytest.raises(ToolError, match=r"video_1\.mp4 has no subtitles in the language 'fr'"):
        search(film, "welcome", "search_subtitles:language=fr")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_old_encodings_are_read(film, tmp_path, encoding):
    (tmp_path / "film.srt").write_text(SRT.replace("Welcome back!", "Déjà vu"), encoding=encoding)
    assert search(film, "déjà")[1:] == ["5s to 6.2s: Déjà vu"]


def test_scripts_without_spaces_are_searched_by_pairs_of_characters(film, tmp_path):
    (tmp_path / "film.srt").write_text(SRT.replace("Welcome back!", "赤い車が庭を出ます。"), encoding="utf-8")
    assert search(film, "赤い車")[1:] == ["5s to 6.2s: 赤い車が庭を出ます。"]


def test_a_changed_file_is_read_afresh(film, tmp_path):
    (tmp_path / "film.srt").write_text(SRT)
    search(film, "code")
    (tmp_path / "film.srt").write_text(SRT.replace("Welcome back!", "A new line"))
    assert search(film, "new")[1:] == ["5s to 6.2s: A new line"]


def test_lines_are_left_out_where_tokens_are_short(film, tmp_path):
    line = "\n\n".join(f"{n}\n00:00:{n:02},000 --> 00:00:{n:02},900\nword {n}" for n in range(1, 9))
    (tmp_path / "film.srt").write_text(line)
    budget = Budget(max_calls=1, max_tokens=128 + 130, count_tokens=lambda reply: len(reply[0]["text"]))

    assert len(search(film, "word", budget=budget)) < 9
    assert len(search(film, "word", "search_subtitles:lines=3")) == 4
    tight = Budget(max_calls=1, max_tokens=128 + 128, count_tokens=lambda reply: 1000)
    with pytest.raises(ToolError, match="no room for the reply: answer now"):
        search(film, "word", budget=tight)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"query": ""}, "query is empty: give the words to search for"),
        ({"query": " \n"}, "query is empty"),
        ({"query": "a" * 501}, "query has 501 characters, and at most 500 are searched for"),
        ({"query": 5}, "'query': input should be a valid string"),
        ({"query": "x", "video_path": "/etc/passwd"}, "there is no video named '/etc/passwd'"),
        ({"query": "x"}, "video_1.mp4 has no subtitles"),
        ({}, "'query' is missing"),
        ({"query": "x", "lines": 3}, "unknown argument 'lines'"),
    ],
)
def test_a_mistake_of_the_model_is_told_to_it(stamped, arguments, message):
    with pytest.raises(ToolError) as told:
        call_tool(search_subtitles, stamped, **arguments)
    assert message in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("content", [b"", b"\x00\xff" * 1000, b"no subtitles at all"])
def test_a_broken_file_is_not_the_models_mistake(film, tmp_path, content):
    (tmp_path / "film.srt").write_bytes(content)
    with pytest.raises(VideoError, match=r"film\.srt: holds no line of subtitles"):
        search(film, "code")


def test_a_folder_or_a_pipe_beside_the_video_is_not_read(film, tmp_path):
    import os

    (tmp_path / "film.srt").mkdir()
    os.mkfifo(tmp_path / "film.vtt")
    with pytest.raises(ToolError, match="has no subtitles"):
        search(film, "code")


def with_track(video, target, codec, lines):
    """Copies a video with a track of subtitles beside its pictures, written by FFmpeg's own muxers."""
    import subprocess

    text = "\n\n".join(
        f"{number}\n{clock(start)} --> {clock(start + length)}\n"
        + said.replace("\\N", "\n").replace("{\\i1}", "<i>").replace("{\\i0}", "</i>")
        for number, (start, length, said) in enumerate(lines, start=1)
    )
    source = target.with_name("source.srt.txt")
    source.write_text(text + "\n")
    inputs = ["-i", str(video), "-f", "srt", "-i", str(source)]
    subprocess.run(["ffmpeg", "-v", "error", "-y", *inputs, "-c", "copy", "-c:s", codec, str(target)], check=True)


def clock(seconds):
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    return f"00:00:{whole:02},{milliseconds:03}"
