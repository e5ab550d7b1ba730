"""decord: letting it resize while it decodes, and full size with Pillow's bicubic afterwards."""

from __future__ import annotations

from typing import Any

import decord
from PIL import Image

from video_peers.task import KEPT, OPENED, Answer, Task


class Decord:
    """Resizes while decoding."""

    ways = (OPENED, KEPT)

    def __init__(self, task: Task) -> None:
        self._task = task
        self._kept: Any = None

    def overview(self) -> Answer:
        """The overview in one batch."""
        return self._batch(self._open(), self._task.numbers)

    def crop(self, start: float, end: float, way: str) -> Answer:
        """A crop in one batch."""
        if way == KEPT and self._kept is None:
            self._kept = self._open()
        return self._batch(self._kept if way == KEPT else self._open(), self._task.crop_numbers(start, end))

    def close(self) -> None:
        """Closes the file."""
        self._kept = None

    def _open(self) -> Any:
        width, height = self._task.size
        return decord.VideoReader(str(self._task.film.path), width=width, height=height, num_threads=self._task.threads)

    def _batch(self, reader: Any, numbers: list[int]) -> Answer:
        return Answer(reader.get_batch(numbers).asnumpy(), numbers)


class DecordPlain(Decord):
    """Decodes full size, then resizes."""

    def _open(self) -> Any:
        return decord.VideoReader(str(self._task.film.path), num_threads=self._task.threads)

    def _batch(self, reader: Any, numbers: list[int]) -> Answer:
        pictures = reader.get_batch(numbers).asnumpy()
        resized = [Image.fromarray(picture).resize(self._task.size, Image.Resampling.BICUBIC) for picture in pictures]
        return Answer(resized, numbers)
