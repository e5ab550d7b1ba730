"""The frames that rollouts refer to, decoded again and written as small JPEG files or into the page itself.

::

    pictures = Pictures(folder=Path("page"))
    source = pictures.source("film.mp4", {"time": 12.0, "width": 224, "height": 126})
    pictures.write()                       # page/frames/4f1c....jpg, every picture once

A picture that cannot be had, since its video is gone or damaged, has no source, and the video has a reason. What a
rollout is, it does not know: see :mod:`longvt_plugins.viewer.page`.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longvt_plugins.errors import VideoError
from longvt_plugins.progress import Tell
from longvt_plugins.video.video import Video

if TYPE_CHECKING:
    from PIL import Image

JPEG_QUALITY = 88


class Pictures:
    """Frames wanted by a page; asked for first, decoded together.

    Args:
        folder: Where the page lies; None puts the pictures into the page as data.

    Attributes:
        failures: Why videos could not be shown, by file.
        durations: Seconds of those that could, by file.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._wanted: dict[str, dict[tuple[float, int, int, tuple[float, ...]], str]] = defaultdict(dict)
        self._data: dict[str, str] = {}
        self.failures: dict[str, str] = {}
        self.durations: dict[str, float] = {}

    def want(self, video: str, image: Mapping[str, Any]) -> str:
        """Names a picture, for :meth:`source` to find once :meth:`write` has run.

        Args:
            video: The file.
            image: ``time`` in seconds, ``width`` and ``height`` as the model saw it, ``region`` where it saw a part.
        """
        time, width, height = float(image["time"]), int(image["width"]), int(image["height"])
        region = tuple(float(edge) for edge in image.get("region") or ())
        name = hashlib.sha256(f"{video}\0{time!r}\0{width}x{height}\0{region}".encode()).hexdigest()[:20]
        self._wanted[video][time, width, height, region] = name
        return name

    def source(self, name: str) -> str | None:
        """What an ``img`` element has as its source; None where the picture cannot be had."""
        return self._data.get(name)

    def write(self, tell: Tell | None = None) -> None:
        """Decodes what is wanted, each video once."""
        for number, (video, wanted) in enumerate(self._wanted.items(), start=1):
            try:
                with Video.open(video) as opened:
                    self.durations[video] = opened.duration
                    for (time, width, height, region), name in sorted(wanted.items()):
                        # A time written for a person is rounded, and may lie a little past the end.
                        frame = opened.frame_at(min(time, max(0.0, opened.duration - 1e-3)))
                        self._keep(name, (frame.cut(region) if region else frame).resized((width, height)).image)
            except VideoError as error:
                self.failures[video] = str(error)
            if tell is not None:
                tell("videos", number, len(self._wanted))

    def _keep(self, name: str, picture: Image.Image) -> None:
        packed = io.BytesIO()
        picture.save(packed, "JPEG", quality=JPEG_QUALITY)
        if self._folder is None:
            self._data[name] = "data:image/jpeg;base64," + base64.b64encode(packed.getvalue()).decode()
            return
        file = self._folder / "frames" / f"{name}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(packed.getvalue())
        self._data[name] = f"frames/{file.name}"
