"""A tool is a typed function with a Google docstring; this file makes it callable by a model.

::

    def crop_video(ctx: ToolContext, video_path: str, start_time: float, end_time: float) -> list[Block]: ...

    tool = Tool.from_function(crop_video)
    tool.schema                       # what the model is told, OpenAI's function format
    tool(ctx, {"video_path": ...})    # checked against the schema, then run: content blocks, or a ToolError

What a recipe sets and the model never sees are keyword-only parameters, the options of the tool; a parameter marked
:data:`ON_REQUEST` is shown to the model only where the configuration names it::

    def search_frames(ctx: ToolContext, video_path: str, query: str, *, model: str) -> list[Block]: ...

    tools: ["crop_video:fps", "search_frames:model=/models/siglip2"]      # see select_tools

Arguments come from a model: they are data to be checked, never code to be run.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from longvt_plugins.errors import ConfigError, PluginError, ToolError
from longvt_plugins.tools.context import ToolContext
from longvt_plugins.types import Block, text_block

if TYPE_CHECKING:
    from pydantic import BaseModel

    from longvt_plugins.registry import Registry

ToolFunction = Callable[..., Any]

ON_REQUEST = "shown to the model on request"
"""In ``Annotated[float | None, ON_REQUEST]``: no part of the tool unless the configuration names the parameter."""

_FAULTS_TOLD = 5

_SNAKE_CASE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


@dataclass(frozen=True)
class Tool:
    """A function that a model may call.

    Attributes:
        name: As the model writes it.
        function: The function itself; its first parameter is the :class:`ToolContext`.
        description: What the docstring says before its sections.
        schema: OpenAI's ``{"type": "function", "function": {...}}``, as every host shows it to the model.
        returns: What the docstring says of the result.
        options: What the configuration set.
        option_help: What the docstring says of all that the configuration may name.
    """

    name: str
    function: ToolFunction
    description: str
    schema: dict[str, Any]
    returns: str
    arguments_model: type[BaseModel]
    options: Mapping[str, Any] = field(default_factory=dict)
    option_help: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_function(cls, function: ToolFunction, name: str | None = None, *, shown: Iterable[str] = ()) -> Tool:
        """Builds a tool, and checks the function's contract at once.

        Args:
            function: ``(ctx: ToolContext, ...)``, every parameter typed and described in a Google docstring.
            name: Instead of the function's own name.
            shown: Parameters marked ``ON_REQUEST`` that the model is to see.

        Raises:
            PluginError: What breaks the contract, by parameter.
        """
        tool_name = name or function.__name__
        where = f"tool {tool_name!r} ({function.__module__}.{function.__qualname__})"
        if not _SNAKE_CASE.fullmatch(tool_name):
            raise PluginError(f"{where}: a tool's name is snake_case, since models are trained on it")
        parameters = list(inspect.signature(function).parameters.values())
        if not parameters or parameters[0].name != "ctx":
            raise PluginError(f"{where}: the first parameter must be 'ctx', the ToolContext")
        description, described, returns = _read_docstring(function, where)
        hints = _hints(function, parameters[1:], where)
        names = [parameter.name for parameter in parameters[1:]]
        if missing := [parameter for parameter in names if parameter not in described]:
            raise PluginError(f"{where}: the docstring's Args section does not describe {', '.join(missing)}")
        if extra := [parameter for parameter in described if parameter not in names and parameter != "ctx"]:
            raise PluginError(f"{where}: the docstring describes {', '.join(extra)}, which the function does not take")
        hidden = [parameter.name for parameter in _configurable(parameters[1:], hints)]
        offered = [parameter for parameter in parameters[1:] if parameter.name not in {*hidden} - {*shown}]
        model = _arguments_model(function, offered, hints)
        return cls(
            name=tool_name,
            function=function,
            description=description,
            schema={
                "type": "function",
                "function": {
                    "name": tool_name,
                    "description": description,
                    "parameters": _json_schema(model, described, [parameter.name for parameter in offered]),
                },
            },
            returns=returns,
            arguments_model=model,
            option_help={parameter: described[parameter] for parameter in hidden},
        )

    def configured(self, given: Mapping[str, str | None]) -> Tool:
        """This tool with its options set.

        Args:
            given: Option to its value as text, or to None where it is only named: a switch, or a parameter that the
                model is to see.

        Raises:
            ConfigError: An option that the tool does not have or cannot use, or one that it cannot do without.
        """
        from pydantic import ConfigDict, ValidationError, create_model

        parameters = list(inspect.signature(self.function).parameters.values())[1:]
        hints = typing.get_type_hints(self.function, include_extras=True)
        known = {parameter.name: parameter for parameter in _configurable(parameters, hints)}
        if not known and not given:
            return self
        if unknown := [name for name in given if name not in known]:
            there = f"it has {', '.join(known)}" if known else "it has none"
            raise ConfigError(f"tool {self.name!r} has no option {unknown[0]!r}: {there}")
        shown = [name for name in given if known[name].kind is not inspect.Parameter.KEYWORD_ONLY]
        if valued := [name for name in shown if given[name] is not None]:
            raise ConfigError(f"tool {self.name!r}: {valued[0]!r} is the model's to set; name it without a value")
        options = {name: parameter for name, parameter in known.items() if parameter.kind is parameter.KEYWORD_ONLY}
        fields: dict[str, Any] = {name: _field(parameter, hints) for name, parameter in options.items()}
        # An option may well be called model_..., which pydantic keeps for itself.
        config = ConfigDict(allow_inf_nan=False, protected_namespaces=())
        model = create_model(f"{self.name}_options", __config__=config, **fields)
        values = {name: True if given[name] is None else given[name] for name in given if name in options}
        try:
            checked = model.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            place = str(first["loc"][0])
            if first["type"] == "missing":
                raise ConfigError(
                    f"tool {self.name!r} needs {place} ({self.option_help[place]}): "
                    f"name it as {self.name}:{place}=VALUE"
                ) from None
            # Pydantic's prefix for what a validator of ours says, which names the value itself.
            said = first["msg"].removeprefix("Value error, ")
            told = said if said != first["msg"] else f"{said}, not {given[place]!r}"
            raise ConfigError(f"tool {self.name!r}, option {place}: {told}") from None
        bare = Tool.from_function(self.function, self.name, shown=shown)
        return dataclasses.replace(bare, options={name: getattr(checked, name) for name in options})

    def check(self, arguments: object) -> dict[str, Any]:
        """The arguments, typed as the function wants them.

        Raises:
            ToolError: One line that names every fault: unknown, missing, wrong type, not finite.
        """
        from pydantic import ValidationError

        if not isinstance(arguments, Mapping):
            raise ToolError(f"{self.name}: the arguments must be a JSON object, not {type(arguments).__name__}")
        try:
            checked = self.arguments_model.model_validate(dict(arguments))
        except ValidationError as error:
            raise ToolError(f"{self.name}: {_faults(error.errors(), self.arguments_model)}") from None
        return {name: getattr(checked, name) for name in self.arguments_model.model_fields}

    def __call__(self, ctx: ToolContext, arguments: object) -> list[Block]:
        """Checks the arguments and runs the function.

        Args:
            ctx: The rollout's context; the call is charged to its budget, failed or not.
            arguments: As the model wrote them, parsed from JSON.

        Returns:
            Content blocks for the model.

        Raises:
            ToolError: The model's mistake, to be told to it.
            TypeError: The tool returned something that is not a content block.
        """
        ctx.budget.start_call()
        return _as_blocks(self.function(ctx, **self.check(arguments), **self.options), self.name)


def select_tools(tools: Registry[Tool], specifications: Iterable[str]) -> list[Tool]:
    """The tools that a configuration names, with their options.

    Args:
        tools: What is installed.
        specifications: ``NAME``, or ``NAME:OPTION=VALUE:OPTION``, such as ``crop_video:fps``; a value holds no colon.

    Returns:
        In this order.

    Raises:
        UnknownNameError: A tool is not installed.
        ConfigError: An option that the tool does not have or cannot use, or a tool named twice.
    """
    selected: dict[str, Tool] = {}
    asked = list(specifications)
    for specification in asked:
        name, *items = specification.split(":")
        tool = tools.get(name)
        if name in selected:
            raise ConfigError(f"tool {name!r} is named twice: {', '.join(asked)}")
        pairs = [item.partition("=") for item in items]
        selected[name] = tool.configured({key: value if equals else None for key, equals, value in pairs})
    return list(selected.values())


def _read_docstring(function: ToolFunction, where: str) -> tuple[str, dict[str, str], str]:
    import docstring_parser

    parsed = docstring_parser.parse(inspect.getdoc(function) or "", style=docstring_parser.DocstringStyle.GOOGLE)
    text = " ".join(part.strip() for part in (parsed.short_description, parsed.long_description) if part)
    if not text:
        raise PluginError(f"{where}: has no docstring; it is what the model reads")
    described = {param.arg_name: _one_line(param.description) for param in parsed.params}
    return _one_line(text), described, _one_line(parsed.returns.description if parsed.returns else "")


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def _hints(function: ToolFunction, parameters: list[inspect.Parameter], where: str) -> dict[str, Any]:
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise PluginError(f"{where}: a type hint cannot be resolved: {error}") from error
    if untyped := [parameter.name for parameter in parameters if parameter.name not in hints]:
        raise PluginError(f"{where}: no type hint for {', '.join(untyped)}")
    return hints


def _configurable(parameters: Iterable[inspect.Parameter], hints: Mapping[str, Any]) -> list[inspect.Parameter]:
    """What the configuration sets, or asks for."""
    return [
        parameter
        for parameter in parameters
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        or ON_REQUEST in getattr(hints[parameter.name], "__metadata__", ())
    ]


def _field(parameter: inspect.Parameter, hints: Mapping[str, Any]) -> tuple[Any, Any]:
    return hints[parameter.name], ... if parameter.default is inspect.Parameter.empty else parameter.default


def _arguments_model(
    function: ToolFunction, parameters: list[inspect.Parameter], hints: Mapping[str, Any]
) -> type[BaseModel]:
    from pydantic import ConfigDict, create_model

    fields: dict[str, Any] = {parameter.name: _field(parameter, hints) for parameter in parameters}
    config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())
    return create_model(f"{function.__name__}_arguments", __config__=config, **fields)


def _json_schema(model: type[BaseModel], described: dict[str, str], names: list[str]) -> dict[str, Any]:
    full = model.model_json_schema()
    properties = {
        name: {key: value for key, value in full.get("properties", {})[name].items() if key != "title"}
        | {"description": described[name]}
        for name in names
    }
    return {"type": "object", "properties": properties, "required": full.get("required", [])}


def _faults(errors: Iterable[Any], model: type[BaseModel]) -> str:
    told = []
    for error in errors:
        place = ".".join(str(part) for part in error["loc"])[:80]
        if error["type"] == "extra_forbidden":
            told.append(f"unknown argument {place!r} (the arguments are: {', '.join(model.model_fields)})")
        elif error["type"] == "missing":
            told.append(f"{place!r} is missing")
        else:
            told.append(f"{place!r}: {error['msg'][0].lower()}{error['msg'][1:]}, not {str(error['input'])[:80]!r}")
    # A few are enough to correct a call, and the model's own text should not fill its context.
    more = [f"and {len(told) - _FAULTS_TOLD} more faults"] if len(told) > _FAULTS_TOLD else []
    return "; ".join(told[:_FAULTS_TOLD] + more)


def _as_blocks(result: object, name: str) -> list[Block]:
    if isinstance(result, str):
        return [text_block(result)]
    if isinstance(result, list) and all(
        isinstance(block, dict) and block.get("type") in ("text", "image") for block in result
    ):
        return typing.cast(list[Block], result)
    raise TypeError(f"tool {name!r} must return text or a list of content blocks, not {type(result).__name__}")
