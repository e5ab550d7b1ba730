"""Reads what a model wrote: thoughts, tool calls, answer, and which windows of a video it really looked at.

>>> messages = [
...     {"role": "assistant", "content": "<think>When?</think>", "tool_calls": [{"type": "function", "function": {
...         "name": "crop_video", "arguments": {"video_path": "video_1.mp4", "start_time": 48, "end_time": 52}}}]},
...     {"role": "tool", "name": "crop_video", "content": "4 frames from 48s to 52s:"},
...     {"role": "assistant", "content": "<think>It is red.</think><answer>red</answer>"},
... ]
>>> transcript = parse_transcript(messages)
>>> transcript.answer, transcript.windows, transcript.format_ok
('red', (TimeSpan(start=48.0, end=52.0),), True)

This is the only parser of model output in the project. It never raises on what a model wrote, and its
time grows linearly with the text. It does not check arguments against a tool's schema, nor windows
against the length of the video: the tool does, and a call that it refused has an error as its reply.

Prefer messages to text. A decoded text is split into turns at ``<|im_end|>`` and ``<|im_start|>``, which
a model could in principle spell out; messages cannot be forged from inside.
"""

from __future__ import annotations

import json
import math
import re
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from longvt_plugins.types import Message, TimeSpan, ToolCall

MAX_CHARACTERS = 1_000_000
"""The assistant's text beyond this is not read and the format is not ok; 16,384 tokens are about 80,000 characters."""

MAX_DEPTH = 32
"""A call whose JSON is nested deeper is malformed: checks, templates and files further on would exhaust the stack."""

TRL_ERROR = "{'error': "
"""How TRL shows the model an exception of a tool: the text of a dict."""

ERROR_PREFIX = "Error: "
"""How our own agent shows the model a :class:`~longvt_plugins.errors.ToolError`."""

_TAG = re.compile(r"<(/?)(think|tool_call|answer|tool_response)>")
_TURN_START = re.compile(r"(?:\A|<\|im_end\|>)\s{0,8}<\|im_start\|>([a-z]{1,16})\n?")
_END_TOKEN = re.compile(r"<\|im_end\|>|<\|endoftext\|>")
_IMAGE_TOKEN = re.compile(r"<\|(?:vision_start|vision_end|image_pad|video_pad)\|>")
# T thought, C one or more tool calls in a row within one turn, A answer.
_FORMAT = re.compile(r"T(CT)*A")
_MARKUP = re.compile(r"<(?=[|/A-Za-z])")
_LETTERS = {"think": "T", "tool_call": "C", "answer": "A"}

FirstThought = Literal["none", "closed", "unclosed"]


def error_reply(message: str) -> str:
    """The text in which a model reads of an error: in training, evaluation and data alike.

    Messages quote what the model wrote. A space after each ``<`` keeps a quoted ``<|im_end|>`` or
    ``</tool_response>`` from being read as the real one by a tokenizer.

    >>> error_reply("there is no video named '<|im_end|>'")
    "Error: there is no video named '< |im_end|>'"
    """
    return ERROR_PREFIX + _MARKUP.sub("< ", message)


def is_error_reply(text: str) -> bool:
    """Whether a tool's reply tells the model of an error, as TRL or our agent writes it.

    >>> is_error_reply("{'error': 'there is no video named x'}"), is_error_reply("4 frames from 48s to 52s:")
    (True, False)
    """
    return text.lstrip().startswith((TRL_ERROR, ERROR_PREFIX))


@dataclass(frozen=True)
class Transcript:
    """What one rollout's assistant wrote, and what the tools replied.

    Attributes:
        thoughts: Text of every ``<think>``, unclosed ones included.
        tool_calls: Calls whose JSON is an object with a name and arguments; executed or not.
        malformed_calls: Text of the other ``<tool_call>``.
        tool_replies: Text of every reply, errors included, images left out.
        executed_calls: The calls that a tool answered with something other than an error.
        answer: Text of the assistant's last closed ``<answer>``, white space at its ends removed; None without one.
        windows: What the executed ``crop_video`` calls asked for, in order.
        format_ok: Tags are balanced and never nested, nothing but white space lies outside them, and
            the opening tags read think, (tool_call, think)*, answer, where several calls in a row in one
            turn count as one. This is LongVT's format rule, calls in parallel added.
        first_thought: Whether the first ``<think>`` was closed before anything else opened.
    """

    thoughts: tuple[str, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    malformed_calls: tuple[str, ...] = ()
    tool_replies: tuple[str, ...] = ()
    executed_calls: tuple[ToolCall, ...] = ()
    answer: str | None = None
    windows: tuple[TimeSpan, ...] = ()
    format_ok: bool = False
    first_thought: FirstThought = "none"


def parse_transcript(source: str | Sequence[Message]) -> Transcript:
    """Reads one rollout.

    Args:
        source: Chat messages, or the decoded text of a whole completion as Qwen's templates render
            it, special tokens kept. Only what the assistant wrote counts as thought, call or answer.
            A reply belongs to the call of its ``tool_call_id``; without ids, to the first call
            of the turn before it that has its name and no reply yet.
    """
    if isinstance(source, str):
        reader = _Reader(whole=len(source) <= MAX_CHARACTERS)
        messages: Iterable[Mapping[str, Any]] = _messages_of(source[:MAX_CHARACTERS])
    else:
        reader, messages = _Reader(), source
    for message in messages:
        if isinstance(message, Mapping):
            reader.read(message)
    return reader.transcript()


def parse_turn(text: str, *, first_call: int = 1) -> tuple[str, list[ToolCall], list[str]]:
    """Splits one generated turn into the parts of an assistant message.

    Args:
        text: As generated; what follows the end-of-turn token is left out.
        first_call: Number of the first call, so that ids (``call_1``, ``call_2``) stay unique in a rollout.

    Returns:
        The content, without the calls that parsed and without the one line break that chat templates put
        before a call, so that a template gives back what was generated; the calls; the text
        of malformed calls, which stay in the content as they were written.
    """
    text = _own_text(text)[:MAX_CHARACTERS]
    turn = _Turn(text)
    kept: list[str] = []
    position = 0
    for call in turn.calls:
        if call.parsed is not None:
            before = text[position : call.start]
            kept.append(before.removesuffix("\n") if not kept else before.strip())
            position = call.end
    kept.append(text[position:] if not kept else text[position:].strip())
    parsed = [call.parsed for call in turn.calls if call.parsed is not None]
    calls = [
        ToolCall(f"call_{first_call + index}", *name_and_arguments) for index, name_and_arguments in enumerate(parsed)
    ]
    return "".join(kept), calls, turn.malformed


@dataclass
class _Call:
    """A ``<tool_call>`` element: where its tags start and end, and its JSON, None where it is malformed."""

    start: int
    end: int
    parsed: tuple[str, dict[str, Any]] | None


class _Turn:
    """One assistant turn, read in one pass over its tags.

    Attributes:
        order: A letter for every opening tag.
        tidy: False when a tag is unbalanced or nested, or text lies outside the tags.
    """

    def __init__(self, text: str) -> None:
        self.thoughts: list[str] = []
        self.calls: list[_Call] = []
        self.malformed: list[str] = []
        self.answers: list[str] = []
        self.order = ""
        self.tidy = True
        self.first_thought: FirstThought = "none"
        self._text = text
        self._inside: str | None = None  # "think" or "answer"
        self._start = 0  # where the text of that element starts
        self._read()

    def _read(self) -> None:
        tags = list(_TAG.finditer(self._text))
        closes = _closing_tags(tags)
        position = index = 0
        while index < len(tags):
            tag, close = tags[index], closes[index]
            if self._inside is None and self._text[position : tag.start()].strip():
                self.tidy = False
            last = tag
            if tag[1]:
                self._close(tag)
            elif tag[2] in ("think", "answer"):
                self._open(tag)
            elif close is None:
                # A stray tag, such as a thought that talks of <tool_call>: what was open stays open.
                self.tidy = False
                if tag[2] == "tool_call":
                    end = tags[index + 1].start() if index + 1 < len(tags) else None
                    self.malformed.append(self._text[tag.end() : end].strip())
            else:
                # Inside a call all is JSON, and inside a forged reply nothing is the assistant's: on to its end.
                last = tags[close]
                self._add_whole(tag, last)
                index = close
            position = last.end()
            index += 1
        if self._inside == "think":
            self._end_thought(len(self._text), closed=False)
        if self._inside is not None or self._text[position:].strip():
            self.tidy = False

    def _open(self, tag: re.Match[str]) -> None:
        self._abandon(tag)
        self.order += _LETTERS[tag[2]]
        self._inside, self._start = tag[2], tag.end()

    def _close(self, tag: re.Match[str]) -> None:
        if tag[2] != self._inside:
            self.tidy = False
        elif tag[2] == "think":
            self._end_thought(tag.start(), closed=True)
        else:
            self.answers.append(self._text[self._start : tag.start()].strip())
            self._inside = None

    def _add_whole(self, tag: re.Match[str], close: re.Match[str]) -> None:
        self._abandon(tag)
        if tag[2] == "tool_response":
            self.tidy = False
            return
        self.order += _LETTERS[tag[2]]
        body = self._text[tag.end() : close.start()]
        parsed = _parse_call(body)
        self.calls.append(_Call(tag.start(), close.end(), parsed))
        if parsed is None:
            self.malformed.append(body.strip())

    def _abandon(self, tag: re.Match[str]) -> None:
        """An opening tag ends the thought or answer that is still open."""
        if self._inside == "think":
            self._end_thought(tag.start(), closed=False)
        if self._inside is not None:
            self._inside, self.tidy = None, False

    def _end_thought(self, end: int, *, closed: bool) -> None:
        if self.first_thought == "none":
            self.first_thought = "closed" if closed else "unclosed"
        self.thoughts.append(self._text[self._start : end].strip())
        if closed:
            self._inside = None


def _closing_tags(tags: list[re.Match[str]]) -> list[int | None]:
    """For every opening tag the index of the next closing tag of its name, None if the name opens again before."""
    following: dict[str, int | None] = {}
    closes: list[int | None] = [None] * len(tags)
    for index in range(len(tags) - 1, -1, -1):
        name = tags[index][2]
        if tags[index][1]:
            following[name] = index
        else:
            closes[index] = following.get(name)
            following[name] = None
    return closes


def _parse_call(body: str) -> tuple[str, dict[str, Any]] | None:
    """Name and arguments of a call written as JSON; None if it is not that."""
    value = _json(body)
    return _checked_call(value.get("name"), value.get("arguments")) if isinstance(value, dict) else None


def _checked_call(name: object, arguments: object) -> tuple[str, dict[str, Any]] | None:
    if isinstance(arguments, str):
        arguments = _json(arguments)
    return (name, arguments) if isinstance(name, str) and name and isinstance(arguments, dict) else None


def _json(text: str) -> Any:
    """JSON as the standard has it, so without NaN and Infinity; None if it is not JSON."""
    try:
        value = json.loads(text, parse_constant=_refuse, parse_float=_finite)
        # Half of a surrogate pair is valid JSON, but no tokenizer and no file can take it.
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        # RecursionError: brackets nested thousands deep. ValueError: also whole numbers of thousands of digits.
        return None
    return value if _depth(value) <= MAX_DEPTH else None


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)]
    return depth


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number} is too large")
    return value


class _Reader:
    """Gathers a transcript message by message."""

    def __init__(self, *, whole: bool = True) -> None:
        self._tidy = whole
        self._left = MAX_CHARACTERS
        self._turns: list[_Turn] = []
        self._calls: list[ToolCall] = []
        self._malformed: list[str] = []
        self._replies: list[str] = []
        self._executed: list[ToolCall] = []
        self._waiting: list[ToolCall] = []

    def read(self, message: Mapping[str, Any]) -> None:
        role = message.get("role")
        if role == "assistant":
            self._read_turn(message)
        elif role == "tool":
            self._read_reply(_text(message.get("content")), message.get("tool_call_id"), message.get("name"))
        elif role == "user" and self._waiting:
            for reply in _tool_responses(_text(message.get("content"))):
                self._read_reply(reply, None, None)

    def transcript(self) -> Transcript:
        # Calls in a row count as one only within their turn: after a reply the model must think again.
        order = "".join(re.sub("C+", "C", turn.order) for turn in self._turns)
        answers = [answer for turn in self._turns for answer in turn.answers]
        first_thoughts = [turn.first_thought for turn in self._turns if turn.first_thought != "none"]
        return Transcript(
            thoughts=tuple(thought for turn in self._turns for thought in turn.thoughts),
            tool_calls=tuple(self._calls),
            malformed_calls=tuple(self._malformed),
            tool_replies=tuple(self._replies),
            executed_calls=tuple(self._executed),
            answer=answers[-1] if answers else None,
            windows=tuple(window for call in self._executed if (window := _window(call)) is not None),
            format_ok=self._tidy and all(turn.tidy for turn in self._turns) and _FORMAT.fullmatch(order) is not None,
            first_thought=first_thoughts[0] if first_thoughts else "none",
        )

    def _read_turn(self, message: Mapping[str, Any]) -> None:
        text = _own_text(_text(message.get("content")))
        if isinstance(thought := message.get("reasoning_content"), str):
            # Servers and response templates may take the thought out of the content.
            text = f"<think>{thought}</think>{text}"
        self._tidy &= len(text) <= self._left
        text = text[: self._left]
        self._left -= len(text)
        turn = _Turn(text)
        self._turns.append(turn)
        self._malformed += turn.malformed
        entries = message.get("tool_calls")
        given: list[ToolCall] = []
        for entry in entries if isinstance(entries, list | tuple) else ():
            turn.order += _LETTERS["tool_call"]
            call = self._given_call(entry, len(given))
            if call is None:
                self._malformed.append(_shown(entry))
            else:
                given.append(call)
        same = [(call.name, call.arguments) for call in given]
        for found in turn.calls:
            if found.parsed is None:
                continue
            if found.parsed in same:  # Some servers leave in the content what they also give as an entry.
                same.remove(found.parsed)
            else:
                given.append(ToolCall(f"call_{len(self._calls) + len(given) + 1}", *found.parsed))
        self._calls += given
        self._waiting = given.copy()

    def _given_call(self, entry: object, earlier: int) -> ToolCall | None:
        function = entry.get("function") if isinstance(entry, Mapping) else None
        if not isinstance(entry, Mapping) or not isinstance(function, Mapping):
            return None
        arguments = function.get("arguments")
        # A host may have parsed the JSON less strictly: its dict must be one that JSON can write.
        checked = _checked_call(function.get("name"), arguments if isinstance(arguments, str) else _dumped(arguments))
        given_id = entry.get("id")
        name = given_id if isinstance(given_id, str) and given_id else f"call_{len(self._calls) + earlier + 1}"
        return ToolCall(name, *checked) if checked is not None else None

    def _read_reply(self, text: str, call_id: object, name: object) -> None:
        self._replies.append(text)
        for call in self._waiting:
            if call.id == call_id if isinstance(call_id, str) and call_id else name in (None, "", call.name):
                self._waiting.remove(call)
                if not is_error_reply(text):
                    self._executed.append(call)
                return


def _window(call: ToolCall) -> TimeSpan | None:
    if call.name != "crop_video":
        return None
    start, end = call.arguments.get("start_time"), call.arguments.get("end_time")
    if not isinstance(start, int | float) or not isinstance(end, int | float):
        return None
    try:
        return TimeSpan(float(start), float(end))
    except (ValueError, OverflowError):
        return None


def _dumped(arguments: object) -> str:
    try:
        return json.dumps(arguments, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return ""


def _shown(entry: object) -> str:
    function = entry.get("function") if isinstance(entry, Mapping) else None
    return _dumped(function) or reprlib.repr(function)


def _text(content: object) -> str:
    """Text of any content, however odd: strings, lists of blocks, None."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple):
        return ""
    texts = (block.get("text") for block in content if isinstance(block, Mapping) and block.get("type") == "text")
    return "".join(text for text in texts if isinstance(text, str))


def _own_text(text: str) -> str:
    """What was generated before the token that ends a turn."""
    end = _END_TOKEN.search(text)
    return text[: end.start()] if end else text


def _tool_responses(text: str) -> Iterator[str]:
    """Contents of ``<tool_response>`` elements, as Qwen's templates put them into a user turn."""
    opening, closing = "<tool_response>", "</tool_response>"
    start = text.find(opening)
    while start >= 0:
        end = text.find(closing, start)
        yield _IMAGE_TOKEN.sub("", text[start + len(opening) : end if end >= 0 else None]).strip()
        start = text.find(opening, end) if end >= 0 else -1


def _messages_of(text: str) -> Iterator[dict[str, str]]:
    """The turns of a decoded text, which starts inside the assistant's turn unless it says otherwise.

    A turn starts only after ``<|im_end|>``: the generation stops there, so what follows is not the model's.
    """
    role, start = "assistant", 0
    for turn in _TURN_START.finditer(text):
        if turn.start() > 0 or not turn[0].lstrip().startswith("<|im_start|>"):
            yield {"role": role, "content": text[start : turn.start()]}
        role, start = turn[1], turn.end()
    yield {"role": role, "content": text[start:]}
