"""Values from JSON and YAML become the types they are meant to be, or one line that tells every fault with its path.

>>> check(TimeSpan, {"start": 1, "end": "x"}, "window")
ConfigError: window: end: input should be a valid number, not "x"

Types are JSON's: a number is not text, ``true`` is not a number. Nothing is guessed, nothing is left out in silence.
"""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any

from longvt_plugins.console import one_line
from longvt_plugins.errors import ConfigError, PluginError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_SHOWN = 80
"""Characters of a wrong value that are told."""


def check(wanted: Any, value: object, what: str) -> Any:
    """A value as a type.

    Args:
        wanted: The type, such as a dataclass.
        value: As JSON has it.
        what: Begins the error.

    Raises:
        ConfigError: Every fault, each after its path.
        PluginError: The type itself cannot be checked.
    """
    try:
        text = json.dumps(value)
    except (TypeError, ValueError) as error:  # YAML has dates, for one
        raise ConfigError(f"{what}: {one_line(error)}") from None
    # By way of JSON, strictly: lists may become tuples and texts paths, but nothing else is guessed.
    return check_json(wanted, text, what)


def check_json(wanted: Any, text: str, what: str) -> Any:
    """The same for a value that is JSON text.

    Raises:
        ConfigError: Every fault, each after its path.
        PluginError: The type itself cannot be checked.
    """
    from pydantic import ValidationError
    from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError

    try:
        return type_adapter(wanted).validate_json(text, strict=True)
    except (PydanticUndefinedAnnotation, PydanticUserError) as error:
        raise PluginError(f"{what}: a type hint cannot be checked: {one_line(error)}") from error
    except ValidationError as error:
        raise ConfigError(f"{what}: {faults_of(error)}") from None


def faults_of(error: Any) -> str:
    """Everything that pydantic found, in one line.

    Args:
        error: A ``pydantic.ValidationError``.
    """
    return "; ".join(f"{_place(fault['loc'])}{_fault(fault)}" for fault in error.errors(include_url=False))


def type_adapter(wanted: Any) -> TypeAdapter[Any]:
    """Pydantic's adapter of a type; made once, since that takes as long as thousands of checks."""
    return _adapter(wanted)


@functools.lru_cache(maxsize=256)
def _adapter(wanted: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(wanted)


def _place(location: tuple[int | str, ...]) -> str:
    return f"{'.'.join(map(str, location))}: " if location else ""


def _fault(fault: Any) -> str:
    if fault["type"] == "unexpected_keyword_argument":
        return "there is no such field"
    message = f"{fault['msg'][0].lower()}{fault['msg'][1:]}"
    return message if fault["type"] == "missing" else f"{message}, not {json.dumps(fault['input'])[:_SHOWN]}"
