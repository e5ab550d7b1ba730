"""Which moments of a video are looked at, and how large the frames are.

>>> OVERVIEW.times(TimeSpan(0, 64))[:3]          # 1 fps: every second
[0.0, 1.0, 2.0]
>>> FrameSampling(fps=1.0, max_frames=4).times(TimeSpan(10, 20))
[10.0, 12.5, 15.0, 17.5]

``grid`` samples start at the span's start and never touch its end, so 1 fps over [10, 13) is 10, 11
and 12. ``qwen`` takes the frames that qwen-vl-utils would take, for checkpoints trained with it: an
even number of frame numbers, both ends among them. It does not read videos: see
:mod:`longvt_plugins.video.video`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from longvt_plugins.errors import ConfigError, MissingExtraError
from longvt_plugins.types import TimeSpan

Mode = Literal["grid", "qwen"]
"""How moments are chosen, see :class:`FrameSampling`."""

Scaling = Literal["fast", "exact"]
"""How frames are made smaller, see :class:`FrameSampling`."""

# How qwen-vl-utils 0.0.14 counts and resizes, as its source says.
_QWEN_PAIR = 2
_QWEN_MAX_FRAME_TOKENS = 768
_QWEN_MAX_VIDEO_TOKENS = 128_000 * 0.9


@dataclass(frozen=True)
class Timetable:
    """When each frame of a video comes on screen: frame numbers as seconds.

    Args:
        times: Seconds from the first frame shown, rising; its n-th value is frame n.
        fps: Mean frames per second, as the reader's library tells it.
        duration: Seconds, the last frame's own time on screen included.
    """

    times: Sequence[float]
    fps: float
    duration: float


class HasTimetable(Protocol):
    """What ``qwen`` asks of a video; :class:`~longvt_plugins.video.Video` is one."""

    @property
    def timetable(self) -> Timetable:
        """Made when it is asked for: a long video has a million frames."""
        ...


@dataclass(frozen=True)
class FrameSampling:
    """How frames are taken from a span of a video.

    Args:
        fps: Frames per second wanted.
        min_frames: Never fewer, however short the span.
        max_frames: Never more; a longer span is sampled more thinly.
        min_pixels: Smallest area of a frame in pixels; smaller ones are enlarged.
        max_pixels: Largest area of a frame in pixels; larger ones are shrunk, their shape kept.
        mode: ``"grid"`` takes evenly spaced times from the start of the span, the end left out. ``"qwen"``
            takes the frames of qwen-vl-utils: an even number of them, spread over frame numbers from the
            first to the last of the span, which on variable frame rates is not evenly spread in time.
        labels: ``"seconds"`` puts each frame's second before it as text, ``"none"`` does not.
        factor: Width and height are multiples of this many pixels, the model's patch grid.
        scaling: ``"fast"`` lets the decoder's scaler go straight to the target size. ``"exact"`` makes the
            full-size RGB picture first and shrinks that by antialiased bicubic resampling, as qwen-vl-utils
            does: slower, and about 46 dB apart from the other.

    Raises:
        ConfigError: A value that makes no sense, named.
    """

    fps: float = 1.0
    min_frames: int = 1
    max_frames: int = 512
    min_pixels: int = 28 * 28
    max_pixels: int = 224 * 224
    mode: Mode = "grid"
    labels: Literal["seconds", "none"] = "seconds"
    factor: int = 28
    scaling: Scaling = "fast"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.fps) and self.fps > 0):
            raise ConfigError(f"fps must be a positive number, not {self.fps}")
        if not 1 <= self.min_frames <= self.max_frames:
            raise ConfigError(f"1 <= min_frames ({self.min_frames}) <= max_frames ({self.max_frames}) does not hold")
        if not 0 < self.min_pixels <= self.max_pixels:
            raise ConfigError(f"0 < min_pixels ({self.min_pixels}) <= max_pixels ({self.max_pixels}) does not hold")
        if self.mode not in get_args(Mode):
            raise ConfigError(f"mode must be 'grid' or 'qwen', not {self.mode!r}")
        if self.mode == "qwen" and self.max_frames < _QWEN_PAIR:
            raise ConfigError("max_frames must be at least 2 in mode 'qwen', which takes frames in pairs")
        if self.labels not in ("seconds", "none"):
            raise ConfigError(f"labels must be 'seconds' or 'none', not {self.labels!r}")
        if self.scaling not in get_args(Scaling):
            raise ConfigError(f"scaling must be 'fast' or 'exact', not {self.scaling!r}")

    def count(self, span: TimeSpan, *, video: HasTimetable | None = None) -> int:
        """How many frames a span gets: ``fps`` times its length, kept between the two limits.

        Args:
            span: Where, in seconds.
            video: Whose frames ``qwen`` counts; ``grid`` needs none.

        Raises:
            ConfigError: ``qwen`` without a video.
        """
        if self.mode == "qwen":
            return self._qwen_count(span, _timetable(video))
        return min(max(self._natural_count(span), self.min_frames), self.max_frames)

    def times(self, span: TimeSpan, count: int | None = None, *, video: HasTimetable | None = None) -> list[float]:
        """The moments to look at.

        Args:
            span: Where, in seconds.
            count: How many, instead of :meth:`count`, where a budget allows fewer.
            video: Whose frame numbers ``qwen`` means; ``grid`` needs none.

        Returns:
            Seconds from the start of the video, rising, ``count`` of them. ``grid``: ``1 / fps`` apart
            where that many fit, else spread evenly over the span. ``qwen``: the times of the frames that
            qwen-vl-utils would take; of a span with fewer than two frames, which it refuses, the start.

        Raises:
            ConfigError: ``qwen`` without a video.
            MissingExtraError: ``qwen`` without torch.
        """
        if self.mode == "qwen":
            return self._qwen_times(span, count, _timetable(video))
        n = self.count(span) if count is None else count
        step = 1 / self.fps if n == self._natural_count(span) else span.seconds / n
        return [span.start + i * step for i in range(n)]

    def _qwen_count(self, span: TimeSpan, table: Timetable) -> int:
        first, last = _frame_range(span, table)
        total = last - first + 1
        if total < _QWEN_PAIR:
            return 1
        fewest = math.ceil(self.min_frames / _QWEN_PAIR) * _QWEN_PAIR
        most = self.max_frames // _QWEN_PAIR * _QWEN_PAIR
        # First divided, then multiplied: the other way round the last bit may differ, and with it a pair of frames.
        wanted = min(max(total / table.fps * self.fps, fewest), most, total)
        return math.floor(wanted / _QWEN_PAIR) * _QWEN_PAIR

    def _qwen_times(self, span: TimeSpan, count: int | None, table: Timetable) -> list[float]:
        first, last = _frame_range(span, table)
        if last - first + 1 < _QWEN_PAIR:
            return [span.start]
        n = self._qwen_count(span, table) if count is None else count
        return [table.times[number] for number in _spread(first, last, n)]

    def _natural_count(self, span: TimeSpan) -> int:
        # The small term keeps 0.1 fps over 30 s at 3 frames, not 2, whatever the float product is.
        return math.floor(span.seconds * self.fps + 1e-6)

    def size(self, width: int, height: int, *, frames: int = 1) -> tuple[int, int]:
        """The size that a frame is resized to.

        Args:
            width: Pixels of the source, after rotation.
            height: Pixels of the source, after rotation.
            frames: How many are taken together; in ``qwen`` many large ones become smaller.

        Returns:
            Width and height, multiples of ``factor``, whose area lies between ``min_pixels`` and
            ``max_pixels`` as far as the grid allows; the rounding is that of Qwen2-VL's image
            processor (``smart_resize``), so that the processor changes nothing more.
        """
        most = self._qwen_max_pixels(frames) if self.mode == "qwen" else self.max_pixels
        w = max(self.factor, round(width / self.factor) * self.factor)
        h = max(self.factor, round(height / self.factor) * self.factor)
        if w * h > most:
            scale = math.sqrt(width * height / most)
            w = max(self.factor, math.floor(width / scale / self.factor) * self.factor)
            h = max(self.factor, math.floor(height / scale / self.factor) * self.factor)
        elif w * h < self.min_pixels:
            scale = math.sqrt(self.min_pixels / (width * height))
            w = math.ceil(width * scale / self.factor) * self.factor
            h = math.ceil(height * scale / self.factor) * self.factor
        return w, h

    def _qwen_max_pixels(self, frames: int) -> float:
        """The largest area, which qwen-vl-utils bounds by a frame's tokens and by those of the whole video too."""
        token = self.factor**2  # A token is a square of the grid; two frames share their tokens.
        bound = min(_QWEN_MAX_FRAME_TOKENS * token, _QWEN_MAX_VIDEO_TOKENS * token / frames * _QWEN_PAIR)
        return min(self.max_pixels, max(bound, int(self.min_pixels * 1.05)))


def _timetable(video: HasTimetable | None) -> Timetable:
    if video is None:
        raise ConfigError("mode 'qwen' counts the frames of a video: name the video, or use mode 'grid'")
    return video.timetable


def _frame_range(span: TimeSpan, table: Timetable) -> tuple[int, int]:
    """Numbers of the first and last frame of a span, by the mean frame rate; a last one before the first: none."""
    last = len(table.times) - 1
    if span.end < table.duration:  # Else to the end, though by the mean frame rate there may be some time left.
        last = min(math.floor(span.end * table.fps), last)
    return math.ceil(min(span.start, len(table.times) / table.fps) * table.fps), last


def _spread(first: int, last: int, count: int) -> list[int]:
    """Whole numbers from the first to the last, as evenly as torch spreads them."""
    try:
        import torch
    except ImportError:
        raise MissingExtraError("torch", "readers", "for the sampling mode 'qwen'") from None

    # Not a formula of ours: torch counts in 32 bits and in blocks as wide as the processor's registers. A formula
    # in 32 bits gives another number somewhere in every ninth overview, an exact one in every second.
    numbers: list[int] = torch.linspace(first, last, count).round().long().tolist()
    return numbers


def format_seconds(time: float) -> str:
    """A moment as the model reads and writes it: tenths of a second, no trailing zero.

    >>> format_seconds(12.0), format_seconds(12.54)
    ('12', '12.5')
    """
    return f"{time:.1f}".removesuffix(".0")


OVERVIEW = FrameSampling(fps=1.0, min_frames=1, max_frames=512, min_pixels=28 * 28, max_pixels=224 * 224)
"""The whole video at a glance: 1 fps, at most 512 frames (LongVT, arXiv 2511.20785, training setting)."""

CROP = FrameSampling(fps=1.0, min_frames=1, max_frames=128, min_pixels=28 * 28, max_pixels=224 * 224)
"""What ``crop_video`` returns: 1 fps, 1 to 128 frames (LongVT, the tool's own setting)."""
