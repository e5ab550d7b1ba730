"""What is put before a reviewer: a question or a trace, what was said of its part of the video, and all verdicts.

::

    entries = gather(stores, "filter_vlm", steps, dropped=True)
    entries[0].question, entries[0].captions, entries[0].verdicts

It decodes no frames, and holds at most so many entries in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from datapipe.store import Store
from longvt_plugins.errors import ConfigError

MOST_ENTRIES = 500
"""Of a page; each has pictures."""

MOST_CAPTIONS = 30
"""Of an entry."""


@dataclass(frozen=True)
class Entry:
    """One question under review.

    Attributes:
        id: Of the record.
        video: Id of the video.
        path: The video file.
        duration: Of the video, in seconds.
        start: Where the evidence begins, in seconds.
        end: Where it ends.
        question: As it is asked.
        answer: The right one.
        options: The choices, if any.
        question_type: Such as ``"count"``.
        captions: Start, end and text of what was described around it.
        verdicts: What filters, judges and people said so far, as records have it.
        windows: Of a trace: where its teacher looked.
        trace_answer: Of a trace: what it answered.
        reason: Why it was dropped; empty for a kept one.
    """

    id: str
    video: str
    path: str
    duration: float
    start: float
    end: float
    question: str
    answer: str
    options: tuple[str, ...] = ()
    question_type: str = ""
    captions: tuple[tuple[float, float, str], ...] = ()
    verdicts: tuple[Mapping[str, Any], ...] = ()
    windows: tuple[tuple[float, float], ...] = ()
    trace_answer: str | None = None
    reason: str = ""
    events: tuple[str, ...] = field(default=(), repr=False)


def gather(
    stores: Sequence[Store],
    step: str,
    steps: Sequence[str],
    *,
    dropped: bool = False,
    limit: int = MOST_ENTRIES,
) -> list[Entry]:
    """The questions or traces of a step.

    Args:
        stores: Of the run.
        step: Whose records are reviewed.
        steps: Names of all steps, in their order; descriptions are looked for in them.
        dropped: Those that the step dropped, instead of those that it kept.
        limit: No more than so many.

    Raises:
        ConfigError: No such step, or its records are no questions.
    """
    if step not in steps:
        raise ConfigError(f"no step {step!r} in this run; there are: {', '.join(steps)}")
    found = [_entry(record, reason) for record, reason in islice(_records(stores, step, dropped), limit)]
    if not found:
        what = "dropped" if dropped else "kept"
        raise ConfigError(f"step {step!r} has {what} no question and no trace, so there is nothing to review")
    told = _captions(stores, steps, found)
    return [_with_captions(entry, told) for entry in found]


def _records(stores: Sequence[Store], step: str, dropped: bool) -> Iterator[tuple[Mapping[str, Any], str]]:
    for store in stores:
        if dropped:
            for rejected in store.rejected(step, "dropped"):
                if _is_question(rejected["record"]):
                    yield rejected["record"], str(rejected["reason"])
        else:
            yield from ((record, "") for record in store.kept(step) if _is_question(record))


def _is_question(record: object) -> bool:
    return isinstance(record, dict) and {"id", "question", "start", "end", "path", "duration"} <= set(record)


def _entry(record: Mapping[str, Any], reason: str) -> Entry:
    is_trace = "messages" in record
    return Entry(
        id=record["id"],
        video=record["video"],
        path=record["path"],
        duration=float(record["duration"]),
        start=float(record["start"]),
        end=float(record["end"]),
        question=record["question"],
        answer=record["reference_answer"] if is_trace else record["answer"],
        options=tuple(record.get("options") or ()),
        question_type=record.get("question_type") or "",
        verdicts=tuple(record.get("verdicts") or ()),
        windows=tuple((float(start), float(end)) for start, end in record.get("windows") or ()),
        trace_answer=record.get("answer") if is_trace else None,
        reason=reason,
        events=tuple(record.get("events") or ()),
    )


def _captions(
    stores: Sequence[Store], steps: Sequence[str], entries: Iterable[Entry]
) -> dict[str, list[tuple[str, float, float, str]]]:
    """By video: id, start, end and text of what was described in the videos that are shown."""
    wanted = {entry.video for entry in entries}
    told: dict[str, list[tuple[str, float, float, str]]] = {}
    for store in stores:
        for step in steps:
            for record in store.kept(step):
                if not (isinstance(record, dict) and {"text", "start", "end"} <= set(record)):
                    break  # The records of a step are of one kind.
                if record["video"] in wanted:
                    own = (record["id"], float(record["start"]), float(record["end"]), str(record["text"]))
                    told.setdefault(record["video"], []).append(own)
    return told


def _with_captions(entry: Entry, told: Mapping[str, list[tuple[str, float, float, str]]]) -> Entry:
    own = told.get(entry.video, [])
    near = [one for one in own if one[0] in entry.events]
    near = near or [one for one in own if one[1] < entry.end and one[2] > entry.start]
    shown = sorted({(start, end, text) for _, start, end, text in near})[:MOST_CAPTIONS]
    return replace(entry, captions=tuple(shown))
