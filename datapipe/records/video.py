"""A file nobody has opened yet, and the record of a readable video.

>>> video_id("/data/lectures/01.mp4", "lectures/01.mp4")
'01-8f2c...'

Nothing here opens a video: the step ``probe_video`` does.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from datapipe.records.provenance import DIGEST_BYTES, Provenance

ID_CHUNK = 1024 * 1024
"""Bytes read from each end of a file for its id: hour-long videos are not read through."""


@dataclass(frozen=True)
class VideoFile:
    """A file that nobody has opened yet.

    Attributes:
        path: The file.
        place: Where it lies in its collection, see :func:`video_id`; None takes ``path`` as it is written.
        subtitles_path: A file of subtitles that belongs to it; None looks for one beside it.
    """

    path: str
    place: str | None = None
    subtitles_path: str | None = None


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
        subtitles_path: A file of subtitles beside it, absolute; None without one.
        subtitles_digest: Of that file's bytes, so that new subtitles are new content.
        provenance: How the record was made.
    """

    id: str
    path: str
    duration: float
    width: int
    height: int
    size_bytes: int
    subtitles_path: str | None = None
    subtitles_digest: str | None = None
    provenance: Provenance | None = None

    @property
    def video(self) -> str:
        """The id, under the name that it has in every other record."""
        return self.id


SUBTITLES = (".srt", ".vtt", ".en.srt", ".en.vtt")
"""How the file of subtitles beside a video may end, in this order. Others are named in a JSONL input."""


def subtitles_beside(path: Path) -> Path | None:
    """The file of subtitles that lies beside a video under its name."""
    # Asked for by name: to list a folder of 100,000 videos once for each of them would take for ever.
    beside = (path.with_name(path.stem + suffix) for suffix in SUBTITLES)
    return next((other for other in beside if other.is_file()), None)


def file_digest(path: Path) -> str:
    """32 hexadecimal digits of a file's bytes.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=DIGEST_BYTES)).hexdigest()


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
