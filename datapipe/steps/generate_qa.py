"""``generate_qa``: a question, its answer and where the evidence is, from the events of a video.

Fifteen events at a time are shown, with their seconds, and one question is asked for. What breaks a rule that can be
checked here (:mod:`datapipe.steps.rules`) is dropped with its reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from datapipe.context import StepContext
from datapipe.estimate import Amount, Estimate
from datapipe.records import Dropped, Event, Kept, Outcome, QAPair, Segment
from datapipe.step import ContextStep, VideoGroup
from datapipe.steps.replies import Reply, Text
from datapipe.steps.rules import MAX_ANSWER_WORDS, MAX_QUESTION_WORDS, broken_rule
from datapipe.steps.together import together
from longvt_plugins.errors import ConfigError
from longvt_plugins.video.sampling import format_seconds

ROUNDING = 0.5
"""Seconds by which a window may leave the events that were shown: models read and write tenths, or whole seconds."""

QuestionType = Literal["action", "object", "attribute", "count", "order", "cause", "place", "person", "speech", "other"]

_EVENT_TOKENS, _PROMPT_TOKENS, _REPLY_TOKENS = 150, 300, 100


@dataclass(frozen=True)
class QuestionReply(Reply):
    """What a model replies; the seconds are those of the evidence."""

    question: Text
    answer: Text
    start: float
    end: float
    question_type: QuestionType


@dataclass(frozen=True)
class GenerateQA(ContextStep[VideoGroup[Event], QAPair]):
    """Writes questions about a video.

    Args:
        events_at_once: Events that one question may be about.
        questions: For each of these groups; later ones are told the earlier ones.
        temperature: Of the writer.
        max_tokens: Longest reply.
    """

    name, version, per = "generate_qa", 1, "video"
    uses_chat, prompts = True, ("generate_qa",)
    events_at_once: int = 15
    questions: int = 1
    temperature: float = 0.0
    max_tokens: int = 1024

    def __post_init__(self) -> None:
        if self.events_at_once < 1 or self.questions < 1:
            raise ConfigError(
                f"events_at_once and questions must be at least 1, not {self.events_at_once}, {self.questions}"
            )

    async def work(self, record: VideoGroup[Event], context: StepContext) -> list[Outcome[QAPair]]:
        """One outcome for each question that was asked for."""
        events, size = record.records, self.events_at_once
        groups = [events[start : start + size] for start in range(0, len(events), size)]
        places = [Segment.of(group[0], start=group[0].start, end=max(one.end for one in group)) for group in groups]
        shown = {place.id: group for place, group in zip(places, groups, strict=True)}
        asked: dict[str, list[str]] = {place.id: [] for place in places}

        async def write(place: Segment) -> Outcome[QAPair]:
            return await self._question(place, shown[place.id], asked[place.id], context)

        outcomes: list[Outcome[QAPair]] = []
        for _ in range(self.questions):
            made = await together(places, write)
            # Two equal questions would have one id.
            known = {outcome.record.id for outcome in outcomes if isinstance(outcome, Kept)}
            for outcome in made:
                again = isinstance(outcome, Kept) and outcome.record.id in known
                outcomes.append(Dropped("question asked before", outcome.record) if again else outcome)
        return outcomes

    def estimate(self, amount: Amount) -> Estimate:
        """A request for every question."""
        groups = max(amount.videos, amount.records / self.events_at_once)
        asked = groups * self.questions
        shown = min(self.events_at_once, amount.records / max(1.0, amount.videos))
        return Estimate(asked, asked, asked * (_PROMPT_TOKENS + shown * _EVENT_TOKENS), asked * _REPLY_TOKENS)

    async def _question(
        self, place: Segment, events: Sequence[Event], asked: list[str], context: StepContext
    ) -> Outcome[QAPair]:
        prompt = context.render(
            "generate_qa",
            events=[
                {
                    "start": format_seconds(event.start),
                    "end": format_seconds(event.end),
                    "text": event.text,
                    "subtitles": event.subtitles,
                }
                for event in events
            ],
            asked=asked,
            question_words=MAX_QUESTION_WORDS,
            answer_words=MAX_ANSWER_WORDS,
        )
        reply = await context.ask(
            [{"role": "user", "content": prompt}],
            QuestionReply,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
        )
        asked.append(reply.question)
        inside = place.start - ROUNDING <= reply.start < reply.end <= place.end + ROUNDING
        start, end = max(place.start, reply.start), min(place.end, reply.end)
        if not inside or start >= end:
            about = {"question": reply.question, "answer": reply.answer, "start": reply.start, "end": reply.end}
            return Dropped("window outside of the events shown", about)
        pair = QAPair.of(
            place,
            start=start,
            end=end,
            question=reply.question,
            answer=reply.answer,
            question_type=reply.question_type,
            events=tuple(event.id for event in events if event.start < end and event.end > start),
        )
        reason = broken_rule(pair.question, pair.answer)
        return Kept(pair) if reason is None else Dropped(reason, pair)
