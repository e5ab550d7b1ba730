"""A ``crop_video`` that says something and shows nothing, as an MCP server: for runs in which only the loop matters."""

from __future__ import annotations

from typing import Any

from mcp.server.fastmcp import FastMCP

server = FastMCP("video tools", log_level="ERROR")


@server.tool(structured_output=False)
def crop_video(video_path: str, start_time: Any, end_time: Any) -> str:
    """Shows a part of a video.

    Args:
        video_path: The file.
        start_time: Seconds from its start.
        end_time: Seconds from its start.
    """
    return f"a look from {start_time} to {end_time}"


if __name__ == "__main__":
    server.run()
