"""A chat server that fails in every way that servers and models do, and is strict about the protocol: for tests.

::

    script = Adversary(list(MODES), marker=tmp_path / "executed")      # question 0 gets the first mode, and so on
    with ScriptedChatServer(strict(script)) as server:
        ...                                                            # evaluate questions "Question 0: ...", ...
    script.asked["500 for ever"], (tmp_path / "executed").exists()

Which mode a request gets is told by ``Question <number>:`` in it. The right answer is always ``red``, after a look at
the seconds 8 to 12. :data:`MODES` says what each mode does; what a client makes of it is for its tests to say.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longvt_plugins.testing_server import (
    Reply,
    Script,
    answering,
    asked_text,
    assistant,
    cut_off,
    failure,
    hang,
    no_choices,
    null_content,
    rate_limited,
    reset,
    truncated,
    unreadable,
)

WINDOW = {"start_time": 8, "end_time": 12}
ANSWER = "<think>I see it.</think><answer>red</answer>"
BURST = 2
"""Failures of a burst; then the server is well again."""

_QUESTION = re.compile(r"Question (\d+):")
_VIDEO_FILE = re.compile(r"video path: (\S+)")


@dataclass(frozen=True)
class Turn:
    """What a mode answers.

    Attributes:
        number: How often the question was asked before.
        request: Its JSON.
        marker: A file that code in arguments makes, if anybody runs it.
    """

    number: int
    request: dict[str, Any]
    marker: Path

    @property
    def replies(self) -> int:
        """Replies of tools in the conversation."""
        return sum(message["role"] == "tool" for message in self.request["messages"])

    def look(self, **changes: Any) -> Reply:
        """A call of the tool, on the file that the question names, or else on ``video_1.mp4``."""
        return self.call("crop_video", {"video_path": self._video, **WINDOW, **changes})

    def call(self, name: str, *arguments: Any) -> Reply:
        """Calls of a tool in one turn; arguments that are text are sent as they are."""
        return assistant("<think>There.</think>", [(f"c{self.number}_{n}", name, a) for n, a in enumerate(arguments)])

    @property
    def _video(self) -> str:
        found = _VIDEO_FILE.search(asked_text(self.request))
        return found[1] if found else "video_1.mp4"

    def injected(self) -> Reply:
        """Calls that are Python: all of the arguments, and one of them."""
        code = f"__import__('pathlib').Path({str(self.marker)!r}).touch()"
        arguments = {"video_path": self._video, **WINDOW, "start_time": code}
        return self.call("crop_video", code, arguments)


@dataclass(frozen=True)
class Mode:
    """A way to fail.

    Attributes:
        about: What the server or the model does.
        reply: To a turn.
    """

    about: str
    reply: Callable[[Turn], Reply]


def _then_answer(rounds: int, reply: Callable[[Turn], Reply]) -> Callable[[Turn], Reply]:
    return lambda turn: reply(turn) if turn.number < rounds else assistant(ANSWER)


def _looking(rounds: int) -> Callable[[Turn], Reply]:
    """Looks several times; the answer is right only if all replies are still in the conversation."""

    def reply(turn: Turn) -> Reply:
        if turn.number < rounds:
            return turn.look()
        whole = turn.replies == rounds
        return assistant(ANSWER if whole else f"<think>x</think><answer>{turn.replies} replies left</answer>")

    return reply


MODES = {
    "no failure": Mode("one look, then the answer", _looking(1)),
    "two rounds": Mode("two looks, a turn each", _looking(2)),
    "five rounds": Mode("five looks, a turn each", _looking(5)),
    "injected code": Mode("Python for the arguments, and Python in one of them", _then_answer(1, Turn.injected)),
    "null and true": Mode(
        "`null` and `true` in the arguments, which are JSON and no Python",
        _then_answer(1, lambda turn: turn.look(start_time=None, end_time=True)),
    ),
    "broken JSON": Mode(
        "arguments cut off", _then_answer(1, lambda turn: turn.call("crop_video", '{"video_path": "v'))
    ),
    "unknown tool": Mode("a tool that there is not", _then_answer(1, lambda turn: turn.call("run_shell", {"c": "ls"}))),
    "endless tool calls": Mode("a look in every turn", Turn.look),
    "content null": Mode("`content` null and no calls, for ever", lambda turn: null_content()),
    "finish_reason length": Mode("a thought that is cut off", lambda turn: truncated("<think>I wonder")),
    "500 in bursts": Mode(f"HTTP 500, {BURST} times", _then_answer(BURST, lambda turn: failure(500))),
    "500 for ever": Mode("HTTP 500", lambda turn: failure(500)),
    "429 with a time to wait": Mode(
        "HTTP 429 with `Retry-After`, once", _then_answer(1, lambda turn: rate_limited(0.1))
    ),
    "hang": Mode("no reply, the connection stays open", lambda turn: hang()),
    "dropped connection": Mode("the connection breaks before a reply", lambda turn: reset()),
    "dropped in the middle": Mode("the connection breaks within the reply", lambda turn: cut_off(assistant(ANSWER))),
    "empty choices": Mode("`choices` is empty", lambda turn: no_choices()),
    "no JSON": Mode("HTTP 200 with a page", lambda turn: unreadable()),
    "refused": Mode("HTTP 400", lambda turn: failure(400, "too long")),
}
"""By name."""


class Adversary:
    """A script that fails in a different way for every question.

    Args:
        names: Of the modes, by number of the question.
        marker: A file that is there as soon as anybody has run what a model wrote.

    Attributes:
        asked: How often each mode was asked.
    """

    def __init__(self, names: Sequence[str], marker: Path) -> None:
        self._names = list(names)
        self._marker = marker
        self._lock = threading.Lock()
        self.asked: Counter[str] = Counter()

    def mode_of(self, request: dict[str, Any]) -> str:
        """The mode of the question that a request is about."""
        found = _QUESTION.search(asked_text(request))
        return self._names[int(found[1])] if found else ""

    def __call__(self, request: dict[str, Any]) -> Reply:
        """The reply to a request."""
        name = self.mode_of(request)
        if name not in MODES:
            return failure(400, "the request holds no 'Question <number>:'")
        with self._lock:
            number = self.asked[name]
            self.asked[name] += 1
        return MODES[name].reply(Turn(number, request, self._marker))


def strict(
    script: Script, told: Callable[[dict[str, Any], str], None] | None = None
) -> Callable[[dict[str, Any]], Reply]:
    """A script of a server that refuses what breaks OpenAI's protocol.

    Args:
        script: For the other requests.
        told: Gets each request that is refused, and why.
    """
    rest = answering(script)

    def answer(request: dict[str, Any]) -> Reply:
        fault = protocol_fault(request)
        if fault is None:
            return rest(request)
        if told is not None:
            told(request, fault)
        return failure(400, fault)

    return answer


def protocol_fault(request: dict[str, Any]) -> str | None:
    """What is wrong with a chat request, as OpenAI's API would say it; None if nothing is.

    Images in tool messages are let through, as vLLM does: OpenAI's own API refuses them.
    """
    return next(_protocol_faults(request), None)


def _protocol_faults(request: dict[str, Any]) -> Iterator[str]:
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages:
        yield "messages must be a list of messages"
        return
    waiting: list[str] = []
    for place, message in enumerate(messages):
        where, role = f"messages[{place}]", message.get("role")
        if role == "tool":
            if message.get("tool_call_id") not in waiting:
                yield f"{where}: tool_call_id {message.get('tool_call_id')!r} answers no call of the turn before"
            waiting = [call_id for call_id in waiting if call_id != message.get("tool_call_id")]
        elif waiting:
            yield f"{where}: the calls {', '.join(waiting)} have no reply"
        calls = (message.get("tool_calls") or []) if role == "assistant" else []
        for fault in (_content_fault(message), *map(_call_fault, calls)):
            if fault is not None:
                yield f"{where}: {fault}"
        if role != "tool":
            waiting = [str(call.get("id")) for call in calls]
    if waiting:
        yield f"the calls {', '.join(waiting)} have no reply"
    tools = request.get("tools")
    if tools is not None and not all(isinstance(tool.get("function", {}).get("name"), str) for tool in tools or [{}]):
        yield "tools must be functions with names"
    if "tool_choice" in request and not tools:
        yield "tool_choice needs tools"


def _content_fault(message: dict[str, Any]) -> str | None:
    role, content = message.get("role"), message.get("content")
    if role not in ("system", "user", "assistant", "tool"):
        return f"role {role!r} is unknown"
    if content is None:
        return None if role == "assistant" and message.get("tool_calls") else "content must not be null"
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if not isinstance(parts, list) or not parts:
        return "content must be text or a list of parts"
    odd = [part.get("type") for part in parts if not _is_part(part, role)]
    return f"a part of type {odd[0]!r} cannot stand in a message of role {role!r}" if odd else None


def _is_part(part: dict[str, Any], role: str) -> bool:
    if part.get("type") == "text":
        return isinstance(part.get("text"), str)
    is_image = part.get("type") == "image_url" and isinstance(part.get("image_url", {}).get("url"), str)
    return is_image and role in ("user", "tool")


def _call_fault(call: dict[str, Any]) -> str | None:
    if not isinstance(call.get("id"), str) or not call["id"] or call.get("type") != "function":
        return "a call needs an id and the type function"
    arguments = call.get("function", {}).get("arguments")
    if not isinstance(arguments, str):
        return "the arguments of a call must be JSON text"
    try:
        parsed = json.loads(arguments)
    except ValueError:
        return "the arguments of a call are not JSON"
    return None if isinstance(parsed, dict) else "the arguments of a call must be an object"
