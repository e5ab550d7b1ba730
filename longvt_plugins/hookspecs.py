"""Every hook on one page. ``docs/plugins.md`` shows one example of each.

A plugin is a module (or an object) with functions of these names marked ``@hookimpl``, found through
the entry-point group ``longvt``. Every hook is called for every plugin; none returns a value, so no
plugin can change what another one gave. Contributions arrive through a ``register`` callback, so that
an error points at the plugin's own line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import pluggy

if TYPE_CHECKING:
    from longvt_plugins.types import Block, ToolCall

PROJECT = "longvt"
"""Name of the entry-point group and of pluggy's project."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a plugin's function as the implementation of the hook of that name."""


class RegisterTool(Protocol):
    """``register(function, name=None)``."""

    def __call__(self, function: Callable[..., Any], name: str | None = None) -> None:
        """Takes a function, checked at once as :class:`~longvt_plugins.tools.Tool` says."""


class RegisterNamed(Protocol):
    """``register(name, factory)``."""

    def __call__(self, name: str, factory: Any) -> None:
        """Takes a class or function under a name."""


class RegisterStep(Protocol):
    """``register(step_class)``."""

    def __call__(self, step: type) -> None:
        """Takes a class whose name and version are class attributes."""


@hookspec
def register_tools(register: RegisterTool) -> None:
    """Gives tools that a model may call.

    Args:
        register: Takes a function ``(ctx: ToolContext, ...)`` with type hints and a Google docstring.
    """


@hookspec
def register_video_readers(register: RegisterNamed) -> None:
    """Gives classes that decode video files.

    Args:
        register: Takes a name and a class opened with a path, see :class:`~longvt_plugins.video.VideoReader`.
    """


@hookspec
def register_judges(register: RegisterNamed) -> None:
    """Gives judges that compare an answer with its reference.

    Args:
        register: Takes a name and a factory ``(config: JudgeConfig) -> Judge``.
    """


@hookspec
def register_steps(register: RegisterStep) -> None:
    """Gives steps of the data pipeline.

    Args:
        register: Takes a subclass of :class:`datapipe.Step`.
    """


@hookspec
def tool_called(call: ToolCall, outcome: list[Block] | Exception, seconds: float) -> None:
    """Observes a finished tool call. What an observer raises is logged and changes nothing.

    Args:
        call: What the model asked for.
        outcome: The reply's content blocks, or the exception that ended the call.
        seconds: How long it took.
    """
