"""Decoded frames on disk, shared by every process that names the folder, bounded in size.

::

    cache_dir/
      CACHEDIR.TAG                                        backups leave the folder out; clear_cache touches no other
      frames/ab/ab12.../video.json                        what is known of a video: path, length, size
      frames/ab/ab12.../pyav_280x168_fast_5f3e/9c41.zip   the frames of one request that were not there before
      index/                                              what readers keep of files (VideoConfig.cache_dir)
      locks/, counters.json

A pack is an ordinary ZIP file of PPM or JPEG pictures, checked by its CRCs when it is read, and never changed once it
stands under its name. So no reader waits for a writer, and a process that is killed leaves at most a temporary
file. Locks only keep two processes from decoding the same frames at once: where a file system has none, or one is
held too long, both decode, and the result is the same. Packs used longest ago are deleted first.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import io
import json
import logging
import os
import secrets
import shutil
import threading
import time as clock
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from longvt_plugins.errors import ConfigError
from longvt_plugins.video.config import CacheFormat
from longvt_plugins.video.video import Frame

logger = logging.getLogger(__name__)

JPEG_QUALITY = 95
"""44 dB on natural video at 224x224 with 4:4:4 chroma, at a quarter of the bytes (measured, see docs/video.md)."""

_TAG = "CACHEDIR.TAG"
_TAG_TEXT = "Signature: 8a477f597d28d172789f06886806bc55\n# Decoded video frames of longvt-plugins; `longvt video cache` shows and clears them.\n"  # noqa: E501
_FRAMES, _INDEX, _LOCKS, _COUNTERS = "frames", "index", "locks", "counters.json"
_FACTS, _CONTENTS = "video.json", "contents.json"
_SUFFIX = {"lossless": ".ppm", "jpeg": ".jpg"}
_TEMPORARY = ".tmp"

_LOCK_FILES = 1024
"""Requests share so many lock files; two that meet in one wait for each other, which costs time but nothing else."""

_KNOWN_FOLDERS = 256
"""Folders whose packs' contents are remembered."""

_SWEEP_SHARE = 64
"""The folder is measured each time that a process has written this part of the bound, so it is passed by no more."""

_SWEEP_TO = 0.9
"""Part of the bound that is left after packs were deleted, so that the next one does not measure again."""

_STALE_SECONDS = 3600.0
"""Age from which a temporary file is taken for that of a process which was killed."""

_COUNT_SECONDS = 1.0
"""How long hits are counted in memory before they are added to those on disk."""


class _Entry(NamedTuple):
    """A picture in a pack: which second was asked for, which frame was shown, and for which request if inexact."""

    time: float
    shown: float
    exact: bool
    request: str
    member: str


@dataclass(frozen=True)
class CacheStats:
    """What lies in a cache folder, and how it was used.

    Attributes:
        folder: Which.
        videos: Videos with frames in it.
        packs: Files of frames.
        bytes: Of those files.
        index_files: Files that readers keep.
        index_bytes: Of those.
        memory_hits: Frames that processes with this folder took from their memory.
        disk_hits: Frames taken from the folder.
        misses: Frames that were decoded.
    """

    folder: Path
    videos: int
    packs: int
    bytes: int
    index_files: int
    index_bytes: int
    memory_hits: int
    disk_hits: int
    misses: int


@dataclass
class Counts:
    """Frames that were asked for, by where they came from."""

    memory_hits: int = 0
    disk_hits: int = 0
    misses: int = 0

    def add(self, other: Mapping[str, Any]) -> None:
        """Adds the numbers of others."""
        for name in vars(self):
            setattr(self, name, getattr(self, name) + int(other.get(name, 0)))


class DiskFrames:
    """The frames in one folder. Its methods may be called from several threads.

    Args:
        folder: Made if it is missing.
        max_bytes: Of all packs together.
        format: How pictures are stored.

    Raises:
        ConfigError: The folder cannot be written to.
    """

    def __init__(self, folder: Path, *, max_bytes: int, format: CacheFormat) -> None:
        self.folder = folder
        self.index_dir = folder / _INDEX
        self._max_bytes = max_bytes
        self._format = format
        self._unswept = max_bytes  # So that the first pack of a process has the folder measured.
        self._contents: OrderedDict[Path, dict[Path, list[_Entry]]] = OrderedDict()
        self._pending, self._counting = Counts(), threading.Lock()
        self._counted = clock.monotonic()
        try:
            for part in (_FRAMES, _INDEX, _LOCKS):
                (folder / part).mkdir(parents=True, exist_ok=True)
            if not (folder / _TAG).exists():
                self._store(folder / _TAG, lambda file: file.write(_TAG_TEXT.encode()))
        except OSError as error:
            raise ConfigError(
                f"cache_dir {folder} cannot be written to ({error.strerror or error}): name another folder"
            ) from None

    def read_facts(self, video: str) -> dict[str, Any] | None:
        """What was kept of a video with :meth:`write_facts`, or None.

        Args:
            video: A name that is different for every content.
        """
        try:
            facts = json.loads((self._video_folder(video) / _FACTS).read_bytes())
        except (OSError, ValueError):
            return None
        return facts if isinstance(facts, dict) else None

    def write_facts(self, video: str, facts: Mapping[str, Any]) -> None:
        """Keeps what is known of a video."""
        self._store(self._video_folder(video) / _FACTS, lambda file: file.write(json.dumps(facts).encode()))

    def load(self, video: str, variant: str, times: Iterable[float], request: str) -> dict[float, Frame]:
        """Those of the frames that are here.

        Args:
            video: As in :meth:`read_facts`.
            variant: Size and the like.
            times: Seconds asked for.
            request: Of inexact frames only those that were stored for this request count.
        """
        folder, found = self._folder(video, variant), dict[float, Frame]()
        wanted = set(times)
        for pack, entries in self._packs(folder).items():
            chosen = [entry for entry in entries if entry.time in wanted and (entry.exact or entry.request == request)]
            if chosen:
                found.update(self._read_pack(pack, chosen))
                wanted.difference_update(found)
            if not wanted:
                break
        return found

    def store(self, video: str, variant: str, frames: Mapping[float, Frame], request: str) -> dict[float, Frame]:
        """Keeps frames. Where the disk is full or gone this is logged, and they are not kept.

        Args:
            video: As in :meth:`read_facts`.
            variant: As in :meth:`load`.
            frames: By the seconds asked for.
            request: As in :meth:`load`.

        Returns:
            The frames as they will come back: through JPEG their pixels are no longer those that were given.
        """
        pictures: dict[float, bytes] = {}
        kept = dict(frames)
        if self._format == "jpeg":
            pictures = {time: _encode(frame, "jpeg") for time, frame in frames.items()}
            kept = {time: _decode(pictures[time], frame.time, exact=frame.exact) for time, frame in frames.items()}
        entries = [
            _Entry(time, frame.time, frame.exact, request, f"{number:04d}_{frame.time:.3f}s{_SUFFIX[self._format]}")
            for number, (time, frame) in enumerate(frames.items())
        ]

        def write(file: Any) -> None:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                for entry in entries:
                    picture = pictures.get(entry.time) or _encode(frames[entry.time], "lossless")
                    archive.writestr(entry.member, picture)
                archive.writestr(_CONTENTS, json.dumps(entries))

        # The same times give the same name: of two processes that decoded them the later wins, with the same pixels.
        name = hashlib.sha256(json.dumps([request, *frames]).encode()).hexdigest()[:24]
        self._unswept += self._store(self._folder(video, variant) / f"{name}.zip", write)
        if self._unswept >= self._max_bytes // _SWEEP_SHARE:
            self.sweep()
        return kept

    @contextlib.contextmanager
    def lock(self, *parts: object, seconds: float) -> Iterator[bool]:
        """Keeps other processes, and threads, out of what has the same name while a ``with`` statement lasts.

        Args:
            parts: The name.
            seconds: How long to wait for it. Afterwards it goes on without: two that decode the same do no harm.

        Returns:
            Whether somebody else had it, so that what was looked for may be here now.
        """
        number = int(hashlib.sha256(repr(parts).encode()).hexdigest(), 16) % _LOCK_FILES
        try:
            descriptor = os.open(self.folder / _LOCKS / f"{number:04d}", os.O_RDWR | os.O_CREAT, 0o666)
        except OSError:  # The folder was cleared, or cannot be written to: storing will say so.
            yield False
            return
        try:
            yield _wait_for_lock(descriptor, seconds)
        finally:
            # Said aloud: a child forked meanwhile has the descriptor too, and closing ours would not let go.
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def count(self, counts: Counts, *, now: bool = False) -> None:
        """Adds to the hits and misses that stand in the folder, at most once a second unless ``now``."""
        with self._counting:
            self._pending.add(vars(counts))
            if not now and clock.monotonic() - self._counted < _COUNT_SECONDS:
                return
            pending, self._pending = self._pending, Counts()
            self._counted = clock.monotonic()
        if not any(vars(pending).values()):
            return
        with self.lock(_COUNTERS, seconds=_COUNT_SECONDS):
            pending.add(vars(_read_counts(self.folder)))
            self._store(self.folder / _COUNTERS, lambda file: file.write(json.dumps(vars(pending)).encode()))

    def forget_counts(self) -> None:
        """In a child process: what was counted is the parent's to add, and so is who was counting."""
        self._pending, self._counting = Counts(), threading.Lock()

    def sweep(self) -> None:
        """Deletes the packs used longest ago until the bound holds; leaves it to another process that is at it."""
        self._unswept = 0
        # What is suppressed: another process holds the lock, or the folder is gone.
        with contextlib.suppress(OSError), (self.folder / _LOCKS / "sweep").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            try:
                self._delete_oldest()
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)

    def _delete_oldest(self) -> None:
        files = []
        for path in _files(self.folder / _FRAMES):
            with contextlib.suppress(OSError):
                found = path.stat()
                if path.suffix == _TEMPORARY and clock.time() - found.st_mtime > _STALE_SECONDS:
                    path.unlink()
                elif path.suffix == ".zip":
                    files.append((found.st_mtime_ns, found.st_size, path))
        total = sum(size for _, size, _ in files)
        if total <= self._max_bytes:
            return
        for _, size, path in sorted(files):
            if total <= _SWEEP_TO * self._max_bytes:
                break
            # Whoever reads it just now has it open and reads on.
            with contextlib.suppress(OSError):
                path.unlink()
                total -= size
                self._remove_empty(path.parent)

    def _remove_empty(self, folder: Path) -> None:
        # A video without packs is forgotten with its facts; rmdir refuses a folder that is not empty.
        with contextlib.suppress(OSError):
            folder.rmdir()
            if all(path.name == _FACTS for path in folder.parent.iterdir()):
                (folder.parent / _FACTS).unlink(missing_ok=True)
            folder.parent.rmdir()

    def _video_folder(self, video: str) -> Path:
        return self.folder / _FRAMES / video[:2] / video

    def _folder(self, video: str, variant: str) -> Path:
        return self._video_folder(video) / f"{variant}_{self._format}"

    def _packs(self, folder: Path) -> dict[Path, list[_Entry]]:
        """Every pack with its contents, which are read once: a pack never changes."""
        try:
            there = sorted(path for path in folder.iterdir() if path.suffix == ".zip")
        except OSError:
            return {}
        known = self._contents.pop(folder, {})
        packs = {}
        for path in there:
            if path in known:
                packs[path] = known[path]
            elif (entries := _read_contents(path)) is not None:
                packs[path] = entries
        self._contents[folder] = packs
        while len(self._contents) > _KNOWN_FOLDERS:
            with contextlib.suppress(KeyError):  # Another thread was quicker.
                self._contents.popitem(last=False)
        return packs

    def _read_pack(self, path: Path, entries: list[_Entry]) -> dict[float, Frame]:
        try:
            with zipfile.ZipFile(path) as archive:
                found = {
                    entry.time: _decode(archive.read(entry.member), entry.shown, exact=entry.exact) for entry in entries
                }
            os.utime(path)  # The time of its last use, by which the oldest are deleted.
        except FileNotFoundError:  # Deleted by another process since the folder was listed.
            return {}
        except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
            logger.warning("%s is damaged (%s) and is deleted; its frames are decoded again", path, error)
            path.unlink(missing_ok=True)
            return {}
        return found

    def _store(self, path: Path, write: Callable[[Any], object]) -> int:
        """Writes a file so that nobody sees half of it, and gives its size; 0 where it cannot be written."""
        temporary = path.with_name(f".{path.stem}-{secrets.token_hex(4)}{_TEMPORARY}")
        try:
            for attempt in (1, 2):
                try:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    with temporary.open("wb") as file:
                        write(file)
                    break
                except FileNotFoundError:  # An empty folder that another process removed under us: make it again.
                    if attempt == 2:
                        raise
            size = temporary.stat().st_size
            temporary.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            logger.warning("%s cannot be kept: %s", path, error.strerror or error)
            return 0
        return size


def cache_stats(folder: str | Path) -> CacheStats:
    """What lies in a cache folder; a folder that is not there is an empty one.

    Raises:
        ConfigError: The folder is there and is no cache of ours.
    """
    folder = Path(folder)
    _check_ours(folder)
    packs = [size for path, size in _sizes(folder / _FRAMES) if path.suffix == ".zip"]
    index = [size for _, size in _sizes(folder / _INDEX)]
    videos = {path.parent for path in _files(folder / _FRAMES) if path.name == _FACTS}
    return CacheStats(folder, len(videos), len(packs), sum(packs), len(index), sum(index), **vars(_read_counts(folder)))


def clear_cache(folder: str | Path) -> int:
    """Deletes the frames and indexes of a cache folder, and its counts. Processes that use it decode again.

    Returns:
        Bytes that were freed.

    Raises:
        ConfigError: The folder is there and is no cache of ours, or something in it cannot be deleted.
    """
    folder = Path(folder)
    _check_ours(folder)
    freed = 0
    for name in (_FRAMES, _INDEX):
        # Renamed first: a process that stores something meanwhile makes the folder anew and fills that one.
        gone = folder / f"{name}.{secrets.token_hex(4)}{_TEMPORARY}"
        try:
            if (folder / name).exists():
                (folder / name).rename(gone)
            for old in folder.glob(f"{name}.*{_TEMPORARY}"):
                freed += sum(size for _, size in _sizes(old))
                shutil.rmtree(old)
        except OSError as error:
            raise ConfigError(f"{folder / name} cannot be deleted: {error.strerror or error}") from None
    (folder / _COUNTERS).unlink(missing_ok=True)
    return freed


def _check_ours(folder: Path) -> None:
    if folder.exists() and not (folder / _TAG).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is no folder of cached videos: it has no {_TAG}")


def _files(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        for name in names:
            yield Path(parent, name)


def _sizes(folder: Path) -> Iterator[tuple[Path, int]]:
    for path in _files(folder):
        with contextlib.suppress(OSError):
            yield path, path.stat().st_size


def _read_counts(folder: Path) -> Counts:
    counts = Counts()
    with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):  # None yet, or not ours.
        counts.add(json.loads((folder / _COUNTERS).read_bytes()))
    return counts


def _read_contents(path: Path) -> list[_Entry] | None:
    try:
        with zipfile.ZipFile(path) as archive:
            return [_Entry(*entry) for entry in json.loads(archive.read(_CONTENTS))]
    except FileNotFoundError:
        return None
    except (OSError, zipfile.BadZipFile, KeyError, ValueError, TypeError) as error:
        logger.warning("%s is damaged (%s) and is deleted; its frames are decoded again", path, error)
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        return None


def _encode(frame: Frame, format: CacheFormat) -> bytes:
    file = io.BytesIO()
    if format == "jpeg":
        frame.image.save(file, "JPEG", quality=JPEG_QUALITY, subsampling="4:4:4")
    else:
        frame.image.save(file, "PPM")
    return file.getvalue()


def _decode(picture: bytes, shown: float, *, exact: bool) -> Frame:
    from PIL import Image

    image = Image.open(io.BytesIO(picture), formats=("JPEG", "PPM"))
    # A plain image, as a reader gives it, which knows nothing of the file that it came from.
    return Frame(image.convert("RGB"), shown, exact)


def _wait_for_lock(descriptor: int, seconds: float) -> bool:
    """Waits for a lock, not for ever; tells whether it had to wait."""
    until, pause, waited = clock.monotonic() + seconds, 0.005, False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return waited
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EINTR):  # A file system without locks.
                return waited
        if clock.monotonic() > until:
            return waited
        waited = True
        clock.sleep(pause)
        pause = min(2 * pause, 0.1)
