"""Which files a client may name: videos inside the folders that the server was given, whatever the name looks like.

::

    folders = VideoFolders(["/data/talks"])
    folders.find("2024/opening.mp4")         # /data/talks/2024/opening.mp4
    folders.find("/data/talks/a.mp4")        # the same file by its path: people copy paths
    folders.find("/etc/passwd")              # ToolError, in the same words as for a file that is not there

A name is resolved, symbolic links followed, and what it leads to must be a regular file inside a folder. Addresses and
protocols are names like any other, so that nothing is ever fetched. One message tells of all refusals: a client cannot
learn from it what exists elsewhere.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from longvt_plugins.errors import ConfigError, ToolError
from longvt_plugins.tools.context import ToolContext
from longvt_plugins.types import Block
from longvt_plugins.video.container import VIDEO_SUFFIXES
from longvt_plugins.video.library import VideoLibrary
from longvt_plugins.video.sampling import FrameSampling

MAX_NAME = 1024
"""Characters of a name that is looked up."""

MAX_LISTED = 200

MAX_VISITED = 50_000
"""Files that a listing looks at."""


class VideoFolders:
    """The folders that a server may read.

    Args:
        folders: Symbolic links among them are followed once, now.

    Raises:
        ConfigError: There is no such folder, or none at all.
    """

    def __init__(self, folders: Sequence[str | Path]) -> None:
        if not folders:
            raise ConfigError("name at least one folder of videos: nothing outside it will be opened")
        self.roots: list[Path] = []
        for folder in folders:
            path = Path(folder).expanduser()
            if not path.is_dir():
                raise ConfigError(f"{path} is not a folder")
            self.roots.append(path.resolve())

    def find(self, name: str) -> Path:
        """The file that a client names, by its place in a folder or by its path.

        Raises:
            ToolError: There is no such file in the folders.
        """
        if isinstance(name, str) and 0 < len(name) <= MAX_NAME:
            # A path that is absolute takes the place of the folder before it.
            for root in self.roots:
                if (found := self.resolve(root / name)) is not None:
                    return found
        raise ToolError(
            f"there is no video {str(name)[:80]!r} in the folders of this server; list_videos tells which are"
        )

    def resolve(self, path: Path) -> Path | None:
        """Where a path really leads, if that is a regular file inside the folders."""
        try:
            found = path.resolve(strict=True)
            regular = stat.S_ISREG(found.stat().st_mode)
        except (OSError, ValueError, RuntimeError):  # a zero byte, a name too long, a loop of links
            return None
        return found if regular and any(found.is_relative_to(root) for root in self.roots) else None

    def videos(self, part: str) -> tuple[list[str], bool]:
        """Names of videos whose place in a folder has this part.

        Returns:
            The names, each as :meth:`find` takes it, in order of folders; and whether there may be more.
        """
        names: list[str] = []
        visited = 0
        for root in self.roots:
            for folder, children, files in os.walk(root):
                children.sort()
                for file in sorted(files):
                    visited += 1
                    if len(names) == MAX_LISTED or visited > MAX_VISITED:
                        return names, True
                    path = Path(folder, file)
                    name = str(path.relative_to(root))
                    if (
                        path.suffix.lower() in VIDEO_SUFFIXES
                        and part.casefold() in name.casefold()
                        and self.resolve(path)
                    ):
                        names.append(name)
        return names, False


class FolderContext(ToolContext):
    """What a tool sees of a call from a client: videos by name, out of the folders alone.

    Args:
        folders: Where they are.
        library: Opens them.
        crop: How ``crop_video`` samples.
        progress: Told how much of a long call is done.
    """

    def __init__(
        self,
        folders: VideoFolders,
        *,
        library: VideoLibrary,
        crop: FrameSampling,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        super().__init__({}, library=library, crop=crop, progress=progress)
        self._folders = folders

    @property
    def folders(self) -> VideoFolders:
        """Where the videos are."""
        return self._folders

    def file(self, name: str) -> Path:
        """The file that a client names, links resolved.

        Raises:
            ToolError: There is no such file in the folders.
        """
        return self._folders.find(name)

    def may_read(self, file: Path) -> bool:
        """Whether a file beside a video lies in the folders too, wherever it links to."""
        return self._folders.resolve(file) is not None


def list_videos(ctx: ToolContext, contains: str = "") -> list[Block]:  # noqa: D417 - ctx is hidden
    """List the videos that the tools can open, by name.

    Args:
        contains: A part of the name; all videos by default.

    Returns:
        The names, one a line, as the other tools take them.
    """
    if not isinstance(ctx, FolderContext):
        raise TypeError("list_videos is a tool of the MCP server alone")
    names, more = ctx.folders.videos(contains)
    if not names:
        return [ctx.text("no video")]
    ending = [f"... and more: {len(names)} are listed at once; ask for a part of the name"] if more else []
    return [ctx.text("\n".join([*names, *ending]))]
