"""``summarize``: what happens in a whole video, from its events upwards.

The events are told in groups of 8 (4 where there are 9 to 16 of them, all at once where there are fewer), each a
part with its place; then two neighbouring texts become one, round by round. A merge that fails is a failure of the
video: no half of it is thrown away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from datapipe.context import StepContext
from datapipe.estimate import Amount, Estimate
from datapipe.records import Event, Kept, Outcome, Summary, SummaryPart
from datapipe.step import ContextStep, VideoGroup
from datapipe.steps.replies import Reply, Text
from datapipe.steps.together import all_of
from longvt_plugins.video.sampling import format_seconds

LARGE, SMALL = 8, 4
"""Events of one part; LongVT's."""

_TOKENS_READ, _TOKENS_WRITTEN = 1500, 300


@dataclass(frozen=True)
class SummaryReply(Reply):
    """What a model replies."""

    summary: Text


@dataclass(frozen=True)
class Summarize(ContextStep[VideoGroup[Event], Summary]):
    """Tells what happens in a video.

    Args:
        max_tokens: Longest reply.
    """

    name, version, per = "summarize", 1, "video"
    uses_chat, prompts = True, ("summarize",)
    max_tokens: int = 2048

    async def work(self, record: VideoGroup[Event], context: StepContext) -> Outcome[Summary]:
        """One summary, whose parts tell of every event."""
        events = record.records
        size = group_size(len(events))
        groups = [events[start : start + size] for start in range(0, len(events), size)]
        parts = await all_of(self._part(group, context) for group in groups)
        texts = list(parts)
        while len(texts) > 1:
            pairs = [texts[place : place + 2] for place in range(0, len(texts), 2)]
            texts = await all_of(self._pair(pair, context) for pair in pairs)
        return Kept(Summary.of(events[0], text=texts[0].text, parts=tuple(parts)))

    def estimate(self, amount: Amount) -> Estimate:
        """A request for every part, and one less to merge them."""
        parts = max(amount.videos, amount.records / LARGE)
        asked = 2 * parts - amount.videos
        return Estimate(amount.videos, asked, asked * _TOKENS_READ, asked * _TOKENS_WRITTEN)

    async def _part(self, events: Sequence[Event], context: StepContext) -> SummaryPart:
        told = [SummaryPart(event.start, event.end, event.text, (event.id,)) for event in events]
        return await self._told(told, context)

    async def _pair(self, pair: Sequence[SummaryPart], context: StepContext) -> SummaryPart:
        return pair[0] if len(pair) == 1 else await self._told(pair, context)

    async def _told(self, parts: Sequence[SummaryPart], context: StepContext) -> SummaryPart:
        prompt = context.render(
            "summarize",
            parts=[
                {"start": format_seconds(part.start), "end": format_seconds(part.end), "text": part.text}
                for part in parts
            ],
        )
        reply = await context.ask([{"role": "user", "content": prompt}], SummaryReply, max_tokens=self.max_tokens)
        return SummaryPart(
            start=parts[0].start,
            end=max(part.end for part in parts),
            text=reply.summary,
            events=tuple(event for part in parts for event in part.events),
        )


def group_size(events: int) -> int:
    """How many events are told together first."""
    if events < LARGE:
        return max(1, events)
    return SMALL if events <= 2 * LARGE else LARGE
