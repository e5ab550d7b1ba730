"""LongVT's way to crop, written from its description: qwen-vl-utils reads the window, frames become PNG in base64.

In process it is a function; over MCP it stands behind a server on standard input and output, started for each call (as
lmms-eval does) or once.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image
from qwen_vl_utils import vision_process

from video_peers.qwen_reader import MAX_PIXELS, MIN_PIXELS
from video_peers.task import MAX_CROP_FRAMES, OPENED, Answer, Task


def crop_to_png(video_path: str, start_time: float, end_time: float) -> tuple[list[bytes], list[int]]:
    """The frames of a span at 1 fps as PNG files, and which frames of the video they are."""
    ask = {
        "video": video_path,
        "video_start": start_time,
        "video_end": end_time,
        "fps": 1.0,
        "max_frames": MAX_CROP_FRAMES,
        "min_pixels": MIN_PIXELS,
        "max_pixels": MAX_PIXELS,
    }
    frames, facts = vision_process.fetch_video(ask, return_video_metadata=True)
    files = []
    for frame in frames:
        file = io.BytesIO()
        Image.fromarray(frame.permute(1, 2, 0).byte().numpy()).save(file, "PNG")
        files.append(file.getvalue())
    return files, list(map(int, facts["frames_indices"]))


class InProcess:
    """The function, called."""

    ways = (OPENED,)

    def __init__(self, task: Task) -> None:
        self._path = str(Path(task.film.path))

    def overview(self) -> Answer:
        """Has no overview."""
        raise NotImplementedError

    def crop(self, start: float, end: float, way: str) -> Answer:
        """PNG files as base64 text."""
        files, numbers = crop_to_png(self._path, start, end)
        return Answer([base64.b64encode(file).decode() for file in files], numbers)

    def close(self) -> None:
        """Keeps nothing open."""
