"""The tools as an MCP server.

::

    with ToolServer(VideoFolders(["/data/talks"]), plugins, ServerConfig(tools=("crop_video", "zoom_region"))) as tools:
        await serve_stdio(tools.server)

A client is told the schemas that models were trained on. What the tool refuses is told to it in the same words, marked
as an error; a bug is logged here, and the client learns that there was one. Calls run in threads, a few at a time, over
one library of videos, so that the second look at a film is fast. A call that the client cancels gives up at its next
report of progress, or where it reads a video: between two packets, or two frames of a reader that is no built-in one.
"""

from __future__ import annotations

import asyncio
import base64
import io
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from longvt_plugins.console import one_line
from longvt_plugins.errors import ConfigError, LongvtError, MissingExtraError, ToolError, VideoError
from longvt_plugins.mcp_server.folders import FolderContext, VideoFolders, list_videos
from longvt_plugins.plugins import PluginManager, run_tool_call
from longvt_plugins.tools import Tool
from longvt_plugins.types import Block, ToolCall
from longvt_plugins.video.config import VideoConfig
from longvt_plugins.video.interruption import interruptible
from longvt_plugins.video.library import VideoLibrary
from longvt_plugins.video.sampling import CROP

if TYPE_CHECKING:
    from mcp import types
    from mcp.server.lowlevel import Server

ImageFormat = Literal["jpeg", "png"]

NAME = "longvt"

INSTRUCTIONS = (
    "Tools that look into long videos. list_videos tells the names; every other tool takes such a name as video_path. "
    "Times are seconds from the start of the video."
)

_MAX_WAITING = 64
"""Calls that wait for a thread; more are refused."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServerConfig:
    """What a server offers.

    Args:
        tools: Names of the tools, with their options.
        images: How pictures are sent: ``"jpeg"`` (quality 95, 4:4:4) or ``"png"``, which loses nothing and takes about
            six times as much.
        max_frames: Frames of one reply. 32 of them are about 700 kB as JPEG: some clients take no more than 1 MB.
        threads: Calls that run at once.
        video: How videos are read and what is kept of them.

    Raises:
        ConfigError: A value that makes no sense.
    """

    tools: tuple[str, ...] = ("crop_video", "get_frames", "zoom_region", "search_subtitles")
    images: ImageFormat = "jpeg"
    max_frames: int = 32
    threads: int = 4
    video: VideoConfig = field(default_factory=VideoConfig)

    def __post_init__(self) -> None:
        if self.images not in ("jpeg", "png"):
            raise ConfigError(f"images must be jpeg or png, not {self.images!r}")
        for name in ("max_frames", "threads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}")


class ToolServer:
    """The tools over some folders of videos. Close it, or use a ``with`` statement.

    Args:
        folders: What may be opened.
        plugins: Where tools and readers come from.
        config: What is offered.

    Attributes:
        server: For a transport of :mod:`longvt_plugins.mcp_server.transports`.

    Raises:
        UnknownNameError: A tool or reader is not installed.
        MissingExtraError: ``mcp`` is not installed.
    """

    def __init__(self, folders: VideoFolders, plugins: PluginManager, config: ServerConfig | None = None) -> None:
        self.config = config if config is not None else ServerConfig()
        self._folders = folders
        self._plugins = plugins
        self._tools = [Tool.from_function(list_videos), *plugins.select_tools(self.config.tools)]
        self._library = VideoLibrary(self.config.video, plugins)
        most = self.config.max_frames
        self._crop = replace(CROP, max_frames=most, min_frames=min(CROP.min_frames, most))
        self._threads = ThreadPoolExecutor(self.config.threads, thread_name_prefix="longvt-tool")
        self._waiting = 0
        self._calls = 0
        self.server = self._make_server()

    def close(self) -> None:
        """Ends the threads after the calls that they are in, and closes the videos."""
        self._threads.shutdown(cancel_futures=True)
        self._library.close()

    def __enter__(self) -> ToolServer:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _make_server(self) -> Server[Any, Any]:
        try:
            from mcp.server.lowlevel import Server
        except ImportError:
            raise MissingExtraError("mcp", "mcp", "to serve the tools over MCP") from None

        import longvt_plugins

        server: Server[Any, Any] = Server(NAME, version=longvt_plugins.__version__, instructions=INSTRUCTIONS)

        # The decorators of mcp have no types.
        @server.list_tools()  # type: ignore[no-untyped-call, untyped-decorator]
        async def list_tools() -> list[types.Tool]:
            return [_described(tool) for tool in self._tools]

        # Arguments are checked by the tool, in the words that every host uses.
        @server.call_tool(validate_input=False)  # type: ignore[untyped-decorator]
        async def call_tool(name: str, arguments: dict[str, Any]) -> types.CallToolResult:
            return await self._call(name, arguments)

        return server

    async def _call(self, name: str, arguments: dict[str, Any]) -> types.CallToolResult:
        from mcp import types

        if self._waiting >= _MAX_WAITING:
            return _error("the server is busy; try again later")
        cancelled = threading.Event()
        report = self._reporter(cancelled)
        self._calls += 1
        call = ToolCall(f"call_{self._calls}", name, arguments)
        self._waiting += 1
        try:
            content = await asyncio.get_running_loop().run_in_executor(
                self._threads, self._run, call, report, cancelled.is_set
            )
        except asyncio.CancelledError:
            cancelled.set()
            raise
        except ToolError as error:
            return _error(str(error))
        except VideoError as error:
            return _error(f"the video cannot be read: {one_line(error)}")
        except LongvtError as error:
            logger.error("%s: %s", name, one_line(error))
            return _error(f"{name} cannot be used: {one_line(error)}")
        except Exception:
            logger.exception("tool %r broke on %s", name, str(arguments)[:500])
            return _error(f"{name} broke; the log of the server tells why")
        finally:
            self._waiting -= 1
        return types.CallToolResult(content=content)

    def _run(
        self, call: ToolCall, report: Callable[[int, int], None], cancelled: Callable[[], bool]
    ) -> list[types.ContentBlock]:
        context = FolderContext(self._folders, library=self._library, crop=self._crop, progress=report)
        with interruptible(cancelled), context as ctx:
            report(0, 1)
            return [self._content(block) for block in run_tool_call(self._plugins, self._tools, ctx, call)]

    def _reporter(self, cancelled: threading.Event) -> Callable[[int, int], None]:
        """What tells the client of this request how far its call is, from the call's thread."""
        context = self.server.request_context
        token = context.meta.progressToken if context.meta is not None else None
        session, request, loop = context.session, str(context.request_id), asyncio.get_running_loop()

        def report(done: int, total: int) -> None:
            if cancelled.is_set():
                raise ToolError("the call was cancelled")
            if token is not None:
                sending = session.send_progress_notification(token, done, total, related_request_id=request)
                # Not waited for: a client that is slow to read must not hold the thread.
                asyncio.run_coroutine_threadsafe(sending, loop)

        return report

    def _content(self, block: Block) -> types.ContentBlock:
        from mcp import types
        from PIL import Image

        if block["type"] == "text":
            return types.TextContent(type="text", text=block["text"])
        image = block["image"]
        if not isinstance(image, Image.Image):
            raise TypeError(f"an image of the reply is a {type(image).__name__}, not a PIL image")
        data = io.BytesIO()
        if self.config.images == "png":
            image.save(data, "PNG")
        else:
            image.convert("RGB").save(data, "JPEG", quality=95, subsampling=0)
        return types.ImageContent(
            type="image", data=base64.b64encode(data.getvalue()).decode("ascii"), mimeType=f"image/{self.config.images}"
        )


def _described(tool: Tool) -> types.Tool:
    from mcp import types

    function = tool.schema["function"]
    reads_only = types.ToolAnnotations(readOnlyHint=True, openWorldHint=False)
    return types.Tool(
        name=tool.name, description=function["description"], inputSchema=function["parameters"], annotations=reads_only
    )


def _error(text: str) -> types.CallToolResult:
    from mcp import types

    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], isError=True)
