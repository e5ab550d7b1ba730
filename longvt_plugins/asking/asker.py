"""Asks questions about videos, and keeps the model and the videos open between them.

::

    with Asker("tiny") as asker:
        first = asker.ask("film.mp4", "Which colour does the square flash?")
        second = asker.ask("film.mp4", "And without looking closer?", form="non_think")
    first.text, first.windows, first.prompt_tokens, first.tokens, first.cost

An answer that could not be had (a broken video, a server that is down) is an :class:`Answer` too, with ``error``
and without a text, so that one of many does not end the others.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from types import TracebackType
from typing import Any, TypeVar

from longvt_plugins.agent import AgentConfig, run_agent
from longvt_plugins.asking.models import OpenedModel, open_model
from longvt_plugins.asking.questions import Videos, question_row
from longvt_plugins.chat import ChatClient
from longvt_plugins.errors import ConfigError
from longvt_plugins.events import Event, TurnEnded, Watch
from longvt_plugins.plugins import PluginManager, create_plugin_manager
from longvt_plugins.rollouts import Rollout
from longvt_plugins.rows import Row
from longvt_plugins.types import TimeSpan
from longvt_plugins.video.library import VideoLibrary

T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """What came of a question.

    Attributes:
        text: The answer; None where the model gave none, or could not be asked.
        windows: What it looked at through ``crop_video``, in order.
        rollout: The whole conversation; its images are references to frames.
        turns: That the model wrote.
        prompt_tokens: Read, all turns together; None where a server does not say.
        tokens: Written; likewise.
        cost: US dollars; None where no prices are known.
        seconds: How long it took.
        error: Why it could not be had.
    """

    text: str | None
    windows: tuple[TimeSpan, ...]
    rollout: Rollout
    turns: int
    prompt_tokens: int | None
    tokens: int | None
    cost: float | None
    seconds: float
    error: str | None

    def record(self) -> dict[str, Any]:
        """The answer as JSON can hold it; the conversation with references instead of images."""
        rollout = self.rollout
        return {
            "id": rollout.row_id,
            "videos": rollout.row["videos"],
            "question": rollout.row["question"],
            "answer": self.text,
            "windows": [[window.start, window.end] for window in self.windows],
            "stop_reason": rollout.stop_reason,
            "error": self.error,
            "turns": self.turns,
            "frames": rollout.frames,
            "prompt_tokens": self.prompt_tokens,
            "tokens": self.tokens,
            "cost": self.cost,
            "seconds": round(self.seconds, 3),
            "model": rollout.model,
            "messages": rollout.messages,
        }


class Asker:
    """A model with its tools. Close it, or use it in a ``with`` statement.

    Args:
        model: See :func:`~longvt_plugins.asking.models.open_model`.
        tools: Names of the tools that are offered.
        plugins: Give tools and readers; by default all that are installed.
        base_url: Address of a server.
        model_settings: Further arguments of ``open_model``.
        settings: Fields of :class:`~longvt_plugins.agent.AgentConfig`.

    Attributes:
        config: The settings of every question that says nothing else.

    Raises:
        ConfigError: No such model, or a setting that makes no sense.
        UnknownNameError: A tool that is not installed.
    """

    def __init__(
        self,
        model: str | OpenedModel | None = None,
        *,
        tools: Sequence[str] = ("crop_video",),
        plugins: PluginManager | None = None,
        base_url: str | None = None,
        model_settings: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        self.plugins = plugins if plugins is not None else create_plugin_manager()
        self.plugins.select_tools(tools)
        if not isinstance(model, OpenedModel):
            _config({**settings, "tools": tuple(tools)})  # a faulty setting is told before a model is loaded
            model = open_model(model, base_url=base_url, **(model_settings or {}))
        self.model = model
        self.config = _config({**model.defaults, "run": "ask", **settings, "tools": tuple(tools), "model": model.name})
        self._library = VideoLibrary(self.config.video, self.plugins)

    def ask(self, videos: Videos, question: str, *, watch: Watch | None = None, **settings: Any) -> Answer:
        """Asks one question, and waits for the answer; also where an event loop runs already, as in notebooks.

        Args:
            videos: Files; one, or several.
            question: What is asked.
            watch: Told what happens, see :mod:`longvt_plugins.events`; called in a thread where a loop runs already.
            settings: Fields of the configuration that are other than the asker's.

        Raises:
            ConfigError: Not a file, or a setting that makes no sense.
        """
        row = question_row(videos, question)
        return run_anywhere(self.answer(row, watch=watch, closing=True, **settings))

    async def answer(self, row: Row, *, watch: Watch | None = None, closing: bool = False, **settings: Any) -> Answer:
        """Asks the question of a row; its answer and window are never shown to the model.

        Args:
            row: The question.
            watch: Told what happens.
            closing: The event loop ends with this answer: connections are closed.
            settings: Fields of the configuration that are other than the asker's.
        """
        config = replace(self.config, **settings) if settings else self.config
        turns: list[TurnEnded] = []

        def told(event: Event) -> None:
            if isinstance(event, TurnEnded):
                turns.append(event)
            if watch is not None:
                watch(event)

        try:
            rollout = await run_agent(self.model.backend, row, config, self.plugins, library=self._library, watch=told)
        finally:
            if closing:
                await self.close_connections()
        return _answer(rollout, turns, self.model.has_prices)

    async def close_connections(self) -> None:
        """Closes what belongs to the present event loop."""
        if isinstance(self.model.backend, ChatClient):
            await self.model.backend.aclose()

    def settings(self) -> dict[str, Any]:
        """The resolved settings, to be written beside results; without secrets."""
        backend = self.model.backend
        chat = backend.config.record() if isinstance(backend, ChatClient) else None
        config = asdict(self.config)
        config["prompts_dir"] = None if config["prompts_dir"] is None else str(config["prompts_dir"])
        return {"model": self.model.name, "chat": chat, "agent": config}

    def close(self) -> None:
        """Closes the videos."""
        self._library.close()

    def __enter__(self) -> Asker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def ask(
    videos: Videos,
    question: str,
    *,
    model: str | None = None,
    base_url: str | None = None,
    watch: Watch | None = None,
    **settings: Any,
) -> Answer:
    """Asks one question about a video. To ask several, keep an :class:`Asker`: it loads the model once.

    Args:
        videos: Files; one, or several.
        question: What is asked.
        model: ``"tiny"``, a folder with a checkpoint, or a model of the server.
        base_url: Address of an OpenAI-compatible server.
        watch: Told what happens while it happens.
        settings: Further arguments of :class:`Asker`: ``tools``, ``model_settings`` (such as ``api_key``), and the
            fields of :class:`~longvt_plugins.agent.AgentConfig`.

    Raises:
        ConfigError: No such video or model, or a setting that makes no sense.
        ChatError: A server whose only model is meant gives no list of models.
    """
    row = question_row(videos, question)  # before a model is loaded
    with Asker(model, base_url=base_url, **settings) as asker:
        return run_anywhere(asker.answer(row, watch=watch, closing=True))


def run_anywhere(work: Coroutine[Any, Any, T]) -> T:
    """Runs to the end, in a thread of its own where an event loop is running already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def _config(settings: Mapping[str, Any]) -> AgentConfig:
    known = set(AgentConfig.__dataclass_fields__)
    if unknown := sorted(set(settings) - known):
        raise ConfigError(f"unknown setting {', '.join(unknown)}; there are: {', '.join(sorted(known))}")
    return AgentConfig(**settings)


def _answer(rollout: Rollout, turns: Sequence[TurnEnded], has_prices: bool) -> Answer:
    prompt_tokens = sum(turn.completion.prompt_tokens for turn in turns)
    failed = rollout.stop_reason == "error"
    return Answer(
        text=None if failed else rollout.answer,
        windows=tuple(TimeSpan(start, end) for start, end in rollout.windows),
        rollout=rollout,
        turns=len(turns),
        prompt_tokens=prompt_tokens or None,
        tokens=rollout.tokens or None,
        cost=math.fsum(turn.completion.cost for turn in turns) if has_prices else None,
        seconds=rollout.seconds,
        error=rollout.error,
    )
