"""``caption``: what a model sees in each piece of a segment.

A segment from 12 s to 36 s is shown as 12 to 20, 20 to 28 and 28 to 36: no piece is longer than ten seconds, and the
last one ends with the segment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from datapipe.context import StepContext
from datapipe.estimate import Amount, Estimate
from datapipe.records import Caption, Kept, Outcome, Segment, VideoRecord
from datapipe.step import ContextStep
from datapipe.steps.replies import Reply, Text
from datapipe.steps.scenes.spans import split_long
from datapipe.steps.together import together
from datapipe.steps.watching import subtitle_lines, subtitles_between, watch
from longvt_plugins.errors import ConfigError
from longvt_plugins.types import TimeSpan, text_block
from longvt_plugins.video.sampling import FrameSampling, format_seconds

_PROMPT_TOKENS, _REPLY_TOKENS, _PIXELS_PER_TOKEN = 200, 150, 28 * 28
"""For estimates."""


@dataclass(frozen=True)
class CaptionReply(Reply):
    """What a model replies."""

    caption: Text


@dataclass(frozen=True)
class CaptionSegment(ContextStep[Segment, Caption]):
    """Describes a segment in pieces.

    Args:
        fps: Frames a second that the model sees (LongVT: 1, or 4).
        piece_seconds: Longest piece.
        max_frames: Of a piece.
        max_pixels: Of a frame.
        max_tokens: Longest reply.
    """

    name, version = "caption", 1
    uses_chat, prompts = True, ("caption",)
    beside: ClassVar[Mapping[str, type]] = {"probe_video": VideoRecord}
    fps: float = 1.0
    piece_seconds: float = 10.0
    max_frames: int = 64
    max_pixels: int = 448 * 448
    max_tokens: int = 1024

    def __post_init__(self) -> None:
        if self.piece_seconds <= 0:
            raise ConfigError(f"piece_seconds must be positive, not {self.piece_seconds:g}")
        self._sampling()

    async def work(self, record: Segment, context: StepContext) -> list[Outcome[Caption]]:
        """One caption for each piece."""
        lines = await subtitle_lines(context, context.beside.get("probe_video", ()))
        pieces = [
            Segment.of(record, start=piece.start, end=piece.end)
            for piece in split_long(record.span, self.piece_seconds)
        ]

        async def describe(piece: Segment) -> Outcome[Caption]:
            said = subtitles_between(lines, piece.span)
            frames = await watch(context, piece.path, piece.span, self._sampling())
            start, end = format_seconds(piece.start), format_seconds(piece.end)
            text = context.render("caption", start=start, end=end, subtitles=said)
            reply = await context.ask(
                [{"role": "user", "content": [*frames, text_block(text)]}], CaptionReply, max_tokens=self.max_tokens
            )
            place = {"start": piece.start, "end": piece.end}
            return Kept(Caption.of(record, **place, text=reply.caption, segment=record.id, subtitles=said))

        return await together(pieces, describe)

    def estimate(self, amount: Amount) -> Estimate:
        """A request for each piece; a segment's last piece is a half one on average."""
        pieces = amount.seconds / self.piece_seconds + amount.records / 2
        frames = self._sampling().count(TimeSpan(0, self.piece_seconds))
        tokens = frames * self.max_pixels / _PIXELS_PER_TOKEN + _PROMPT_TOKENS
        return Estimate(pieces, pieces, pieces * tokens, pieces * _REPLY_TOKENS)

    def _sampling(self) -> FrameSampling:
        return FrameSampling(fps=self.fps, max_frames=self.max_frames, max_pixels=self.max_pixels)
