"""qwen-vl-utils' ``fetch_video``, which LongVT reads videos with; which library decodes is chosen by a variable.

Its crop is the reference's crop without any encoding of images.
"""

from __future__ import annotations

import os
from typing import Any

from qwen_vl_utils import vision_process

from video_peers.task import MAX_CROP_FRAMES, OPENED, Answer, Task

MIN_PIXELS, MAX_PIXELS = 28 * 28, 224 * 224
"""LongVT's bounds for overview and crop."""


class Qwen:
    """``fetch_video`` on the library that ``FORCE_QWENVL_VIDEO_READER`` names; it opens the file on each call."""

    ways = (OPENED,)

    def __init__(self, task: Task) -> None:
        self._task = task
        if not vision_process.FORCE_QWENVL_VIDEO_READER:
            raise RuntimeError("FORCE_QWENVL_VIDEO_READER must name the library that decodes")
        if not task.threads:
            os.environ.pop("TORCHCODEC_NUM_THREADS", None)

    def overview(self) -> Answer:
        """As many frames as were asked of the others, over the whole film."""
        return self._fetch({"nframes": len(self._task.numbers)})

    def crop(self, start: float, end: float, way: str) -> Answer:
        """A crop at 1 fps, from its first to its last frame."""
        return self._fetch({"video_start": start, "video_end": end, "fps": 1.0, "max_frames": MAX_CROP_FRAMES})

    def close(self) -> None:
        """Keeps nothing open."""

    def _fetch(self, what: dict[str, Any]) -> Answer:
        ask = {"video": str(self._task.film.path), "min_pixels": MIN_PIXELS, "max_pixels": MAX_PIXELS, **what}
        pictures, facts = vision_process.fetch_video(ask, return_video_metadata=True)
        if facts["video_backend"] != vision_process.FORCE_QWENVL_VIDEO_READER:
            # It falls back on an error without a word.
            raise RuntimeError(f"qwen-vl-utils read with {facts['video_backend']} instead")
        return Answer(pictures, list(map(int, facts["frames_indices"])))
