"""``search_captions``: which captions of a video have the words of a query, and which part they describe.

Captions are a JSON line each, beside the video (``talk.captions.jsonl`` beside ``talk.mp4``)::

    {"start": 0.0, "end": 9.6, "caption": "A red car leaves the yard."}

or in one file for many videos, ``search_captions:captions=/data/kept.jsonl``, where each line also says whose it is:
``"path"``, or ``"video"``, is the file, its name or the end of its path. What ``datapipe`` keeps of captions is such a
file: the caption may be called ``"text"``, and other keys are passed over. Nothing is made here: a video without
captions cannot be searched.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from longvt_plugins.errors import ConfigError, ToolError
from longvt_plugins.hookspecs import RegisterTool, hookimpl
from longvt_plugins.rows import parse_object
from longvt_plugins.subtitles import MAX_LINES, Line
from longvt_plugins.tools.context import ToolContext
from longvt_plugins.tools.found_lines import FileState, Shown, check_query, keep_lines, show_lines
from longvt_plugins.tools.local_files import ExistingFile
from longvt_plugins.types import Block

SUFFIX = ".captions.jsonl"

MAX_BYTES = 2**30
"""Of a captions file; one for many videos may be long."""

_LONGEST = 1e9
"""Seconds. No video is as long; NaN and whole numbers that no float holds are left out too."""

_MAX_CHARACTERS = 4000
"""Of a caption that is searched."""


def search_captions(  # noqa: D417 - ctx is hidden
    ctx: ToolContext, video_path: str, query: str, *, lines: Shown = 5, captions: ExistingFile | None = None
) -> list[Block]:
    """Search what happens in the video: returns the captions of its parts that have words of the query.

    Args:
        video_path: Name of the video, as given in the question.
        query: The words to search for.
        lines: How many captions are shown at most.
        captions: A file with the captions of many videos, instead of those beside each.

    Returns:
        The best captions first, each after the part that it describes, in seconds.
    """
    check_query(query)
    if captions is not None:
        file, which = Path(captions), str(ctx.file(video_path).absolute())
    else:
        beside = ctx.companions(video_path, (SUFFIX,))
        if not beside:
            raise ToolError(f"{video_path} has no captions")
        file, which = beside[0], None
    found = _lines(FileState.of(file), which, None)
    if not found.lines:
        raise ToolError(f"{video_path} has no captions")
    return show_lines(ctx, found, query, limit=lines, kind="captions")


def _read(file: FileState, video: str | None, _time_limit: float | None) -> tuple[Line, ...]:
    if file.size > MAX_BYTES:
        raise ConfigError(f"{file.path}: captions of more than {MAX_BYTES >> 20} MiB are not read")
    lines: list[Line] = []
    with file.path.open(encoding="utf-8", errors="replace") as text:
        for number, row in enumerate(text, start=1):
            if not row.strip():
                continue
            where = f"{file.path}, line {number}"
            record = parse_object(row, where)
            if video is not None and not _is_of(record, video, where):
                continue
            if len(lines) >= MAX_LINES:
                raise ConfigError(f"{file.path}: more than {MAX_LINES} captions of one video")
            lines.append(_line(record, where))
    return tuple(sorted(lines))


_lines = keep_lines(_read)


def _is_of(record: dict[str, Any], video: str, where: str) -> bool:
    named = record.get("path", record.get("video"))
    if not isinstance(named, str) or not named:
        raise ConfigError(f"{where}: 'path' or 'video' must name the file that the caption is of, not {named!r}")
    # A name alone may be that of any folder; a path must end as the video's own does.
    return Path(video).parts[-len(Path(named).parts) :] == Path(named).parts


def _line(record: dict[str, Any], where: str) -> Line:
    caption = record.get("caption", record.get("text"))
    if not isinstance(caption, str):
        raise ConfigError(f"{where}: 'caption' must be a text, not {caption!r}")
    start, end = (_seconds(record, key, where) for key in ("start", "end"))
    if not 0 <= start <= end:
        raise ConfigError(f"{where}: a caption from {start:g} s to {end:g} s is of no part of a video")
    return Line(start, end, " ".join(caption.split())[:_MAX_CHARACTERS])


def _seconds(record: dict[str, Any], key: str, where: str) -> float:
    value = record.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _LONGEST:
        raise ConfigError(f"{where}: {key!r} must be seconds, not {value!r}")
    return float(value)


@hookimpl
def register_tools(register: RegisterTool) -> None:  # noqa: D103 - the hook's own docstring says it
    register(search_captions)
