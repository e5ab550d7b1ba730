"""How a question about videos is put to a model: one way for training, evaluation and data.

::

    system      how to think, call and answer (prompts/system_<form>.jinja)
    user        0s <frame> 4s <frame> 8s <frame> ... video_1.mp4 lasts 64 s. Which colour does the lamp flash?

Neither the answer nor the reference window is ever read here, so they cannot leak into a prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from longvt_plugins import prompts
from longvt_plugins.tools.context import ToolContext, frame_blocks
from longvt_plugins.types import Block, Message, text_block
from longvt_plugins.video.sampling import OVERVIEW, FrameSampling, format_seconds

Form = Literal["tool", "reasoning", "non_think"]
"""What the model may do: think and call tools, only think, or answer at once."""


def system_message(form: Form = "tool", *, prompts_dir: str | Path | None = None) -> Message:
    """The first message of a conversation."""
    return {"role": "system", "content": prompts.render(f"system_{form}", folder=prompts_dir)}


def question_blocks(
    question: str,
    ctx: ToolContext,
    *,
    options: Sequence[str] | None = None,
    overview: FrameSampling = OVERVIEW,
    prompts_dir: str | Path | None = None,
) -> list[Block]:
    """The overview of every video of the rollout, then the question.

    Args:
        question: As the row has it.
        ctx: Holds the videos; they are opened here.
        options: Choices to show, if any.
        overview: How each video is sampled.
        prompts_dir: The user's own prompts.

    Returns:
        The content of the user's message.

    Raises:
        VideoError: A video cannot be read.
    """
    blocks: list[Block] = []
    lengths = []
    for name in ctx.videos:
        video = ctx.open(name)
        blocks += frame_blocks(video.overview(overview), video=name, labels=overview.labels)
        lengths.append((name, format_seconds(video.duration)))
    text = prompts.render(
        "question", folder=prompts_dir, question=question, videos=lengths, options=list(options) if options else None
    )
    return [*blocks, text_block(text)]


def opening_messages(
    question: str,
    ctx: ToolContext,
    *,
    form: Form = "tool",
    options: Sequence[str] | None = None,
    overview: FrameSampling = OVERVIEW,
    prompts_dir: str | Path | None = None,
) -> list[Message]:
    """System and user message: everything that the model sees before its first turn."""
    content = question_blocks(question, ctx, options=options, overview=overview, prompts_dir=prompts_dir)
    return [system_message(form, prompts_dir=prompts_dir), {"role": "user", "content": content}]
