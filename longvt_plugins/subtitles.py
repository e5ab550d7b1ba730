"""Subtitles of a video as lines with their seconds: from a file beside it, or from a track inside it.

::

    lines = read_subtitle_file(Path("talk.en.srt"))          # also .vtt, .ass, .ssa
    lines = read_subtitle_track(Path("talk.mkv"), language="en")
    lines[0]                                                 # Line(start=12.5, end=15.0, text='Welcome back.')

Tracks that are pictures (DVD, Blu-ray) hold no text and are passed over. Which file belongs to a video is decided
elsewhere (:meth:`longvt_plugins.tools.ToolContext.companions`). Everything is bounded: a file's size, and the number
and length of its lines.
"""

from __future__ import annotations

import codecs
import re
from pathlib import Path
from typing import Any, NamedTuple

from longvt_plugins.console import one_line
from longvt_plugins.errors import VideoError
from longvt_plugins.video.container import Deadline, open_container

SUFFIXES = {".srt": "srt", ".vtt": "vtt", ".ass": "ass", ".ssa": "ssa"}
"""Of subtitle files, and what pysubs2 calls their format."""

MAX_BYTES = 16 * 2**20
"""Of a file: the subtitles of a film of two hours are about 100 kB."""

MAX_LINES = 100_000

MAX_CHARACTERS = 1000
"""Of a line: two rows on a screen are about 80."""

_TEXT_CODECS = ("ass", "ssa", "srt", "subrip", "mov_text", "text", "webvtt")
_STYLE = re.compile(r"\{[^{}]*\}")


class Line(NamedTuple):
    """What is said, and from when to when it is shown, in seconds from the start of the video."""

    start: float
    end: float
    text: str


def read_subtitle_file(path: Path) -> tuple[Line, ...]:
    """The lines of a file, in order of time.

    Args:
        path: With one of ``SUFFIXES``. UTF-8, UTF-16 with its mark, or else Windows' western code page.

    Raises:
        VideoError: It cannot be read, is too large, or holds no line.
    """
    import pysubs2

    try:
        if path.stat().st_size > MAX_BYTES:
            raise VideoError(f"{path}: subtitles of more than {MAX_BYTES >> 20} MiB are not read")
        data = path.read_bytes()
    except OSError as error:
        raise VideoError(f"{path}: the subtitles cannot be read: {error.strerror}") from None
    try:
        file = pysubs2.SSAFile.from_string(_decoded(data), format_=SUFFIXES[path.suffix.lower()])
    except (pysubs2.exceptions.Pysubs2Error, ValueError, ArithmeticError) as error:
        raise VideoError(f"{path}: the subtitles cannot be read: {one_line(error)}") from None
    found = [(event.start / 1000, event.end / 1000, event.plaintext) for event in file if not event.is_comment]
    if not (lines := _cleaned(found)):
        raise VideoError(f"{path}: holds no line of subtitles")
    return lines


def read_subtitle_track(path: Path, language: str | None = None, time_limit: float | None = None) -> tuple[Line, ...]:
    """The lines of the first track of text inside a video, in order of time.

    Args:
        path: A video file, absolute. All of it is read, since tracks are interleaved.
        language: As the file marks the track, such as ``"eng"``; a track of another one is passed over.
        time_limit: Seconds that it may take.

    Returns:
        Nothing where there is no such track.

    Raises:
        VideoError: The file cannot be read.
        VideoTimeoutError: It took longer than the limit.
    """
    from av.error import FFmpegError

    deadline = Deadline(path, time_limit)
    with open_container(path, deadline) as container:
        tracks = [stream for stream in container.streams.subtitles if _is_text(stream)]
        if language is not None:
            tracks = [stream for stream in tracks if _same_language(stream.language or "", language)]
        if not tracks:
            return ()
        # The pictures may start later than the file, and seconds are counted from the first of them.
        pictures = next(iter(container.streams.video), None)
        zero = float((pictures.start_time or 0) * pictures.time_base) if pictures is not None else 0.0
        found: list[tuple[float, float, str]] = []
        try:
            for packet in container.demux(tracks[0]):
                deadline.check()
                if packet.pts is None or len(found) >= MAX_LINES:
                    continue
                start = float(packet.pts * packet.time_base) - zero
                shown = float((packet.duration or 0) * packet.time_base)
                found += [(start, start + shown, text) for text in _texts(packet)]
        except FFmpegError as error:
            raise VideoError(f"{path}: the subtitles inside it cannot be read: {one_line(error)}") from None
    return _cleaned(found)


def _is_text(stream: Any) -> bool:
    return stream.codec_context is not None and stream.codec_context.name in _TEXT_CODECS


def _same_language(marked: str, asked: str) -> bool:
    # Files mark tracks with three letters, people write two: "eng" and "en".
    return marked.lower()[:2] == asked.lower()[:2]


def _texts(packet: Any) -> list[str]:
    dialogues = [getattr(subtitle, "dialogue", None) for subtitle in packet.decode()]
    return [_STYLE.sub("", dialogue.decode("utf-8", "replace")) for dialogue in dialogues if dialogue]


def _cleaned(found: list[tuple[float, float, str]]) -> tuple[Line, ...]:
    """Lines with text that are on screen after the start, each in one row."""
    lines = [Line(max(start, 0.0), end, " ".join(text.split())[:MAX_CHARACTERS]) for start, end, text in found]
    return tuple(sorted(line for line in lines if line.text and line.end > 0)[:MAX_LINES])


def _decoded(data: bytes) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")
