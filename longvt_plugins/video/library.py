"""The videos of a process: opened once, decoded once, whoever asks.

::

    library = VideoLibrary(VideoConfig(cache_dir="/scratch/longvt"), plugins)
    with library.open("film.mp4") as video:          # a Video as Video.open gives it
        video.overview()                             # decoded
    with library.open("film.mp4") as video:
        video.overview()                             # the same pixels, from memory or, in another process, from disk
    library.stats().misses                           # how many frames were decoded
    library.close()

A library may be shared by threads, and used on in a forked process, where it opens its files anew; a process that is
spawned gets an empty one with the same configuration. Every frame is kept under the file (path, size, modification
time, inode), the second asked for, its size and scaling, and the reader and its version. So requests that overlap
share frames, and a changed file is read afresh. Threads that ask for the same frame at once decode it once; so do
processes that make the same request, if they share a ``cache_dir``.
"""

from __future__ import annotations

import codecs
import contextlib
import copy
import functools
import hashlib
import importlib.metadata
import json
import os
import threading
import time as clock
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import longvt_plugins
from longvt_plugins.errors import ConfigError, VideoError, VideoReaderCrashError, VideoTimeoutError
from longvt_plugins.registry import Registry
from longvt_plugins.video.config import VideoConfig
from longvt_plugins.video.disk_cache import Counts, DiskFrames
from longvt_plugins.video.frame_cache import MemoryFrames, shared
from longvt_plugins.video.interruption import check_interrupted, is_interruptible
from longvt_plugins.video.isolated import IsolatedReader, Workers, decoded
from longvt_plugins.video.reader_pool import ReaderPool
from longvt_plugins.video.sampling import Timetable
from longvt_plugins.video.video import Frame, Video, VideoReader, accepted_options, check_regular_file

if TYPE_CHECKING:
    from longvt_plugins.plugins import PluginManager

_KNOWN_VIDEOS = 4096
"""Videos whose length and size are remembered, about 1 kB each."""

_KNOWN_TIMETABLES = 8
"""Videos whose timetable is remembered: 3 MB for an hour at 25 frames a second."""

_LOOK_UP = 0.2
"""Seconds after which one who waits for another thread's frames looks whether they are still wanted."""

_DECODERS = {"pyav": "av"}
"""The distribution that a module of our readers decodes with, where it does not have the module's name."""


@dataclass(frozen=True)
class LibraryStats:
    """What a library holds, and where the frames came from that it gave.

    Attributes:
        memory_hits: Frames from memory, those among them that another thread was decoding.
        disk_hits: Frames from the cache folder.
        misses: Frames that were decoded.
        frames: Frames in memory now.
        bytes: Memory of their pixels.
        open_files: Videos open now.
    """

    memory_hits: int
    disk_hits: int
    misses: int
    frames: int
    bytes: int
    open_files: int


@dataclass(frozen=True)
class _File:
    """A file with this very content."""

    path: Path
    size: int
    modified_ns: int
    inode: int

    @classmethod
    def look_up(cls, path: Path) -> _File:
        """The file as it is now.

        Raises:
            VideoNotFoundError: There is no such file, or it is a folder, a pipe or a device.
        """
        check_regular_file(path)
        found = path.stat()
        return cls(path, found.st_size, found.st_mtime_ns, found.st_ino)

    def __str__(self) -> str:
        return f"{self.path} {self.size} {self.modified_ns} {self.inode}"


@dataclass
class _Facts:
    """What is known of a video without opening it."""

    path: str
    duration: float
    width: int
    height: int
    codec: str | None
    damage: list[str]


_Key = tuple[str, str, str, float]
"""Of a frame: video, variant, the request if it is inexact, else nothing, and the second asked for."""


class VideoLibrary:
    """Opens videos and keeps what was decoded of them.

    Args:
        config: How they are read and what is kept.
        plugins: Where the reader comes from; None knows the built-in one, ``pyav``, alone.

    Raises:
        UnknownNameError: No reader of this name.
        ConfigError: The cache folder cannot be written to.
    """

    def __init__(self, config: VideoConfig | None = None, plugins: PluginManager | None = None) -> None:
        self.config = config if config is not None else VideoConfig()
        readers = plugins.video_readers if plugins is not None else _built_in_readers()
        self._set_up(readers.get(self.config.reader))

    def _set_up(self, reader: type[VideoReader]) -> None:
        _import_what_threads_use()
        config = self.config
        self._reader = reader
        self._isolate = config.isolate or bool(getattr(reader, "isolate", False))
        self._version = f"{config.reader} {_version(reader)}"
        self._workers = Workers()
        self._pool = ReaderPool(config.max_open_files)
        self._memory = MemoryFrames(config.memory_mb * 2**20)
        self._disk: DiskFrames | None = None
        if config.cache_dir is not None:
            folder = Path(config.cache_dir).expanduser().absolute()
            self._disk = DiskFrames(folder, max_bytes=int(config.disk_gb * 2**30), format=config.cache_format)
        self._facts: OrderedDict[str, _Facts] = OrderedDict()
        self._timetables: OrderedDict[_File, Timetable | None] = OrderedDict()
        self._counts = Counts()
        self._in_flight: dict[_Key, Future[Frame]] = {}
        self._lock = threading.Lock()
        self._closed = False
        _LIBRARIES.add(self)

    def open(self, path: str | Path) -> Video:
        """A video; to close it leaves the file open for the next who asks.

        Args:
            path: A regular file.

        Raises:
            VideoNotFoundError: There is no such file, or it is a folder, a pipe or a device.
            VideoError: The file cannot be read, or the library is closed.
        """
        if self._closed:
            raise VideoError(f"{path}: the library of videos is closed")
        file = _File.look_up(Path(path).absolute())
        return Video(file.path, _LibraryReader(self, file, self._facts_of(file)))

    def stats(self) -> LibraryStats:
        """What it holds, and where the frames came from that it gave."""
        with self._lock:
            return LibraryStats(
                **vars(self._counts), frames=len(self._memory), bytes=self._memory.bytes, open_files=self._pool.open
            )

    def close(self) -> None:
        """Closes the files and forgets the frames in memory; a second time does nothing."""
        self._closed = True
        self._pool.close()
        self._workers.close()
        with self._lock:
            self._memory.clear()
            self._facts.clear()
            self._timetables.clear()
        if self._disk is not None:
            self._disk.count(Counts(), now=True)

    def __enter__(self) -> VideoLibrary:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        # To a spawned process goes the configuration alone; the class is found by its name there.
        return _restored, (self.config, self._reader)

    def read(self, file: _File, times: list[float], size: tuple[int, int] | None, scaling: str) -> list[Frame]:
        """Frames of a file, kept or decoded; see :meth:`~longvt_plugins.video.VideoReader.frames`."""
        video, variant = self._name(file), _variant(self.config.reader, size, scaling)
        request = hashlib.sha256(json.dumps(times).encode()).hexdigest()[:16]
        keys = {time: (video, variant, "", time) for time in times}
        found: dict[float, Frame] = {}
        counts = Counts()
        while len(found) < len(keys):
            mine: dict[float, Future[Frame]] = {}
            try:
                others = self._claim(keys, request, found, mine, counts)
                if mine:
                    found |= self._fulfil(file, mine, times, size, scaling, request, counts)
            except BaseException as error:  # Ctrl-C too: nobody may be left waiting.
                self._resolve(mine, keys, error)
                raise
            for time, future in others.items():
                if (frame := _awaited(future, file.path)) is not None and frame.exact:
                    found[time] = frame
                    counts.memory_hits += 1
                # Else it is asked for once more: the other request failed, or damage gave it a frame that stands in.
        self._count(counts)
        return [shared(found[time]) for time in times]

    def timetable(self, file: _File) -> Timetable | None:
        """When each frame comes on screen, if the reader can tell."""
        with self._lock:
            if file in self._timetables:
                self._timetables.move_to_end(file)
                return self._timetables[file]
        with self._borrow(file) as reader:
            table: Timetable | None = getattr(reader, "timetable", None)
        with self._lock:
            self._timetables[file] = table
            while len(self._timetables) > _KNOWN_TIMETABLES:
                self._timetables.popitem(last=False)
        return table

    def facts(self, file: _File) -> _Facts:
        """What is known of a file now."""
        return self._facts.get(self._name(file)) or self._facts_of(file)

    def _claim(
        self,
        keys: dict[float, _Key],
        request: str,
        found: dict[float, Frame],
        mine: dict[float, Future[Frame]],
        counts: Counts,
    ) -> dict[float, Future[Frame]]:
        """Takes what is in memory into ``found``, what this thread is to make into ``mine``; gives what others make."""
        others: dict[float, Future[Frame]] = {}
        with self._lock:
            for time, key in keys.items():
                if time in found:
                    continue
                frame = self._memory.get(key) or self._memory.get((*key[:2], request, time))
                if frame is not None:
                    found[time] = frame
                    counts.memory_hits += 1
                elif key in self._in_flight:
                    others[time] = self._in_flight[key]
                else:
                    mine[time] = self._in_flight[key] = Future()
        return others

    def _fulfil(
        self,
        file: _File,
        mine: dict[float, Future[Frame]],
        times: list[float],
        size: tuple[int, int] | None,
        scaling: str,
        request: str,
        counts: Counts,
    ) -> dict[float, Frame]:
        """Makes the frames that this thread has claimed, and hands them to those who wait."""
        video, variant = self._name(file), _variant(self.config.reader, size, scaling)
        decode = functools.partial(self._decode, file, times, size, scaling)
        frames: dict[float, Frame] = {}

        def load(wanted: Iterable[float]) -> list[float]:
            if self._disk is None:
                return list(wanted)
            kept = self._disk.load(video, variant, wanted, request)
            counts.disk_hits += len(kept)
            frames.update(kept)
            return [time for time in wanted if time not in frames]

        if missing := load(mine):
            with self._lock_on_disk(video, variant, missing) as waited:
                if waited:  # For a process that made the same request: most likely all is here now.
                    missing = load(missing)
                if missing:
                    fresh = decode(missing)
                    counts.misses += len(fresh)
                    frames |= fresh if self._disk is None else self._disk.store(video, variant, fresh, request)
        with self._lock:
            for time, frame in frames.items():
                self._memory.put((video, variant, "" if frame.exact else request, time), frame)
        self._resolve(mine, {time: (video, variant, "", time) for time in mine}, frames)
        return frames

    def _lock_on_disk(self, *parts: object) -> contextlib.AbstractContextManager[bool]:
        if self._disk is None:
            return contextlib.nullcontext(False)
        return self._disk.lock(*parts, seconds=self.config.decode_timeout)

    def _resolve(
        self,
        mine: dict[float, Future[Frame]],
        keys: dict[float, _Key],
        outcome: dict[float, Frame] | BaseException,
    ) -> None:
        with self._lock:
            for time, future in mine.items():
                if self._in_flight.get(keys[time]) is future:
                    del self._in_flight[keys[time]]
        for time, future in mine.items():
            if future.done():
                continue
            if isinstance(outcome, BaseException):
                future.set_exception(outcome)
            else:
                future.set_result(outcome[time])

    def _decode(
        self, file: _File, times: list[float], size: tuple[int, int] | None, scaling: str, wanted: list[float]
    ) -> dict[float, Frame]:
        frames = self._decoded(file, wanted, size, scaling)
        if len(wanted) < len(times) and not all(frame.exact for frame in frames.values()):
            # What stands in for a lost frame depends on what else is read: as if nothing had been kept.
            whole = self._decoded(file, times, size, scaling)
            frames = {time: whole[time] for time in wanted}
        return frames

    def _decoded(
        self, file: _File, times: list[float], size: tuple[int, int] | None, scaling: str
    ) -> dict[float, Frame]:
        limit = self.config.decode_timeout
        with self._borrow(file) as reader:
            started, frames = clock.monotonic(), []
            for frame in decoded(reader, times, size, scaling):
                frames.append(frame)
                check_interrupted(file.path)
                if clock.monotonic() - started > limit:
                    raise VideoTimeoutError(f"{file.path}: reading frames took longer than {limit:g} s", seconds=limit)
            self._note(file, reader)
        return dict(zip(times, frames, strict=True))

    def _borrow(self, file: _File) -> Any:
        return self._pool.borrow(file, functools.partial(self._open_reader, file))

    def _open_reader(self, file: _File) -> VideoReader:
        options: dict[str, Any] = {"time_limit": self.config.decode_timeout}
        if self._disk is not None:
            options["index_dir"] = self._disk.index_dir
        options = accepted_options(self._reader, options)
        if self._isolate:
            reader: VideoReader = IsolatedReader(
                file.path, self._reader, workers=self._workers, timeout=self.config.decode_timeout, options=options
            )
        else:
            reader = self._reader(file.path, **options)
        try:
            if _File.look_up(file.path) != file:
                raise VideoError(f"{file.path}: the file has changed since it was opened; open it again")
        except BaseException:
            reader.close()
            raise
        return reader

    def _facts_of(self, file: _File) -> _Facts:
        name = self._name(file)
        with self._lock:
            if (facts := self._facts.get(name)) is not None:
                self._facts.move_to_end(name)
                return facts
        if self._disk is not None and (kept := self._disk.read_facts(name)) is not None:
            try:
                facts = _Facts(**kept)
            except TypeError:  # Of another version.
                facts = None
        if facts is None:
            with self._borrow(file) as reader:
                return self._note(file, reader)
        self._remember(name, facts)
        return facts

    def _note(self, file: _File, reader: VideoReader) -> _Facts:
        """Takes down what the reader knows of its file by now."""
        name = self._name(file)
        facts = _Facts(
            path=str(file.path),
            duration=reader.duration,
            width=reader.width,
            height=reader.height,
            codec=getattr(reader, "codec", None),
            damage=[],
        )
        earlier = self._facts.get(name)
        damage = [*(earlier.damage if earlier is not None else ()), *getattr(reader, "damage", ())]
        facts.damage = list(dict.fromkeys(damage))
        if facts != earlier:
            self._remember(name, facts)
            if self._disk is not None:
                self._disk.write_facts(name, asdict(facts))
        return facts

    def _remember(self, name: str, facts: _Facts) -> None:
        with self._lock:
            self._facts[name] = facts
            self._facts.move_to_end(name)
            while len(self._facts) > _KNOWN_VIDEOS:
                self._facts.popitem(last=False)

    def _name(self, file: _File) -> str:
        """What tells this content, read by this reader, from every other."""
        return hashlib.sha256(f"{self._version}\n{file}".encode(errors="surrogateescape")).hexdigest()[:32]

    def _count(self, counts: Counts) -> None:
        with self._lock:
            self._counts.add(vars(counts))
        if self._disk is not None:
            self._disk.count(counts)

    def _start_again(self) -> None:
        """In a forked child: the files, and the threads that held locks or were decoding, are the parent's."""
        self._lock = threading.Lock()
        self._in_flight = {}
        self._pool.forget()
        self._workers.forget()
        self._memory.recount()
        if self._disk is not None:
            self._disk.forget_counts()


class _LibraryReader:
    """What a :class:`Video` of a library reads from: the library, for one file."""

    def __init__(self, library: VideoLibrary, file: _File, facts: _Facts) -> None:
        self._library = library
        self._file = file
        self.duration = facts.duration
        self.width = facts.width
        self.height = facts.height
        self.codec = facts.codec
        self._timetable: Timetable | None = None

    @property
    def damage(self) -> tuple[str, ...]:
        return tuple(self._library.facts(self._file).damage)

    @property
    def timetable(self) -> Timetable:
        if self._timetable is None:
            self._timetable = self._library.timetable(self._file)
        if self._timetable is None:
            name = self._library.config.reader
            raise ConfigError(f"the reader {name!r} gives no timetable, which mode 'qwen' needs: use mode 'grid'")
        return self._timetable

    def frames(self, times: Iterable[float]) -> Iterator[Frame]:
        return iter(self._library.read(self._file, list(times), None, "exact"))

    def scaled_frames(
        self, times: Iterable[float], size: tuple[int, int], scaling: Literal["fast", "exact"]
    ) -> Iterator[Frame]:
        return iter(self._library.read(self._file, list(times), size, scaling))

    def close(self) -> None:
        """Nothing to let go of: the library keeps the file open for the next who asks."""


def _built_in_readers() -> Registry[type[VideoReader]]:
    from longvt_plugins.video.readers.pyav import PyavReader

    readers: Registry[type[VideoReader]] = Registry("video reader")
    readers.register("pyav", PyavReader, provider="built-in")
    return readers


def _import_what_threads_use() -> None:
    """A thread that imports while another one forks leaves the module locked in the child, for ever."""
    import av  # noqa: F401
    import numpy as np  # noqa: F401
    from PIL import Image

    Image.preinit()
    codecs.lookup("cp437")  # names in ZIP files


def _restored(config: VideoConfig, reader: type[VideoReader]) -> VideoLibrary:
    library = VideoLibrary.__new__(VideoLibrary)
    library.config = config
    library._set_up(reader)
    return library


def _variant(reader: str, size: tuple[int, int] | None, scaling: str) -> str:
    name = "".join(letter if letter.isalnum() else "-" for letter in reader)
    return f"{name}_full" if size is None else f"{name}_{size[0]}x{size[1]}_{scaling}"


def _version(reader: type[VideoReader]) -> str:
    """What may change the pixels: the reader's own version, and those of its package and of its decoder."""
    package, _, rest = reader.__module__.partition(".")
    parts = [f"{reader.__module__}.{reader.__qualname__}", str(getattr(reader, "version", 0))]
    if package == longvt_plugins.__name__:
        parts.append(longvt_plugins.__version__)
        module = rest.rpartition(".")[2]
        distributions = [_DECODERS.get(module, module)]
    else:
        distributions = _distributions(package)
    for distribution in distributions:
        # Of an optional decoder that is not installed, the reader itself says how to get it.
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            parts.append(f"{distribution} {importlib.metadata.version(distribution)}")
    return " ".join(parts)


@functools.cache
def _distributions(package: str) -> list[str]:
    """What a package was installed with; remembered, since to find out means to read what all of them hold."""
    return sorted(importlib.metadata.packages_distributions().get(package, []))


def _awaited(future: Future[Frame], path: Path) -> Frame | None:
    """What another thread made; None where it failed for a reason that may be its own."""
    while is_interruptible() and not wait([future], _LOOK_UP).done:
        check_interrupted(path)
    try:
        return future.result()
    except (VideoTimeoutError, VideoReaderCrashError) as error:
        # Not tried again: a group of rollouts would wait for the time limit one after another.
        raise copy.copy(error) from None
    except BaseException:  # noqa: BLE001 - it was raised where it happened
        return None


_LIBRARIES: weakref.WeakSet[VideoLibrary] = weakref.WeakSet()


def _start_again_after_fork() -> None:
    for library in list(_LIBRARIES):
        library._start_again()


os.register_at_fork(after_in_child=_start_again_after_fork)
