"""A step called on a list, without a runner: the outcomes of all records, in their order.

::

    with Toolbox({"default": config}) as toolbox:
        outcomes = list(Caption()(segments, toolbox))

Nothing is saved. Errors that a run waits out or stops at, such as a server that is down, are raised.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from datapipe.context import SEEDS, StepContext, is_everybodys
from datapipe.records import Outcome, content_digest, stable_number
from datapipe.step import Step, VideoGroup, failure
from datapipe.toolbox import Toolbox
from longvt_plugins.errors import LongvtError

if TYPE_CHECKING:
    from datapipe.toolbox import Model


async def work_on(step: Step[Any, Any], record: Any, context: StepContext) -> Sequence[Outcome[Any]]:
    """A step's outcomes for what it is given, its expected errors turned into ``Failed``.

    Args:
        step: With its configuration.
        record: One record, or a group.
        context: For it.

    Raises:
        ChatError: One that :func:`is_everybodys`, whether the step let it pass or not.
    """
    try:
        made = await step.work(record, context)
    except (LongvtError, OSError) as error:
        if is_everybodys(error):
            raise
        outcomes: Sequence[Outcome[Any]] = (failure(error),)
    else:
        outcomes = step.checked(made)
    if context.spent.trouble is not None:
        raise context.spent.trouble
    return outcomes


def call_step(
    step: Step[Any, Any],
    records: Iterable[Any],
    toolbox: Toolbox | None,
    *,
    beside: Mapping[str, Mapping[str, tuple[Any, ...]]] | None = None,
    model: str | None = None,
) -> Iterator[Outcome[Any]]:
    """The outcomes of a step for all records, in their order.

    Args:
        step: With its configuration.
        records: Of a step per video, of all videos in any order.
        toolbox: Models, videos and prompts; None for a step that needs none.
        beside: By name and id of the video, what the step looks at besides.
        model: Which of the toolbox's it asks.

    Raises:
        ChatError: The server is down, refuses the key, or the budget is used up.
    """
    tools = toolbox or Toolbox()
    asked = tools.model(model) if step.uses_chat else None
    try:
        units = iter(by_video(records) if step.per == "video" else records)
        # As many at once as may ask at once; the next handful only when they are done.
        while batch := list(islice(units, max(tools.concurrency, tools.workers))):
            for outcomes in asyncio.run(_work_on_all(step, batch, tools, asked, beside or {})):
                yield from outcomes
    finally:
        if toolbox is None:
            tools.close()


async def _work_on_all(
    step: Step[Any, Any],
    units: Sequence[Any],
    toolbox: Toolbox,
    model: Model | None,
    beside: Mapping[str, Mapping[str, tuple[Any, ...]]],
) -> list[Sequence[Outcome[Any]]]:
    async def one(unit: Any) -> Sequence[Outcome[Any]]:
        with toolbox.temp_folder() as make_temp:
            context = StepContext(
                toolbox=toolbox,
                seed=unit_seed(toolbox.seed, step.name, unit_key(unit)),
                make_temp=make_temp,
                beside={name: beside.get(name, {}).get(getattr(unit, "video", ""), ()) for name in step.beside},
                model=model,
                prompt_folder=step.prompt_folder,
            )
            return await work_on(step, unit, context)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(unit)) for unit in units]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    finally:
        await toolbox.aclose()
    return [task.result() for task in tasks]


def by_video(records: Iterable[Any]) -> Iterator[VideoGroup[Any]]:
    """Records as groups, in the order in which their videos come first; within a video by place."""
    groups: dict[str, list[Any]] = {}
    for record in records:
        groups.setdefault(record.video, []).append(record)
    for video, members in groups.items():
        yield VideoGroup(video, tuple(sorted(members, key=in_order)))


def in_order(record: Any) -> tuple[float, float, str]:
    """Sorts the records of a video: by start, end and id."""
    return getattr(record, "start", 0.0), getattr(record, "end", 0.0), str(getattr(record, "id", ""))


def unit_key(unit: Any) -> str:
    """What names a record or a group: the id, or the video; a record without an id is named by its content."""
    if isinstance(unit, VideoGroup):
        return unit.video
    key = getattr(unit, "id", None)
    return key if isinstance(key, str) else content_digest(unit)


def unit_seed(seed: int, step: str, key: str, attempt: int = 0) -> int:
    """The seed of one record's requests: the same in every run, another when a failure is tried again."""
    return stable_number(seed, step, key, attempt, below=SEEDS)
