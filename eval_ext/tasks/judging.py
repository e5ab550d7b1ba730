"""The judge beside the exact one: which it is, and its verdicts on all answers of a task at once.

::

    export LONGVT_JUDGE=cascade LLM_AS_A_JUDGE_BASE=http://localhost:1234/v1
    export LONGVT_JUDGE='{judge: llm, judge_options: {base_url: "http://gpu1:1234/v1", model: judge, rubric: binary}}'

lmms-eval gives a task no options, so the variable is where they are; trainings read the same one. The tasks ask
before lmms-eval scores question by question, so that a judge's server is kept busy. A judge that is down gives
judgements without a score, and after some in a row it is not asked any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from longvt_plugins.errors import ConfigError
from longvt_plugins.judges import Judge, JudgeConfig, Judgement, close_judge, health_of
from longvt_plugins.judges.environment import judge_options_from_environment
from longvt_plugins.plugins import create_plugin_manager
from longvt_plugins.registry import did_you_mean
from longvt_plugins.rows import Row

JUDGE_VARIABLE = "LONGVT_JUDGE"

STRICT = "exact"
"""The judge whose scores every task has."""

CONCURRENCY = 64
"""Answers put to a judge at once; what its server bears is a setting of the judge."""

GIVE_UP_AFTER = 16
"""Verdicts not had in a row, after which the judge counts as down for the rest of the task."""

_KEYS = ("judge", "judge_options")


def read_judge_config(environ: Mapping[str, str], default: str = STRICT) -> JudgeConfig:
    """Which judge the environment names.

    Args:
        environ: ``os.environ``, at the edge.
        default: Where it names none.

    Raises:
        ConfigError: The variable is not understood.
    """
    text = environ.get(JUDGE_VARIABLE, "").strip()
    try:
        given = yaml.safe_load(text) if text else default
    except yaml.YAMLError as error:
        raise ConfigError(f"{JUDGE_VARIABLE} is not YAML: {' '.join(str(error).split())}") from None
    settings = {"judge": given} if isinstance(given, str) else given
    if not isinstance(settings, Mapping) or not isinstance(settings.get("judge", default), str):
        raise ConfigError(f"{JUDGE_VARIABLE} must name a judge, such as cascade or {{judge: llm}}")
    if unknown := sorted(str(key) for key in set(settings) - set(_KEYS)):
        raise ConfigError(f"{JUDGE_VARIABLE} has no key {unknown[0]!r} here.{did_you_mean(unknown[0], _KEYS)}")
    options = settings.get("judge_options") or {}
    if not isinstance(options, Mapping):
        raise ConfigError(f"{JUDGE_VARIABLE}: judge_options must be a mapping")
    name = settings.get("judge", default)
    return JudgeConfig(name, judge_options_from_environment(environ, name, options))


class Judging:
    """The judge of one task.

    Args:
        config: Which one.

    Attributes:
        config: Which one.

    Raises:
        UnknownNameError: There is none of this name.
        ConfigError: Options that it does not take.
    """

    def __init__(self, config: JudgeConfig) -> None:
        self.config = config
        self._judge: Judge = create_plugin_manager().judges.get(config.name)(config)

    @property
    def is_strict(self) -> bool:
        """It is the judge that every task has anyway."""
        return self.config.name == STRICT and not self.config.options

    def judge_all(self, answered: Sequence[tuple[Row, str]]) -> list[Judgement]:
        """Judges answers, many at once.

        Args:
            answered: Questions and what was answered.

        Raises:
            ConfigError: A reference that is none, such as words for an interval.
        """
        return asyncio.run(self._judge_all(answered))

    async def _judge_all(self, answered: Sequence[tuple[Row, str]]) -> list[Judgement]:
        places = asyncio.Semaphore(CONCURRENCY)
        try:
            return await asyncio.gather(*(self._judge_one(places, row, answer) for row, answer in answered))
        finally:
            await close_judge(self._judge)  # what belongs to this event loop; it opens again when it is asked

    async def _judge_one(self, places: asyncio.Semaphore, row: Row, answer: str) -> Judgement:
        async with places:
            health = health_of(self._judge)
            if health is not None and health.consecutive_failures >= GIVE_UP_AFTER:
                return self._unasked(f"not asked: the judge had no verdict {GIVE_UP_AFTER} times: {health.last_error}")
            return await self._judge(row["question"], row["answer"], answer, options=row["options"], kind=row["kind"])

    def no_answer(self) -> Judgement:
        """The judgement on a rollout that ended without an answer, which no judge has to see."""
        return Judgement(0.0, "wrong", "no answer", fingerprint=self._fingerprint)

    def _unasked(self, reason: str) -> Judgement:
        return Judgement(None, "none", reason, fingerprint=self._fingerprint)

    @property
    def _fingerprint(self) -> str:
        judge: Any = getattr(self._judge, "judge", self._judge)  # behind an audit log
        return str(getattr(judge, "fingerprint", ""))
