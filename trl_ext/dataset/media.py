"""Videos and pictures of a data set, found by the paths that it names them by.

>>> MediaFolder("videos").find("/mnt/somebody/tvg/XNT6F.mp4")
'/data/longvt/videos/tvg/XNT6F.mp4'

Published paths are those of the machine where the data was made. A path is taken as it is if it is there, then below
the folder, then by its name anywhere below it, as long as one file has that name. It opens nothing.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path, PurePosixPath

from longvt_plugins.errors import ConfigError

MOST_FILES = 2_000_000
"""Files whose names are remembered, about 200 bytes each; a folder with more is refused."""


class MediaNotFoundError(Exception):
    """No such file, or several."""


class MediaFolder:
    """A folder with videos and pictures, in any arrangement.

    Args:
        root: The folder.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).expanduser().absolute()

    def find(self, name: str) -> str:
        """The file that a data set names.

        Args:
            name: A path, absolute or not, or ``file://`` before one.

        Raises:
            MediaNotFoundError: No such file, or several of that name.
            ConfigError: The folder holds more files than are looked through.
        """
        recorded = PurePosixPath(name.removeprefix("file://"))
        if ("://" in name and not name.startswith("file://")) or "\0" in name or not recorded.name:
            raise MediaNotFoundError(f"{name[:200]!r} is no file's path")
        inside = self.root.joinpath(*(part for part in recorded.parts if part not in ("/", "..")))
        for candidate in (Path(recorded) if recorded.is_absolute() else inside, inside):
            if candidate.is_file():
                return str(candidate)
        found = self._by_name.get(recorded.name, [])
        # Of several of one name, that whose folders agree best with those that were recorded.
        best = [path for path in found if path.endswith(f"/{'/'.join(recorded.parts[-2:])}")] or found
        if len(best) == 1:
            return best[0]
        if best:
            raise MediaNotFoundError(
                f"{len(best)} files named {recorded.name} below {self.root}: {', '.join(best[:3])}"
            )
        raise MediaNotFoundError(f"no file {recorded.name} below {self.root}")

    @functools.cached_property
    def _by_name(self) -> dict[str, list[str]]:
        files: dict[str, list[str]] = {}
        count = 0
        for folder, _, names in os.walk(self.root):
            count += len(names)
            if count > MOST_FILES:
                # Not of this one name alone: nobody wants the folder walked for each of them.
                raise ConfigError(f"more than {MOST_FILES:,} files below {self.root}: name a folder further down")
            for name in names:
                files.setdefault(name, []).append(os.path.join(folder, name))  # noqa: PTH118 - 2 million Paths are slow
        return files
