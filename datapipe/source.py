"""Where records come from: a folder of videos, a text file with a path a line, or JSONL.

::

    lectures/01.mp4   ->   {"path": "/data/lectures/01.mp4", "place": "lectures/01.mp4"}

``place`` is where the file lies in its collection, so that ids stay when the collection is moved. What a
previous step wrote (``kept.jsonl``) is given on unchanged.

A run takes a share of them, by a digest of the video that is the same on every machine: all records of a video are
in one share.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datapipe.records import content_digest, digest, stable_number, subtitles_beside
from longvt_plugins.errors import ConfigError
from longvt_plugins.video.container import VIDEO_SUFFIXES


@dataclass(frozen=True)
class Shard:
    """A share of the videos.

    Attributes:
        index: Which one, from 0.
        count: Of how many.

    Raises:
        ConfigError: There is no such share.
    """

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if self.count < 1 or not 0 <= self.index < self.count:
            raise ConfigError(f"shard {self.index} of {self.count}: with N shards they are numbered from 0 to N - 1")

    def has(self, video: str) -> bool:
        """Whether a video is in this share."""
        return self.count == 1 or stable_number(video, below=self.count) == self.index

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"shard-{self.index:05d}-of-{self.count:05d}"


def read_source(path: str | Path) -> list[Any]:
    """Reads all records at once: a fault in line 9,000 is told before any work is done.

    Args:
        path: A folder (searched with its sub-folders, in the order of the names), a ``.jsonl`` file, or a
            text file. A relative ``path`` lies beside the file; the rest of a JSON record is not touched.

    Raises:
        ConfigError: Nothing there, nothing in it, or a faulty line, by its number.
    """
    return list(iterate_source(path))


def iterate_source(path: str | Path) -> Iterator[Any]:
    """The same one by one, for inputs of any length.

    Raises:
        ConfigError: As :func:`read_source`, when the fault is reached.
    """
    path = Path(path)
    is_empty = True
    try:
        for record in _folder(path) if path.is_dir() else _lines(path):
            is_empty = False
            yield record
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"it is not UTF-8 text: {error}"
        raise ConfigError(f"input {path} cannot be read: {reason}") from error
    if is_empty:
        wanted = f"a video ({', '.join(VIDEO_SUFFIXES)})" if path.is_dir() else "a record"
        raise ConfigError(f"input {path} does not hold {wanted}")


def source_entries(path: str | Path, shard: Shard) -> Iterator[tuple[str, str, str, str]]:
    """The records of a share as the store keeps them: key, video, digest and JSON of each.

    A file is told from another at the same place by its size and time of change, and so are its subtitles.

    Args:
        path: See :func:`read_source`.
        shard: Which share.

    Raises:
        ConfigError: As :func:`read_source`.
    """
    for value in iterate_source(path):
        entry = _entry(value)
        if shard.has(entry[1]):
            yield entry


def _entry(value: Any) -> tuple[str, str, str, str]:
    if not isinstance(value, dict):
        content = content_digest(value)
        return content, content, content, json.dumps(value, ensure_ascii=False)
    if isinstance(value.get("id"), str) and value["id"]:
        video = value.get("video")
        return (
            value["id"],
            video if isinstance(video, str) else value["id"],
            content_digest(value),
            json.dumps(value, ensure_ascii=False),
        )
    file = value.get("path")
    if not isinstance(file, str):
        content = content_digest(value)
        return content, content, content, json.dumps(value, ensure_ascii=False)
    place = value["place"] if isinstance(value.get("place"), str) else file
    subtitles = value.get("subtitles_path") or subtitles_beside(Path(file))
    stamps = [_stamp(Path(file)), _stamp(Path(str(subtitles))) if subtitles else None]
    kept = {**value, "place": place} | ({"subtitles_path": str(subtitles)} if subtitles else {})
    rest = {name: part for name, part in kept.items() if name not in ("path", "subtitles_path")}
    return place, place, digest([rest, stamps]), json.dumps(kept, ensure_ascii=False)


def _stamp(path: Path) -> list[int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None  # the step that opens it says what is wrong
    return [stat.st_size, stat.st_mtime_ns]


def _folder(root: Path) -> Iterator[dict[str, str]]:
    for file in sorted(root.rglob("*")):
        if file.suffix.lower() in VIDEO_SUFFIXES and file.is_file():
            yield {"path": str(file.absolute()), "place": file.relative_to(root).as_posix()}


def _lines(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            if path.suffix != ".jsonl":
                yield _placed({"path": line.strip()}, path.parent)
                continue
            try:
                value = json.loads(line)
            except json.JSONDecodeError as error:
                raise ConfigError(f"{path}, line {number} is not JSON: {error}") from None
            yield _placed(value, path.parent)


def _placed(value: Any, folder: Path) -> Any:
    """A relative ``path`` becomes an absolute one, and is remembered as the place."""
    if isinstance(value, dict) and isinstance(value.get("path"), str) and not Path(value["path"]).is_absolute():
        # A record of a later stage has no place of its own: it has an id.
        place = {} if isinstance(value.get("id"), str) else {"place": value["path"]}
        return {**place, **value, "path": str((folder / value["path"]).absolute())}
    return value
