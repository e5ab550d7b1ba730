"""Tools that a model may call while it watches a video; one file a tool."""

from longvt_plugins.tools.context import ToolContext, frame_blocks
from longvt_plugins.tools.tool import Tool, select_tools

__all__ = ["Tool", "ToolContext", "frame_blocks", "select_tools"]
