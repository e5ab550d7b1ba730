"""The shared core: plugin hooks, video reading, tools, transcripts, judges, prompts, the synthetic video world.

The public names are here and are loaded when they are first used, so that importing the package is
cheap: ``from longvt_plugins import Video, ToolContext, ToolError, ask, hookimpl``.
"""

from __future__ import annotations

# As type checkers read it. The modules typing and importlib take longer to import than all the rest of this one.
TYPE_CHECKING = False

__version__ = "0.1.0"

_PUBLIC = {
    "FrameSampling": "longvt_plugins.video.sampling",
    "Frame": "longvt_plugins.video.video",
    "Judgement": "longvt_plugins.judges.judge",
    "LongvtError": "longvt_plugins.errors",
    "TimeSpan": "longvt_plugins.types",
    "Tool": "longvt_plugins.tools.tool",
    "ToolCall": "longvt_plugins.types",
    "ToolContext": "longvt_plugins.tools.context",
    "ToolError": "longvt_plugins.errors",
    "Video": "longvt_plugins.video.video",
    "VideoConfig": "longvt_plugins.video.config",
    "VideoError": "longvt_plugins.errors",
    "VideoLibrary": "longvt_plugins.video.library",
    "ask": "longvt_plugins.asking.asker",
    "create_plugin_manager": "longvt_plugins.plugins",
    "hookimpl": "longvt_plugins.hookspecs",
}

__all__ = [
    "Frame",
    "FrameSampling",
    "Judgement",
    "LongvtError",
    "TimeSpan",
    "Tool",
    "ToolCall",
    "ToolContext",
    "ToolError",
    "Video",
    "VideoConfig",
    "VideoError",
    "VideoLibrary",
    "__version__",
    "ask",
    "create_plugin_manager",
    "hookimpl",
]

if TYPE_CHECKING:
    from typing import Any

    from longvt_plugins.asking.asker import ask
    from longvt_plugins.errors import LongvtError, ToolError, VideoError
    from longvt_plugins.hookspecs import hookimpl
    from longvt_plugins.judges.judge import Judgement
    from longvt_plugins.plugins import create_plugin_manager
    from longvt_plugins.tools.context import ToolContext
    from longvt_plugins.tools.tool import Tool
    from longvt_plugins.types import TimeSpan, ToolCall
    from longvt_plugins.video.config import VideoConfig
    from longvt_plugins.video.library import VideoLibrary
    from longvt_plugins.video.sampling import FrameSampling
    from longvt_plugins.video.video import Frame, Video


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_PUBLIC[name]), name)
