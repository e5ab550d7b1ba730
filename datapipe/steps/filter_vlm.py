"""``filter_vlm``: a model looks at the part of the video that a question is said to be about, and scores the pair.

Relevance, evidence, clarity and timing, each from 0 to 1; their mean decides. The reply is JSON of that very form:
"0.2 out of 1" is no reply, and never a 1.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from datapipe.context import StepContext
from datapipe.estimate import Amount, Estimate
from datapipe.records import Dropped, Kept, Outcome, QAPair, Verdict
from datapipe.step import ContextStep
from datapipe.steps.replies import Reply, Share
from datapipe.steps.watching import watch
from longvt_plugins.errors import ConfigError
from longvt_plugins.types import TimeSpan, text_block
from longvt_plugins.video.sampling import FrameSampling, format_seconds

_USUAL_WINDOW, _PIXELS_PER_TOKEN, _PROMPT_TOKENS, _TOKENS_WRITTEN = 20.0, 28 * 28, 250, 80


@dataclass(frozen=True)
class ClipVerdictReply(Reply):
    """What the model replies."""

    relevance: Share
    evidence: Share
    clarity: Share
    timing: Share
    reason: str


@dataclass(frozen=True)
class FilterVLM(ContextStep[QAPair, QAPair]):
    """Keeps questions whose part of the video bears them out.

    Args:
        threshold: Least mean of the four scores (LongVT).
        fps: Frames a second of the clip.
        max_seconds: A longer window is dropped: nobody can look at all of it.
        margin: Seconds shown before and after it, by which the timing is judged.
        max_frames: Of the clip.
        max_pixels: Of a frame.
        max_tokens: Longest reply.
    """

    name, version = "filter_vlm", 1
    uses_chat, prompts = True, ("filter_vlm",)
    threshold: float = 0.85
    fps: float = 2.0
    max_seconds: float = 300.0
    margin: float = 5.0
    max_frames: int = 620
    max_pixels: int = 224 * 224
    max_tokens: int = 512

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1 or self.margin < 0:
            raise ConfigError(
                f"threshold must lie between 0 and 1, and margin not be negative: {self.threshold:g}, {self.margin:g}"
            )

    async def work(self, record: QAPair, context: StepContext) -> Outcome[QAPair]:
        """The pair with its verdict."""
        if record.span.seconds > self.max_seconds:
            return Dropped(f"window longer than {self.max_seconds:g} s")
        span = TimeSpan(max(0.0, record.start - self.margin), min(record.duration, record.end + self.margin))
        sampling = FrameSampling(fps=self.fps, max_frames=self.max_frames, max_pixels=self.max_pixels)
        frames = await watch(context, record.path, span, sampling)
        prompt = context.render(
            "filter_vlm",
            question=record.question,
            answer=record.answer,
            options=record.options,
            start=format_seconds(record.start),
            end=format_seconds(record.end),
        )
        reply = await context.ask(
            [{"role": "user", "content": [*frames, text_block(prompt)]}], ClipVerdictReply, max_tokens=self.max_tokens
        )
        scores = {name: score for name, score in asdict(reply).items() if name != "reason"}
        mean = sum(scores.values()) / len(scores)
        verdict = Verdict(self.name, mean >= self.threshold, {**scores, "mean": mean}, reply.reason)
        judged = replace(record, verdicts=(*record.verdicts, verdict))
        return Kept(judged) if verdict.accepted else Dropped(f"mean score below {self.threshold:g}", judged)

    def estimate(self, amount: Amount) -> Estimate:
        """A request for every pair."""
        frames = min(self.max_frames, (_USUAL_WINDOW + 2 * self.margin) * self.fps)
        read = frames * self.max_pixels / _PIXELS_PER_TOKEN + _PROMPT_TOKENS
        return Estimate(amount.records * 0.7, amount.records, amount.records * read, amount.records * _TOKENS_WRITTEN)
