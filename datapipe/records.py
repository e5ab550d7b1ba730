"""What goes through the pipeline: outcomes of a step, and the records of a video.

>>> Dropped("shorter than 10 s")
Dropped(reason='shorter than 10 s')

No pixels are carried: a record says where frames are, and whoever needs them decodes them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

ID_CHUNK = 1024 * 1024
"""Bytes read from each end of a file for its id: hour-long videos are not read through."""


@dataclass(frozen=True)
class Kept(Generic[T_co]):
    """The step made this of the record."""

    record: T_co


@dataclass(frozen=True)
class Dropped:
    """The step decided against the record. Equal causes have equal reasons, so that they can be counted."""

    reason: str


@dataclass(frozen=True)
class Failed:
    """The step could not do its work on this record: type and message of the error."""

    error: str


Outcome: TypeAlias = Kept[T] | Dropped | Failed
"""What a step makes of one record."""


@dataclass(frozen=True)
class VideoFile:
    """A file that nobody has opened yet.

    Attributes:
        path: The file.
        place: Where it lies in its collection, see :func:`video_id`; None takes ``path`` as it is written.
    """

    path: str
    place: str | None = None


@dataclass(frozen=True)
class VideoRecord:
    """A readable video file.

    Attributes:
        id: See :func:`video_id`.
        path: The file, absolute.
        duration: Seconds.
        width: Pixels, as the video is shown.
        height: Pixels, as the video is shown.
        size_bytes: Size of the file.
    """

    id: str
    path: str
    duration: float
    width: int
    height: int
    size_bytes: int


def video_id(path: str | Path, place: str) -> str:
    """Names a video by content and place, the same on every machine and in every run.

    Args:
        path: The file.
        place: Where it lies in its collection, ``"lectures/01.mp4"``: two folders may hold files of one
            name, or even the same file twice, and a collection may be moved as a whole.

    Returns:
        The file's name without suffix, for people, and 16 hexadecimal digits of a BLAKE2b digest over
        size, first and last MiB, and place: ``"01-8f2c..."``.

    Raises:
        OSError: The file cannot be read.
    """
    path = Path(path)
    digest = hashlib.blake2b(digest_size=8)
    with path.open("rb") as file:
        size = file.seek(0, 2)
        digest.update(f"{size}\n{Path(place).as_posix()}\n".encode())
        for start in (0, max(ID_CHUNK, size - ID_CHUNK)):
            file.seek(start)
            digest.update(file.read(ID_CHUNK))
    stem = "".join(char if char.isalnum() and char.isascii() else "_" for char in path.stem)[:40]
    return f"{stem}-{digest.hexdigest()}"
