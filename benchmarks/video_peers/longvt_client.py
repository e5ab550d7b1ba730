"""Calls LongVT's crop tool behind its MCP server: a server for each call, or one for all."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from video_peers.task import KEPT, OPENED, Answer, Task

PATIENCE = timedelta(minutes=10)
"""For one call, as lmms-eval has it."""


class McpPerCall:
    """Starts a server for each call."""

    ways: tuple[str, ...] = (OPENED,)

    def __init__(self, task: Task) -> None:
        self._path = str(task.film.path)

    def overview(self) -> Answer:
        """Has no overview."""
        raise NotImplementedError

    def crop(self, start: float, end: float, way: str) -> Answer:
        """A call, its server included."""
        return asyncio.run(self._call(start, end))

    def close(self) -> None:
        """Nothing is left running."""

    async def _call(self, start: float, end: float) -> Answer:
        async with _session() as session:
            return _answer(await session.call_tool("crop_video", self._arguments(start, end)))

    def _arguments(self, start: float, end: float) -> dict[str, Any]:
        return {"video_path": self._path, "start_time": start, "end_time": end}


class McpSession(McpPerCall):
    """One server for all calls, started before the first is measured."""

    ways = (KEPT,)

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        with contextlib.ExitStack() as stack:
            self._portal: BlockingPortal = stack.enter_context(start_blocking_portal())
            live: AbstractContextManager[ClientSession] = self._portal.wrap_async_context_manager(_session())
            self._session = stack.enter_context(live)
            # The first call of a library does more than the later ones.
            self.crop(0.0, 2.0, KEPT)
            self._open = stack.pop_all()

    def crop(self, start: float, end: float, way: str) -> Answer:
        """A call."""
        return _answer(self._portal.call(self._session.call_tool, "crop_video", self._arguments(start, end)))

    def close(self) -> None:
        """Ends the server."""
        self._open.close()


@asynccontextmanager
async def _session() -> AsyncIterator[ClientSession]:
    # The whole environment: the client would pass on little more than PATH.
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "video_peers.longvt_server"], env=dict(os.environ)
    )
    async with stdio_client(server) as (read, write), ClientSession(read, write, PATIENCE) as session:
        await session.initialize()
        yield session


def _answer(result: Any) -> Answer:
    if result.isError:
        raise RuntimeError(f"the tool failed: {result.content[0].text}")
    head, *pictures = result.content
    return Answer([picture.data for picture in pictures], json.loads(head.text))
