"""A GRPO group on one video, through ``VideoLibrary``: each of 16 rollouts asks for the overview and crops once.

The decoding of one rollout, which it is compared with, goes through ``Video``, where nothing is kept.
"""

from __future__ import annotations

import random

from longvt_plugins.types import TimeSpan
from longvt_plugins.video import OVERVIEW, Frame, Video
from longvt_plugins.video.config import VideoConfig
from longvt_plugins.video.library import VideoLibrary
from video_peers.task import Answer, Task

ROLLOUTS = 16

EVIDENCE = 10
"""Seconds that the answer can be seen in."""

SLOPPY = 10
"""Whole seconds that a window starts too early, and ends too late, at most."""


class One:
    """One rollout."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._draw = random.Random(0)

    def group(self) -> Answer:
        """The frames that all rollouts are shown."""
        with Video.open(self._task.film.path) as video:
            return self._rollout(video, self._windows()[0])

    def close(self) -> None:
        """Keeps nothing open."""

    def _windows(self) -> list[TimeSpan]:
        """Around the same evidence, each as sloppy as it came out."""
        evidence = self._task.film.seconds // 2
        return [
            TimeSpan(evidence - self._draw.randint(0, SLOPPY), evidence + EVIDENCE + self._draw.randint(0, SLOPPY))
            for _ in range(ROLLOUTS)
        ]

    def _rollout(self, video: Video, window: TimeSpan) -> Answer:
        frames: list[Frame] = [*video.overview(), *video.clip(window)]
        film = self._task.film
        times = [*OVERVIEW.times(TimeSpan(0, film.seconds)), *self._task.crop_times(window.start, window.end)]
        return Answer([frame.image for frame in frames], [film.shown_at(time) for time in times])


class Sixteen(One):
    """A group whose windows overlap."""

    def group(self) -> Answer:
        """The frames that all rollouts are shown."""
        pictures: list[object] = []
        numbers: list[int] = []
        with VideoLibrary(VideoConfig()) as library:
            for window in self._windows():
                with library.open(self._task.film.path) as video:
                    answer = self._rollout(video, window)
                pictures.extend(answer.pictures)
                numbers.extend(answer.numbers)
        return Answer(pictures, numbers)


class SixteenSameWindow(Sixteen):
    """A group that agrees."""

    def _windows(self) -> list[TimeSpan]:
        return [super()._windows()[0]] * ROLLOUTS


class SixteenAnywhere(Sixteen):
    """A group that has not found the place yet: windows anywhere, at tenths of a second, which share few frames."""

    def _windows(self) -> list[TimeSpan]:
        lengths = [window.seconds for window in super()._windows()]
        starts = [self._draw.randrange(int(10 * (self._task.film.seconds - length))) / 10 for length in lengths]
        return [TimeSpan(start, start + length) for start, length in zip(starts, lengths, strict=True)]
