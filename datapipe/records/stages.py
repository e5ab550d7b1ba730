"""The records of the stages after the video: one dataclass each, all of one video.

>>> segment = Segment.of(video, start=12.0, end=30.5)
>>> caption = Caption.of(segment, start=12.0, end=22.0, segment=segment.id, text="A red car leaves the yard.")
>>> caption.video == segment.video == video.id
True

``Class.of(source, ...)`` takes the video from its source and makes the id: of the video's id, the class and the fields
that :attr:`Record.identity` names. The same place in the same video has the same id in every run, whatever a model
wrote about it; two texts under one id are what ``datapipe diff`` shows. Texts come from models: hostile input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

from datapipe.records.provenance import Provenance, digest
from datapipe.records.video import VideoRecord
from longvt_plugins.types import TimeSpan

ID_DIGITS = 16
"""Hexadecimal digits of an id after the video's own."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """Something about one video.

    Attributes:
        identity: Names of the fields that tell it from others of its class and video.
        id: Unique in its stage.
        video: Id of the video.
        path: The video file, as it lies today.
        duration: Of the whole video, in seconds.
        provenance: How it was made; None until the step's outcome has been taken.
    """

    identity: ClassVar[tuple[str, ...]] = ()
    # Read by pydantic when records come from JSON: a misspelt field is not lost in silence.
    __pydantic_config__: ClassVar[Any] = {"extra": "forbid", "allow_inf_nan": False}

    id: str
    video: str
    path: str
    duration: float
    provenance: Provenance | None = None

    @classmethod
    def of(cls, source: VideoRecord | Record, **fields: Any) -> Self:
        """A record of the same video.

        Args:
            source: The video, or any record of it.
            fields: Those of this class.
        """
        place = [_place(fields[name] if name in fields else getattr(cls, name)) for name in cls.identity]
        kind = cls.__name__.lower()
        made_id = f"{source.video}.{kind}-{digest([source.video, kind, place])[:ID_DIGITS]}"
        return cls(id=made_id, video=source.video, path=source.path, duration=source.duration, **fields)


@dataclass(frozen=True, kw_only=True)
class Clip(Record):
    """A part of a video.

    Attributes:
        start: Seconds.
        end: Seconds; not part of it any more.
    """

    identity: ClassVar[tuple[str, ...]] = ("start", "end")
    start: float
    end: float

    @property
    def span(self) -> TimeSpan:
        """From ``start`` to ``end``."""
        return TimeSpan(self.start, self.end)


@dataclass(frozen=True, kw_only=True)
class Segment(Clip):
    """A part between two cuts."""


@dataclass(frozen=True, kw_only=True)
class Caption(Clip):
    """What a model saw in a piece of a segment.

    Attributes:
        text: Its words.
        segment: Id of the segment.
        subtitles: What was said meanwhile, from the video's subtitles.
    """

    text: str
    segment: str = ""
    subtitles: str = ""


@dataclass(frozen=True, kw_only=True)
class Event(Clip):
    """Neighbouring captions that tell of one thing.

    Attributes:
        text: All of them in one.
        captions: Their ids, in order.
        subtitles: What was said meanwhile.
    """

    text: str
    captions: tuple[str, ...] = ()
    subtitles: str = ""


@dataclass(frozen=True)
class SummaryPart:
    """One paragraph of a summary.

    Attributes:
        start: Seconds.
        end: Seconds.
        text: What happens.
        events: Ids of the events that it tells of.
    """

    start: float
    end: float
    text: str
    events: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Summary(Record):
    """What happens in a whole video; one each.

    Attributes:
        text: All of it.
        parts: The same in parts, each with its place.
    """

    text: str
    parts: tuple[SummaryPart, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What a filter, a judge or a person said of a record.

    Attributes:
        by: Name of the step.
        accepted: Whether it passed.
        scores: By name.
        reason: In words.
    """

    by: str
    accepted: bool
    scores: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class QAPair(Clip):
    """A question about a video; ``start`` and ``end`` are where the evidence is.

    Attributes:
        question: Without times, and to be answered from this video alone.
        answer: The right one.
        kind: ``"open"``, ``"choice"`` or ``"grounding"``.
        options: The choices, if any.
        question_type: Such as ``"action"``, for statistics.
        events: Ids of the events or captions that it was made from.
        verdicts: Of the filters that it went through, in their order.
    """

    identity: ClassVar[tuple[str, ...]] = ("start", "end", "question")
    question: str
    answer: str
    kind: Literal["open", "choice", "grounding"] = "open"
    options: tuple[str, ...] | None = None
    question_type: str = ""
    events: tuple[str, ...] = ()
    verdicts: tuple[Verdict, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Trace(Clip):
    """A teacher's way to an answer; ``start`` and ``end`` are the reference window, which it was not shown.

    Attributes:
        qa: Id of the question.
        sample: Tells several traces of one question apart.
        question: As it was asked.
        reference_answer: The right answer.
        kind: Of the question.
        options: The choices, if any.
        messages: The conversation, frames as references (:func:`longvt_plugins.rollouts.to_references`).
        answer: The last one, None without one.
        windows: ``(start, end)`` in seconds of every executed ``crop_video`` call.
        score: Of the answer, from 0 to 1; None where no verdict was had.
        iou: Of the last window with the reference, 0 without a window.
        verdicts: Of judges and filters, in their order. A trace that disagrees with the reference is kept with them.
        stop_reason: As rollouts have it.
        model: Who answered.
        tokens: That it wrote.
        frames: That it was shown.
        seconds: How long it took.
    """

    identity: ClassVar[tuple[str, ...]] = ("qa", "sample")
    qa: str
    sample: int = 0
    question: str
    reference_answer: str
    kind: Literal["open", "choice", "grounding"] = "open"
    options: tuple[str, ...] | None = None
    messages: tuple[Mapping[str, Any], ...] = ()
    answer: str | None = None
    windows: tuple[tuple[float, float], ...] = ()
    score: float | None = None
    iou: float | None = None
    verdicts: tuple[Verdict, ...] = ()
    stop_reason: Literal["answered", "no_answer", "max_turns", "length", "error"] = "answered"
    model: str = ""
    tokens: int = 0
    frames: int = 0
    seconds: float = 0.0


def _place(value: object) -> object:
    # To the microsecond, below which times differ by how they were computed; -0.0 is 0.
    return round(float(value), 6) + 0.0 if isinstance(value, int | float) and not isinstance(value, bool) else value
