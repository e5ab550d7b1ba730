"""Which files of this machine the page may open: those it was started with, and none that a request names.

::

    library = VideoChoice([Path("films"), Path("talk.mp4")])
    library.names()                     # ['films/a.mp4', 'films/b.mkv', 'talk.mp4']
    library.path("films/a.mp4")         # the file; any other text is refused

A name is looked up among what was found, and never joined to a folder.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from longvt_plugins.asking.questions import check_video
from longvt_plugins.errors import ConfigError
from longvt_plugins.video.container import VIDEO_SUFFIXES

MAX_VIDEOS = 2000


class VideoChoice:
    """The videos of some folders and files.

    Args:
        places: Folders, searched with the folders in them, and files.

    Raises:
        ConfigError: A place that does not exist, or too many videos.
    """

    def __init__(self, places: Iterable[str | Path]) -> None:
        self._files: dict[str, Path] = {}
        for place in places:
            path = Path(place)
            if path.is_dir():
                found = (file for file in sorted(path.rglob("*")) if file.suffix.lower() in VIDEO_SUFFIXES)
                inside = [file for file in found if file.is_file() and file.resolve().is_relative_to(path.resolve())]
            else:
                inside = [check_video(place)]
            for file in inside:
                self._files[str(file)] = file.absolute()
            if len(self._files) > MAX_VIDEOS:
                raise ConfigError(f"more than {MAX_VIDEOS} videos: start with a smaller folder")

    def names(self) -> list[str]:
        """What may be chosen."""
        return list(self._files)

    def path(self, name: str) -> Path:
        """The file of a name.

        Raises:
            ConfigError: Not one of them.
        """
        if name not in self._files:
            raise ConfigError(f"no video {name[:200]!r} among those that the page was started with")
        return self._files[name]
