"""Which moments of a video are looked at, and how large the frames are.

>>> OVERVIEW.times(TimeSpan(0, 64))[:3]          # 1 fps: every second
[0.0, 1.0, 2.0]
>>> FrameSampling(fps=1.0, max_frames=4).times(TimeSpan(10, 20))
[10.0, 12.5, 15.0, 17.5]

``grid`` samples start at the span's start and never touch its end, so 1 fps over [10, 13) is 10, 11
and 12. It does not read videos: see :mod:`longvt_plugins.video.video`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from longvt_plugins.errors import ConfigError
from longvt_plugins.types import TimeSpan


@dataclass(frozen=True)
class FrameSampling:
    """How frames are taken from a span of a video.

    Args:
        fps: Frames per second wanted.
        min_frames: Never fewer, however short the span.
        max_frames: Never more; a longer span is sampled more thinly.
        min_pixels: Smallest area of a frame in pixels; smaller ones are enlarged.
        max_pixels: Largest area of a frame in pixels; larger ones are shrunk, their shape kept.
        mode: ``"grid"`` takes evenly spaced times from the start of the span, the end left out.
        labels: ``"seconds"`` puts each frame's second before it as text, ``"none"`` does not.
        factor: Width and height are multiples of this many pixels, the model's patch grid.

    Raises:
        ConfigError: A value that makes no sense, named.
    """

    fps: float = 1.0
    min_frames: int = 1
    max_frames: int = 512
    min_pixels: int = 28 * 28
    max_pixels: int = 224 * 224
    mode: Literal["grid"] = "grid"
    labels: Literal["seconds", "none"] = "seconds"
    factor: int = 28

    def __post_init__(self) -> None:
        if not (math.isfinite(self.fps) and self.fps > 0):
            raise ConfigError(f"fps must be a positive number, not {self.fps}")
        if not 1 <= self.min_frames <= self.max_frames:
            raise ConfigError(f"1 <= min_frames ({self.min_frames}) <= max_frames ({self.max_frames}) does not hold")
        if not 0 < self.min_pixels <= self.max_pixels:
            raise ConfigError(f"0 < min_pixels ({self.min_pixels}) <= max_pixels ({self.max_pixels}) does not hold")
        if self.mode != "grid":
            raise ConfigError(f"mode must be 'grid', not {self.mode!r}")
        if self.labels not in ("seconds", "none"):
            raise ConfigError(f"labels must be 'seconds' or 'none', not {self.labels!r}")

    def count(self, span: TimeSpan) -> int:
        """How many frames a span gets: ``fps`` times its length, kept between the two limits."""
        return min(max(self._natural_count(span), self.min_frames), self.max_frames)

    def times(self, span: TimeSpan, count: int | None = None) -> list[float]:
        """The moments to look at.

        Args:
            span: Where, in seconds.
            count: How many, instead of :meth:`count`, where a budget allows fewer.

        Returns:
            Seconds from the start of the video, rising, ``count`` of them: ``1 / fps`` apart where
            that many fit, else spread evenly over the span.
        """
        n = self.count(span) if count is None else count
        step = 1 / self.fps if n == self._natural_count(span) else span.seconds / n
        return [span.start + i * step for i in range(n)]

    def _natural_count(self, span: TimeSpan) -> int:
        # The small term keeps 0.1 fps over 30 s at 3 frames, not 2, whatever the float product is.
        return math.floor(span.seconds * self.fps + 1e-6)

    def size(self, width: int, height: int) -> tuple[int, int]:
        """The size that a frame is resized to.

        Args:
            width: Pixels of the source, after rotation.
            height: Pixels of the source, after rotation.

        Returns:
            Width and height, multiples of ``factor``, whose area lies between ``min_pixels`` and
            ``max_pixels`` as far as the grid allows; the rounding is that of Qwen2-VL's image
            processor (``smart_resize``), so that the processor changes nothing more.
        """
        w = max(self.factor, round(width / self.factor) * self.factor)
        h = max(self.factor, round(height / self.factor) * self.factor)
        if w * h > self.max_pixels:
            scale = math.sqrt(width * height / self.max_pixels)
            w = max(self.factor, math.floor(width / scale / self.factor) * self.factor)
            h = max(self.factor, math.floor(height / scale / self.factor) * self.factor)
        elif w * h < self.min_pixels:
            scale = math.sqrt(self.min_pixels / (width * height))
            w = math.ceil(width * scale / self.factor) * self.factor
            h = math.ceil(height * scale / self.factor) * self.factor
        return w, h


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
