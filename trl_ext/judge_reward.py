"""Asks a judge about a batch of answers, all at once, and waits for one that is down.

::

    bench = Bench(plugins.judges.get("llm")(JudgeConfig("llm", {"base_url": "http://127.0.0.1:1234/v1"})))
    verdicts = await bench.ask(reading, columns)
    verdicts.scores            # [1.0, None, 0.5]
    verdicts.missing           # {1}: it was asked and had no verdict; where an answer needs no judge it is not asked

An answer that occurs twice under one question is judged once. A verdict that cannot be read is missing for good.
Where no reply came at all the judge may be down, so a question that no cache can answer finds out. As long as it
fails too, the bench waits and tries again, up to ``patience`` seconds; then the judge counts as down. This takes
a judge with a ``health``, as those that ask a server have; of any other a missing verdict is final.

:func:`get_judge_reward` is the answer reward of one judge alone, under the same name as
:func:`trl_ext.rewards.answer_reward`. Beside other functions use :class:`trl_ext.scoring.Scoring`, which takes a
rollout without a verdict out of its group.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from longvt_plugins.errors import ConfigError
from longvt_plugins.judges.judge import Judge, Judgement, health_of
from longvt_plugins.transcript import parse_transcript
from trl_ext.rewards.answer import answer_score, needs_judge
from trl_ext.rewards.reading import Attempt, Completions, Reading, Scores

AsyncReward = Callable[..., Awaitable[Scores]]

PATIENCE_SECONDS = 600.0
"""How long a judge may stay down: below the 30 minutes after which processes that wait for each other give up."""

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 30.0
"""Between two looks whether a judge is back; doubled each time."""

SHORTEST_PROBE_SECONDS = 30.0
"""A look gets this much time even where no patience is left: a judge that is slow is not down."""


@dataclass(frozen=True)
class Verdicts:
    """What a judge said of a batch.

    Attributes:
        judgements: For every completion; None where the judge was not asked.
        down: Why the judge counts as down; None where it does not.
        waited: Seconds spent waiting for it.
    """

    judgements: list[Judgement | None]
    down: str | None = None
    waited: float = 0.0

    @property
    def scores(self) -> Scores:
        """The judge's scores; None where it was not asked or had no verdict."""
        return [None if judgement is None else judgement.score for judgement in self.judgements]

    @property
    def missing(self) -> set[int]:
        """Places of the completions that it was asked about in vain."""
        found = enumerate(self.judgements)
        return {place for place, judgement in found if judgement is not None and judgement.score is None}

    def metrics(self) -> dict[str, float]:
        """For the trainer's log: shares of the batch, seconds and dollars."""
        given = [judgement for judgement in self.judgements if judgement is not None]
        fresh = list({id(judgement): judgement for judgement in given if not judgement.cached}.values())
        logged = {
            "judge/no_verdict": len(self.missing) / max(1, len(self.judgements)),
            "judge/asked": len(given) / max(1, len(self.judgements)),
            "judge/cost": sum(judgement.cost for judgement in fresh),
            "judge/waited_seconds": self.waited,
        }
        if fresh:
            logged["judge/seconds"] = sum(judgement.seconds for judgement in fresh) / len(fresh)
        if given:
            logged["judge/cached"] = sum(judgement.cached for judgement in given) / len(given)
        return logged


@dataclass
class Bench:
    """A judge and how long to wait for it.

    Args:
        judge: Asked once for every answer that is worth asking about.
        patience: Seconds that it may stay down.

    Raises:
        ConfigError: A negative patience.
    """

    judge: Judge
    patience: float = PATIENCE_SECONDS
    sleep: Callable[[float], Awaitable[None]] = field(default=asyncio.sleep, repr=False)

    def __post_init__(self) -> None:
        if not self.patience >= 0:
            raise ConfigError(f"the patience with a judge must be seconds from 0, not {self.patience!r}")

    async def ask(self, reading: Reading, columns: Mapping[str, Any]) -> Verdicts:
        """Asks about every completion that needs it.

        Args:
            reading: The batch's transcripts.
            columns: ``question``, ``answer``, and where the dataset has them ``options`` and ``kind``.

        Raises:
            ConfigError: A column is missing.
        """
        if missing := [name for name in ("question", "answer") if name not in columns]:
            raise ConfigError(
                f"a judge needs the column {', '.join(missing)}; the dataset gives: {', '.join(columns) or 'none'}"
            )
        attempts = (
            Attempt(transcript, place, columns, reading) for place, transcript in enumerate(reading.transcripts)
        )
        questions = {attempt.place: _Question.of(attempt) for attempt in attempts if needs_judge(attempt)}
        found = await self._judge(set(questions.values()))
        waited, down = 0.0, None
        silent = {question for question, judgement in found.items() if is_silent(judgement)}
        if silent and health_of(self.judge) is not None:
            waited, down = await self._wait()
            if down is None:
                found |= await self._judge(silent)
        judgements = [
            found[questions[place]] if place in questions else None for place in range(len(reading.transcripts))
        ]
        return Verdicts(judgements, down, waited)

    async def _judge(self, questions: set[_Question]) -> dict[_Question, Judgement]:
        # In one order in every run, whatever the processes' hashes: a judge's limits then hit the same ones.
        ordered = sorted(questions, key=_Question.key)
        judgements = await asyncio.gather(*(question.put_to(self.judge) for question in ordered))
        return dict(zip(ordered, judgements, strict=True))

    async def _wait(self) -> tuple[float, str | None]:
        """Waits until the judge is there; gives the seconds that took, and why it is not."""
        start, pause = time.monotonic(), FIRST_PAUSE_SECONDS
        while True:
            left = self.patience - (time.monotonic() - start)
            missed = await self._probe(max(left, SHORTEST_PROBE_SECONDS))
            left = self.patience - (time.monotonic() - start)
            if missed is None or left <= 0:
                return time.monotonic() - start, missed
            await self.sleep(min(pause, left))
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _probe(self, timeout: float) -> str | None:
        """Asks what no cache and no exact comparison can answer; gives why there was no reply, None if there was."""
        asking = self.judge("Which number comes after six?", "seven", f"It is the one named {uuid.uuid4()}.")
        try:
            judgement = await asyncio.wait_for(asking, timeout)
        except TimeoutError:
            return f"no reply within {timeout:.0f} s"
        return judgement.reason or "no reason given" if is_silent(judgement) else None


def is_silent(judgement: Judgement) -> bool:
    """Whether no reply came, as when a server is down; one that came and could not be read is ``raw``."""
    return judgement.score is None and not judgement.raw


@dataclass(frozen=True)
class _Question:
    """What a judge is asked, comparable so that it is asked once."""

    question: str
    reference: str
    prediction: str
    options: tuple[str, ...] | None
    kind: str | None

    @classmethod
    def of(cls, attempt: Attempt) -> _Question:
        options = attempt.column("options")
        return cls(
            question=str(attempt.column("question")),
            reference=str(attempt.column("answer")),
            # Half of a surrogate pair, which a model may write, has no bytes to be sent as.
            prediction=(attempt.transcript.answer or "").encode("utf-8", "replace").decode(),
            options=tuple(options) if options is not None else None,
            kind=attempt.column("kind"),
        )

    def key(self) -> str:
        return json.dumps([self.question, self.reference, self.prediction, self.options, self.kind])

    async def put_to(self, judge: Judge) -> Judgement:
        return await judge(self.question, self.reference, self.prediction, options=self.options, kind=self.kind)


def get_judge_reward(judge: Judge) -> AsyncReward:
    """Makes the reward function of a judge, for use without other functions that hang on it.

    Args:
        judge: Asked once for every answer that is worth asking about, all of a batch at once.

    Returns:
        An async reward function named ``answer_reward``; None where no verdict was had.
    """
    bench = Bench(judge, patience=0)

    async def answer_reward(completions: Completions, **columns: Any) -> Scores:
        """The judge's score of the last answer; 0 for none, an empty one or one of 1,000 characters and more."""
        transcripts = [parse_transcript(completion) for completion in completions]
        verdicts = await bench.ask(Reading(transcripts), columns)
        reading = Reading(transcripts, verdicts.scores)
        return [
            answer_score(Attempt(transcript, place, columns, reading)) for place, transcript in enumerate(transcripts)
        ]

    return answer_reward
