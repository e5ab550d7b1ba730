"""Opening a video file with PyAV, whose wheels carry FFmpeg: containers that hold their own data, and no others.

::

    container = open_container(Path("film.mp4"))
    stream = video_stream(container, Path("film.mp4"))      # the first one that is no cover picture, ready to decode

Addresses, playlists and image sequences are never opened: a playlist may name any other file.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from longvt_plugins.errors import (
    DamagedVideoError,
    NotAVideoError,
    NoVideoStreamError,
    VideoNotFoundError,
    VideoTimeoutError,
)
from longvt_plugins.video.interruption import check_interrupted

CONTAINERS = ("mov", "mp4", "matroska", "webm", "avi", "mpegts", "mpeg", "flv", "asf", "ogg", "mxf")
"""Formats that hold their own data. Playlists (hls, dash, concat) and image sequences name other files."""

VIDEO_SUFFIXES = (".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".ts", ".webm", ".wmv")
"""Files that are taken for videos where a folder is searched; one that is named itself may be called anything."""


class Deadline:
    """How long one call may read, and whether it is given up, looked at between packets.

    Args:
        path: For the error.
        seconds: The limit; None is no limit.
    """

    def __init__(self, path: Path, seconds: float | None) -> None:
        self.seconds = seconds
        self._path = path
        self._ends = 0.0
        self.start()

    def start(self) -> None:
        """Starts the clock anew."""
        if self.seconds is not None:
            self._ends = time.monotonic() + self.seconds

    def check(self) -> None:
        """Raises VideoTimeoutError if the time is over, VideoInterruptedError if nobody waits any more."""
        check_interrupted(self._path)
        if self.seconds is not None and time.monotonic() > self._ends:
            raise self.error()

    def error(self) -> VideoTimeoutError:
        """What to raise when the time is over."""
        return VideoTimeoutError(f"{self._path}: reading took longer than {self.seconds:g} s", seconds=self.seconds)


def open_container(path: Path, deadline: Deadline | None = None) -> Any:
    """Opens a file for reading.

    Args:
        path: A regular file, absolute.
        deadline: Its limit goes to FFmpeg too, for opening and for each packet.

    Raises:
        VideoNotFoundError: The file cannot be opened.
        NotAVideoError: No container that is read here.
        DamagedVideoError: It starts as a container does, but cannot be read.
        VideoTimeoutError: Opening took longer than the limit.
    """
    import av
    from av.error import ExitError, FFmpegError, InvalidDataError

    only = {"format_whitelist": ",".join(CONTAINERS), "protocol_whitelist": "file"}
    timeout = deadline.seconds if deadline is not None else None
    try:
        # "file:" keeps FFmpeg from reading the name as anything but a file's. Not `options`: PyAV 15.1 frees more of
        # them than it made when streams appear while it probes (MPEG program streams), which crashes the process.
        # Names of tracks may be in any bytes.
        return av.open(f"file:{path}", container_options=only, timeout=timeout, metadata_errors="replace")
    except ExitError:
        if deadline is None:
            raise
        raise deadline.error() from None
    except FFmpegError as error:
        if isinstance(error, OSError):
            raise VideoNotFoundError(f"{path}: cannot be opened: {error.strerror}") from None
        if isinstance(error, ValueError) and not isinstance(error, InvalidDataError):
            # What FFmpeg says of a format that is not on the list.
            raise NotAVideoError(f"{path}: not a video file of a kind that is read: {', '.join(CONTAINERS)}") from None
        if _has_container_header(path):
            raise DamagedVideoError(f"{path}: starts like a video, but is damaged or cut short") from None
        raise NotAVideoError(f"{path}: not a video file") from None


def video_stream(container: Any, path: Path) -> Any:
    """The video stream of an open container, ready to be decoded in one thread.

    Raises:
        NoVideoStreamError: It holds none.
        NotAVideoError: No decoder for its codec.
    """
    from av.stream import Disposition

    # The picture on the cover of a piece of music is a video stream too, of one frame.
    streams = [stream for stream in container.streams.video if Disposition.attached_pic not in stream.disposition]
    if not streams:
        # Not the streams' own `type`: PyAV 15.1 crashes on one that FFmpeg has no name for.
        kinds = ("audio", "subtitles", "data", "attachments")
        held = ", ".join(kind for kind in kinds if getattr(container.streams, kind)) or "nothing"
        raise NoVideoStreamError(f"{path}: no video stream in it (it holds: {held})")
    stream = streams[0]
    if stream.codec_context is None:
        raise NotAVideoError(f"{path}: its video has a codec that cannot be decoded here")
    stream.codec_context.thread_count = 1
    stream.thread_type = "NONE"
    # Otherwise the decoder paints over what it could not read and does not say so.
    stream.codec_context.options = {"err_detect": "explode"}
    return stream


def _has_container_header(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(12)
    return head[4:8] in (b"ftyp", b"moov", b"mdat") or head[:4] in (b"\x1a\x45\xdf\xa3", b"RIFF")
