"""``filter_text``: questions that need the video, and are about it alone; the best of each video where a limit is set.

Two things are asked about every pair: what a reader who knows the summary objects to, and, of somebody who sees the
question alone, the answer. Who knows it without the video has found a leak. A drop is a result: it is not asked again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from datapipe.context import StepContext
from datapipe.estimate import Amount, Estimate
from datapipe.records import Dropped, Kept, Outcome, QAPair, Summary, Verdict
from datapipe.step import ContextStep, VideoGroup
from datapipe.steps.judging import judge_answer
from datapipe.steps.replies import Reply, Share
from datapipe.steps.rules import broken_rule, words_of
from datapipe.steps.together import together
from longvt_plugins.errors import ConfigError
from longvt_plugins.judges import JudgeConfig
from longvt_plugins.video.sampling import format_seconds

BLIND = "blind"
"""Name of the score that says whether the answer was found without the video: 1 if it was."""

OBJECTIONS = {
    "ambiguous": "ambiguous over the video",
    "outside_knowledge": "needs knowledge from outside",
    "subjective": "asks for an opinion",
    "several_questions": "not exactly one question",
}
"""Of a reply's fields, and what a pair is dropped for."""

_TOKENS_READ, _BLIND_TOKENS, _TOKENS_WRITTEN = 700, 200, 80


@dataclass(frozen=True)
class TextVerdictReply(Reply):
    """What a reader of the summary replies."""

    ambiguous: bool
    outside_knowledge: bool
    subjective: bool
    several_questions: bool
    specificity: Share
    clarity: Share
    reason: str


@dataclass(frozen=True)
class BlindReply(Reply):
    """What somebody replies who has not seen the video."""

    knows: bool
    answer: str


@dataclass(frozen=True)
class FilterText(ContextStep[VideoGroup[QAPair], QAPair]):
    """Rejects questions by text alone.

    Args:
        per_video: Keep so many at most, the most specific, clear and different from each other; None for all.
        blind: Ask for the answer without the video, and drop pairs whose answer is found.
        blind_score: From this score on the answer counts as found.
        judge: Compares that answer with the right one.
        max_tokens: Longest reply.
    """

    name, version, per = "filter_text", 1, "video"
    uses_chat, prompts = True, ("filter_text", "blind_answer")
    beside: ClassVar[Mapping[str, type]] = {"summarize": Summary}
    per_video: int | None = None
    blind: bool = True
    blind_score: float = 1.0
    judge: JudgeConfig = field(default_factory=JudgeConfig)
    max_tokens: int = 512

    def __post_init__(self) -> None:
        if self.per_video is not None and self.per_video < 1:
            raise ConfigError(f"per_video must be at least 1, not {self.per_video}")

    async def work(self, record: VideoGroup[QAPair], context: StepContext) -> list[Outcome[QAPair]]:
        """One outcome for every pair, each with its verdict."""
        summaries: tuple[Summary, ...] = context.beside.get("summarize", ())
        summary = summaries[0].text if summaries else ""

        async def look(pair: QAPair) -> Outcome[QAPair]:
            return await self._outcome(pair, summary, context)

        return self._best(await together(record.records, look))

    def estimate(self, amount: Amount) -> Estimate:
        """One or two requests for every pair."""
        asked = amount.records * (2 if self.blind else 1)
        read = amount.records * (_TOKENS_READ + (_BLIND_TOKENS if self.blind else 0))
        return Estimate(amount.records * 0.7, asked, read, asked * _TOKENS_WRITTEN)

    async def _outcome(self, pair: QAPair, summary: str, context: StepContext) -> Outcome[QAPair]:
        if (broken := broken_rule(pair.question, pair.answer)) is not None:
            return Dropped(broken, _with(pair, Verdict(self.name, False, {}, broken)))
        prompt = context.render(
            "filter_text",
            question=pair.question,
            answer=pair.answer,
            options=pair.options,
            start=format_seconds(pair.start),
            end=format_seconds(pair.end),
            summary=summary,
        )
        reply = await context.ask([{"role": "user", "content": prompt}], TextVerdictReply, max_tokens=self.max_tokens)
        scores = {"specificity": reply.specificity, "clarity": reply.clarity}
        objections = [told for name, told in OBJECTIONS.items() if getattr(reply, name)]
        if objections:
            return Dropped(objections[0], _with(pair, Verdict(self.name, False, scores, reply.reason)))
        if self.blind:
            scores[BLIND] = await self._blind_score(pair, context)
            if scores[BLIND] >= self.blind_score:
                told = "answered without the video"
                return Dropped(told, _with(pair, Verdict(self.name, False, scores, told)))
        return Kept(_with(pair, Verdict(self.name, True, scores, reply.reason)))

    async def _blind_score(self, pair: QAPair, context: StepContext) -> float:
        prompt = context.render("blind_answer", question=pair.question, options=pair.options)
        reply = await context.ask([{"role": "user", "content": prompt}], BlindReply, max_tokens=self.max_tokens)
        if not (reply.knows and reply.answer.strip()):
            return 0.0
        judgement = await judge_answer(
            context, self.judge, pair.question, pair.answer, reply.answer, options=pair.options, kind=pair.kind
        )
        # Without a verdict nothing is known, and a pair is not thrown away for that.
        return judgement.score or 0.0

    def _best(self, outcomes: list[Outcome[QAPair]]) -> list[Outcome[QAPair]]:
        kept = [(place, each.record) for place, each in enumerate(outcomes) if isinstance(each, Kept)]
        chosen: list[QAPair] = []
        left = dict(kept)
        ranked: dict[int, float] = {}
        while left:
            values = {place: _value(pair) + _novelty(pair, chosen) for place, pair in left.items()}
            best = max(values, key=lambda place: (values[place], -place))
            ranked[best] = values[best]
            chosen.append(left.pop(best))
        allowed = len(ranked) if self.per_video is None else self.per_video
        result = list(outcomes)
        for rank, (place, value) in enumerate(ranked.items()):
            pair = _scored(dict(kept)[place], "rank", value)
            result[place] = Kept(pair) if rank < allowed else Dropped(f"video already has {allowed}", pair)
        return result


def _value(pair: QAPair) -> float:
    scores = pair.verdicts[-1].scores
    return scores["specificity"] + scores["clarity"]


def _novelty(pair: QAPair, chosen: list[QAPair]) -> float:
    """1 less the share of words that it has in common with the nearest of those chosen."""
    own = set(words_of(pair.question))
    shares = [len(own & set(words_of(one.question))) / len(own | set(words_of(one.question))) for one in chosen]
    return 1 - max(shares, default=0.0)


def _with(pair: QAPair, verdict: Verdict) -> QAPair:
    return replace(pair, verdicts=(*pair.verdicts, verdict))


def _scored(pair: QAPair, name: str, value: float) -> QAPair:
    last = pair.verdicts[-1]
    return replace(pair, verdicts=(*pair.verdicts[:-1], replace(last, scores={**last.scores, name: round(value, 4)})))
