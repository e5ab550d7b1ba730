"""``crop_video`` as an MCP server on standard input and output, for lmms-eval's ``async_openai``, one per call.

It reads with this project's reader, the fastest one measured, and imports no more than that needs: what is compared is
the loop, not the decoding.
"""

from __future__ import annotations

import io
from dataclasses import replace

from mcp.server.fastmcp import FastMCP, Image

from longvt_plugins.types import TimeSpan
from longvt_plugins.video.sampling import CROP
from longvt_plugins.video.video import Video

server = FastMCP("video tools", log_level="ERROR")


@server.tool(structured_output=False)
def crop_video(video_path: str, start_time: float, end_time: float) -> list[str | Image]:
    """Shows a part of a video.

    Args:
        video_path: The file.
        start_time: Seconds from its start.
        end_time: Seconds from its start.
    """
    with Video.open(video_path) as video:
        frames = video.clip(TimeSpan(start_time, end_time), replace(CROP, max_frames=16))
    shown: list[str | Image] = [f"{len(frames)} frames"]
    for frame in frames:
        file = io.BytesIO()
        frame.image.save(file, "PNG")
        shown.append(Image(data=file.getvalue(), format="png"))
    return shown


if __name__ == "__main__":
    server.run()
