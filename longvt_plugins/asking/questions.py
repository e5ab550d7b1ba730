"""What is asked: one video, every video of a folder, or a JSONL file with a question a line.

::

    {"video": "films/a.mp4", "question": "Who opens the door?"}
    {"id": "q2", "video": ["a.mp4", "b.mp4"], "question": "In which film does it rain?"}
    {"id": "q3", "videos": {"video_1.mp4": "a.mp4"}, "question": "...", "answer": "red", "options": ["red", "blue"]}

Relative files lie beside the JSONL. A line may also be a row of training data; its answer is kept for the page and
never shown to the model. Only files are opened: an address is refused with a hint.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from longvt_plugins.errors import ConfigError, VideoNotFoundError
from longvt_plugins.rows import Row, parse_object, parse_row
from longvt_plugins.video.container import VIDEO_SUFFIXES

MAX_QUESTIONS = 100_000

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")

Videos = str | Path | Sequence[str | Path]
"""One file, or several."""


def check_video(path: str | Path) -> Path:
    """The file, made absolute.

    Args:
        path: As it was typed.

    Raises:
        ConfigError: An address, or no regular file.
    """
    from longvt_plugins.video.video import check_regular_file

    text = str(path)
    if not isinstance(path, Path):
        check_no_address(text)
    try:
        check_regular_file(Path(text))
        return Path(text).absolute()
    except VideoNotFoundError as error:
        raise ConfigError(str(error)) from None


def check_no_address(text: str) -> None:
    """Refuses what is not a path.

    Raises:
        ConfigError: An address, told with what to do instead.
    """
    if text.lower().startswith("file:"):
        raise ConfigError(f"{text[:200]!r} is an address: give the path itself, without 'file://'")
    if _ADDRESS.match(text):
        raise ConfigError(
            f"{text[:200]!r} is an address, and only files are opened: download it first, "
            "with `yt-dlp -o film.mp4 ADDRESS` or `curl -L -o film.mp4 ADDRESS`"
        )


def question_row(videos: Videos, question: str, *, name: str = "question") -> Row:
    """A row for a question that nobody knows the answer to.

    Args:
        videos: Files; the model reads of them as ``video_1.mp4``, ``video_2.mp4``, ...
        question: What is asked.
        name: Its id.

    Raises:
        ConfigError: No question, or not a file.
    """
    files = [videos] if isinstance(videos, str | Path) else list(videos)
    if not files:
        raise ConfigError("a question needs at least one video")
    if not question.strip():
        raise ConfigError("the question is empty")
    named = {f"video_{number}.mp4": str(check_video(file)) for number, file in enumerate(files, start=1)}
    return {
        "id": name,
        "videos": named,
        "kind": "open",
        "question": question,
        "answer": "",
        "video_segment": None,
        "options": None,
        "source": "ask",
    }


def folder_rows(folder: Path, question: str) -> list[Row]:
    """The question, asked about each video of a folder and the folders in it, in order of their names.

    Args:
        folder: Where the videos are.
        question: What is asked of each.

    Raises:
        ConfigError: No videos, or no question.
    """
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in VIDEO_SUFFIXES and file.is_file())
    if not files:
        raise ConfigError(f"no videos in {folder}: files named {', '.join(VIDEO_SUFFIXES)} are looked for")
    return [question_row(file, question, name=str(file.relative_to(folder))) for file in files]


def read_questions(path: Path, question: str | None = None) -> list[Row]:
    """The questions of a JSONL file.

    Args:
        path: The file.
        question: For lines that have none of their own.

    Raises:
        ConfigError: What is wrong in which line.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    rows: dict[str, Row] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        row = _row(parse_object(line, where), where, path.parent.absolute(), question)
        if row["id"] in rows:
            raise ConfigError(f"{where}: id {row['id']!r} is that of an earlier line; give each question its own")
        rows[row["id"]] = row
        if len(rows) > MAX_QUESTIONS:
            raise ConfigError(f"{path} has more than {MAX_QUESTIONS} questions: split it")
    if not rows:
        raise ConfigError(f"{path} holds no questions")
    return list(rows.values())


def _row(values: Mapping[str, Any], where: str, root: Path, question: str | None) -> Row:
    asked = values.get("question") or question
    if not isinstance(asked, str) or not asked.strip():
        raise ConfigError(f"{where}: no question; write one in the line, or give one for all on the command line")
    files = _files(values, where)
    for file in files.values():
        try:
            check_no_address(file)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None
    named = {name: str(root / file) for name, file in files.items()}
    key = json.dumps([named, asked])
    given = {
        **values,
        "id": values.get("id") or hashlib.sha256(key.encode()).hexdigest()[:16],
        "videos": named,
        "question": asked,
        # A row needs an answer; here it may well be what is looked for.
        "answer": values.get("answer") or "?",
        "source": values.get("source") or "ask",
    }
    row = parse_row(given, where=where)
    return row if values.get("answer") else {**row, "answer": ""}


def _files(values: Mapping[str, Any], where: str) -> dict[str, str]:
    videos = values.get("videos", values.get("video"))
    if isinstance(videos, str):
        videos = [videos]
    if isinstance(videos, list):
        videos = {f"video_{number}.mp4": file for number, file in enumerate(videos, start=1)}
    if not isinstance(videos, dict) or not videos or not all(isinstance(file, str) for file in videos.values()):
        raise ConfigError(f"{where}: 'video' must name a file, several in a list, or a map of names to files")
    return videos
