"""Finds the plugins and gathers what they give, by name.

>>> plugins = create_plugin_manager()
>>> plugins.tools.get("crop_video").schema["function"]["name"]
'crop_video'

Nothing is global: every call makes a fresh manager, and installing a plugin adds names but never
changes behaviour. ``LONGVT_DISABLED_PLUGINS=zoom,other`` keeps plugins out; ``LONGVT_PLUGIN_TRACE=1``
prints every hook call.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pluggy

from longvt_plugins import hookspecs
from longvt_plugins.errors import DuplicateNameError, PluginError, ToolError
from longvt_plugins.judges.judge import JudgeFactory
from longvt_plugins.registry import Registry
from longvt_plugins.tools import Tool, ToolContext
from longvt_plugins.types import Block, ToolCall
from longvt_plugins.video.video import VideoReader

BUILTIN_PLUGINS = (
    "longvt_plugins.tools.crop_video",
    "longvt_plugins.video.readers.pyav",
    "longvt_plugins.judges.exact",
)
"""Modules whose hooks are always there; they come through the same door as everybody's."""

DISABLED_VARIABLE = "LONGVT_DISABLED_PLUGINS"
TRACE_VARIABLE = "LONGVT_PLUGIN_TRACE"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PluginInfo:
    """One plugin, for ``longvt plugins``.

    Attributes:
        name: The entry point's name, or the module's for built-in plugins.
        distribution: Name and version of what it was installed with; ``"built-in"`` for our own.
        hooks: Names of the hooks that it implements.
    """

    name: str
    distribution: str
    hooks: tuple[str, ...]


class PluginManager:
    """The loaded plugins and what they gave. Make one with :func:`create_plugin_manager`."""

    def __init__(self) -> None:
        self.tools: Registry[Tool] = Registry("tool", "Rename one: tool names are trained into the model.")
        self.video_readers: Registry[type[VideoReader]] = Registry("video reader")
        self.judges: Registry[JudgeFactory] = Registry("judge")
        self.steps: Registry[type] = Registry("step")
        self.disabled: tuple[str, ...] = ()
        self._pluggy = pluggy.PluginManager(hookspecs.PROJECT)
        self._pluggy.add_hookspecs(hookspecs)
        self._distributions: dict[str, str] = {}

    @property
    def plugins(self) -> list[PluginInfo]:
        """What is loaded, in order of registration."""
        found = []
        for name, plugin in self._pluggy.list_name_plugin():
            if plugin is not None:
                callers = self._pluggy.get_hookcallers(plugin) or []
                hooks = tuple(sorted(caller.name for caller in callers))
                found.append(PluginInfo(name, self._distributions[name], hooks))
        return found

    def select_tools(self, names: Iterable[str]) -> list[Tool]:
        """The tools of these names, in this order.

        Raises:
            UnknownNameError: One is not installed.
        """
        return [self.tools.get(name) for name in names]

    def call_tool(self, tool: Tool, ctx: ToolContext, call: ToolCall) -> list[Block]:
        """Runs a tool call and tells the observers.

        Raises:
            ToolError: The model's mistake, as :class:`Tool` raises it. Anything else is a bug or a broken video.
        """
        import time

        start = time.perf_counter()
        outcome: list[Block] | Exception
        try:
            outcome = tool(ctx, call.arguments)
        except Exception as error:
            outcome = error
            raise
        finally:
            self._observe(call, outcome, time.perf_counter() - start)
        return outcome

    def _observe(self, call: ToolCall, outcome: list[Block] | Exception, seconds: float) -> None:
        for implementation in self._pluggy.hook.tool_called.get_hookimpls():
            given = {"call": call, "outcome": outcome, "seconds": seconds}
            try:
                implementation.function(*(given[name] for name in implementation.argnames))
            except Exception:
                # An observer watches: its failure is reported and must not end the rollout.
                logger.exception("plugin %r failed in tool_called", implementation.plugin_name)

    def add(self, plugin: object, name: str, distribution: str) -> None:
        """Loads one plugin and takes in what it gives.

        Args:
            plugin: A module or object with ``@hookimpl`` functions.
            name: For messages and the block list.
            distribution: Who it comes from, ``"built-in"`` or ``"longvt-zoom 0.1"``.

        Raises:
            PluginError: It does not keep a hook's contract; the message names plugin, hook and argument.
        """
        if self._pluggy.has_plugin(name):
            raise DuplicateNameError(
                f"plugin {name!r} is given by both {self._distributions[name]} and {distribution}. "
                f"Uninstall one, or set {DISABLED_VARIABLE}={name}."
            )
        self._distributions[name] = distribution
        try:
            self._pluggy.register(plugin, name=name)
            self._pluggy.check_pending()
        except pluggy.PluginValidationError as error:
            raise PluginError(f"plugin {name!r} ({distribution}): {_one_line(error)}. Hooks: {_hook_names()}.") from error
        provider = distribution if distribution == "built-in" else f"{name}, {distribution}"
        callbacks = {
            "register_tools": self._tool_callback(provider),
            "register_video_readers": _named_callback(self.video_readers, provider),
            "register_judges": _named_callback(self.judges, provider),
            "register_steps": self._step_callback(provider),
        }
        for hook_name, register in callbacks.items():
            for implementation in getattr(self._pluggy.hook, hook_name).get_hookimpls():
                if implementation.plugin is plugin:
                    implementation.function(*([register] if "register" in implementation.argnames else []))

    def _tool_callback(self, provider: str) -> Callable[..., None]:
        def register(function: Callable[..., Any], name: str | None = None) -> None:
            tool = Tool.from_function(function, name)
            self.tools.register(tool.name, tool, provider=provider)

        return register

    def _step_callback(self, provider: str) -> Callable[[type], None]:
        def register(step: type) -> None:
            name, version = getattr(step, "name", None), getattr(step, "version", None)
            if not isinstance(name, str) or not isinstance(version, int):
                raise PluginError(
                    f"step {step.__module__}.{step.__qualname__} ({provider}) needs the class attributes "
                    "name (text) and version (a whole number)"
                )
            self.steps.register(name, step, provider=provider)

        return register

    def trace(self) -> None:
        """Prints every hook call from now on to standard error."""
        self._pluggy.trace.root.setwriter(lambda text: sys.stderr.write(text))
        self._pluggy.enable_tracing()


def create_plugin_manager(
    *, entry_points: bool = True, extra: Iterable[object] = (), disabled: Iterable[str] | None = None
) -> PluginManager:
    """Loads the built-in plugins, those installed, and those given.

    Args:
        entry_points: Look for installed plugins in the entry-point group ``longvt``.
        extra: Modules or objects to load besides, in tests and notebooks.
        disabled: Names of entry points to keep out; None reads ``LONGVT_DISABLED_PLUGINS``.

    Raises:
        PluginError: A plugin fails to import or breaks its contract.
        DuplicateNameError: Two plugins, tools, readers, judges or steps share a name.
    """
    manager = PluginManager()
    if disabled is None:
        disabled = (name.strip() for name in os.environ.get(DISABLED_VARIABLE, "").split(","))
    manager.disabled = tuple(name for name in disabled if name)
    if os.environ.get(TRACE_VARIABLE):
        manager.trace()
    for module in BUILTIN_PLUGINS:
        manager.add(importlib.import_module(module), module, "built-in")
    for entry_point in _installed() if entry_points else ():
        if entry_point.name in manager.disabled:
            continue
        distribution = _distribution(entry_point)
        try:
            plugin = entry_point.load()
        except Exception as error:
            raise PluginError(
                f"plugin {entry_point.name!r} ({distribution}) failed to import: {_one_line(error)}. "
                f"Repair it, or set {DISABLED_VARIABLE}={entry_point.name}."
            ) from error
        manager.add(plugin, entry_point.name, distribution)
    for plugin in extra:
        name = getattr(plugin, "__name__", None) or type(plugin).__name__
        manager.add(plugin, name, "given by the caller")
    return manager


def run_tool_call(plugins: PluginManager, tools: Iterable[Tool], ctx: ToolContext, call: ToolCall) -> list[Block]:
    """Runs one call among the tools of a rollout.

    Raises:
        ToolError: Also when the model calls a tool that this rollout does not offer.
    """
    offered = {tool.name: tool for tool in tools}
    if call.name not in offered:
        raise ToolError(f"there is no tool named {call.name!r}; the tools are: {', '.join(offered) or 'none'}")
    return plugins.call_tool(offered[call.name], ctx, call)


def _installed() -> list[importlib.metadata.EntryPoint]:
    """Entry points in a stable order: what was installed first must not decide anything."""
    return sorted(importlib.metadata.entry_points(group=hookspecs.PROJECT), key=lambda found: (found.name, found.value))


def _distribution(entry_point: importlib.metadata.EntryPoint) -> str:
    dist = entry_point.dist
    return f"{dist.name} {dist.version}" if dist is not None else entry_point.value


def _named_callback(registry: Registry[Any], provider: str) -> Callable[[str, Any], None]:
    def register(name: str, factory: Any) -> None:
        if not callable(factory):
            raise PluginError(f"{registry.kind} {name!r} ({provider}) must be a class or a function")
        registry.register(name, factory, provider=provider)

    return register


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _hook_names() -> str:
    return ", ".join(sorted(name for name, value in vars(hookspecs).items() if hasattr(value, "longvt_spec")))
