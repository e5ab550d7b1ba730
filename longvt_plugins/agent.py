"""The one tool loop: a model watches a video, calls tools, reads their replies, and answers.

::

    rollout = await run_agent(backend, row, AgentConfig(max_calls=5), create_plugin_manager())
    rollout.answer, rollout.windows, rollout.stop_reason      # ('red', [[46.0, 52.0]], 'answered')

Evaluation, single questions and trace generation are thin callers. The messages are those of training:
the same opening, the same tools, the same replies. Three kinds of failure stay apart: the model's mistake is
a reply ``Error: ...`` that it reads; a video or server that fails ends this rollout, with its reason and
without a score; anything else is our bug and is raised. It does not score: judges and rewards do.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, get_args

from longvt_plugins.budget import Budget
from longvt_plugins.chat import ChatBackend, Completion, StreamingBackend
from longvt_plugins.conversation import Form, opening_messages
from longvt_plugins.errors import ChatError, ConfigError, VideoError
from longvt_plugins.events import AskedAgain, Called, Event, Opened, Replied, TurnEnded, Watch, Wrote
from longvt_plugins.ledger import CALLS_PER_TURN, Ledger
from longvt_plugins.plugins import PluginManager, run_tool_call
from longvt_plugins.replies import Replies
from longvt_plugins.rollouts import Rollout, StopReason
from longvt_plugins.rows import Row
from longvt_plugins.tools import Tool, ToolContext
from longvt_plugins.transcript import is_error_reply, parse_transcript, parse_turn
from longvt_plugins.types import FunctionCall, Message, ToolCall, text_of
from longvt_plugins.video.config import VideoConfig
from longvt_plugins.video.library import VideoLibrary
from longvt_plugins.video.sampling import CROP, OVERVIEW, FrameSampling

if TYPE_CHECKING:
    from longvt_plugins.types import Block

__all__ = ["AgentConfig", "ChatBackend", "Completion", "oracle_call", "run_agent", "run_agents"]

P = ParamSpec("P")
T = TypeVar("T")

Progress = Callable[[int, int, Rollout], None]
"""Told after each rollout: how many are done, of how many, and which one it was."""

NOT_JSON = (
    'a tool call must hold one JSON object with "name" and "arguments", such as '
    '{"name": "crop_video", "arguments": {...}}'
)


@dataclass(frozen=True)
class AgentConfig:
    """What a rollout shows and allows.

    Args:
        tools: Names of the tools that are offered in the form ``"tool"``.
        form: Whether the model calls tools, only thinks, or answers at once.
        overview: How the whole videos are sampled.
        crop: How ``crop_video`` samples.
        max_calls: Tool calls of one rollout; further ones are refused, and the model is told to answer.
        max_turns: Turns of the model; calls of the last but one are refused with the request to answer. By
            default two more than calls: one that may learn that the calls are used up, and one to answer.
        max_frames: Frames that the tools may return together; None for no limit.
        calls_per_turn: Tool calls of one turn that are run; further ones are not read.
        max_new_tokens: Longest turn.
        temperature: 0 takes the likeliest token.
        seed_thought: What a turn that was written for the model "thought" before its call.
        prompts_dir: The user's own prompts.
        video: How videos are read and what is kept of them.
        keep_images: Messages of the rollout keep their images instead of references to frames.
        run: Name of the run, written into every rollout.
        model: Name of the model, likewise.

    Raises:
        ConfigError: A value that makes no sense, named.
    """

    tools: tuple[str, ...] = ("crop_video",)
    form: Form = "tool"
    overview: FrameSampling = OVERVIEW
    crop: FrameSampling = CROP
    max_calls: int = 5
    max_turns: int | None = None
    max_frames: int | None = None
    calls_per_turn: int = CALLS_PER_TURN
    max_new_tokens: int = 4096
    temperature: float = 0.0
    seed_thought: str = "I look closer at this part."
    prompts_dir: str | Path | None = None
    video: VideoConfig = field(default_factory=VideoConfig)
    keep_images: bool = False
    run: str = ""
    model: str = ""

    def __post_init__(self) -> None:
        if self.form not in get_args(Form):
            raise ConfigError(f"form must be one of {', '.join(get_args(Form))}, not {self.form!r}")
        if self.max_calls < 0 or self.turns < 1 or self.max_new_tokens < 1:
            raise ConfigError(
                "max_calls must not be negative, max_turns and max_new_tokens be at least 1, not "
                f"{self.max_calls}, {self.max_turns}, {self.max_new_tokens}"
            )
        if self.calls_per_turn < 1:
            raise ConfigError(f"calls_per_turn must be at least 1, not {self.calls_per_turn}")
        if self.temperature < 0:
            raise ConfigError(f"temperature must not be negative, not {self.temperature}")

    @property
    def turns(self) -> int:
        """Most turns of the model."""
        return self.max_calls + 2 if self.max_turns is None else self.max_turns

    def room_of_replies(self, ledger: Ledger) -> int:
        """Tokens that the replies of a rollout may have.

        Raises:
            ConfigError: The ledger has no room for the turns.
        """
        return ledger.reply_tokens(self.max_calls, max_turns=self.max_turns, calls_per_turn=self.calls_per_turn)


async def run_agent(
    backend: ChatBackend,
    row: Row,
    config: AgentConfig,
    plugins: PluginManager,
    *,
    seed_calls: Sequence[ToolCall] = (),
    sample: int = 0,
    library: VideoLibrary | None = None,
    ledger: Ledger | None = None,
    watch: Watch | None = None,
    opening: contextlib.AbstractAsyncContextManager[object] | None = None,
) -> Rollout:
    """Answers one question.

    Args:
        backend: The model.
        row: The question; its answer and window are never shown to the model.
        config: What is shown and allowed.
        plugins: Give tools and video readers.
        seed_calls: Calls made for the model before its first own turn, a turn each, with real replies.
        sample: Tells apart rollouts of one row in one run.
        library: Opens the videos, instead of one for this rollout alone.
        ledger: Keeps turns and replies within the room that a training gave them; None sets no such limit.
        watch: Told what happens while it happens, see :mod:`longvt_plugins.events`.
        opening: Held while the videos are opened and sampled, so that many rollouts do not do so at once.

    Returns:
        The rollout. ``stop_reason`` is ``"error"`` where a video could not be read or the model not be
        asked; it is then not to be scored.

    Raises:
        UnknownNameError: A tool or reader that is not installed.
        ConfigError: The ledger has no room for the turns.
    """
    start = time.perf_counter()
    with _library_for(library, config, plugins) as videos:
        session = _Session(backend, row, config, plugins, videos, ledger, watch, opening or contextlib.nullcontext())
        error: str | None = None
        try:
            stop_reason = await session.run(seed_calls)
        except (VideoError, ChatError) as failure:
            stop_reason, error = "error", str(failure)
        finally:
            await asyncio.to_thread(session.close)
    return session.rollout(stop_reason, error, sample, time.perf_counter() - start)


async def run_agents(
    backend: ChatBackend,
    rows: Iterable[Row],
    config: AgentConfig,
    plugins: PluginManager,
    *,
    concurrency: int = 16,
    seed_calls: Callable[[Row], Sequence[ToolCall]] | None = None,
    progress: Progress | None = None,
    library: VideoLibrary | None = None,
    ledger: Ledger | None = None,
) -> list[Rollout]:
    """Answers many questions at once.

    Args:
        backend: The model, shared by all.
        rows: The questions; one that comes several times is answered as often.
        config: What is shown and allowed.
        plugins: Give tools and video readers.
        concurrency: Rollouts under way at once, each with its videos open.
        seed_calls: Gives the calls that are made for the model, see :func:`run_agent`.
        progress: Told after each rollout.
        library: Opens the videos, instead of one for these rollouts alone: for callers that ask again.
        ledger: See :func:`run_agent`.

    Returns:
        One rollout a row, in the order of the rows.
    """
    asked = list(rows)
    slots = asyncio.Semaphore(concurrency)
    # As many as can be worked on: the first would otherwise ask its model when all are open, and all wait for the last.
    opening = asyncio.Semaphore(os.cpu_count() or 1)
    earlier: Counter[str] = Counter()
    done = 0

    async def answer(row: Row, sample: int, videos: VideoLibrary) -> Rollout:
        nonlocal done
        async with slots:
            given = seed_calls(row) if seed_calls is not None else ()
            rollout = await run_agent(
                backend, row, config, plugins, seed_calls=given, sample=sample, library=videos, ledger=ledger,
                opening=opening,
            )  # fmt: skip
        done += 1
        if progress is not None:
            progress(done, len(asked), rollout)
        return rollout

    with _library_for(library, config, plugins) as videos:
        tasks = []
        for row in asked:
            tasks.append(asyncio.create_task(answer(row, earlier[row["id"]], videos)))
            earlier[row["id"]] += 1
        try:
            return await asyncio.gather(*tasks)
        finally:
            # After a bug in one rollout the others are not left running.
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def oracle_call(row: Row) -> ToolCall:
    """A look at the row's own window: what a model would see that always found the right place.

    Raises:
        ConfigError: The row does not say where its evidence is.
    """
    if row["video_segment"] is None:
        raise ConfigError(f"row {row['id']!r} has no video_segment, so there is no window to look at")
    # Whole seconds without a fraction, as models write them.
    start, end = (int(second) if second == int(second) else second for second in row["video_segment"])
    arguments = {"video_path": next(iter(row["videos"])), "start_time": start, "end_time": end}
    return ToolCall("call_1", "crop_video", arguments)


@contextlib.contextmanager
def _library_for(given: VideoLibrary | None, config: AgentConfig, plugins: PluginManager) -> Iterator[VideoLibrary]:
    if given is not None:
        yield given
        return
    with VideoLibrary(config.video, plugins) as own:
        yield own


@dataclass
class _Session:
    """One rollout under way."""

    backend: ChatBackend
    row: Row
    config: AgentConfig
    plugins: PluginManager
    library: VideoLibrary
    ledger: Ledger | None = None
    watch: Watch | None = None
    opening: contextlib.AbstractAsyncContextManager[object] = field(default_factory=contextlib.nullcontext)
    messages: list[Message] = field(default_factory=list)
    tokens: int = 0

    def __post_init__(self) -> None:
        config = self.config
        self.tools: list[Tool] = self.plugins.select_tools(config.tools) if config.form == "tool" else []
        budget = Budget(max_frames=config.max_frames, max_calls=config.max_calls)
        if self.ledger is not None:
            budget.max_tokens, budget.count_tokens = config.room_of_replies(self.ledger), self.ledger.count
        self.context = ToolContext(self.row["videos"], budget=budget, crop=config.crop, library=self.library)
        self.replies = Replies(budget, self.ledger)
        # A rollout that is cancelled leaves its thread decoding: the videos are closed after it, not under it.
        self._lock = threading.Lock()
        self._calls = 0
        self._may_look = True

    async def run(self, seed_calls: Sequence[ToolCall]) -> StopReason:
        async with self.opening:
            self.messages += await self._in_thread(_opening, self.row["question"], self.row["options"], self.config)
        if self.watch is not None:
            durations = {name: self.context.open(name).duration for name in self.context.videos}
            self._tell(Opened(tuple(self.messages), durations))
        for call in seed_calls:
            await self._add_seed(call)
        schemas: list[Mapping[str, Any]] = [tool.schema for tool in self.tools]
        for turns_left in reversed(range(self.config.turns)):
            completion = await self._ask(schemas)
            self.tokens += completion.completion_tokens
            message, malformed = self._normal(completion.message)
            self.messages.append(message)
            self._tell(TurnEnded(message, completion))
            calls = message.get("tool_calls", [])
            answered = self._answer_of(message) is not None
            if not calls and (answered or not malformed):
                cut_off = completion.stop_reason == "length"
                return "length" if cut_off and not answered else "answered" if answered else "no_answer"
            if turns_left == 0:
                return "max_turns"
            self._may_look = turns_left > 1
            for entry in calls:
                await self._add_reply(entry)
            if malformed and len(calls) < self.config.calls_per_turn:
                # Behind the others: a reply without an id would be taken for that of a call still open.
                reply = self.replies.fault(NOT_JSON, last=not self._may_look)
                self.messages.append({"role": "tool", "content": _plain(reply)})
        raise AssertionError("the last turn returns")

    def rollout(self, stop_reason: StopReason, error: str | None, sample: int, seconds: float) -> Rollout:
        rollout = Rollout.from_messages(
            self.row,
            self.messages,
            run=self.config.run,
            stop_reason=stop_reason,
            index=sample,
            tokens=self.tokens,
            seconds=seconds,
            model=self.config.model,
        )
        answer = rollout.answer
        if answer is None and self.messages and self.messages[-1]["role"] == "assistant":
            answer = self._answer_of(self.messages[-1])
        return replace(
            rollout,
            answer=answer,
            messages=self.messages if self.config.keep_images else rollout.messages,
            error=error,
        )

    def close(self) -> None:
        with self._lock:
            self.context.close()

    async def _ask(self, schemas: Sequence[Mapping[str, Any]]) -> Completion:
        most = self.config.max_new_tokens
        if self.ledger is not None:
            most = min(most, self.ledger.turn_tokens)
        limits: dict[str, Any] = {"max_tokens": most, "temperature": self.config.temperature}
        if self.watch is None:
            return await self.backend.complete(self.messages, schemas, **limits)
        if isinstance(self.backend, StreamingBackend):
            return await self.backend.stream(self.messages, schemas, hear=self._heard, **limits)
        completion = await self.backend.complete(self.messages, schemas, **limits)
        self._heard(text_of(completion.message))
        return completion

    def _heard(self, piece: str | None) -> None:
        self._tell(AskedAgain() if piece is None else Wrote(piece))

    def _tell(self, event: Event) -> None:
        if self.watch is not None:
            self.watch(event)

    async def _in_thread(
        self, function: Callable[Concatenate[ToolContext, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Runs what decodes in a thread, one at a time for this rollout; the other rollouts go on meanwhile."""

        def locked() -> T:
            with self._lock:
                return function(self.context, *args, **kwargs)

        return await asyncio.to_thread(locked)

    async def _add_seed(self, call: ToolCall) -> None:
        entry = call.to_message_entry()
        content = f"<think>{self.config.seed_thought}</think>"
        message, _ = self._normal({"role": "assistant", "content": content, "tool_calls": [entry]})
        self.messages.append(message)
        for entry in message["tool_calls"]:
            await self._add_reply(entry)

    async def _add_reply(self, entry: FunctionCall) -> None:
        name, arguments = entry["function"]["name"], entry["function"]["arguments"]
        start = time.perf_counter()
        self._tell(Called(entry))
        if isinstance(arguments, str):
            content = self.replies.fault(f"{name}: the arguments must be a JSON object", last=not self._may_look)
        else:
            content = await self._in_thread(self._call_tool, ToolCall(entry["id"], name, arguments))
        shown = _plain(content)
        self.messages.append({"role": "tool", "tool_call_id": entry["id"], "name": name, "content": shown})
        self._tell(Replied(entry, shown, time.perf_counter() - start))

    def _call_tool(self, context: ToolContext, call: ToolCall) -> list[Block]:
        return self.replies.answer(
            lambda: run_tool_call(self.plugins, self.tools, context, call), last=not self._may_look
        )

    def _normal(self, message: Message) -> tuple[Message, list[str]]:
        """A turn in its one shape: calls taken out of the text, ids unique in the rollout.

        Returns:
            The message, and the text of calls that are no JSON.
        """
        content = text_of(message)
        entries = list(message.get("tool_calls") or [])
        rest, written, malformed = parse_turn(content)
        if not entries:
            # A server without a tool parser leaves the calls in the text.
            content, entries = rest, [call.to_message_entry() for call in written]
        taken = {entry["id"] for earlier in self.messages for entry in earlier.get("tool_calls", [])}
        normal: Message = {"role": "assistant", "content": content}
        for entry in entries[: self.config.calls_per_turn]:
            self._calls += 1
            call_id = entry.get("id")
            if not call_id or call_id in taken:
                call_id = next(name for n in range(self._calls, 2**63) if (name := f"call_{n}") not in taken)
            taken.add(call_id)
            normal.setdefault("tool_calls", []).append(
                {"id": call_id, "type": "function", "function": entry["function"]}
            )
        return normal, malformed

    def _answer_of(self, message: Message) -> str | None:
        """The answer that a turn gives: what it tags as one, or all of it where the model answers at once."""
        tagged = parse_transcript([message]).answer
        if tagged is None and self.config.form == "non_think":
            return text_of(message).strip() or None
        return tagged


def _plain(reply: list[Block]) -> list[Block] | str:
    """An error as plain text, which every server takes."""
    text = reply[0]["text"] if len(reply) == 1 and reply[0]["type"] == "text" else ""
    return text if is_error_reply(text) else reply


def _opening(context: ToolContext, question: str, options: Sequence[str] | None, config: AgentConfig) -> list[Message]:
    return opening_messages(
        question,
        context,
        form=config.form,
        options=options,
        overview=config.overview,
        prompts_dir=config.prompts_dir,
    )
