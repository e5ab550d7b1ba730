"""Decoded frames in memory, bounded, the least recently used leaving first.

::

    kept = MemoryFrames(max_bytes=2**30)
    kept.put(key, frame)
    kept.get(key)            # a frame on the same pixels, or None

What is handed out shares its pixels with what is kept. An image that is drawn on gets pixels of its own first,
so nobody sees another's changes. It has no lock: :class:`~longvt_plugins.video.library.VideoLibrary` has.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import replace
from typing import TYPE_CHECKING

from longvt_plugins.video.video import Frame

if TYPE_CHECKING:
    from PIL import Image

BYTES_PER_PIXEL = 4
"""Pillow keeps RGB padded to four bytes."""


class MemoryFrames:
    """Frames by key.

    Args:
        max_bytes: How much memory their pixels may take together; a frame that is larger is not kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[Hashable, Frame] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def bytes(self) -> int:
        """Memory that the pixels of all kept frames take."""
        return self._bytes

    def get(self, key: Hashable) -> Frame | None:
        """The frame of this key, if it is kept."""
        if key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return self._kept[key]

    def put(self, key: Hashable, frame: Frame) -> None:
        """Keeps a frame, in the place of the one that was there."""
        if (earlier := self._kept.pop(key, None)) is not None:
            self._bytes -= _bytes_of(earlier)
        if _bytes_of(frame) > self._max_bytes:
            return
        self._kept[key] = frame
        self._bytes += _bytes_of(frame)
        while self._bytes > self._max_bytes:
            self._bytes -= _bytes_of(self._kept.popitem(last=False)[1])

    def recount(self) -> None:
        """Counts the bytes anew: a process forked between two lines of :meth:`put` inherits a wrong sum."""
        self._bytes = sum(map(_bytes_of, self._kept.values()))

    def clear(self) -> None:
        """Forgets all."""
        self._kept.clear()
        self._bytes = 0


def shared(frame: Frame) -> Frame:
    """Another frame on the same pixels; whoever draws on one of the two gets pixels of its own first."""
    image: Image.Image = frame.image
    image.load()  # One that a reader opened from a file may have no pixels yet.
    view = image._new(image.im)
    view.readonly = 1  # Pillow copies the pixels of such an image before it changes them.
    return replace(frame, image=view)


def _bytes_of(frame: Frame) -> int:
    return frame.width * frame.height * BYTES_PER_PIXEL
