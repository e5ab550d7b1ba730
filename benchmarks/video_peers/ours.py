"""This project's reader, through ``Video``: scaling ``fast`` and ``exact``."""

from __future__ import annotations

import base64
import io
import tempfile
from dataclasses import replace
from pathlib import Path

from longvt_plugins.types import TimeSpan
from longvt_plugins.video import CROP, OVERVIEW, Frame, Video
from longvt_plugins.video.sampling import Scaling
from video_peers.task import FIRST, KEPT, OPENED, Answer, Task

QUALITY, FULL_COLOUR = 95, 0
"""JPEG as frames travel to a server: 4:4:4, whose number in Pillow is 0."""


class Fast:
    """The decoder's own scaler. Nothing is known of the file before the overview."""

    ways: tuple[str, ...] = (FIRST, OPENED, KEPT)
    scaling: Scaling = "fast"

    def __init__(self, task: Task) -> None:
        self._task = task
        self._kept: Video | None = None

    def overview(self) -> Answer:
        """The overview of a file that is opened for the first time."""
        times = [number / self._task.film.fps for number in self._task.numbers]
        with self._open(FIRST) as video:
            frames = video.frames(times, replace(OVERVIEW, scaling=self.scaling))
        return Answer([frame.image for frame in frames], self._task.numbers)

    def crop(self, start: float, end: float, way: str) -> Answer:
        """A crop."""
        if way == KEPT:
            if self._kept is None:
                self._kept = self._open(KEPT)
            frames = self._clip(self._kept, start, end)
        else:
            with self._open(way) as video:
                frames = self._clip(video, start, end)
        return Answer(self._pictures(frames), self._task.crop_numbers(start, end))

    def close(self) -> None:
        """Closes the file."""
        if self._kept is not None:
            self._kept.close()

    def _open(self, way: str) -> Video:
        folder = Path(self._task.folder)
        return Video.open(self._task.film.path, index_dir=tempfile.mkdtemp(dir=folder) if way == FIRST else folder)

    def _clip(self, video: Video, start: float, end: float) -> list[Frame]:
        return video.clip(TimeSpan(start, end), replace(CROP, scaling=self.scaling))

    def _pictures(self, frames: list[Frame]) -> list[object]:
        return [frame.image for frame in frames]


class Exact(Fast):
    """Full size, then bicubic."""

    scaling: Scaling = "exact"


class FastAsJpeg(Fast):
    """As images for a server: JPEG in base64."""

    ways = (KEPT,)

    def _pictures(self, frames: list[Frame]) -> list[object]:
        texts: list[object] = []
        for frame in frames:
            file = io.BytesIO()
            frame.image.save(file, "JPEG", quality=QUALITY, subsampling=FULL_COLOUR)
            texts.append(base64.b64encode(file.getvalue()).decode())
        return texts
