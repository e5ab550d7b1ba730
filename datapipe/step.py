"""A step of the pipeline: a frozen dataclass whose fields are its configuration.

::

    step = DropShort.from_config({"min_seconds": 5})     # checked: unknown keys and wrong types are refused
    step.process(record)                                 # one record -> Kept, Dropped or Failed
    for outcome in step(records): ...                    # many; an unreadable one is a Failed, not the end

A step neither saves nor resumes nor runs in parallel: who runs it does.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Self, TypeVar, get_type_hints

from datapipe.records import Dropped, Failed, Kept, Outcome
from longvt_plugins.console import one_line
from longvt_plugins.errors import ConfigError, LongvtError, PluginError

In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(frozen=True)
class Step(ABC, Generic[In, Out]):
    """Base of all steps; a subclass is a ``@dataclass(frozen=True)`` too.

    Attributes:
        name: ``verb_noun``, as recipes and the command line know it.
        version: A whole number, raised when the same input would give another output.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    # Read by pydantic; it holds for dataclasses inside the configuration as well.
    __pydantic_config__: ClassVar[Any] = {"extra": "forbid", "allow_inf_nan": False}

    @abstractmethod
    def process(self, record: In) -> Outcome[Out]:
        """Does the work on one record.

        Raises:
            LongvtError: Something of this record cannot be used; so does OSError. It becomes a ``Failed``.
        """

    def attempt(self, record: In) -> Outcome[Out]:
        """:meth:`process`, its expected errors turned into ``Failed``; a bug still raises."""
        try:
            outcome = self.process(record)
        except (LongvtError, OSError) as error:
            return Failed(f"{type(error).__name__}: {one_line(error)}")
        if not isinstance(outcome, Kept | Dropped | Failed):
            raise TypeError(f"step {self.name!r} must return Kept, Dropped or Failed, not {type(outcome).__name__}")
        return outcome

    def __call__(self, records: Iterable[In]) -> Iterator[Outcome[Out]]:
        """One outcome for every record, in their order."""
        return map(self.attempt, records)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The step with these fields set, as YAML or a command line gives them.

        Args:
            config: Field to value. Types are JSON's: a number is not text, ``true`` is not a number.

        Raises:
            ConfigError: Every fault, each after the path of the field.
        """
        step: Self = _check(cls, config, f"step {cls.name!r}")
        return step

    @classmethod
    def read_record(cls, value: object) -> Any:
        """A record from JSON, as the type that :meth:`process` takes.

        Raises:
            ConfigError: The value is no such record; every fault after its path.
            PluginError: The type is not known when the program runs.
        """
        try:
            hints = get_type_hints(cls.process)
        except NameError as error:  # imported for type checkers alone
            raise PluginError(f"step {cls.name!r}: a type hint of process cannot be resolved: {error}") from error
        wanted = next((hint for name, hint in hints.items() if name != "return"), Any)
        return _check(wanted, value, f"record for step {cls.name!r}")


def _check(wanted: Any, value: object, what: str) -> Any:
    from pydantic import TypeAdapter, ValidationError
    from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError

    try:
        # By way of JSON, strictly: lists may become tuples and texts paths, but nothing else is guessed.
        return TypeAdapter(wanted).validate_json(json.dumps(value), strict=True)
    except (PydanticUndefinedAnnotation, PydanticUserError) as error:
        raise PluginError(f"{what}: a type hint cannot be checked: {one_line(error)}") from error
    except ValidationError as error:
        faults = "; ".join(f"{_place(fault['loc'])}{_fault(fault)}" for fault in error.errors())
        raise ConfigError(f"{what}: {faults}") from None
    except (TypeError, ValueError) as error:  # from json.dumps: YAML has dates, for one
        raise ConfigError(f"{what}: {one_line(error)}") from None


def _place(location: tuple[int | str, ...]) -> str:
    return f"{'.'.join(map(str, location))}: " if location else ""


def _fault(fault: Any) -> str:
    if fault["type"] == "unexpected_keyword_argument":
        return "there is no such field"
    message = f"{fault['msg'][0].lower()}{fault['msg'][1:]}"
    return message if fault["type"] == "missing" else f"{message}, not {json.dumps(fault['input'])[:80]}"
