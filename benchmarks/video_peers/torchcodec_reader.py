"""torchcodec in its exact mode, which scans the file for times first, resizing while it decodes."""

from __future__ import annotations

from typing import Any

from torchcodec.decoders import VideoDecoder
from torchcodec.transforms import Resize

from video_peers.task import KEPT, OPENED, Answer, Task

_LIBRARY_DEFAULT_THREADS = 1


class TorchCodec:
    """Exact and resizing."""

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
        return VideoDecoder(
            str(self._task.film.path),
            seek_mode="exact",
            num_ffmpeg_threads=self._task.threads or _LIBRARY_DEFAULT_THREADS,
            transforms=[Resize((height, width))],
        )

    def _batch(self, decoder: Any, numbers: list[int]) -> Answer:
        return Answer(decoder.get_frames_at(indices=numbers).data, numbers)
