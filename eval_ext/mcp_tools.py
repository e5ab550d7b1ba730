"""Tools of an MCP server for the loop: one session for all rollouts, whose server is started once.

::

    with McpTools("python my_server.py") as server:                # or "http://localhost:8765/mcp"
        server.tools()["crop_video"]                               # a Tool like any other

A server knows files and not the names of a question: an argument that is a name of the rollout's videos travels as the
path of its file, and a path in what the server says comes back as the name. What the server marks as an error is told
to the model; a server that breaks or does not reply ends the rollout, which is then not scored. Pictures in a reply
count as frames of the rollout's budget; sounds and files are left out, and the model is told so.
"""

from __future__ import annotations

import base64
import contextlib
import inspect
import io
import shlex
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any

from longvt_plugins.errors import ChatUnavailableError, ConfigError, MissingExtraError, ToolError
from longvt_plugins.plugins import PluginManager
from longvt_plugins.registry import Registry
from longvt_plugins.tools import Tool, ToolContext
from longvt_plugins.types import Block

if TYPE_CHECKING:
    from mcp import ClientSession

PATIENCE_SECONDS = 600.0
"""For one call, as lmms-eval's own client has it."""

LONGEST_TEXT = 20_000
"""Letters of one reply that the model reads."""

_TYPES: dict[str, Any] = {
    "string": str,
    "number": float,
    "integer": int,
    "boolean": bool,
    "object": dict[str, Any],
    "array": list[Any],
}


class McpTools:
    """A session with a server, a context manager; may be used from several threads.

    Args:
        server: Its address, or the command that starts it on standard input and output.
        patience: Seconds for one call.

    Raises:
        MissingExtraError: The package ``mcp`` is not installed.
        ConfigError: The server cannot be started or asked.
    """

    def __init__(self, server: str, patience: float = PATIENCE_SECONDS) -> None:
        try:
            from anyio.from_thread import start_blocking_portal
            from mcp import ClientSession  # noqa: F401
        except ImportError:
            raise MissingExtraError("mcp", "mcp", "to use the tools of an MCP server") from None
        self.server = server
        self._patience = patience
        with contextlib.ExitStack() as stack:
            try:
                self._portal = stack.enter_context(start_blocking_portal())
                self._session = stack.enter_context(self._portal.wrap_async_context_manager(self._open()))
                self._listed = self._portal.call(self._session.list_tools).tools
            except Exception as error:
                raise ConfigError(f"mcp server {server!r}: {_told(error)}") from error
            self._stack = stack.pop_all()

    def __enter__(self) -> McpTools:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the session, and the server if it was started here."""
        self._stack.close()

    def tools(self) -> dict[str, Tool]:
        """The server's tools by name.

        Raises:
            PluginError: One that cannot be a tool here, such as for its name.
        """
        return {listed.name: Tool.from_function(self._function(listed), listed.name) for listed in self._listed}

    @contextlib.asynccontextmanager
    async def _open(self) -> AsyncIterator[ClientSession]:
        from mcp import ClientSession, StdioServerParameters
        from mcp.client.stdio import stdio_client
        from mcp.client.streamable_http import streamablehttp_client

        async with contextlib.AsyncExitStack() as stack:
            if self.server.startswith(("http://", "https://")):
                read, write, _ = await stack.enter_async_context(streamablehttp_client(self.server))
            else:
                program, *arguments = shlex.split(self.server)
                parameters = StdioServerParameters(command=program, args=arguments)
                read, write = await stack.enter_async_context(stdio_client(parameters))
            patience = timedelta(seconds=self._patience)
            session = await stack.enter_async_context(ClientSession(read, write, read_timeout_seconds=patience))
            await session.initialize()
            yield session

    def _function(self, listed: Any) -> Callable[..., list[Block]]:
        def call(ctx: ToolContext, **given: Any) -> list[Block]:
            return self._call(ctx, listed.name, {name: value for name, value in given.items() if value is not None})

        properties: Mapping[str, Any] = listed.inputSchema.get("properties", {})
        required = set(listed.inputSchema.get("required", ()))
        hints = {name: _type_of(schema) for name, schema in properties.items()}
        parameters = [inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
        # What may be left out comes last, as Python has it.
        for name in sorted(properties, key=lambda name: name not in required):
            default = inspect.Parameter.empty if name in required else None
            if name not in required:
                hints[name] = hints[name] | None
            parameters.append(inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default))
        call.__name__ = call.__qualname__ = listed.name
        call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        call.__annotations__ = {"ctx": ToolContext, **hints}
        lines = [f"    {name}: {_one_line(properties[name].get('description')) or name}" for name in properties]
        call.__doc__ = "\n".join([_one_line(listed.description) or listed.name, "", "Args:", *lines])
        return call

    def _call(self, ctx: ToolContext, name: str, arguments: dict[str, Any]) -> list[Block]:
        paths = {str(path): known for known, path in ctx.videos.items()}
        sent = {key: str(ctx.videos[value]) if value in ctx.videos else value for key, value in _texts(arguments)}
        try:
            result = self._portal.call(self._session.call_tool, name, arguments | sent)
        except Exception as error:
            raise ChatUnavailableError(f"mcp server {self.server!r}, tool {name}: {_told(error)}") from error
        blocks: list[Block] = []
        left_out = 0
        for part in result.content:
            if part.type == "text":
                text = part.text[:LONGEST_TEXT]
                for path, known in paths.items():
                    text = text.replace(path, known)
                blocks.append(ctx.text(text))
            elif part.type == "image" and not result.isError:
                blocks.append(ctx.image(_picture(part.data, f"mcp server {self.server!r}, tool {name}")))
            else:
                left_out += 1
        if result.isError:
            raise ToolError(" ".join(block["text"] for block in blocks if block["type"] == "text") or f"{name} failed")
        if left_out:
            blocks.append(ctx.text(f"{left_out} parts of the reply cannot be shown."))
        if pictures := sum(block["type"] == "image" for block in blocks):
            return _within(blocks, ctx.budget.grant_frames(pictures))
        return blocks or [ctx.text("The tool returned nothing.")]


def offer_tools(plugins: PluginManager, server: McpTools) -> None:
    """Makes a server's tools those of a plugin manager: a name that is installed too is the server's from now on.

    Args:
        plugins: The caller's own, which nobody else uses.
        server: Under way.
    """
    served = server.tools()
    tools: Registry[Tool] = Registry("tool")
    for name in plugins.tools:
        if name not in served:
            tools.register(name, plugins.tools.get(name), provider=plugins.tools.provider(name))
    for name, tool in served.items():
        tools.register(name, tool, provider=f"mcp server {server.server!r}")
    plugins.tools = tools


def _within(blocks: list[Block], pictures: int) -> list[Block]:
    """The first pictures of a reply, as many as the budget has."""
    shown: list[Block] = []
    for block in blocks:
        if block["type"] == "image":
            pictures -= 1
        if block["type"] != "image" or pictures >= 0:
            shown.append(block)
    return shown


def _picture(data: str, where: str) -> Any:
    from PIL import Image, UnidentifiedImageError

    try:
        picture = Image.open(io.BytesIO(base64.b64decode(data)))
        return picture.convert("RGB")
    except (ValueError, OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise ChatUnavailableError(f"{where}: an unreadable picture: {_told(error)}") from None


def _texts(arguments: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(key, value) for key, value in arguments.items() if isinstance(value, str)]


def _type_of(schema: Mapping[str, Any]) -> Any:
    if schema.get("type") == "array":
        inner = schema.get("items", {}).get("type")
        item: Any = _TYPES.get(inner, Any)
        return list[item]
    return _TYPES.get(str(schema.get("type")), Any)


def _one_line(text: str | None) -> str:
    # The docstring's own sections would end the description.
    return " ".join((text or "").split()).replace("Args:", "Arguments:")


def _told(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    return " ".join(str(error).split())[:300] or type(error).__name__
