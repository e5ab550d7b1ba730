"""A video file as moments in time: what is on screen at second 12.5, whatever the frame rate.

::

    with Video.open("film.mp4") as video:
        video.duration                              # 5400.0
        video.overview()                            # at most 512 frames over the whole film
        video.clip(TimeSpan(60, 75))                # every second of that quarter of a minute
        video.frame_at(61.2).image                  # a PIL image as large as the video

Times are seconds from the first frame shown; frame numbers do not exist here, since they mean nothing
on variable frame rates. It does not decode: a :class:`VideoReader` does. It does not cache either.
"""

from __future__ import annotations

import inspect
import math
import os
import stat
import threading
import time as clock
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from longvt_plugins.errors import ConfigError, OutsideVideoError, VideoError, VideoNotFoundError, VideoTimeoutError
from longvt_plugins.types import TimeSpan
from longvt_plugins.video.interruption import check_interrupted
from longvt_plugins.video.sampling import CROP, OVERVIEW, FrameSampling, Timetable, format_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image


@dataclass(frozen=True)
class Frame:
    """One picture of a video.

    Args:
        image: RGB, the right way up.
        time: When it comes on screen, in seconds from the first frame shown.
        exact: False where damage left only a faulty picture, or a neighbour to stand in for the right one.
        region: Left, top, right and bottom in thousandths of the whole frame, where this is a part of it.
    """

    image: Image.Image
    time: float
    exact: bool = True
    region: tuple[float, float, float, float] | None = None

    @property
    def width(self) -> int:
        """Pixels."""
        return self.image.width

    @property
    def height(self) -> int:
        """Pixels."""
        return self.image.height

    def contains(self, box: Sequence[float]) -> bool:
        """Whether ``[left, top, right, bottom]`` in pixels is a box with an area, inside the picture."""
        if len(box) != 4 or not all(math.isfinite(edge) for edge in box):
            return False
        left, top, right, bottom = box
        return 0 <= left < right <= self.width and 0 <= top < bottom <= self.height

    def crop(self, box: Sequence[float]) -> Frame:
        """The part inside ``[left, top, right, bottom]``, in pixels.

        Raises:
            OutsideVideoError: The box has no area or leaves the picture.
        """
        if not self.contains(box):
            raise OutsideVideoError(f"the box {list(box)} is not inside the {self.width}x{self.height} frame")
        left, top, right, bottom = box
        # Whole pixels, outwards, so that a box thinner than one pixel still shows something.
        part = (math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom))
        own = self.region or (0.0, 0.0, 1000.0, 1000.0)
        across, down = (own[2] - own[0]) / self.width, (own[3] - own[1]) / self.height
        left, top, right, bottom = part
        region = (own[0] + left * across, own[1] + top * down, own[0] + right * across, own[1] + bottom * down)
        return Frame(self.image.crop(part), self.time, self.exact, region)

    def cut(self, region: Sequence[float]) -> Frame:
        """The part that ``region`` of a frame of this video names, of the whole frame: the same pixels once more.

        Raises:
            OutsideVideoError: There is no such part.
        """
        sides = (self.width, self.height) * 2
        # Regions come from whole pixels; without rounding, the last bit would widen them by one.
        return self.crop([round(edge * side / 1000) for edge, side in zip(region, sides, strict=True)])

    def resized(self, size: tuple[int, int]) -> Frame:
        """The same picture at another width and height, by bicubic resampling without aliasing."""
        from PIL import Image

        if self.image.size == size:
            return self
        return Frame(self.image.resize(size, Image.Resampling.BICUBIC), self.time, self.exact, self.region)


class VideoReader(Protocol):
    """Decodes one file. Plugins give more of them through ``register_video_readers``.

    A reader is made with the path of a regular file and raises a :class:`VideoError` if it cannot read
    it. It is used by one process, and by one thread at a time; :class:`Video` sees to that.

    What a reader may have beyond this, and is used where it is there: the method of
    :class:`ScalingReader`, the attributes ``codec`` (a name, such as ``"h264"``) and ``damage`` (findings,
    one line each), and the keywords ``index_dir`` and ``time_limit`` of :meth:`Video.open`.
    """

    def __init__(self, path: Path) -> None: ...

    @property
    def duration(self) -> float:
        """Seconds from the first frame shown to the end of the last one: every frame's time is below it."""
        ...

    @property
    def width(self) -> int:
        """Pixels of the frames, rotation applied."""
        ...

    @property
    def height(self) -> int:
        """Pixels of the frames, rotation applied."""
        ...

    def frames(self, times: Iterable[float]) -> Iterator[Frame]:
        """The frames on screen at these times, full size, one for each time.

        Args:
            times: Seconds in ``[0, duration)``, rising.

        Raises:
            DamagedVideoError: Nothing near one of the times can be decoded.
        """
        ...

    def close(self) -> None:
        """Lets go of the file."""
        ...


@runtime_checkable
class ScalingReader(Protocol):
    """A reader that can resize while it decodes; of others the full-size frames are resized one by one."""

    def scaled_frames(
        self, times: Iterable[float], size: tuple[int, int], scaling: Literal["fast", "exact"]
    ) -> Iterator[Frame]:
        """As :meth:`VideoReader.frames`, at another size.

        Args:
            times: Seconds in ``[0, duration)``, rising.
            size: Width and height in pixels, rotation applied.
            scaling: As in :class:`~longvt_plugins.video.sampling.FrameSampling`.
        """
        ...


class Video:
    """A video that is open for reading. Make one with :meth:`open`; close it, or use a ``with`` statement.

    It may be shared between threads, which then take turns, but not between processes.
    """

    def __init__(self, path: Path, reader: VideoReader, time_limit: float | None = None) -> None:
        self.path = path
        self._reader = reader
        self._time_limit = time_limit
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._closed = False

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        reader: type[VideoReader] | None = None,
        index_dir: str | Path | None = None,
        time_limit: float | None = None,
    ) -> Video:
        """Opens a video file.

        Args:
            path: A regular file. Addresses and protocol strings such as ``http://`` are file names like
                any other, so they are not found.
            reader: The class that decodes; None is the built-in one, on PyAV.
            index_dir: A folder where the reader may keep what it learns of a file, so that the next one
                opens it faster; None keeps nothing. Readers that keep nothing leave it alone.
            time_limit: Seconds that one call for frames, and the opening itself, may take; None is no limit.
                It is looked at between packets by the built-in reader and between frames for any other.

        Raises:
            VideoNotFoundError: There is no such file, or it is a folder, a pipe or a device.
            NotAVideoError: No video stream in it.
            DamagedVideoError: A video of which no frame can be decoded.
            VideoTimeoutError: Opening took longer than the limit.
        """
        if reader is None:
            from longvt_plugins.video.readers.pyav import PyavReader

            reader = PyavReader
        # Absolute, so that no name can be taken for a protocol or an option by what lies below.
        file = Path(path).absolute()
        check_regular_file(file)
        options: dict[str, Any] = {}
        if index_dir is not None:
            options["index_dir"] = Path(index_dir)
        if time_limit is not None:
            options["time_limit"] = time_limit
        return cls(file, reader(file, **accepted_options(reader, options)), time_limit)

    @property
    def duration(self) -> float:
        """Seconds from the first frame shown to the end of the last one."""
        return self._reader.duration

    @property
    def width(self) -> int:
        """Pixels, rotation applied."""
        return self._reader.width

    @property
    def height(self) -> int:
        """Pixels, rotation applied."""
        return self._reader.height

    @property
    def codec(self) -> str | None:
        """What the pictures are coded with, such as ``"h264"``; None if the reader does not tell."""
        return getattr(self._reader, "codec", None)

    @property
    def damage(self) -> tuple[str, ...]:
        """What the reader has found to be damaged so far, one line each."""
        return tuple(getattr(self._reader, "damage", ()))

    @property
    def timetable(self) -> Timetable:
        """When each frame comes on screen, for the sampling mode ``"qwen"``.

        Raises:
            ConfigError: The reader cannot tell.
        """
        table: Timetable | None = getattr(self._reader, "timetable", None)
        if table is None:
            name = type(self._reader).__name__
            raise ConfigError(f"{name} gives no timetable, which mode 'qwen' needs: use mode 'grid' or another reader")
        return table

    def overview(self, sampling: FrameSampling = OVERVIEW) -> list[Frame]:
        """Frames over the whole video.

        Raises:
            DamagedVideoError: Nothing near one of the moments can be decoded.
        """
        return self.clip(TimeSpan(0, self.duration), sampling)

    def clip(self, span: TimeSpan, sampling: FrameSampling = CROP) -> list[Frame]:
        """Frames of a part of the video.

        Raises:
            OutsideVideoError: The part has moments outside the video.
            DamagedVideoError: Nothing near one of the moments can be decoded.
        """
        return self.frames(sampling.times(span, video=self), sampling)

    def frames(self, times: Iterable[float], sampling: FrameSampling | None = None) -> list[Frame]:
        """What is on screen at these moments: for each the last frame that is not later.

        Args:
            times: Seconds, in any order, repeated or not.
            sampling: Its pixel bounds set the size; None keeps that of the video.

        Returns:
            One frame for each time, in the order asked.

        Raises:
            OutsideVideoError: A time below 0, at or past the duration, or not a number.
            DamagedVideoError: Nothing near one of the times can be decoded.
            VideoTimeoutError: It took longer than the limit with which the video was opened.
        """
        asked = list(times)
        self._check_process()
        with self._lock:
            if self._closed:
                raise VideoError(f"{self.path}: the video is closed")
            for time in asked:
                if not 0 <= time < self.duration:  # NaN is neither, so it is refused too.
                    last = format_seconds(self.duration)
                    raise OutsideVideoError(
                        f"{self.path}: {time:g} s is outside the video, which lasts from 0 to {last} s",
                        duration=self.duration,
                    )
            rising = sorted(set(asked))
            found = dict(zip(rising, self._in_time(self._decoded(rising, sampling)), strict=True))
        return [found[time] for time in asked]

    def _decoded(self, times: list[float], sampling: FrameSampling | None) -> Iterator[Frame]:
        """Frames at their final size, one by one: full-size frames of a long overview would fill the memory."""
        size = (self.width, self.height)
        if sampling is not None:
            size = sampling.size(self.width, self.height, frames=len(times))
        if sampling is None or size == (self.width, self.height):
            frames = self._reader.frames(times)
        elif isinstance(self._reader, ScalingReader):
            frames = self._reader.scaled_frames(times, size, sampling.scaling)
        else:
            frames = self._reader.frames(times)
        for frame in frames:
            # Also a frame of the size of the video: a stream may change its size half-way.
            yield frame if sampling is None else frame.resized(size)

    def _in_time(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        started = clock.monotonic()
        for frame in frames:
            check_interrupted(self.path)
            if self._time_limit is not None and clock.monotonic() - started > self._time_limit:
                raise VideoTimeoutError(
                    f"{self.path}: reading frames took longer than {self._time_limit:g} s", seconds=self._time_limit
                )
            yield frame

    def frame_at(self, time: float) -> Frame:
        """What is on screen at this moment, as large as the video.

        Raises:
            OutsideVideoError: Below 0, at or past the duration, or not a number.
            DamagedVideoError: Nothing near can be decoded.
        """
        return self.frames([time])[0]

    def close(self) -> None:
        """Closes the file; a second time does nothing, and a forked process leaves it to its parent."""
        if os.getpid() != self._process:
            return
        with self._lock:
            if not self._closed:
                self._closed = True
                self._reader.close()

    def _check_process(self) -> None:
        # Before the lock is taken: a thread that the child does not have may have held it at the fork.
        if os.getpid() != self._process:
            # The two processes would share one position in the file and read each other's bytes.
            raise VideoError(f"{self.path}: opened before the process was forked; open it again in the new process")

    def __enter__(self) -> Video:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def accepted_options(reader: type[VideoReader], options: dict[str, Any]) -> dict[str, Any]:
    """Those of the options that the reader's constructor has a name for."""
    parameters = inspect.signature(reader).parameters.values()
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return options
    names = {parameter.name for parameter in parameters}
    return {name: value for name, value in options.items() if name in names}


def check_regular_file(path: Path) -> None:
    """Asks before opening: to open a pipe would wait for a writer, perhaps for ever."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name.
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise VideoNotFoundError(f"no video file {str(path)!r}: {reason}") from None
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
        raise VideoNotFoundError(f"no video file {str(path)!r}: it is {kind}")
