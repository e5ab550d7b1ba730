"""One pass over a film that measures how its pictures change, and takes overview frames on the way.

::

    signals = read_signals("film.mp4", overview=OVERVIEW)
    signals.change[1000], signals.times[1000]     # how much the 1,000th decoded picture differs from the one before
    signals.overview                              # frames near the moments that an overview asks for

Pictures that no other one refers to are not decoded where the codec tells, and all are looked at 96x54 pixels large, in
luma and chroma as they are stored. So an overview frame may come one or two frames late: where the exact frame matters,
ask :class:`~longvt_plugins.video.Video`. It decides nothing: :mod:`datapipe.steps.scenes.cuts` does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longvt_plugins.errors import DamagedVideoError
from longvt_plugins.types import TimeSpan
from longvt_plugins.video.container import Deadline, open_container, video_stream
from longvt_plugins.video.picture import PictureMaker
from longvt_plugins.video.sampling import FrameSampling
from longvt_plugins.video.video import Frame, check_regular_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

WIDTH, HEIGHT = 96, 54
"""Pixels of the pictures that are compared."""

FAR_SECONDS = 1.0
"""Apart from each other are the pictures whose coarse distance is measured: gradual changes take about so long."""

_MOST_IN_MEMORY = 512
"""Pictures of the last second that are remembered; at 60 pictures a second it holds 60."""


@dataclass(frozen=True)
class Signals:
    """How a film changes, one value for each picture that was decoded.

    Attributes:
        times: Seconds from the first frame shown.
        change: Mean absolute difference to the picture before, luma and chroma added, 0 to 765.
        coarse: The same of 16x9 blocks.
        far: The same of 16x9 blocks, to the picture :data:`FAR_SECONDS` earlier.
        light: Mean luma, 0 to 255.
        spread: Standard deviation of luma: near 0 for a picture of one colour.
        duration: Seconds.
        damaged: Packets that could not be decoded.
        overview: Frames near the moments that were asked for, in order of time.
    """

    times: Floats
    change: Floats
    coarse: Floats
    far: Floats
    light: Floats
    spread: Floats
    duration: float
    damaged: int = 0
    overview: list[Frame] = field(default_factory=list)


def read_signals(
    path: str | Path,
    *,
    duration: float | None = None,
    overview: FrameSampling | None = None,
    max_packets: int = 1 << 25,
    time_limit: float | None = None,
) -> Signals:
    """Decodes a film once.

    Args:
        path: A regular file.
        duration: Its seconds where they are known, as the reader has them; needed for an overview, else taken from
            the last picture.
        overview: Which frames are kept on the way; None keeps none, and decodes faster without smoothing the edges of
            blocks, which nothing at 96x54 pixels shows.
        max_packets: No more are read, whatever the file claims.
        time_limit: Seconds that it may take; None is no limit.

    Raises:
        VideoTimeoutError: It took longer than the limit.
        VideoError: The file cannot be read.
        DamagedVideoError: No picture of it can be decoded.
    """
    import numpy as np

    file = Path(path).absolute()
    check_regular_file(file)
    wanted = _Wanted(overview, duration)
    rows: list[tuple[float, ...]] = []
    seen = _Seen()
    with _Stream(file, Deadline(file, time_limit), smooth=wanted.any, max_packets=max_packets) as stream:
        for time, frame in stream.frames():
            rows.append((time, *seen.measure(time, frame)))
            wanted.offer(time, frame)
        if not rows:
            raise DamagedVideoError(f"{file}: no frame of it can be decoded", damaged_packets=stream.damaged)
        last = rows[-1][0] + (rows[-1][0] - rows[0][0]) / max(1, len(rows) - 1)
    times, change, coarse, far, light, spread = np.array(rows, dtype=np.float64).T
    return Signals(
        times=times,
        change=change,
        coarse=coarse,
        far=far,
        light=light,
        spread=spread,
        duration=duration if duration is not None else last,
        damaged=stream.damaged,
        overview=wanted.frames,
    )


class _Stream:
    """The decoded pictures of a file with their seconds, in the order of time."""

    def __init__(self, path: Path, deadline: Deadline, *, smooth: bool, max_packets: int) -> None:
        self.damaged = 0
        self._deadline = deadline
        self._max_packets = max_packets
        self._container = open_container(path, deadline)
        try:
            self._stream = video_stream(self._container, path)
            context = self._stream.codec_context
            context.skip_frame = "NONREF"
            if not smooth:
                context.options = {"err_detect": "explode", "skip_loop_filter": "all"}
        except BaseException:
            self._container.close()
            raise

    def __enter__(self) -> _Stream:
        return self

    def __exit__(self, *exception: object) -> None:
        self._container.close()

    def frames(self) -> Iterator[tuple[float, Any]]:
        tick = float(self._stream.time_base)
        rate = self._stream.guessed_rate or self._stream.average_rate
        gap = 1 / float(rate) if rate else 0.04
        first: float | None = None
        latest = -gap
        for frame in self._decoded():
            # Containers without times (raw streams in AVI) count frames.
            second = latest + gap if frame.pts is None else frame.pts * tick - (first or 0.0)
            if first is None:
                first = second if frame.pts is not None else 0.0
                second = 0.0
            if second <= latest:
                continue  # A picture out of order, as damage leaves them.
            latest = second
            yield second, frame

    def _decoded(self) -> Iterator[Any]:
        from av.error import ExitError, FFmpegError

        context = self._stream.codec_context
        packets = self._container.demux(self._stream)
        for _ in range(self._max_packets):
            self._deadline.check()
            try:
                packet = next(packets, None)
            except ExitError:
                raise self._deadline.error() from None
            except (FFmpegError, IndexError):
                self.damaged += 1
                packet = None
            if packet is None:
                break
            try:
                yield from context.decode(packet if packet.size else None)
            except EOFError:
                return
            except FFmpegError:
                self.damaged += 1
            if not packet.size:
                return
        try:
            yield from context.decode(None)
        except (EOFError, FFmpegError):
            return


class _Seen:
    """Compares each picture with those before it."""

    def __init__(self) -> None:
        import numpy as np
        from av.video.reformatter import VideoReformatter

        self._scaler: Any = VideoReformatter()
        self._before: Any = None
        self._coarse: deque[tuple[float, Any]] = deque(maxlen=_MOST_IN_MEMORY)
        # One picture after the other in one vector; each plane's differences add up to its mean.
        sizes = [height * width for height, width in _SHAPES]
        self._weights = np.repeat(np.array([1 / size for size in sizes], np.float32), sizes)

    def measure(self, time: float, frame: Any) -> tuple[float, float, float, float, float]:
        import numpy as np

        small = self._scaler.reformat(frame, width=WIDTH, height=HEIGHT, format="yuv420p", interpolation="AREA")
        planes = [_plane(plane, shape) for plane, shape in zip(small.planes, _SHAPES, strict=True)]
        # Copied: the scaler writes the next picture into the same memory.
        picture = np.concatenate([plane.ravel() for plane in planes])
        blocks = np.concatenate([_blocks(plane) for plane in planes])
        change = coarse = 0.0
        if self._before is not None:
            # Of unsigned bytes: larger less smaller does not wrap around.
            apart = np.maximum(picture, self._before) - np.minimum(picture, self._before)
            change = float(apart.astype(np.float32) @ self._weights)
            coarse = _distance(blocks, self._coarse[-1][1])
        while len(self._coarse) > 1 and self._coarse[1][0] <= time - FAR_SECONDS:
            self._coarse.popleft()
        far = _distance(blocks, self._coarse[0][1]) if self._coarse else 0.0
        self._before = picture
        self._coarse.append((time, blocks))
        luma = picture[: HEIGHT * WIDTH].astype(np.float32)
        mean = float(luma.sum()) / luma.size
        return change, coarse, far, mean, max(0.0, float(luma @ luma) / luma.size - mean * mean) ** 0.5


_SHAPES = ((HEIGHT, WIDTH), (HEIGHT // 2, WIDTH // 2), (HEIGHT // 2, WIDTH // 2))
"""Of the planes: luma, and chroma at half of its size."""

_ROWS, _COLUMNS = 9, 16


def _plane(plane: Any, shape: tuple[int, int]) -> Any:
    import numpy as np

    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    return rows[: shape[0], : shape[1]]


def _blocks(plane: Any) -> Any:
    """Means of 16x9 blocks. Rows first, which numpy adds up fastest."""
    import numpy as np

    height, width = plane.shape
    rows = plane.reshape(_ROWS, height // _ROWS, width).sum(1, dtype=np.float32)
    return rows.reshape(_ROWS, _COLUMNS, width // _COLUMNS).sum(2).ravel() * (_ROWS * _COLUMNS / plane.size)


def _distance(one: Any, other: Any) -> float:
    import numpy as np

    # Three planes of equally many blocks: the sum of their means.
    return float(np.abs(one - other).sum()) / (_ROWS * _COLUMNS)


class _Wanted:
    """Keeps the first picture at or after each moment of an overview."""

    def __init__(self, sampling: FrameSampling | None, duration: float | None) -> None:
        self.frames: list[Frame] = []
        self._sampling = sampling
        self._pictures = PictureMaker()
        self._moments: deque[float] = deque()
        if sampling is not None and duration is not None:
            self._moments.extend(sampling.times(TimeSpan(0, duration)))
        self.any = bool(self._moments)
        self._size: tuple[int, int] | None = None

    def offer(self, time: float, frame: Any) -> None:
        if not self._moments or time < self._moments[0] or self._sampling is None:
            return
        while self._moments and self._moments[0] <= time:
            self._moments.popleft()
        if self._size is None:
            self._size = self._sampling.size(*self._pictures.full(frame).size)
        self.frames.append(Frame(self._pictures.scaled(frame, self._size, self._sampling.scaling), time))
