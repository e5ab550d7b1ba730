"""``search_subtitles``: which lines of the subtitles have the words of a query, and when they are said.

The subtitles are a file beside the video (``talk.srt``, ``talk.en.vtt`` beside ``talk.mp4``), else a track of text
inside it. ``search_subtitles:language=de`` takes those of one language, ``search_subtitles:lines=20`` shows more of
them.
"""

from __future__ import annotations

from pathlib import Path

from longvt_plugins.errors import ToolError
from longvt_plugins.hookspecs import RegisterTool, hookimpl
from longvt_plugins.subtitles import SUFFIXES, Line, read_subtitle_file, read_subtitle_track
from longvt_plugins.tools.context import ToolContext
from longvt_plugins.tools.found_lines import FileState, Shown, check_query, keep_lines, show_lines
from longvt_plugins.types import Block
from longvt_plugins.video.video import check_regular_file


def search_subtitles(  # noqa: D417 - ctx is hidden
    ctx: ToolContext, video_path: str, query: str, *, lines: Shown = 10, language: str | None = None
) -> list[Block]:
    """Search what is said in the video: returns the lines of the subtitles that have words of the query.

    Args:
        video_path: Name of the video, as given in the question.
        query: The words to search for.
        lines: How many lines are shown at most.
        language: Of the subtitles, such as "en"; any by default.

    Returns:
        The best lines first, each after the time at which it is shown, in seconds.
    """
    check_query(query)
    source = _find_file(ctx, video_path, language)
    # A line of a track or of a file; the video itself stands for the tracks inside it.
    file = source if source is not None else ctx.file(video_path)
    check_regular_file(file)
    found = _lines(FileState.of(file), language, ctx.library.config.decode_timeout)
    if not found.lines:
        wanted = f" in the language {language!r}" if language else ""
        raise ToolError(f"{video_path} has no subtitles{wanted}")
    return show_lines(ctx, found, query, limit=lines, kind="lines of subtitles")


def _find_file(ctx: ToolContext, name: str, language: str | None) -> Path | None:
    """The subtitle file beside a video: the plain one before those that are marked with a language."""
    mark = f".{language}" if language is not None else ""
    files = ctx.companions(name, [mark + suffix for suffix in SUFFIXES])
    return files[0] if files else None


def _read(file: FileState, language: str | None, time_limit: float | None) -> tuple[Line, ...]:
    if file.path.suffix.lower() in SUFFIXES:
        return read_subtitle_file(file.path)
    return read_subtitle_track(file.path, language, time_limit)


_lines = keep_lines(_read)


@hookimpl
def register_tools(register: RegisterTool) -> None:  # noqa: D103 - the hook's own docstring says it
    register(search_subtitles)
