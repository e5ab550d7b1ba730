"""A step of the pipeline: a frozen dataclass whose fields are its configuration.

::

    step = DropShort.from_config({"min_seconds": 5})     # checked: unknown keys and wrong types are refused
    step.process(record)                                 # one record -> Kept, Dropped or Failed
    for outcome in step(records): ...                    # many; an unreadable one is a Failed, not the end

    @dataclass(frozen=True)
    class Caption(ContextStep[Segment, Caption]):        # one that asks a model, opens videos, or wants a video's all
        name, version, uses_chat, prompts = "caption", 1, True, ("caption",)

        async def work(self, record: Segment, context: StepContext) -> list[Outcome[Caption]]: ...

    for outcome in Caption()(segments, toolbox): ...

A step neither saves nor resumes nor runs in parallel: who runs it does.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Self, TypeAlias, TypeVar, get_args, get_origin
from typing import get_type_hints as hints_of

from datapipe.checking import check
from datapipe.estimate import Amount, Estimate
from datapipe.records import Dropped, Failed, Kept, Outcome
from longvt_plugins.console import one_line
from longvt_plugins.errors import LongvtError, PluginError

if TYPE_CHECKING:
    from datapipe.context import StepContext
    from datapipe.toolbox import Toolbox

In = TypeVar("In")
Out = TypeVar("Out")

Outcomes: TypeAlias = Outcome[Out] | Sequence[Outcome[Out]]
"""What a step makes of what it was given: one outcome, or several where it makes, or decides on, several records."""


@dataclass(frozen=True)
class VideoGroup(Generic[In]):
    """All records of one video, for a step whose ``per`` is ``"video"``.

    Attributes:
        video: Its id.
        records: In the order of their places in the video.
    """

    video: str
    records: tuple[In, ...]


@dataclass(frozen=True)
class Step(ABC, Generic[In, Out]):
    """Base of all steps; a subclass is a ``@dataclass(frozen=True)`` too.

    Attributes:
        name: ``verb_noun``, as recipes and the command line know it.
        version: A whole number, raised when the same input would give another output.
        per: Whether :meth:`process` gets one record, or a :class:`VideoGroup`: all that the step before made of one
            video.
        beside: Further input: names of steps whose records of the same video it wants to see, and the type of these.
            They are in ``context.beside``. A recipe's ``with`` says which step stands for a name.
        uses_chat: Whether it asks a model. The model then is part of its fingerprint.
        prompts: Names of the prompts it uses; their texts are part of its fingerprint.
        prompt_folder: Where these lie; None is ``datapipe/prompts``.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    per: ClassVar[Literal["record", "video"]] = "record"
    beside: ClassVar[Mapping[str, type]] = {}
    uses_chat: ClassVar[bool] = False
    prompts: ClassVar[tuple[str, ...]] = ()
    prompt_folder: ClassVar[Path | None] = None
    # Read by pydantic; it holds for dataclasses inside the configuration as well.
    __pydantic_config__: ClassVar[Any] = {"extra": "forbid", "allow_inf_nan": False}

    @abstractmethod
    def process(self, record: In) -> Outcomes[Out]:
        """Does the work on one record.

        Raises:
            LongvtError: Something of this record cannot be used; so does OSError. It becomes a ``Failed``.
        """

    async def work(self, record: In, context: StepContext) -> Outcomes[Out]:
        """What a runner calls: :meth:`process`, in a thread of its own."""
        return await context.in_thread(self.process, record)

    def estimate(self, amount: Amount) -> Estimate:
        """How much work that would be, before it is done.

        Args:
            amount: What it is given.
        """
        return Estimate(records=amount.records)

    def files(self) -> Iterable[Path]:
        """Files that its configuration names and whose content decides what it makes."""
        return ()

    def attempt(self, record: In) -> Outcome[Out]:
        """:meth:`process` of a step that makes one of one, its expected errors turned into ``Failed``."""
        outcomes = self.attempt_all(record)
        if len(outcomes) != 1:
            raise TypeError(f"step {self.name!r} gave {len(outcomes)} outcomes for one record: call it on a list")
        return outcomes[0]

    def attempt_all(self, record: In) -> Sequence[Outcome[Out]]:
        """:meth:`process`, its expected errors turned into ``Failed``; a bug still raises."""
        try:
            made = self.process(record)
        except (LongvtError, OSError) as error:
            return (failure(error),)
        return self.checked(made)

    def checked(self, made: Outcomes[Out]) -> Sequence[Outcome[Out]]:
        """What was made of one record, as a list; anything but outcomes is a bug.

        Raises:
            TypeError: It is no outcome.
        """
        outcomes: Sequence[Any] = made if isinstance(made, list | tuple) else (made,)
        for outcome in outcomes:
            if not isinstance(outcome, Kept | Dropped | Failed):
                raise TypeError(f"step {self.name!r} must return Kept, Dropped or Failed, not {type(outcome).__name__}")
        return outcomes

    def __call__(self, records: Iterable[In], toolbox: Toolbox | None = None) -> Iterator[Outcome[Out]]:
        """The outcomes for all records, in their order; one each where the step makes one of one.

        Args:
            records: Of a step per video, the records of all videos in any order.
            toolbox: Models, videos and prompts; None for a step that needs none.
        """
        if toolbox is not None or self.per == "video":
            from datapipe.calling import call_step

            return call_step(self, records, toolbox)
        return (outcome for record in records for outcome in self.attempt_all(record))

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The step with these fields set, as YAML or a command line gives them.

        Args:
            config: Field to value. Types are JSON's: a number is not text, ``true`` is not a number.

        Raises:
            ConfigError: Every fault, each after the path of the field.
        """
        step: Self = check(cls, config, f"step {cls.name!r}")
        return step

    @classmethod
    def read_record(cls, value: object) -> Any:
        """A record from JSON, as the type that :meth:`process` takes; of a step per video, one of the group.

        Raises:
            ConfigError: The value is no such record; every fault after its path.
            PluginError: The type is not known when the program runs.
        """
        return check(record_type(cls), value, f"record for step {cls.name!r}")

    @classmethod
    def _typed_method(cls) -> Any:
        return cls.process


@dataclass(frozen=True)
class ContextStep(Step[In, Out]):
    """A step that needs a :class:`~datapipe.context.StepContext`: it asks a model, opens videos, or looks beside.

    It defines :meth:`work` instead of :meth:`process`, and imports ``StepContext`` for real, since its hints are read.
    Errors of a chat server that is down, or of a budget that is used up, are not its to catch: they stop the run, and
    the record is left for the next one.
    """

    @abstractmethod
    async def work(self, record: In, context: StepContext) -> Outcomes[Out]:
        """Does the work on one record, or one :class:`VideoGroup`.

        Args:
            record: What it is given.
            context: Chat, videos, prompts, seed, and a folder for temporary files.

        Raises:
            LongvtError: Something of this record cannot be used; so does OSError. It becomes a ``Failed``.
        """

    def process(self, record: In) -> Outcomes[Out]:
        """Cannot be called: see :meth:`work`."""
        raise TypeError(f"step {self.name!r} needs a toolbox: call step(records, toolbox)")

    @classmethod
    def _typed_method(cls) -> Any:
        return cls.work


def failure(error: BaseException) -> Failed:
    """An expected error as an outcome."""
    return Failed(f"{type(error).__name__}: {one_line(error)}")


@functools.lru_cache(maxsize=256)
def record_type(step: type[Step[Any, Any]]) -> Any:
    """The type of the records that a step takes; of a step per video, that of the group's.

    Raises:
        PluginError: The type is not known when the program runs.
    """
    method = step._typed_method()
    try:
        hints = hints_of(method)
    except NameError as error:  # imported for type checkers alone
        raise PluginError(
            f"step {step.name!r}: a type hint of {method.__name__} cannot be resolved: {error}"
        ) from error
    wanted = next((hint for name, hint in hints.items() if name not in ("return", "context")), Any)
    return get_args(wanted)[0] if get_origin(wanted) is VideoGroup else wanted
