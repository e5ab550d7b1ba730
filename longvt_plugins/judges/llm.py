"""``llm``: a language model judges, on any OpenAI-compatible server.

::

    judge = llm_judge(JudgeConfig("llm", {
        "base_url": "http://127.0.0.1:1234/v1", "model": "judge",     # and any other field of ChatConfig
        "rubric": "graded", "cache_dir": "runs/cache", "concurrency": 64, "audit": "runs/audit",
    }))
    judgement = await judge("What colour is the car?", "red", "It is crimson.")
    judge.health.consecutive_failures, judge.client.usage.cost

Ask for all answers of a batch at once (``asyncio.gather``): how many are under way, how often they are tried and
what is kept is the chat client's matter. The texts are quoted so that they cannot give orders
(:mod:`longvt_plugins.judges.quoting`), and what the server writes is read as :mod:`longvt_plugins.judges.verdict`
says, whether it keeps to the schema or not. A reply that cannot be read, and a server that does not reply, give a
judgement without a score. Nobody is asked about an empty answer, which is wrong, nor about intervals, whose
overlap is their score.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from longvt_plugins.chat import ChatClient, ChatConfig
from longvt_plugins.errors import ChatError, ConfigError
from longvt_plugins.hookspecs import hookimpl
from longvt_plugins.judges.audit import AUDIT_OPTIONS, audited
from longvt_plugins.judges.exact import OPTION_LETTERS, exact_score, unlabelled
from longvt_plugins.judges.judge import Judge, JudgeConfig, JudgeHealth, Judgement
from longvt_plugins.judges.quoting import harmless, quotation_code, quote
from longvt_plugins.judges.rubric import Rubric, load_rubric
from longvt_plugins.judges.verdict import read_verdict
from longvt_plugins.prompts import render
from longvt_plugins.registry import did_you_mean

if TYPE_CHECKING:
    from longvt_plugins.types import Message

VERSION = "llm/1"

LONGEST_QUESTION = LONGEST_REFERENCE = LONGEST_ANSWER = 4000
LONGEST_OPTIONS = 2000
"""Characters that the judge is shown; the rewards refuse answers of 1,000 characters before they ask."""

LONGEST_REASON = 500

PATIENCE = {"timeout": 120.0, "total_timeout": 600.0}
"""Seconds for one try and for all of a request, where nothing else is said: a training step waits for them."""


@dataclass(frozen=True, kw_only=True)
class LlmSettings:
    """What the judge takes besides the fields of :class:`~longvt_plugins.chat.ChatConfig`.

    Args:
        rubric: ``graded`` (1, 0.5, 0), ``binary`` (1, 0), or a file, see :mod:`longvt_plugins.judges.rubric`.
        max_tokens: Longest reply, the thought of a reasoning judge included. A reply that is cut off is not read.
        temperature: 0 makes verdicts that can be repeated, and that are cached.
        structured: Ask the server to keep to a schema. One that refuses is asked without; a rubric that is a whole
            prompt always is.
    """

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid", "coerce_numbers_to_str": True}

    rubric: str = "graded"
    max_tokens: int = 4096
    temperature: float = 0.0
    structured: bool = True

    def __post_init__(self) -> None:
        if self.max_tokens < 1 or not 0 <= self.temperature <= 2:
            raise ConfigError(
                "the judge 'llm': max_tokens must be at least 1 and temperature from 0 to 2, not "
                f"{self.max_tokens}, {self.temperature}"
            )


class LlmJudge:
    """A judge that asks a language model.

    Args:
        client: Who is asked.
        rubric: What for.
        settings: How.

    Attributes:
        client: With what it used so far.
        rubric: What for.
        health: How it has been doing.
        fingerprint: Names model, rubric, prompt and version.
    """

    def __init__(self, client: ChatClient, rubric: Rubric, settings: LlmSettings | None = None) -> None:
        self.client = client
        self.rubric = rubric
        self.health = JudgeHealth()
        self._settings = settings or LlmSettings(rubric=rubric.name)
        self._system = render("judge_system")
        warmth = f" temperature:{self._settings.temperature:g}" if self._settings.temperature else ""
        self.fingerprint = (
            f"{VERSION} model:{client.config.model} rubric:{rubric.name}-{rubric.hash} "
            f"prompt:{_hash(self._system, self._user_message('', '', '', None))[:8]}{warmth}"
        )

    @property
    def scale(self) -> tuple[float, ...]:
        """The scores that it may give, from the best to the worst."""
        return self.rubric.scale

    async def __call__(
        self,
        question: str,
        reference: str,
        prediction: str,
        *,
        options: Sequence[str] | None = None,
        kind: str | None = None,
    ) -> Judgement:
        """Judges one answer.

        Raises:
            ConfigError: The reference of a grounding question is not an interval.
        """
        if kind == "grounding":
            return dataclasses.replace(exact_score(reference, prediction, kind=kind), fingerprint=self.fingerprint)
        if not harmless(prediction[:LONGEST_ANSWER]):
            score = self.rubric.scale[-1]
            return self._judgement(score, "an empty answer")
        messages: list[Message] = [
            {"role": "system", "content": self._system},
            {"role": "user", "content": self._user_message(question, reference, prediction, options)},
        ]
        prompt_hash = _hash(*(str(message["content"]) for message in messages))[:16]
        start = time.perf_counter()
        try:
            completion = await self.client.complete(
                messages,
                max_tokens=self._settings.max_tokens,
                temperature=self._settings.temperature,
                response_schema=self._schema if self._settings.structured and not self.rubric.prompt else None,
            )
        except ChatError as error:
            return self._failed(str(error), prompt_hash=prompt_hash, seconds=time.perf_counter() - start)
        raw = str(completion.message.get("content") or "")
        told: dict[str, Any] = {
            "raw": raw,
            "prompt_hash": prompt_hash,
            "cached": completion.cached,
            "seconds": completion.seconds,
            "cost": completion.cost,
        }
        if completion.stop_reason == "length":
            return self._failed(f"the reply was cut off after {self._settings.max_tokens} tokens (max_tokens)", **told)
        verdict = read_verdict(raw, self.rubric.scores, answer=prediction[:LONGEST_ANSWER])
        if verdict.score is None:
            return self._failed(f"the reply cannot be read: {verdict.reason}", **told)
        if not completion.cached:
            self.health.answered()
        return self._judgement(verdict.score, verdict.reason[:LONGEST_REASON], **told)

    async def close(self) -> None:
        """Closes the connections of this event loop."""
        await self.client.aclose()

    def _judgement(self, score: float, reason: str, **told: Any) -> Judgement:
        return Judgement(
            score, self.rubric.verdict(score), reason, fingerprint=self.fingerprint, scores={"llm": score}, **told
        )

    def _failed(self, reason: str, **told: Any) -> Judgement:
        if not told.get("cached"):
            self.health.failed(reason)
        return Judgement(None, "none", reason, fingerprint=self.fingerprint, scores={"llm": None}, **told)

    @functools.cached_property
    def _schema(self) -> dict[str, Any]:
        # As texts: not every server's schemas know a choice of numbers.
        score = {"type": "string", "enum": [f"{score:g}" for score in self.rubric.scale]}
        return {
            "type": "object",
            "properties": {"reason": {"type": "string"}, "score": score},
            "required": ["reason", "score"],
            "additionalProperties": False,
        }

    def _user_message(self, question: str, reference: str, prediction: str, options: Sequence[str] | None) -> str:
        code = quotation_code(question, reference, prediction, list(options or ()))
        listed = "\n".join(map(_lettered, range(len(options or ())), unlabelled(options or ())))
        quoted = {
            "question": quote("question", question, code, LONGEST_QUESTION),
            "reference": quote("reference answer", reference, code, LONGEST_REFERENCE),
            "answer": quote("answer under test", prediction, code, LONGEST_ANSWER),
            "options": quote("options", listed, code, LONGEST_OPTIONS) if listed else "",
        }
        if self.rubric.prompt:
            return self.rubric.render(**quoted)
        scores = [f'"{score:g}"' for score in self.rubric.scale]
        return render("judge", criteria=self.rubric.criteria.strip(), code=code, scores=scores, **quoted)


def make_llm_judge(
    options: Mapping[str, Any], where: str = "the judge 'llm'", *, more_options: Collection[str] = ()
) -> LlmJudge:
    """The judge of these options, without an audit log.

    Args:
        options: Fields of :class:`LlmSettings` and of :class:`~longvt_plugins.chat.ChatConfig`.
        where: Begins errors.
        more_options: That the caller has read already, to be suggested for a mistyped one.

    Raises:
        ConfigError: An unknown option, or a value that makes no sense, named.
    """
    from pydantic import TypeAdapter, ValidationError

    own = {field.name for field in dataclasses.fields(LlmSettings)}
    known = own | {field.name for field in dataclasses.fields(ChatConfig)}
    if unknown := sorted(set(options) - known):
        raise ConfigError(
            f"{where} has no option {unknown[0]!r}.{did_you_mean(unknown[0], {*known, *AUDIT_OPTIONS, *more_options})}"
        )
    for needed, example in (("base_url", "http://127.0.0.1:1234/v1"), ("model", "judge")):
        if not options.get(needed):
            raise ConfigError(f"{where} needs {needed}, such as {example}")
    chat = {**PATIENCE, **{name: value for name, value in options.items() if name not in own}}
    try:
        settings = TypeAdapter(LlmSettings).validate_python({name: options[name] for name in own & set(options)})
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise ConfigError(f"{where}: {'; '.join(faults)}") from None
    client = ChatClient.from_config(ChatConfig.from_mapping(chat, where=where))
    return LlmJudge(client, load_rubric(settings.rubric), settings)


def llm_judge(config: JudgeConfig) -> Judge:
    """Makes the judge.

    Raises:
        ConfigError: As :func:`make_llm_judge`.
    """
    return audited(config, make_llm_judge)


@hookimpl
def register_judges(register) -> None:  # type: ignore[no-untyped-def]
    """Gives ``llm``."""
    register("llm", llm_judge)


def _lettered(place: int, option: str) -> str:
    return f"{OPTION_LETTERS[place]}. {option}" if place < len(OPTION_LETTERS) else option


def _hash(*texts: str) -> str:
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()
