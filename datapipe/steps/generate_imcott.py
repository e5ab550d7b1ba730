"""``generate_imcott``: a teacher answers a question in the agent's own loop, with real tool calls and real frames.

::

    round 1     it skims the video and plans, in prose, the one window it wants to see; crop_video shows it
    round 2     in long videos: having seen that, it looks again, with any tool it was given
    answer      what it concludes from the frames

The reference answer and window are not shown to it, and no turn is written for it. What disagrees with the reference
is kept, with a verdict that says so; nothing is repaired. The stored conversation opens as every student's does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from pydantic import AfterValidator

from datapipe.asking import ask
from datapipe.context import RecordChat, StepContext
from datapipe.estimate import Amount, Estimate
from datapipe.records import Failed, Kept, Outcome, QAPair, Trace, Verdict, stable_number
from datapipe.step import ContextStep
from datapipe.steps.judging import judge_answer
from datapipe.steps.replies import Reply, Text
from datapipe.steps.rows import qa_row
from datapipe.steps.together import together
from longvt_plugins.agent import AgentConfig, run_agent
from longvt_plugins.chat import Completion
from longvt_plugins.errors import ConfigError
from longvt_plugins.judges import JudgeConfig
from longvt_plugins.rollouts import Rollout
from longvt_plugins.transcript import parse_transcript
from longvt_plugins.types import Block, Message, ToolCall, text_block, text_of
from longvt_plugins.video.sampling import CROP, OVERVIEW, FrameSampling, format_seconds

SHORT_SECONDS, LONG_SECONDS = 15 * 60.0, 20 * 60.0
"""Videos below the first are looked at once, those above the second twice; in between chance decides (LongVT)."""

_STEPS = 1000
_PIXELS_PER_TOKEN, _TOKENS_WRITTEN = 28 * 28, 300


def _untagged(value: str) -> str:
    if any(tag in value.lower() for tag in ("<think", "</think", "<tool_call", "<answer", "</answer")):
        raise ValueError("it must be prose without tags")
    return value


@dataclass(frozen=True)
class PlanReply(Reply):
    """Where a teacher wants to look first, and why."""

    thought: Annotated[Text, AfterValidator(_untagged)]
    start: float
    end: float


@dataclass(frozen=True)
class GenerateIMCoTT(ContextStep[QAPair, Trace]):
    """Lets a teacher watch, call tools and answer.

    Args:
        samples: Traces of each question.
        rounds: How often the teacher may look; None goes by the length of the video, see :func:`rounds_of`.
        tools: Names of registered tools that it may call.
        plan: Ask for the first window in a request of its own; needs ``crop_video``. Without it the first turn is a
            turn like the others.
        overview: How it skims the video.
        crop: How ``crop_video`` samples.
        temperature: Of the teacher; several samples need more than 0.
        max_tokens: Longest turn.
        judge: Compares its answer with the reference.
        min_score: From this score on the answer agrees with the reference.
        min_iou: From this overlap on the last window does.
        tell_teacher_the_reference: Tell it the right answer and window, which its traces then say in their verdicts.
    """

    name, version = "generate_imcott", 1
    uses_chat, prompts = True, ("teacher_system", "plan_window")
    samples: int = 1
    rounds: int | None = None
    tools: tuple[str, ...] = ("crop_video",)
    plan: bool = True
    overview: FrameSampling = OVERVIEW
    crop: FrameSampling = CROP
    temperature: float = 0.0
    max_tokens: int = 4096
    judge: JudgeConfig = field(default_factory=JudgeConfig)
    min_score: float = 1.0
    min_iou: float = 0.3
    tell_teacher_the_reference: bool = False

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ConfigError(f"samples must be at least 1, not {self.samples}")
        if self.rounds is not None and self.rounds < 1:
            raise ConfigError(f"rounds must be at least 1, not {self.rounds}")
        if self.plan and "crop_video" not in [name.partition(":")[0] for name in self.tools]:
            raise ConfigError("plan: the window that is planned is shown by crop_video, which is not among the tools")

    async def work(self, record: QAPair, context: StepContext) -> list[Outcome[Trace]]:
        """One outcome for each sample."""

        async def sample(number: int) -> Outcome[Trace]:
            return await self._trace(record, number, context)

        outcomes = await together(range(self.samples), sample)
        return [replace(one, record=record) if isinstance(one, Failed) else one for one in outcomes]

    def estimate(self, amount: Amount) -> Estimate:
        """Two or three requests for every trace, each with all frames shown so far."""
        traces = amount.records * self.samples
        long = amount.seconds / max(1.0, amount.videos) > LONG_SECONDS
        turns = (self.rounds or (2 if long else 1)) + 1
        frames = self.overview.max_frames + self.crop.max_frames
        read = turns * frames * self.overview.max_pixels / _PIXELS_PER_TOKEN
        return Estimate(traces, traces * turns, traces * read, traces * turns * _TOKENS_WRITTEN)

    async def _trace(self, pair: QAPair, number: int, context: StepContext) -> Outcome[Trace]:
        row = qa_row(pair)
        chat = context.sample(number)
        reference = None
        if self.tell_teacher_the_reference:
            reference = {"answer": pair.answer, "start": format_seconds(pair.start), "end": format_seconds(pair.end)}
        teacher = _Teacher(
            chat=chat,
            system=context.render("teacher_system", reference=reference),
            plan=context.render("plan_window") if self.plan else None,
            video=next(iter(row["videos"])),
        )
        config = AgentConfig(
            tools=self.tools,
            overview=self.overview,
            crop=self.crop,
            max_calls=self.rounds or rounds_of(pair),
            max_new_tokens=self.max_tokens,
            temperature=self.temperature,
            run=self.name,
            model=chat.model,
        )
        rollout = await run_agent(teacher, row, config, context.plugins, sample=number, library=context.videos)
        if rollout.error is not None:
            return Failed(rollout.error)
        return Kept(await self._judged(pair, number, rollout, context))

    async def _judged(self, pair: QAPair, number: int, rollout: Rollout, context: StepContext) -> Trace:
        score, reason = 0.0, "no answer"
        known: float | None = score
        if rollout.answer is not None:
            judgement = await judge_answer(
                context, self.judge, pair.question, pair.answer, rollout.answer, options=pair.options, kind=pair.kind
            )
            known, reason = judgement.score, judgement.reason or judgement.verdict
        iou = rollout.last_iou
        is_formed = parse_transcript(rollout.messages).format_ok
        faults = []
        if known is None:
            faults.append(f"no verdict on the answer: {reason}")
        elif known < self.min_score:
            faults.append("answer disagrees with the reference" if rollout.answer is not None else "no answer")
        if iou is not None and iou < self.min_iou:
            faults.append("last window disagrees with the reference")
        if not is_formed:
            faults.append("not in the form that is trained")
        told = ["the teacher was told the reference"] if self.tell_teacher_the_reference else []
        scores = {"answer": known, "iou": iou, "format": float(is_formed)}
        verdict = Verdict(
            by=self.name,
            accepted=not faults,
            scores={name: value for name, value in scores.items() if value is not None},
            reason="; ".join([*faults, *told]) or "agrees with the reference",
        )
        return Trace.of(
            pair,
            start=pair.start,
            end=pair.end,
            qa=pair.id,
            sample=number,
            question=pair.question,
            reference_answer=pair.answer,
            kind=pair.kind,
            options=pair.options,
            messages=tuple(dict(message) for message in rollout.messages),
            answer=rollout.answer,
            windows=tuple((start, end) for start, end in rollout.windows),
            score=known,
            iou=iou,
            verdicts=(*pair.verdicts, verdict),
            stop_reason=rollout.stop_reason,
            model=rollout.model,
            tokens=rollout.tokens,
            # How long it took stands in the provenance: here, no two runs would give equal records.
            frames=rollout.frames,
        )


def rounds_of(pair: QAPair) -> int:
    """How often the teacher may look: once in a short video, twice in a long one, by a chance that grows in between.

    The chance depends on the question's id alone, so it is the same in every process.
    """
    share = (pair.duration - SHORT_SECONDS) / (LONG_SECONDS - SHORT_SECONDS)
    return 2 if stable_number("rounds", pair.id, below=_STEPS) / _STEPS < share else 1


@dataclass
class _Teacher:
    """The model as the loop sees it: with a system message of its own, and a plan before its first look.

    Attributes:
        chat: Who is asked.
        system: Takes the place of the student's system message on the way out, and is never stored.
        plan: Asks for the first window; None leaves the first turn to the model.
        video: Its name in the conversation.
        planned: The plan was made.
    """

    chat: RecordChat
    system: str
    plan: str | None
    video: str
    planned: bool = False

    async def complete(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]],
        *,
        max_tokens: int,
        temperature: float,
    ) -> Completion:
        """The next turn, its thought between tags."""
        seen: list[Message] = [{"role": "system", "content": self.system}, *messages[1:]]
        if self.plan is not None and not self.planned:
            self.planned = True
            return await self._planned(seen, max_tokens, temperature)
        completion = await self.chat.complete(seen, tools, max_tokens=max_tokens, temperature=temperature)
        message: Message = {**completion.message, "content": _tagged(text_of(completion.message))}
        if calls := message.get("tool_calls"):
            # Servers draw ids by chance; the loop numbers those that have none, so that equal turns are equal records.
            message["tool_calls"] = [{"type": "function", "function": call["function"]} for call in calls]
        return replace(completion, message=message)

    async def _planned(self, seen: list[Message], max_tokens: int, temperature: float) -> Completion:
        *before, question = seen
        content = question["content"]
        blocks: list[Block] = [text_block(content)] if isinstance(content, str) else list(content or ())
        asked: Message = {**question, "content": [*blocks, text_block(self.plan or "")]}
        reply = await ask(self.chat, [*before, asked], PlanReply, max_tokens=max_tokens, temperature=temperature)
        arguments = {"video_path": self.video, "start_time": _number(reply.start), "end_time": _number(reply.end)}
        call = ToolCall("call_1", "crop_video", arguments)
        message: Message = {
            "role": "assistant",
            "content": f"<think>{reply.thought}</think>",
            "tool_calls": [call.to_message_entry()],
        }
        return Completion(message, "tool_calls")


def _tagged(content: str) -> str:
    """Prose before an answer or a call is the thought; models of other makers write it without tags."""
    if "<think>" in content or not content.strip():
        return content
    prose, answer, rest = content.partition("<answer>")
    return f"<think>{prose.strip()}</think>{answer}{rest}" if prose.strip() else content


def _number(seconds: float) -> float | int:
    """Whole seconds without a fraction, as models write them."""
    return int(seconds) if seconds == int(seconds) else round(seconds, 1)
