"""Traces to imitate: the offline reader answers rows in the agent's own loop, with real tool calls and replies.

::

    counts = Counter()
    for trace in make_traces(rows, plugins, overview=TINY.overview, crop=TINY.crop, counts=counts):
        trace.messages          # system, question with frames, <think> and call, reply with frames, answer
    counts                      # {"kept": 187, "wrong answer": 9, "guessed": 4}

A trace is a :class:`~longvt_plugins.rollouts.Rollout` whose messages hold PIL images. Kept are those whose
answer is right and was seen, not guessed. The reference answer decides what is kept and is never written into
a trace, except in the form ``non_think``: there is nothing to imitate but the answer, so it is the row's own.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from longvt_plugins.agent import AgentConfig, run_agent
from longvt_plugins.chat import ChatBackend, Completion
from longvt_plugins.conversation import Form
from longvt_plugins.errors import ConfigError
from longvt_plugins.judges.exact import exact_score
from longvt_plugins.plugins import PluginManager
from longvt_plugins.rollouts import Rollout
from longvt_plugins.rows import Row
from longvt_plugins.synthetic.reader import OfflineReader
from longvt_plugins.types import Message
from longvt_plugins.video.sampling import CROP, OVERVIEW, FrameSampling

KEPT = "kept"
WRONG = "wrong answer"
GUESSED = "guessed"

RIGHT_IOU = 0.5
"""An interval that overlaps the right one this much is a right answer."""


def make_traces(
    rows: Iterable[Row],
    plugins: PluginManager,
    *,
    sloppiness: float = 0.0,
    traces_per_row: int = 1,
    seed: int = 0,
    max_calls: int = 5,
    keep_guesses: bool = False,
    overview: FrameSampling = OVERVIEW,
    crop: FrameSampling = CROP,
    form: Form = "tool",
    counts: Counter[str] | None = None,
) -> Iterator[Rollout]:
    """Makes traces one after another; not inside a running event loop.

    Args:
        rows: Questions about synthetic videos.
        plugins: Give the tools.
        sloppiness: Share of windows wider than they need be on a side, see :class:`OfflineReader`.
        traces_per_row: How many of a row; without sloppiness they are all alike.
        seed: Another seed slips elsewhere.
        max_calls: The teacher never looks closer more often; with 1, traces that had to look again are dropped.
        keep_guesses: Keep right answers that were guessed too, as a filter by the answer alone does.
        overview: How the whole video is sampled.
        crop: How ``crop_video`` samples.
        form: ``"tool"``, ``"reasoning"`` or ``"non_think"``.
        counts: Filled with how many were kept, and how many dropped for which reason.

    Yields:
        Kept traces, in the order of the rows.

    Raises:
        ConfigError: Fewer than one trace a row, or a share outside 0 to 1.
    """
    if traces_per_row < 1:
        raise ConfigError(f"traces_per_row must be at least 1, not {traces_per_row}")
    # Made here, so that a faulty setting is told before the first trace is asked for.
    readers = [
        OfflineReader(sloppiness, seed=seed * traces_per_row + number, max_calls=max_calls)
        for number in range(traces_per_row)
    ]
    config = AgentConfig(
        form=form, overview=overview, crop=crop, keep_images=True, run=f"traces-{seed}", model="offline-reader"
    )
    return _traces(rows, plugins, readers, config, counts if counts is not None else Counter(), keep_guesses)


def _traces(
    rows: Iterable[Row],
    plugins: PluginManager,
    readers: Sequence[OfflineReader],
    config: AgentConfig,
    counts: Counter[str],
    keep_guesses: bool,
) -> Iterator[Rollout]:
    with asyncio.Runner() as runner:
        for row in rows:
            for number, reader in enumerate(readers):
                backend: ChatBackend = _Reference(row["answer"]) if config.form == "non_think" else reader
                trace = runner.run(run_agent(backend, row, config, plugins, sample=number))
                reason = _reason_to_drop(trace, reader if backend is reader else None)
                counts[reason or KEPT] += 1
                if reason is None or (keep_guesses and reason == GUESSED):
                    yield trace


def _reason_to_drop(trace: Rollout, reader: OfflineReader | None) -> str | None:
    if trace.error is not None:
        return trace.error
    row = trace.row
    score = exact_score(row["answer"], trace.answer or "", row["options"], row["kind"]).score
    if (score or 0.0) < (RIGHT_IOU if row["kind"] == "grounding" else 1.0):
        return WRONG
    if reader is not None and not reader.knows(trace.messages):
        return GUESSED
    return None


@dataclass(frozen=True)
class _Reference:
    """A backend that knows one answer and says it."""

    answer: str

    async def complete(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]],
        *,
        max_tokens: int,
        temperature: float,
    ) -> Completion:
        return Completion({"role": "assistant", "content": f"<answer>{self.answer}</answer>"}, "stop")
