"""Images as they travel, kept: a conversation sends its frames again in every turn, and questions share films.

::

    urls = ImageUrls("jpeg")
    to_wire(messages, image_url=urls)          # the second time nothing is encoded

An image is known by its pixels, whose hash costs a fifth of encoding them. What was not used for longest goes. May be
used from several threads.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from longvt_plugins.chat.config import ImageFormat
from longvt_plugins.chat.wire import encode_image, hash_image

if TYPE_CHECKING:
    from PIL import Image

MAX_BYTES = 64 << 20
"""Of all URLs together: about 3,000 frames of 224 x 224 pixels."""


class ImageUrls:
    """Data URLs of images.

    Args:
        image_format: How they are encoded.
        max_bytes: Memory that the URLs may take together.
    """

    def __init__(self, image_format: ImageFormat, max_bytes: int = MAX_BYTES) -> None:
        self._format: ImageFormat = image_format
        self._max_bytes = max_bytes
        self._kept: OrderedDict[str, str] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def bytes(self) -> int:
        """Memory that the URLs take."""
        return self._bytes

    def __call__(self, image: Image.Image) -> str:
        """The URL of an image."""
        key = hash_image(image)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        url = encode_image(image, self._format)
        with self._lock:
            # Two threads may have encoded the same image meanwhile.
            if key not in self._kept and len(url) <= self._max_bytes:
                self._kept[key] = url
                self._bytes += len(url)
            while self._bytes > self._max_bytes:
                self._bytes -= len(self._kept.popitem(last=False)[1])
        return url
