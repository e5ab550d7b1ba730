"""``merge_events``: neighbouring captions that tell of one event become one, with all that they say.

The captions of a video are halved again and again; where two halves meet, the two captions at the boundary are
compared. So n captions take n - 1 comparisons, most of them at once, and none compares across a gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from datapipe.context import StepContext
from datapipe.estimate import Amount, Estimate
from datapipe.records import Caption, Event, Kept, Outcome, Segment
from datapipe.step import ContextStep, VideoGroup
from datapipe.steps.replies import Reply, Text
from datapipe.steps.together import all_of, together
from datapipe.steps.watching import LONGEST_SUBTITLES
from longvt_plugins.errors import ConfigError
from longvt_plugins.video.sampling import format_seconds

_COMPARE_TOKENS, _MERGE_TOKENS, _REPLY_TOKENS, _PER_EVENT = 500, 900, 200, 3
"""For estimates; the last one is captions of one event."""


@dataclass(frozen=True)
class SameEventReply(Reply):
    """What a model replies about two captions."""

    same_event: bool


@dataclass(frozen=True)
class MergedCaptionReply(Reply):
    """What it makes of several."""

    caption: Text


@dataclass(frozen=True)
class MergeEvents(ContextStep[VideoGroup[Caption], Event]):
    """Joins captions of one event and merges their texts.

    Args:
        max_seconds: Longest event; what a later filter is to watch has to end somewhere.
        merge_at_once: Texts merged by one request; more of them are merged in rounds.
        max_tokens: Longest reply.
    """

    name, version, per = "merge_events", 1, "video"
    uses_chat, prompts = True, ("same_event", "merge_captions")
    max_seconds: float = 300.0
    merge_at_once: int = 8
    max_tokens: int = 1024

    def __post_init__(self) -> None:
        if self.merge_at_once < 2 or self.max_seconds <= 0:
            raise ConfigError(
                "merge_at_once must be at least 2 and max_seconds positive, not "
                f"{self.merge_at_once} and {self.max_seconds:g}"
            )

    async def work(self, record: VideoGroup[Caption], context: StepContext) -> list[Outcome[Event]]:
        """Every caption is in exactly one event."""
        groups = await self._joined(record.records, context)
        places = [Segment.of(group[0], start=group[0].start, end=group[-1].end) for group in groups]
        captions = {place.id: group for place, group in zip(places, groups, strict=True)}

        async def merge(place: Segment) -> Outcome[Event]:
            group = captions[place.id]
            return Kept(
                Event.of(
                    place,
                    start=place.start,
                    end=place.end,
                    text=await self._merged([caption.text for caption in group], context),
                    captions=tuple(caption.id for caption in group),
                    subtitles=_joined_subtitles(group),
                )
            )

        return await together(places, merge)

    def estimate(self, amount: Amount) -> Estimate:
        """A comparison for every two neighbours, a merge for every event of several captions."""
        events = amount.records / _PER_EVENT
        compared = max(0.0, amount.records - amount.videos)
        return Estimate(
            events,
            compared + events,
            compared * _COMPARE_TOKENS + events * _MERGE_TOKENS,
            compared * 10 + events * _REPLY_TOKENS,
        )

    async def _joined(self, captions: Sequence[Caption], context: StepContext) -> list[list[Caption]]:
        if len(captions) == 1:
            return [list(captions)]
        middle = len(captions) // 2
        left, right = await all_of([self._joined(captions[:middle], context), self._joined(captions[middle:], context)])
        if right[0][-1].end - left[-1][0].start > self.max_seconds:
            return left + right
        if await self._same(left[-1][-1], right[0][0], context):
            return [*left[:-1], left[-1] + right[0], *right[1:]]
        return left + right

    async def _same(self, earlier: Caption, later: Caption, context: StepContext) -> bool:
        text = context.render("same_event", parts=[_part(earlier), _part(later)])
        reply = await context.ask([{"role": "user", "content": text}], SameEventReply, max_tokens=self.max_tokens)
        return reply.same_event

    async def _merged(self, texts: Sequence[str], context: StepContext) -> str:
        if len(texts) == 1:
            return texts[0]
        rest = list(texts)
        while len(rest) > 1:
            groups = [rest[start : start + self.merge_at_once] for start in range(0, len(rest), self.merge_at_once)]
            rest = await all_of(self._merge_once(group, context) for group in groups)
        return rest[0]

    async def _merge_once(self, texts: Sequence[str], context: StepContext) -> str:
        if len(texts) == 1:
            return texts[0]
        prompt = context.render("merge_captions", captions=texts)
        reply = await context.ask([{"role": "user", "content": prompt}], MergedCaptionReply, max_tokens=self.max_tokens)
        return reply.caption


def _part(caption: Caption) -> dict[str, str]:
    return {
        "start": format_seconds(caption.start),
        "end": format_seconds(caption.end),
        "text": caption.text,
        "subtitles": caption.subtitles,
    }


def _joined_subtitles(captions: Sequence[Caption]) -> str:
    """What was said, each line once: one that lasts over a boundary stands in both captions."""
    said: list[str] = []
    for caption in captions:
        if caption.subtitles and caption.subtitles not in said:
            said.append(caption.subtitles)
    return " ".join(said)[:LONGEST_SUBTITLES]
