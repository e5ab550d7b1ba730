"""A tool is a typed function with a Google docstring; this file makes it callable by a model.

::

    def crop_video(ctx: ToolContext, video_path: str, start_time: float, end_time: float) -> list[Block]: ...

    tool = Tool.from_function(crop_video)
    tool.schema                       # what the model is told, OpenAI's function format
    tool(ctx, {"video_path": ...})    # checked against the schema, then run: content blocks, or a ToolError

Arguments come from a model: they are data to be checked, never code to be run.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from longvt_plugins.errors import PluginError, ToolError
from longvt_plugins.tools.context import ToolContext
from longvt_plugins.types import Block, text_block

if TYPE_CHECKING:
    from pydantic import BaseModel

ToolFunction = Callable[..., Any]

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
    """

    name: str
    function: ToolFunction
    description: str
    schema: dict[str, Any]
    returns: str
    arguments_model: type[BaseModel]

    @classmethod
    def from_function(cls, function: ToolFunction, name: str | None = None) -> Tool:
        """Builds a tool, and checks the function's contract at once.

        Args:
            function: ``(ctx: ToolContext, ...)``, every parameter typed and described in a Google docstring.
            name: Instead of the function's own name.

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
        model = _arguments_model(function, parameters[1:], where)
        names = [parameter.name for parameter in parameters[1:]]
        if missing := [parameter for parameter in names if parameter not in described]:
            raise PluginError(f"{where}: the docstring's Args section does not describe {', '.join(missing)}")
        if extra := [parameter for parameter in described if parameter not in names and parameter != "ctx"]:
            raise PluginError(f"{where}: the docstring describes {', '.join(extra)}, which the function does not take")
        return cls(
            name=tool_name,
            function=function,
            description=description,
            schema={
                "type": "function",
                "function": {
                    "name": tool_name,
                    "description": description,
                    "parameters": _json_schema(model, described, names),
                },
            },
            returns=returns,
            arguments_model=model,
        )

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
        return _as_blocks(self.function(ctx, **self.check(arguments)), self.name)


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


def _arguments_model(function: ToolFunction, parameters: list[inspect.Parameter], where: str) -> type[BaseModel]:
    from pydantic import ConfigDict, create_model

    try:
        hints = typing.get_type_hints(function)
    except NameError as error:
        raise PluginError(f"{where}: a type hint cannot be resolved: {error}") from error
    if untyped := [parameter.name for parameter in parameters if parameter.name not in hints]:
        raise PluginError(f"{where}: no type hint for {', '.join(untyped)}")
    fields: dict[str, Any] = {
        parameter.name: (
            hints[parameter.name],
            ... if parameter.default is inspect.Parameter.empty else parameter.default,
        )
        for parameter in parameters
    }
    config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
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
