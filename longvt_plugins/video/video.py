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

import math
import os
import stat
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from longvt_plugins.errors import OutsideVideoError, VideoError, VideoNotFoundError
from longvt_plugins.types import TimeSpan
from longvt_plugins.video.sampling import CROP, OVERVIEW, FrameSampling, format_seconds

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
    """

    image: Image.Image
    time: float
    exact: bool = True

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
        return Frame(self.image.crop(part), self.time, self.exact)

    def resized(self, size: tuple[int, int]) -> Frame:
        """The same picture at another width and height, by bicubic resampling without aliasing."""
        from PIL import Image

        if self.image.size == size:
            return self
        return Frame(self.image.resize(size, Image.Resampling.BICUBIC), self.time, self.exact)


class VideoReader(Protocol):
    """Decodes one file. Plugins give more of them through ``register_video_readers``.

    A reader is made with the path of a regular file and raises a :class:`VideoError` if it cannot read
    it. It is used by one process, and by one thread at a time; :class:`Video` sees to that.
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


class Video:
    """A video that is open for reading. Make one with :meth:`open`; close it, or use a ``with`` statement.

    It may be shared between threads, which then take turns, but not between processes.
    """

    def __init__(self, path: Path, reader: VideoReader) -> None:
        self.path = path
        self._reader = reader
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._closed = False

    @classmethod
    def open(cls, path: str | Path, *, reader: type[VideoReader] | None = None) -> Video:
        """Opens a video file.

        Args:
            path: A regular file. Addresses and protocol strings such as ``http://`` are file names like
                any other, so they are not found.
            reader: The class that decodes; None is the built-in one, on PyAV.

        Raises:
            VideoNotFoundError: There is no such file, or it is a folder, a pipe or a device.
            NotAVideoError: No video stream in it.
            DamagedVideoError: A video of which no frame can be decoded.
        """
        if reader is None:
            from longvt_plugins.video.readers.pyav import PyavReader

            reader = PyavReader
        # Absolute, so that no name can be taken for a protocol or an option by what lies below.
        file = Path(path).absolute()
        _check_regular_file(file)
        return cls(file, reader(file))

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
        return self.frames(sampling.times(span), sampling)

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
        """
        asked = list(times)
        with self._lock:
            self._check_usable()
            for time in asked:
                if not 0 <= time < self.duration:  # NaN is neither, so it is refused too.
                    last = format_seconds(self.duration)
                    raise OutsideVideoError(
                        f"{self.path}: {time:g} s is outside the video, which lasts from 0 to {last} s"
                    )
            size = sampling.size(self.width, self.height) if sampling is not None else None
            rising = sorted(set(asked))
            found: dict[float, Frame] = {}
            # Resized one by one as they come: full-size frames of a long overview would fill the memory.
            for time, frame in zip(rising, self._reader.frames(rising), strict=True):
                found[time] = frame.resized(size) if size is not None else frame
        return [found[time] for time in asked]

    def frame_at(self, time: float) -> Frame:
        """What is on screen at this moment, as large as the video.

        Raises:
            OutsideVideoError: Below 0, at or past the duration, or not a number.
            DamagedVideoError: Nothing near can be decoded.
        """
        return self.frames([time])[0]

    def close(self) -> None:
        """Closes the file; a second time does nothing."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._reader.close()

    def _check_usable(self) -> None:
        if self._closed:
            raise VideoError(f"{self.path}: the video is closed")
        if os.getpid() != self._process:
            # The two processes would share one position in the file and read each other's bytes.
            raise VideoError(f"{self.path}: opened before the process was forked; open it again in the new process")

    def __enter__(self) -> Video:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _check_regular_file(path: Path) -> None:
    """Asks before opening: to open a pipe would wait for a writer, perhaps for ever."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name.
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise VideoNotFoundError(f"no video file {str(path)!r}: {reason}") from None
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
        raise VideoNotFoundError(f"no video file {str(path)!r}: it is {kind}")
