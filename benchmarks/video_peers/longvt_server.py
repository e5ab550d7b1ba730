"""LongVT's crop tool as an MCP server on standard input and output: ``python -m video_peers.longvt_server``."""

from __future__ import annotations

import json

from mcp.server.fastmcp import FastMCP, Image

from video_peers.longvt_tool import crop_to_png

server = FastMCP("video tools", log_level="ERROR")


@server.tool(structured_output=False)
def crop_video(video_path: str, start_time: float, end_time: float) -> list[str | Image]:
    """Shows a part of a video.

    Args:
        video_path: The file.
        start_time: Seconds from its start.
        end_time: Seconds from its start.
    """
    files, numbers = crop_to_png(video_path, start_time, end_time)
    return [json.dumps(numbers), *(Image(data=file, format="png") for file in files)]


if __name__ == "__main__":
    server.run()
