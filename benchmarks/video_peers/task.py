"""What a peer is asked, and what it gives back.

A peer is a class made with a :class:`Task`. It has ``overview()`` and, for each of its ``ways``, ``crop(start, end,
way)``; both return pictures with the number that each of them should carry.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from video_peers.film import Film

if TYPE_CHECKING:
    import numpy as np

MAX_CROP_FRAMES = 128
"""LongVT's crop: 1 fps, at most so many frames."""

FIRST, OPENED, KEPT = "first", "opened", "kept"
"""Ways to crop: of a file that nothing is known of yet; opened for each crop; kept open between crops."""


@dataclass(frozen=True)
class Task:
    """What is asked of every peer alike.

    Attributes:
        film: The file.
        numbers: The frames of the overview: those that qwen-vl-utils takes.
        size: Width and height of the pictures wanted.
        threads: Of the decoder; 0 leaves the library its own default.
        folder: Empty, for what the peer keeps on disk.
    """

    film: Film
    numbers: list[int]
    size: tuple[int, int]
    threads: int
    folder: str

    def crop_times(self, start: float, end: float) -> list[float]:
        """One moment for each second from ``start`` on, or 128 spread evenly over a longer span."""
        count = max(1, int(end - start + 1e-6))
        step = 1.0 if count <= MAX_CROP_FRAMES else (end - start) / MAX_CROP_FRAMES
        return [start + place * step for place in range(min(count, MAX_CROP_FRAMES))]

    def crop_numbers(self, start: float, end: float) -> list[int]:
        """The frames on screen at :meth:`crop_times`."""
        return [self.film.shown_at(time) for time in self.crop_times(start, end)]


class Answer(NamedTuple):
    """Pictures (PIL, numpy, torch with channels first, or base64 text) and the numbers that they should carry."""

    pictures: Sequence[Any]
    numbers: list[int]


class Peer(Protocol):
    """One way to read a video."""

    ways: tuple[str, ...]

    def __init__(self, task: Task) -> None: ...

    def overview(self) -> Answer:
        """The overview's frames, the file being opened for it."""
        ...

    def crop(self, start: float, end: float, way: str) -> Answer:
        """The frames of a span, in seconds."""
        ...

    def close(self) -> None:
        """Ends what is kept open."""
        ...


def as_array(picture: Any) -> np.ndarray[Any, Any]:
    """A picture of any kind as height x width x 3."""
    import numpy as np
    from PIL import Image

    if isinstance(picture, str):
        with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
            return np.asarray(image.convert("RGB"))
    if hasattr(picture, "permute"):
        picture = picture.permute(1, 2, 0).numpy()
    return np.asarray(picture)
