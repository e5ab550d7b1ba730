"""Finds the plugins and gathers what they give, by name.

>>> plugins = create_plugin_manager()
>>> plugins.tools.get("crop_video").schema["function"]["name"]
'crop_video'

Nothing is global: every call makes a fresh manager, and installing a plugin adds names but never
changes behaviour. ``LONGVT_DISABLED_PLUGINS=zoom,other`` keeps plugins out; ``LONGVT_PLUGIN_TRACE=1``
prints every hook call.
"""

from __future__ import annotations

import copy
import dataclasses
import importlib
import importlib.metadata
import inspect
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pluggy

from longvt_plugins import hookspecs
from longvt_plugins.console import one_line
from longvt_plugins.errors import DuplicateNameError, PluginError, ToolError
from longvt_plugins.judges.judge import JudgeFactory
from longvt_plugins.registry import Registry
from longvt_plugins.tools import Tool, ToolContext, select_tools
from longvt_plugins.types import Block, ToolCall
from longvt_plugins.video.video import VideoReader

BUILTIN_PLUGINS = (
    "longvt_plugins.tools.crop_video",
    "longvt_plugins.tools.get_frames",
    "longvt_plugins.tools.search_captions",
    "longvt_plugins.tools.search_frames",
    "longvt_plugins.tools.search_subtitles",
    "longvt_plugins.tools.transcribe",
    "longvt_plugins.tools.zoom_region",
    "longvt_plugins.video.readers.pyav",
    "longvt_plugins.video.readers.decord",
    "longvt_plugins.video.readers.torchcodec",
    "longvt_plugins.judges.exact",
    "longvt_plugins.judges.llm",
    "longvt_plugins.judges.cascade",
)
"""Modules whose hooks are always there; they come through the same door as everybody's."""

BUILT_IN = "built-in"
"""The distribution of our own plugins, in messages."""

DISABLED_VARIABLE = "LONGVT_DISABLED_PLUGINS"
TRACE_VARIABLE = "LONGVT_PLUGIN_TRACE"

_SELECTIONS_KEPT = 64

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PluginInfo:
    """One plugin, for ``longvt plugins``.

    Attributes:
        name: The entry point's name, or the module's for built-in plugins.
        distribution: Name and version of what it was installed with; ``"built-in"`` for our own.
        hooks: Names of the hooks that it implements.
        names: What it gave, each after its kind: ``"tool crop_video"``.
    """

    name: str
    distribution: str
    hooks: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def provider(self) -> str:
        """Who gives a name, for messages: ``"built-in"`` or ``"zoom, longvt-zoom 0.1"``."""
        return self.distribution if self.distribution == BUILT_IN else f"{self.name}, {self.distribution}"

    def __str__(self) -> str:
        return f"plugin {self.name!r} ({self.distribution})"


class PluginManager:
    """The loaded plugins and what they gave. Make one with :func:`create_plugin_manager`.

    Attributes:
        tools: Tools by name; so are ``video_readers``, ``judges`` and ``steps``.
        plugins: What is loaded, built-in plugins first.
        disabled: What is installed and kept out by the block list; it was not imported.
    """

    def __init__(self) -> None:
        self.tools: Registry[Tool] = Registry("tool", "Rename one: tool names are trained into the model.")
        self.video_readers: Registry[type[VideoReader]] = Registry("video reader")
        self.judges: Registry[JudgeFactory] = Registry("judge")
        self.steps: Registry[type] = Registry("step")
        self.plugins: list[PluginInfo] = []
        self.disabled: list[PluginInfo] = []
        self._pluggy = pluggy.PluginManager(hookspecs.PROJECT)
        self._pluggy.add_hookspecs(hookspecs)
        self._traced = False
        self._selected: dict[tuple[str, ...], list[Tool]] = {}

    def select_tools(self, names: Iterable[str]) -> list[Tool]:
        """The tools of these names, in this order.

        Args:
            names: Each with its options, if any: ``crop_video`` or ``crop_video:fps``, see
                :func:`longvt_plugins.tools.select_tools`.

        Raises:
            UnknownNameError: One is not installed.
            ConfigError: An option that a tool does not have, or a tool named twice.
        """
        asked = tuple(names)
        if asked not in self._selected:
            if len(self._selected) >= _SELECTIONS_KEPT:
                self._selected.clear()
            # Every rollout asks, and the arguments of a tool take milliseconds to become a schema.
            self._selected[asked] = select_tools(self.tools, asked)
        return list(self._selected[asked])

    def call_tool(self, tool: Tool, ctx: ToolContext, call: ToolCall) -> list[Block]:
        """Runs a tool call and tells the observers.

        Raises:
            ToolError: The model's mistake, as :class:`Tool` raises it. Anything else is a bug or a broken video.
        """
        start = time.perf_counter()
        try:
            blocks = tool(ctx, call.arguments)
        except Exception as error:
            self._observe(call, error, time.perf_counter() - start)
            raise
        self._observe(call, blocks, time.perf_counter() - start)
        return blocks

    def _observe(self, call: ToolCall, outcome: list[Block] | Exception, seconds: float) -> None:
        for implementation in self._pluggy.hook.tool_called.get_hookimpls():
            self._trace("tool_called", implementation.plugin_name, f"{call.name}, {seconds:.3f} s")
            # Every observer gets copies: what it writes into them reaches neither the model nor the others.
            given = {
                "call": copy.deepcopy(call),
                "outcome": outcome if isinstance(outcome, Exception) else [block.copy() for block in outcome],
                "seconds": seconds,
            }
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
            DuplicateNameError: Its name, or the name of something that it gives, is taken.
        """
        for other in self.plugins:
            if other.name == name:
                raise DuplicateNameError(
                    f"plugin {name!r} is given by both {other.distribution} and {distribution}. "
                    f"Uninstall one, or set {DISABLED_VARIABLE}={name} to load neither."
                )
        info = PluginInfo(name, distribution)
        try:
            self._pluggy.register(plugin, name=name)
            self._pluggy.check_pending()
        except (pluggy.PluginValidationError, ValueError) as error:  # ValueError: this very object is loaded already
            raise PluginError(f"{info}: {one_line(error)}. Hooks: {', '.join(hook_names())}.") from error
        implementations = self._implementations(plugin)
        if not implementations:
            raise PluginError(
                f"{info} implements no hook: mark functions with @hookimpl. Hooks: {', '.join(hook_names())}."
            )
        given: list[str] = []
        for hook, implementation in implementations.items():
            if implementation.wrapper or implementation.hookwrapper:
                raise PluginError(f"{info}: {hook} cannot be a wrapper, since no plugin may change what another gives.")
            if hook in _CONTRIBUTIONS:
                given += self._collect(hook, implementation, info)
        self.plugins.append(dataclasses.replace(info, hooks=tuple(implementations), names=tuple(given)))

    def _implementations(self, plugin: object) -> dict[str, pluggy.HookImpl]:
        """A plugin's functions by hook, in the order of the names."""
        return {
            caller.name: implementation
            for caller in sorted(self._pluggy.get_hookcallers(plugin) or [], key=lambda caller: caller.name)
            for implementation in caller.get_hookimpls()
            if implementation.plugin is plugin
        }

    def _collect(self, hook: str, implementation: pluggy.HookImpl, info: PluginInfo) -> list[str]:
        """Calls one ``register_<plural>``, takes in what it hands over and says what that was."""
        kind, read = _CONTRIBUTIONS[hook]
        registry: Registry[Any] = getattr(self, kind)
        given = []

        def register(*values: Any, **options: Any) -> None:
            name, value = read(*values, **options)
            registry.register(name, value, provider=info.provider)
            given.append(f"{registry.kind} {name}")
            self._trace(hook, info.name, given[-1])

        try:
            implementation.function(*([register] if "register" in implementation.argnames else []))
        except DuplicateNameError:
            raise
        except Exception as error:
            raise PluginError(f"{info} failed in {hook}: {_told(error)}") from error
        return given

    def trace(self) -> None:
        """Writes to standard error, from now on, what each hook of each plugin is called for."""
        self._traced = True

    def _trace(self, hook: str, plugin: str, what: str) -> None:
        if self._traced:
            sys.stderr.write(f"longvt: {hook} of {plugin}: {what}\n")


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
        disabled = os.environ.get(DISABLED_VARIABLE, "").split(",")
    kept_out = {name.strip() for name in disabled}
    if os.environ.get(TRACE_VARIABLE, "") not in ("", "0"):
        manager.trace()
    for module in BUILTIN_PLUGINS:
        manager.add(importlib.import_module(module), module, BUILT_IN)
    for entry_point in _installed() if entry_points else ():
        distribution = _distribution(entry_point)
        if entry_point.name in kept_out:
            manager.disabled.append(PluginInfo(entry_point.name, distribution))
            continue
        try:
            plugin = entry_point.load()
        except Exception as error:
            raise PluginError(
                f"plugin {entry_point.name!r} ({distribution}) failed to import: {_told(error)}. "
                f"Repair it, or set {DISABLED_VARIABLE}={entry_point.name}."
            ) from error
        manager.add(plugin, entry_point.name, distribution)
    for number, plugin in enumerate(extra, start=1):
        name = getattr(plugin, "__name__", None) or f"{type(plugin).__name__} {number}"
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


def hook_names() -> list[str]:
    """Names of all hooks."""
    return sorted(name for name, value in vars(hookspecs).items() if hasattr(value, f"{hookspecs.PROJECT}_spec"))


def _installed() -> list[importlib.metadata.EntryPoint]:
    """Entry points in a stable order: what was installed first must not decide anything."""
    return sorted(importlib.metadata.entry_points(group=hookspecs.PROJECT), key=lambda found: (found.name, found.value))


def _distribution(entry_point: importlib.metadata.EntryPoint) -> str:
    dist = entry_point.dist
    return f"{dist.name} {dist.version}" if dist is not None else entry_point.value


def _told(error: Exception) -> str:
    """An error in one line, its type first unless the message stands by itself."""
    text = one_line(error)
    return text if isinstance(error, PluginError | ModuleNotFoundError) else f"{type(error).__name__}: {text}"


def _read_tool(function: Callable[..., Any], name: str | None = None) -> tuple[str, Tool]:
    tool = Tool.from_function(function, name)
    return tool.name, tool


def _read_named(name: str, factory: Any) -> tuple[str, Any]:
    if not isinstance(name, str) or not name:
        raise PluginError(f"register(name, factory) needs a text as the name, not {name!r}")
    if not callable(factory):
        raise PluginError(f"{name!r} must be a class or a function, not {type(factory).__name__}")
    return name, factory


def _read_step(step: type) -> tuple[str, type]:
    where = f"step {getattr(step, '__module__', '')}.{getattr(step, '__qualname__', repr(step))}"
    name, version = getattr(step, "name", None), getattr(step, "version", None)
    if not isinstance(name, str) or type(version) is not int:
        raise PluginError(f"{where} needs the class attributes name (text) and version (a whole number)")
    # Looked up on the class itself: inherited, it would hide that the decorator is missing, and the fields with it.
    made = vars(step).get("__dataclass_params__")
    if made is None or not made.frozen:
        raise PluginError(f"{where} must be decorated with @dataclass(frozen=True); its fields are its configuration")
    if not callable(getattr(step, "process", None)) or inspect.isabstract(step):
        raise PluginError(f"{where} needs a method process(record)")
    return name, step


_CONTRIBUTIONS: dict[str, tuple[str, Callable[..., tuple[str, Any]]]] = {
    "register_tools": ("tools", _read_tool),
    "register_video_readers": ("video_readers", _read_named),
    "register_judges": ("judges", _read_named),
    "register_steps": ("steps", _read_step),
}
"""Hook to the manager's registry that it fills, and how one of its gifts is read and checked."""
