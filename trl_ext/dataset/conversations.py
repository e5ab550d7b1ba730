"""Conversations to imitate, whoever recorded them, in one shape: LongVT's files, ours, JSONL of messages, rollouts.

::

    for conversation in read_conversations("longvt_sft_tvg_6k3.parquet", MediaFolder("videos/tvg")):
        conversation.question   # "When does she open the door?": asked anew, as in RL; None: taken as recorded
        conversation.videos     # {"video_1.mp4": "/data/videos/tvg/XNT6F.mp4"}
        conversation.messages   # OpenAI-style; calls in `tool_calls`, replies of role `tool`

No video is opened and no picture read: see :mod:`trl_ext.dataset.replay`. What cannot be mapped is a
:class:`~trl_ext.dataset.faults.DataFault` in its place, never left out without a word.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, cast

from longvt_plugins.conversation import Form, system_message
from longvt_plugins.errors import ConfigError
from longvt_plugins.transcript import parse_turn
from longvt_plugins.types import FunctionCall, Message, text_of
from trl_ext.dataset.faults import DataFault
from trl_ext.dataset.files import columns_of, parse_json, read_records
from trl_ext.dataset.media import MediaFolder, MediaNotFoundError
from trl_ext.dataset.published import path_in, source_of, without_instructions, without_placeholders

_ROLES = ("system", "user", "assistant", "tool")
_FORMS_WITHOUT_TOOLS: tuple[Form, ...] = ("reasoning", "non_think")
_ROLLOUT = {"row", "messages", "windows", "rewards"}
_RESPONSE = re.compile(r"\s*<(/?)tool_response>\s*")
_SPECIAL = re.compile(r"<\|[a-z_]+\|>")
_FRAME_NUMBER = re.compile(r"_(\d+)\.\w+$")

Find = Callable[[str], str]


@dataclass(frozen=True)
class Conversation:
    """A conversation with its media named, not read.

    Attributes:
        id: As recorded, or made of the file's name and the row's number.
        source: Where it comes from.
        messages: As OpenAI's API has them. Image blocks hold a path or a frame's reference; ``{"type": "video",
            "video": name}`` stands for the overview of a video.
        videos: Names that the messages use, to files.
        question: To be asked anew, as the environment of RL asks it, its tools called anew; None takes the
            messages as they are.
        tools: Whether the tools are described to the model, which the messages do not do.
        length: Tokens, where they were counted when the file was written.
    """

    id: str
    source: str
    messages: list[Message]
    videos: dict[str, str] = field(default_factory=dict)
    question: str | None = None
    tools: bool = False
    length: int | None = None

    def to_json(self) -> str:
        """One line of text, for a data set's column."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Conversation:
        """What :meth:`to_json` wrote."""
        return cls(**json.loads(text))


def read_conversations(
    path: str | Path, media: MediaFolder | None = None, *, source: str | None = None, replay: bool = True
) -> Iterator[Conversation | DataFault]:
    """Every conversation of a file, or what is wrong with it.

    Args:
        path: ``.parquet`` or ``.jsonl``: messages, LongVT's or ours, or rollouts.
        media: Where videos and pictures are; beside the file by default.
        source: Name of the source; by default that of the record, or of the file.
        replay: Ask recorded questions about videos anew, so that the model reads what it reads in RL: our system
            message, overview and question, and the tools' replies as they come today. False takes prompts and
            replies as recorded. What was made here, SFT files and rollouts, is taken as it is either way.

    Raises:
        ConfigError: No such file, or columns that are not those of conversations.
    """
    path = Path(path)
    columns = set(columns_of(path))
    if columns >= _ROLLOUT:
        yield from _rollouts(path, source)
        return
    if not columns:
        return
    if "messages" not in columns:
        kind = "holds questions for RL, not conversations" if columns & {"prompt", "question"} else "cannot be mapped"
        raise ConfigError(f"{path} {kind}: no column messages among {', '.join(sorted(columns))}")
    media = media if media is not None else MediaFolder(path.parent)
    name = source or source_of(path) or path.stem
    for number, (where, record) in enumerate(read_records(path), start=1):
        if isinstance(record, DataFault):
            yield record
            continue
        given = {"id": f"{path.stem}-{number}", **{key: value for key, value in record.items() if value is not None}}
        try:
            yield parse_conversation(
                given, media, where=where, source=source or given.get("source") or name, replay=replay
            )
        except DataFault as fault:
            yield fault


def parse_conversation(
    record: Mapping[str, Any], media: MediaFolder, *, where: str, source: str, replay: bool
) -> Conversation:
    """One record of messages.

    Args:
        record: With ``id`` and ``messages``, and perhaps ``videos``.
        media: Where videos and pictures are.
        where: Named in faults.
        source: Name of the source.
        replay: See :func:`read_conversations`.

    Raises:
        DataFault: It cannot be trained on as it stands.
    """
    messages = parse_json(record.get("messages"), "messages", where)
    if not isinstance(messages, list) or not messages:
        raise DataFault("schema", where, "messages must be a list of messages")
    reader = _Reader(where)
    for message in messages:
        reader.read(message)
    reader.check()
    if not reader.recorded_videos and (reader.foreign or not reader.shows_pictures):
        reader.recorded_videos = _videos_beside(record, reader, where)
    names = _names(reader.recorded_videos)
    videos = {name: _find(media, path, "missing video", where) for path, name in names.items()}
    if names:
        reader.rename(names)
    question = reader.question() if replay and videos else None
    if question is None:
        reader.show(videos, lambda path: _find(media, path, "missing image", where))
    return Conversation(
        id=str(record["id"]),
        source=str(source),
        messages=reader.messages,
        videos=videos,
        question=question,
        tools=question is not None and reader.calls > 0,
        length=length if question is None and isinstance(length := record.get("length"), int) else None,
    )


class _Reader:
    """Reads recorded messages one by one into ours.

    Attributes:
        messages: Ours so far.
        recorded_videos: Paths of the videos shown, as recorded.
        calls: Tool calls so far.
        foreign: Whether anything was written in another way than ours, so that it was not made here.
    """

    def __init__(self, where: str) -> None:
        self.messages: list[Message] = []
        self.recorded_videos: list[str] = []
        self.calls = 0
        self.foreign = False
        self._where = where
        self._waiting: list[FunctionCall] = []

    def read(self, message: Any) -> None:
        """The next message."""
        role = message.get("role") if isinstance(message, dict) else None
        if role not in _ROLES:
            raise self._fault("schema", f"a message must be from {', '.join(_ROLES)}, not {role!r}")
        blocks = self._blocks(message.get("content"))
        text = "".join(block["text"] for block in blocks if block["type"] == "text")
        if _SPECIAL.search(text):
            raise self._fault(
                "special tokens", f"text holds {_SPECIAL.findall(text)[0]}, which would be read as a mark-up"
            )
        if role == "assistant":
            self._assistant(text, message)
        elif role == "tool":
            self._reply(blocks)
        elif role == "user" and text.lstrip().startswith("<tool_response>"):
            self.foreign = True
            for reply in _responses(blocks):
                self._reply(reply)
        else:
            self._answer_due()
            content: Any = blocks if any(block["type"] != "text" for block in blocks) else text
            self.messages.append({"role": role, "content": content})

    @property
    def shows_pictures(self) -> bool:
        """Whether pictures are among the messages, as in what was written here, which names no video."""
        return any(True for _ in self._media("image"))

    def check(self) -> None:
        """Whether there is something to imitate at the end."""
        self._answer_due()
        if self.messages[-1]["role"] != "assistant":
            raise self._fault("schema", "the last message is not the assistant's")
        if not any(message["role"] == "user" for message in self.messages):
            raise self._fault("schema", "no message is the user's")

    def question(self) -> str:
        """What the user asks, without what the environment says of its own."""
        asked = [message for message in self.messages if message["role"] == "user"]
        question = without_instructions(text_of(asked[0]))
        if not question:
            raise self._fault("schema", "the user asks nothing")
        return question

    def rename(self, names: Mapping[str, str]) -> None:
        """Puts the names that the model is to read in place of recorded paths."""
        for message in self.messages:
            if isinstance(content := message["content"], str):
                message["content"] = _renamed(content, names)
            for block in content if isinstance(content, list) else ():
                loose = cast(dict[str, Any], block)
                if loose["type"] == "text":
                    loose["text"] = _renamed(loose["text"], names)
                elif loose["type"] == "video":
                    loose["video"] = names[loose["video"]]
            for call in message.get("tool_calls", ()):
                arguments = cast(dict[str, Any], call["function"]["arguments"])
                if isinstance(path := arguments.get("video_path"), str):
                    arguments["video_path"] = self._video_of_call(path, names)

    def show(self, videos: Mapping[str, str], find: Find) -> None:
        """For a conversation that is taken as recorded: its overviews and pictures in their places."""
        shown = {block["video"] for block in self._media("video")}
        first = next(message for message in self.messages if message["role"] == "user")
        if missing := [name for name in videos if name not in shown]:
            content = first["content"]
            rest: list[Any] = content if isinstance(content, list) else [{"type": "text", "text": content}]
            overviews: list[Any] = [{"type": "video", "video": name} for name in missing]
            first["content"] = [*overviews, *rest]
        if self.foreign and isinstance(first["content"], str):
            first["content"] = without_placeholders(first["content"])
        elif self.foreign:
            for block in cast(list[dict[str, Any]], first["content"]):
                if block["type"] == "text":
                    block["text"] = without_placeholders(block["text"])
        for block in self._media("image"):
            if isinstance(block["image"], str):
                block["image"] = find(block["image"])

    def _media(self, kind: str) -> Iterator[dict[str, Any]]:
        for message in self.messages:
            content = message["content"]
            for block in content if isinstance(content, list) else ():
                if block["type"] == kind:
                    yield cast(dict[str, Any], block)

    def _assistant(self, text: str, message: Mapping[str, Any]) -> None:
        self._answer_due()
        content, calls, malformed = parse_turn(text, first_call=self.calls + 1)
        if malformed:
            raise self._fault("tool call", f"a call that is not JSON with a name and arguments: {malformed[0][:120]!r}")
        self.foreign = self.foreign or bool(calls)
        entries = [call.to_message_entry() for call in calls]
        for number, given in enumerate(message.get("tool_calls") or (), start=self.calls + len(calls) + 1):
            entries.append(self._entry(given, number))
        if not content.strip() and not entries:
            raise self._fault("schema", "an assistant's message is empty")
        ours: Message = {"role": "assistant", "content": content}
        if entries:
            ours["tool_calls"] = entries
        self.calls += len(entries)
        self._waiting = list(entries)
        self.messages.append(ours)

    def _entry(self, given: Any, number: int) -> FunctionCall:
        function = given.get("function") if isinstance(given, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        arguments = (
            parse_json(function.get("arguments"), "arguments", self._where) if isinstance(function, dict) else None
        )
        if not isinstance(name, str) or not isinstance(arguments, dict):
            raise self._fault("tool call", f"a call needs a name and arguments, not {str(given)[:120]}")
        # Arrow fills the arguments that a call lacks with nulls when a table holds them as structs.
        there = {key: value for key, value in arguments.items() if value is not None}
        return {
            "id": str(given.get("id") or f"call_{number}"),
            "type": "function",
            "function": {"name": name, "arguments": there},
        }

    def _reply(self, blocks: list[dict[str, Any]]) -> None:
        if not self._waiting:
            raise self._fault("tool call", "a tool replies to no call")
        call = self._waiting.pop(0)
        images = iter(_by_number([block for block in blocks if block["type"] == "image"]))
        blocks = [next(images) if block["type"] == "image" else block for block in blocks]
        reply: Message = {
            "role": "tool",
            "name": call["function"]["name"],
            "tool_call_id": call["id"],
            "content": cast(Any, blocks),
        }
        self.messages.append(reply)

    def _answer_due(self) -> None:
        if self._waiting:
            raise self._fault("tool call", f"no tool replies to the call of {self._waiting[0]['function']['name']}")

    def _blocks(self, content: Any) -> list[dict[str, Any]]:
        if content is None:
            return []
        if isinstance(content, str):
            return [{"type": "text", "text": content}]
        if not isinstance(content, list) or not all(isinstance(block, dict) for block in content):
            raise self._fault("schema", f"content must be text or a list of blocks, not {type(content).__name__}")
        return [self._block(block) for block in content]

    def _block(self, block: Mapping[str, Any]) -> dict[str, Any]:
        kind = block.get("type")
        if kind == "text" and isinstance(block.get("text"), str):
            return {"type": "text", "text": block["text"]}
        if kind in ("image_url", "video_url", "video"):
            self.foreign = True
        value = block.get(kind) if isinstance(kind, str) else None
        if kind in ("image_url", "video_url"):
            value = value.get("url") if isinstance(value, dict) else value
        if kind in ("video", "video_url") and isinstance(value, str):
            if value not in self.recorded_videos:
                self.recorded_videos.append(value)
            return {"type": "video", "video": value}
        if kind == "image" and isinstance(value, dict):
            return {**block, "image": value}
        if kind in ("image", "image_url") and isinstance(value, str):
            if value.startswith("data:"):
                raise self._fault("schema", "a picture inside the row (data:...); write it to a file and name that")
            kept = {key: block[key] for key in ("time", "video") if block.get(key) is not None}
            return {**kept, "type": "image", "image": value}
        raise self._fault("schema", f"a block of type {kind!r} with {', '.join(sorted(block))} cannot be mapped")

    def _video_of_call(self, path: str, names: Mapping[str, str]) -> str:
        for recorded, name in names.items():
            if path in (recorded, name) or PurePosixPath(path).name == PurePosixPath(recorded).name:
                return name
        raise self._fault("tool call", f"a call names the video {path[:200]!r}, which is not shown")

    def _fault(self, kind: Any, what: str) -> DataFault:
        return DataFault(kind, self._where, what)


def _rollouts(path: Path, source: str | None) -> Iterator[Conversation | DataFault]:
    from longvt_plugins.rollouts import read_rollouts

    for rollout in read_rollouts(path):
        if rollout.stop_reason != "answered":
            yield DataFault("schema", f"{path}, {rollout.id}", f"the rollout did not answer: {rollout.stop_reason}")
            continue
        tools = _had_tools(rollout.messages)
        if tools and rollout.messages[0]["role"] != "system":
            yield DataFault("schema", f"{path}, {rollout.id}", "no system message to describe its tools in")
            continue
        yield Conversation(
            rollout.id,
            source or rollout.row["source"] or "rollout",
            rollout.messages,
            rollout.row["videos"],
            tools=tools,
        )


def _had_tools(messages: list[Message]) -> bool:
    """Whether a rollout was told of tools, which its messages do not say: it called one, or was not told otherwise."""
    if any(message.get("tool_calls") for message in messages):
        return True
    without = [system_message(form) for form in _FORMS_WITHOUT_TOOLS]
    return messages[0]["role"] == "system" and messages[0] not in without


def _videos_beside(record: Mapping[str, Any], reader: _Reader, where: str) -> list[str]:
    """Videos that a record names outside its blocks: in a column, in the question's text, or in its calls alone."""
    videos = parse_json(record.get("videos"), "videos", where) or []
    if isinstance(videos, dict):
        videos = list(videos.values())
    found = [item.get("video") if isinstance(item, dict) else item for item in videos]
    found += [record.get("video_path"), record.get("video")]
    found += [path_in(text_of(message)) for message in reader.messages if message["role"] == "user"]
    if not any(found):
        calls = [call for message in reader.messages for call in message.get("tool_calls", ())]
        found = [cast(dict[str, Any], call["function"]["arguments"]).get("video_path") for call in calls]
    named = [path for path in found if isinstance(path, str) and path]
    # One file, told by its path and by its name, is one video.
    return list({PurePosixPath(path).name: path for path in reversed(named)}.values())[::-1]


def _names(paths: list[str]) -> dict[str, str]:
    """Recorded paths to the opaque names that the model reads."""
    return {path: f"video_{number}.mp4" for number, path in enumerate(paths, start=1)}


def _renamed(text: str, names: Mapping[str, str]) -> str:
    for recorded, name in names.items():
        # With the folders before it, and not inside a longer name: 1.mp4 is no part of 11.mp4.
        file = re.escape(PurePosixPath(recorded).name)
        text = re.sub(rf"(?:[^\s\"'<>]*/)?(?<![\w.-]){file}(?!\w)", name, text)
    return text


def _responses(blocks: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Replies that stand in one user message, each between ``<tool_response>`` and its end."""
    reply: list[dict[str, Any]] = []
    for block in blocks:
        if block["type"] != "text":
            reply.append(block)
            continue
        place = 0
        for tag in _RESPONSE.finditer(block["text"]):
            if before := block["text"][place : tag.start()]:
                reply.append({"type": "text", "text": before})
            place = tag.end()
            if tag[1]:
                yield reply
                reply = []
        if rest := block["text"][place:]:
            reply.append({"type": "text", "text": rest})
    if reply:
        yield reply


def _by_number(images: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Numbered frames that stand in the order of their names as text, 10 before 2; others stay as they are."""
    paths = [block["image"] if isinstance(block["image"], str) else "" for block in images]
    numbers = [_FRAME_NUMBER.search(path) for path in paths]
    stems = {
        path[: number.start()] if number is not None else None for path, number in zip(paths, numbers, strict=True)
    }
    if paths != sorted(paths) or len(stems) != 1 or None in stems:
        return images
    return sorted(images, key=lambda block: int(_FRAME_NUMBER.findall(block["image"])[0]))


def _find(media: MediaFolder, path: str, kind: Any, where: str) -> str:
    try:
        return media.find(path)
    except MediaNotFoundError as error:
        raise DataFault(kind, where, str(error)) from None
