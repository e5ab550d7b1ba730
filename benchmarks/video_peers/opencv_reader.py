"""OpenCV: seeks by frame number, or grabs on where the next frame is near, and resizes frame by frame."""

from __future__ import annotations

from typing import Any

import cv2

from video_peers.film import GOP
from video_peers.task import KEPT, OPENED, Answer, Task


class OpenCV:
    """Frame by frame, as its documentation has it: area interpolation to shrink."""

    ways = (OPENED, KEPT)

    def __init__(self, task: Task) -> None:
        self._task = task
        self._kept: Any = None
        if task.threads:
            cv2.setNumThreads(task.threads)

    def overview(self) -> Answer:
        """The overview, frame by frame."""
        capture = self._open()
        try:
            return self._read(capture, self._task.numbers)
        finally:
            capture.release()

    def crop(self, start: float, end: float, way: str) -> Answer:
        """A crop, frame by frame."""
        if way == KEPT and self._kept is None:
            self._kept = self._open()
        capture = self._kept if way == KEPT else self._open()
        try:
            return self._read(capture, self._task.crop_numbers(start, end))
        finally:
            if way != KEPT:
                capture.release()

    def close(self) -> None:
        """Closes the file."""
        if self._kept is not None:
            self._kept.release()

    def _open(self) -> Any:
        threads = [cv2.CAP_PROP_N_THREADS, self._task.threads] if self._task.threads else []
        return cv2.VideoCapture(str(self._task.film.path), cv2.CAP_FFMPEG, threads)

    def _read(self, capture: Any, numbers: list[int]) -> Answer:
        pictures = []
        at = int(capture.get(cv2.CAP_PROP_POS_FRAMES))
        for number in numbers:
            # A seek decodes from the key frame: on average half a group, and more before it than grabbing would.
            if not 0 <= number - at < GOP:
                capture.set(cv2.CAP_PROP_POS_FRAMES, number)
                at = number
            for _ in range(number - at):
                capture.grab()
            read, picture = capture.read()
            at = number + 1
            if not read:
                raise RuntimeError(f"frame {number} cannot be read")
            small = cv2.resize(picture, self._task.size, interpolation=cv2.INTER_AREA)
            pictures.append(cv2.cvtColor(small, cv2.COLOR_BGR2RGB))
        return Answer(pictures, numbers)
