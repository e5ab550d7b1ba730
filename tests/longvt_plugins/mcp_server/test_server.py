"""The tools as any MCP client gets them, asked with the official client."""

from __future__ import annotations

import base64
import io
import threading
import time

import anyio
import pytest
from PIL import Image

from longvt_plugins import ToolContext, VideoConfig, hookimpl
from longvt_plugins.errors import ConfigError, UnknownNameError
from longvt_plugins.mcp_server.folders import VideoFolders
from longvt_plugins.mcp_server.server import ServerConfig, ToolServer
from longvt_plugins.plugins import create_plugin_manager
from longvt_plugins.testing import plugin_manager, read_stamp
from longvt_plugins.video.readers.pyav import PyavReader

OPENING = "2024/opening.mp4"


def picture(content):
    return Image.open(io.BytesIO(base64.b64decode(content.data)))


def test_a_client_is_told_the_schemas_that_models_were_trained_on(ask_server, talks):
    async def use(client):
        return (await client.list_tools()).tools

    told = {tool.name: tool for tool in ask_server(use, talks, tools=("crop_video:fps", "zoom_region"))}
    assert list(told) == ["list_videos", "crop_video", "zoom_region"]
    for tool in plugin_manager().select_tools(["crop_video:fps", "zoom_region"]):
        function = tool.schema["function"]
        assert told[tool.name].inputSchema == function["parameters"]
        assert told[tool.name].description == function["description"]
        assert told[tool.name].annotations.readOnlyHint


def test_frames_come_as_pictures_after_their_seconds(ask_server, talks):
    async def use(client):
        return await client.call_tool("crop_video", {"video_path": OPENING, "start_time": 10, "end_time": 12})

    reply = ask_server(use, talks)
    assert not reply.isError
    assert [content.text for content in reply.content if content.type == "text"] == [
        "2 frames from 10s to 12s:",
        "10s",
        "11s",
    ]
    shown = [content for content in reply.content if content.type == "image"]
    assert [read_stamp(picture(content)) for content in shown] == [40, 44]
    assert {content.mimeType for content in shown} == {"image/jpeg"}
    assert picture(shown[0]).format == "JPEG"


def test_pictures_can_be_png(ask_server, talks):
    async def use(client):
        return await client.call_tool("get_frames", {"video_path": OPENING, "timestamps": [3]})

    shown = ask_server(use, talks, images="png").content[-1]
    assert (shown.mimeType, picture(shown).format) == ("image/png", "PNG")
    assert read_stamp(picture(shown)) == 12


def test_videos_are_listed_and_found_by_place_or_path(ask_server, talks):
    async def use(client):
        listed = (await client.call_tool("list_videos", {})).content[0].text.splitlines()
        part = (await client.call_tool("list_videos", {"contains": "OPEN"})).content[0].text
        none = (await client.call_tool("list_videos", {"contains": "zebra"})).content[0].text
        by_path = await client.call_tool("get_frames", {"video_path": str(talks / "closing.mkv"), "timestamps": [0]})
        return listed, part, none, by_path

    listed, part, none, by_path = ask_server(use, talks)
    assert listed == ["closing.mkv", OPENING]
    assert (part, none) == (OPENING, "no video")
    assert not by_path.isError


def test_subtitles_beside_a_video_are_searched(ask_server, talks):
    async def use(client):
        return await client.call_tool("search_subtitles", {"video_path": OPENING, "query": "code"})

    assert "5s to 6s: The code is 4711." in ask_server(use, talks).content[0].text


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("crop_video", {"video_path": OPENING, "start_time": 30, "end_time": 40}, "start_time 30 is outside the video"),
        ("crop_video", {"video_path": OPENING}, "crop_video: 'start_time' is missing; 'end_time' is missing"),
        (
            "crop_video",
            {"video_path": "nothing.mp4", "start_time": 0, "end_time": 1},
            "there is no video 'nothing.mp4'",
        ),
        ("get_frames", {"video_path": "notes.txt", "timestamps": [0]}, "the video cannot be read: "),
        ("crop_vdeo", {}, "there is no tool named 'crop_vdeo'; the tools are: list_videos, crop_video"),
    ],
)
def test_a_mistake_is_told_in_one_line_and_the_server_goes_on(ask_server, talks, name, arguments, said):
    async def use(client):
        reply = await client.call_tool(name, arguments)
        return reply, await client.call_tool("list_videos", {})

    reply, after = ask_server(use, talks)
    assert reply.isError
    assert said in reply.content[0].text
    assert "\n" not in reply.content[0].text
    assert not after.isError


def test_a_bug_in_a_tool_is_logged_and_told_without_its_details(ask_server, talks, caplog):
    def broken(ctx: ToolContext, video_path: str) -> str:
        """Break.

        Args:
            video_path: Name of the video.
        """
        raise RuntimeError("secret detail")

    class Plugin:
        @hookimpl
        def register_tools(self, register):
            register(broken)

    async def use(client):
        return await client.call_tool("broken", {"video_path": OPENING})

    reply = ask_server(use, talks, plugins=plugin_manager(Plugin()), tools=("broken",))
    assert reply.isError
    assert reply.content[0].text == "broken broke; the log of the server tells why"
    assert "secret detail" in caplog.text


class Patience:
    """A tool that takes as long as it is let, and says how far it is."""

    def __init__(self):
        self.go_on, self.started, self.ended = threading.Event(), threading.Event(), threading.Event()

    @hookimpl
    def register_tools(self, register):
        def wait_here(ctx: ToolContext, steps: int) -> str:
            """Wait.

            Args:
                steps: How often.
            """
            try:
                for step in range(steps):
                    self.started.set()
                    ctx.report(step + 1, steps)
                    self.go_on.wait(0.01)
                return "done"
            finally:
                self.ended.set()

        register(wait_here)


def test_a_long_call_reports_its_progress(ask_server, talks):
    async def use(client):
        seen = []

        async def progress(done, total, message):
            seen.append((done, total))

        reply = await client.call_tool("wait_here", {"steps": 3}, progress_callback=progress)
        return reply.content[0].text, seen

    said, seen = ask_server(use, talks, plugins=plugin_manager(Patience()), tools=("wait_here",))
    assert said == "done"
    assert seen[0] == (0, 1)
    assert set(seen[1:]) <= {(1, 3), (2, 3), (3, 3)}
    assert len(seen) > 1


async def call_and_cancel(client, name, arguments, started, ended):
    """Cancels a client's first call once it has started, and waits until the tool gave up."""
    from mcp import McpError, types

    async def call():
        with pytest.raises(McpError, match="cancelled"):
            await client.call_tool(name, arguments)

    async with anyio.create_task_group() as group:
        group.start_soon(call)
        await anyio.to_thread.run_sync(started.wait)
        cancel = types.CancelledNotification(
            method="notifications/cancelled", params=types.CancelledNotificationParams(requestId=1)
        )
        await client.send_notification(types.ClientNotification(cancel))
        await anyio.to_thread.run_sync(ended.wait)


def test_a_cancelled_call_gives_up_and_the_server_goes_on(ask_server, talks):
    tool = Patience()

    async def use(client):
        await call_and_cancel(client, "wait_here", {"steps": 10_000_000}, tool.started, tool.ended)
        return await client.call_tool("list_videos", {})

    settings = {"plugins": plugin_manager(tool), "tools": ("wait_here",), "threads": 1}
    assert not ask_server(use, talks, **settings).isError
    assert tool.ended.is_set()


class Slow(PyavReader):
    """Takes a fifth of a second for each frame."""

    started, ended = threading.Event(), threading.Event()
    most = 0

    def scaled_frames(self, times, size, scaling):
        try:
            for number, frame in enumerate(super().scaled_frames(times, size, scaling), start=1):
                Slow.most = max(Slow.most, number)
                self.started.set()
                yield frame
                time.sleep(0.2)
        finally:
            self.ended.set()


class SlowPlugin:
    @hookimpl
    def register_video_readers(self, register):
        register("slow", Slow)


def test_a_crop_that_is_cancelled_ends_in_the_midst_of_decoding(ask_server, talks):
    """A thousand frames, a fifth of a second each, are not decoded to the last."""
    wanted = {"video_path": OPENING, "start_time": 0, "end_time": 20, "fps": 50}

    async def use(client):
        await call_and_cancel(client, "crop_video", wanted, Slow.started, Slow.ended)
        return await client.call_tool("get_frames", {"video_path": OPENING, "timestamps": [3]})

    settings = {"plugins": plugin_manager(SlowPlugin()), "tools": ("crop_video:fps", "get_frames")}
    video = VideoConfig(reader="slow")
    reply = ask_server(use, talks, max_frames=1000, threads=1, video=video, **settings)
    assert read_stamp(picture(reply.content[-1])) == 12
    assert 0 < Slow.most < 100


def test_several_calls_at_once_are_answered_each(ask_server, talks):
    async def use(client):
        replies = {}

        async def look(second):
            replies[second] = await client.call_tool("get_frames", {"video_path": OPENING, "timestamps": [second]})

        async with anyio.create_task_group() as group:
            for second in range(12):
                group.start_soon(look, second)
        return replies

    replies = ask_server(use, talks)
    assert {second: read_stamp(picture(reply.content[-1])) for second, reply in replies.items()} == {
        second: 4 * second for second in range(12)
    }


def test_a_reply_has_no_more_frames_than_the_server_sends(ask_server, talks):
    async def use(client):
        return await client.call_tool("crop_video", {"video_path": OPENING, "start_time": 0, "end_time": 20})

    reply = ask_server(use, talks, max_frames=5)
    assert len([content for content in reply.content if content.type == "image"]) == 5


def test_a_faulty_configuration_is_told_before_anything_is_served(talks, tmp_path):
    with pytest.raises(UnknownNameError, match="No tool named 'crop_vdeo'"):
        ToolServer(VideoFolders([talks]), plugin_manager(), ServerConfig(tools=("crop_vdeo",)))
    with pytest.raises(ConfigError, match="is not a folder"):
        VideoFolders([tmp_path / "missing"])
    with pytest.raises(ConfigError, match="name at least one folder"):
        VideoFolders([])
    with pytest.raises(ConfigError, match="images must be jpeg or png"):
        ServerConfig(images="gif")
    with pytest.raises(ConfigError, match="max_frames must be at least 1"):
        ServerConfig(max_frames=0)


def test_a_tool_of_an_installed_plugin_is_served_by_being_named(ask_server, talks, example_plugin, monkeypatch):
    monkeypatch.syspath_prepend(example_plugin)

    async def use(client):
        return await client.call_tool("zoom_pixels", {"video_path": OPENING, "timestamp": 3, "bbox": [0, 0, 48, 32]})

    reply = ask_server(use, talks, plugins=create_plugin_manager(), tools=("zoom_pixels",))
    assert reply.content[0].text == "3s, region [0.0, 0.0, 48.0, 32.0]:"
    assert picture(reply.content[1]).size == (48, 32)
