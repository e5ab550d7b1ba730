"""A program that watches the synthetic world as a model would: the teacher of traces, and a stand-in for a VLM.

It sees what a model sees, the messages and the pixels in them, and answers as a model should::

    user        0s <frame> 6s <frame> ... video_1.mp4 lasts 96 s. Which colour does the square flash?
    assistant   <think>It changes from 36 to 54.</think>  crop_video(video_1.mp4, 36, 54)
    tool        8 frames from 36s to 54s: 36s <frame> 38.2s <frame> ...
    assistant   <think>I see red.</think><answer>red</answer>

Without tools, or without luck, it guesses what it did not see, evenly and always alike. Asked anything else
it describes the frames it was given. It plans one video at a time and asks for no tool but ``crop_video``.
"""

from __future__ import annotations

import hashlib
import random
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from longvt_plugins.chat import Completion
from longvt_plugins.errors import ConfigError
from longvt_plugins.synthetic.captions import describe_frames
from longvt_plugins.synthetic.dialogue import Dialogue, SeenFrame, read_dialogue
from longvt_plugins.synthetic.phrases import GLIMPSE, NOTHING, SIGHT
from longvt_plugins.synthetic.sight import read_frame
from longvt_plugins.synthetic.world import COLOURS
from longvt_plugins.types import Message, ToolCall
from longvt_plugins.video.sampling import format_seconds

TOOL = "crop_video"
LARGEST_COUNT = 3
"""Guesses of how often something happens are drawn from 1 to this."""

_WIDEST_SLIP = 3
_ONE_LOOK = ("what", "when")
"""Families whose window is looked at in one piece; the others need every gap of the overview for itself."""

_TOKEN = re.compile(r"\w+|[^\w\s]")
_TOKENS_PER_IMAGE = 64


class Glance(NamedTuple):
    """One frame, read.

    Attributes:
        time: Seconds.
        shown: ``"nothing"``, the shape's name, or the colour that it flashes.
    """

    time: float
    shown: str


@dataclass(frozen=True)
class OfflineReader:
    """A :class:`~longvt_plugins.chat.ChatBackend` without a model.

    Args:
        sloppiness: Share of windows widened at their start, and of those widened at their end, by 1 to 3 gaps
            of the overview.
        seed: Another seed slips in other calls and guesses otherwise.
        max_calls: It never looks closer more often.

    Raises:
        ConfigError: A share outside 0 to 1, or a negative number of calls.
    """

    sloppiness: float = 0.0
    seed: int = 0
    max_calls: int = 5

    def __post_init__(self) -> None:
        if not 0 <= self.sloppiness <= 1:
            raise ConfigError(f"sloppiness is a share from 0 to 1, not {self.sloppiness}")
        if self.max_calls < 0:
            raise ConfigError(f"max_calls must not be negative, not {self.max_calls}")

    async def complete(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]],
        *,
        max_tokens: int,
        temperature: float,
    ) -> Completion:
        """Writes the next turn; ``temperature`` changes nothing.

        Tokens are words and marks, and a flat number for every image.

        Raises:
            ChatError: The messages cannot be read.
        """
        message = self.write(messages, tools)
        content = str(message["content"])
        written = [found.end() for found in _TOKEN.finditer(content)]
        read = count_tokens(messages)
        if len(written) > max_tokens:
            cut: Message = {"role": "assistant", "content": content[: written[max_tokens - 1]] if max_tokens else ""}
            return Completion(cut, "length", read, max_tokens)
        reason = "tool_calls" if "tool_calls" in message else "stop"
        return Completion(message, reason, read, len(written))

    def write(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()) -> Message:
        """The next turn, whole.

        Args:
            messages: The conversation, in memory or from the wire.
            tools: OpenAI function schemas.

        Raises:
            ChatError: The messages cannot be read.
        """
        dialogue = read_dialogue(messages)
        if dialogue.family is None:
            frames = (*dialogue.overview, *(frame for reply in dialogue.replies for frame in reply))
            return {"role": "assistant", "content": describe_frames(frames)}
        watched = _Watched(dialogue)
        if _offers(tools, TOOL):
            window = self._next_window(watched)
            if window is not None:
                return self._call(watched, window)
        thoughts, answer = self._conclude(watched)
        thought = f"<think>{' '.join(thoughts)}</think>" if dialogue.thinks else ""
        return {"role": "assistant", "content": f"{thought}<answer>{answer}</answer>"}

    def knows(self, messages: Sequence[Mapping[str, Any]]) -> bool:
        """Whether the frames of a conversation show what its question asks for, so that nothing is guessed.

        Raises:
            ChatError: The messages cannot be read.
        """
        dialogue = read_dialogue(messages)
        if dialogue.family is None:
            return False
        watched = _Watched(dialogue)
        return (watched.shown_span() if dialogue.family == "when" else _answer(watched)) is not None

    def _next_window(self, watched: _Watched) -> tuple[float, float] | None:
        """Where to look next, None when enough was seen or nothing is left to look at."""
        turn = len(watched.replies)
        hint = watched.hint
        if hint is None or turn >= self.max_calls:
            return None
        if turn and not watched.replies[-1]:
            return None  # The call was refused, so another one would be too.
        first, last = hint
        gaps = list(pairwise(range(first, last + 1)))
        if watched.family in _ONE_LOOK:
            if watched.enough:
                return None
            # What a thin crop of the whole window missed may show in a dense one of a single gap.
            plan = [(first, last), *(gaps if len(gaps) > 1 and watched.family == "what" else [])]
        else:
            plan = gaps
        if turn >= len(plan):
            return None
        begin, end = self._slipped(watched, plan[turn], turn)
        return watched.marks[begin], watched.marks[end]

    def _slipped(self, watched: _Watched, places: tuple[int, int], turn: int) -> tuple[int, int]:
        chance = random.Random(f"{self.seed}/{turn}/{watched.fingerprint}")
        left, right = (chance.randint(1, _WIDEST_SLIP) if chance.random() < self.sloppiness else 0 for _ in places)
        return max(0, places[0] - left), min(len(watched.marks) - 1, places[1] + right)

    def _call(self, watched: _Watched, window: tuple[float, float]) -> Message:
        start, end = window
        thoughts = [SIGHT.format(colour=watched.last_sight)] if watched.replies else []
        thoughts.append(GLIMPSE.format(start=format_seconds(start), end=format_seconds(end)))
        arguments = {"video_path": watched.video, "start_time": _number(start), "end_time": _number(end)}
        call = ToolCall(f"call_{len(watched.replies) + 1}", TOOL, arguments)
        return {
            "role": "assistant",
            "content": f"<think>{' '.join(thoughts)}</think>",
            "tool_calls": [call.to_message_entry()],
        }

    def _conclude(self, watched: _Watched) -> tuple[list[str], str]:
        """Thoughts and answer after the last look."""
        if watched.family == "when":
            start, end = watched.shown_span() or (0.0, watched.marks[-1])
            told = format_seconds(start), format_seconds(end)
            return [GLIMPSE.format(start=told[0], end=told[1])], f"[{told[0]}, {told[1]}]"
        sights = watched.sights or [NOTHING]
        answer = _answer(watched) or self._guess(watched)
        return [SIGHT.format(colour=", ".join(sights))], answer

    def _guess(self, watched: _Watched) -> str:
        choices: Sequence[str] = watched.options
        if not choices:
            counts = [str(count) for count in range(1, LARGEST_COUNT + 1)]
            choices = counts if watched.family == "how_many" else list(COLOURS)
        return random.Random(f"{self.seed}/guess/{watched.fingerprint}").choice(choices)


class _Watched:
    """A dialogue about one question, its frames read.

    Attributes:
        marks: Seconds of the overview's frames, and the end of the video.
        overview: What they show.
        replies: The same for the reply to each turn.
        fingerprint: Stands for the pixels of the overview and the question, the same on every machine.
    """

    def __init__(self, dialogue: Dialogue) -> None:
        self.family = dialogue.family
        self.shape = dialogue.shape
        self.options = dialogue.options
        self.video = dialogue.video
        self.overview = _read(dialogue.overview, dialogue.shape)
        self.replies = [_read(frames, dialogue.shape) for frames in dialogue.replies]
        times = [glance.time for glance in self.overview]
        last = times[-1] if times else 0.0
        length = dialogue.length if dialogue.length is not None else last
        self.marks = [*times, *([length] if length > last or not times else [])]
        digest = hashlib.blake2b(dialogue.question.encode(), digest_size=8)
        for frame in dialogue.overview:
            digest.update(frame.image.tobytes())
        self.fingerprint = digest.hexdigest()

    @property
    def hint(self) -> tuple[int, int] | None:
        """Places in ``marks`` of the last frame before the shape is seen and the first one after it."""
        seen = [place for place, glance in enumerate(self.overview) if glance.shown != NOTHING]
        return (max(0, seen[0] - 1), min(len(self.marks) - 1, seen[-1] + 1)) if seen else None

    @property
    def enough(self) -> bool:
        """Whether one look has shown what the question is about."""
        wanted = {self.shape, *COLOURS} if self.family == "when" else set(COLOURS)
        return any(glance.shown in wanted for reply in self.replies for glance in reply)

    @property
    def flashes(self) -> list[str]:
        """Colours in order of time; all frames in one gap of the overview show one flash."""
        found: dict[int, str] = {}
        for glance in sorted(glance for frames in (self.overview, *self.replies) for glance in frames):
            if glance.shown in COLOURS:
                found.setdefault(bisect_right(self.marks, glance.time), glance.shown)
        return list(found.values())

    @property
    def sights(self) -> list[str]:
        """What each reply shows: a colour, or nothing; of one look only what it found."""
        if self.family == "what":
            return self.flashes[:1]
        return [_colour(reply) for reply in self.replies]

    @property
    def last_sight(self) -> str:
        """What the last reply shows."""
        return _colour(self.replies[-1])

    def shown_span(self) -> tuple[float, float] | None:
        """From when to when the shape is shown, as near as the frames tell, None if it is not seen."""
        times = {glance.time: glance.shown for frames in (self.overview, *self.replies) for glance in frames}
        seen = sorted(time for time, shown in times.items() if shown != NOTHING)
        if not seen:
            return None
        before = max((time for time in times if time < seen[0]), default=seen[0])
        after = min((time for time in times if time > seen[-1]), default=self.marks[-1])
        # It came at some moment between two frames: their middle is off by the least.
        return (before + seen[0]) / 2, (seen[-1] + after) / 2


def _read(frames: Sequence[SeenFrame], shape: str) -> list[Glance]:
    """Frames without a label are left out: nobody can say when they were."""
    return [Glance(frame.time, read_frame(frame.image, shape)) for frame in frames if frame.time is not None]


def _colour(glances: Sequence[Glance]) -> str:
    return next((glance.shown for glance in glances if glance.shown in COLOURS), NOTHING)


def _answer(watched: _Watched) -> str | None:
    """What follows from the flashes that were seen, None if they do not suffice."""
    flashes = watched.flashes
    if watched.family == "how_many":
        return str(len(flashes)) if flashes else None
    if watched.family == "what":
        return flashes[0] if flashes else None
    if len(flashes) < 2:
        return None
    if watched.family == "order":
        told = ", ".join(flashes)
        return told if told in watched.options or not watched.options else None
    return flashes[1] if watched.family == "after" else flashes[-2]


def _offers(tools: Sequence[Mapping[str, Any]], name: str) -> bool:
    functions = (tool.get("function") for tool in tools)
    return any(isinstance(function, Mapping) and function.get("name") == name for function in functions)


def _number(seconds: float) -> int | float:
    """Whole seconds without a fraction, others as the labels write them."""
    text = format_seconds(seconds)
    return float(text) if "." in text else int(text)


def count_tokens(messages: Sequence[Mapping[str, Any]]) -> int:
    """Words and marks of a conversation, and a flat number for every image."""
    count = 0
    for message in messages:
        content = message.get("content") or ""
        for block in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            count += len(_TOKEN.findall(block["text"])) if block["type"] == "text" else _TOKENS_PER_IMAGE
    return count
