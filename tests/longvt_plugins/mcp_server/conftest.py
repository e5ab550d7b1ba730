"""A folder of videos, and a server over it with the official client connected in this process."""

from __future__ import annotations

import contextlib
import shutil

import anyio
import pytest

from longvt_plugins.mcp_server.folders import VideoFolders
from longvt_plugins.mcp_server.server import ServerConfig, ToolServer
from longvt_plugins.testing import plugin_manager, write_stamped_video


@pytest.fixture(scope="session")
def talks(tmp_path_factory):
    """``2024/opening.mp4`` and ``closing.mkv``, 20 s each at 4 frames a second, with subtitles beside the first."""
    folder = tmp_path_factory.mktemp("talks")
    (folder / "2024").mkdir()
    write_stamped_video(folder / "2024" / "opening.mp4", 20)
    shutil.copy(folder / "2024" / "opening.mp4", folder / "closing.mkv")
    (folder / "2024" / "opening.srt").write_text("1\n00:00:05,000 --> 00:00:06,000\nThe code is 4711.\n")
    (folder / "notes.txt").write_text("no video")
    return folder


@pytest.fixture(scope="session")
def ask_server():
    """Runs ``async use(client)`` with a client of a server over the folders; further keywords are its configuration."""

    def ask_server(use, *folders, plugins=None, **settings):
        async def run():
            from mcp.shared.memory import create_connected_server_and_client_session

            config = ServerConfig(**settings)
            with ToolServer(VideoFolders(folders), plugins or plugin_manager(), config) as tools:
                async with create_connected_server_and_client_session(tools.server) as client:
                    with contextlib.suppress(anyio.ClosedResourceError):
                        return await use(client)

        return anyio.run(run)

    return ask_server
