"""A program that answers the tasks of tool_tasks.py from what a model sees, with the tools that it is offered.

::

    user        0s <frame> ... video_1.mp4 lasts 96 s. Which shape does the small red sign have: ...?
    assistant   <think>..</think>  zoom_region(video_1.mp4, 12, [402, 131, 521, 250])
    tool        the region ...: <picture>
    assistant   <think>It is a disc.</think><answer>disc</answer>

Where the tool that a task needs is not offered it looks with ``crop_video`` as best it can, and guesses what it did not
see. Every other question it leaves to :class:`~longvt_plugins.synthetic.reader.OfflineReader`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from longvt_plugins.chat import Completion
from longvt_plugins.synthetic import tool_tasks
from longvt_plugins.synthetic.dialogue import Dialogue, SeenFrame, read_dialogue
from longvt_plugins.synthetic.reader import OfflineReader
from longvt_plugins.synthetic.render import shape_distances
from longvt_plugins.synthetic.sight import read_frame, read_sight
from longvt_plugins.synthetic.world import COLOURS, SHAPES
from longvt_plugins.types import Message, ToolCall

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

MIN_SIGN = 8
"""Pixels of a sign's shorter side from which its shape can be told."""

_LARGEST_SIGN = 0.12
"""Width of the region that is looked at for a sign, as a share of the frame: twice that of the largest one."""

_REDNESS = 50
_FINE = 24

Call = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class ToolReader:
    """A :class:`~longvt_plugins.chat.ChatBackend` without a model.

    Args:
        max_calls: It never looks closer more often.
        min_sign: Pixels from which it believes what it sees of a sign; 1 makes it read spots too.
        others: Answers what is no task of ours.
    """

    max_calls: int = 5
    min_sign: int = MIN_SIGN
    others: OfflineReader = field(default_factory=OfflineReader)

    async def complete(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]],
        *,
        max_tokens: int,
        temperature: float,
    ) -> Completion:
        """Writes the next turn; ``temperature`` changes nothing.

        Raises:
            ChatError: The messages cannot be read.
        """
        message = self.write(messages, tools)
        if message is None:
            return await self.others.complete(messages, tools, max_tokens=max_tokens, temperature=temperature)
        written = len(str(message["content"]).split())
        return Completion(message, "tool_calls" if "tool_calls" in message else "stop", 0, written)

    def write(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()) -> Message | None:
        """The next turn; None where the question is none of tool_tasks.py.

        Raises:
            ChatError: The messages cannot be read.
        """
        dialogue = read_dialogue(messages)
        watched = _Watched(dialogue, messages, tools, self.min_sign)
        for pattern, step in _STEPS.items():
            if asked := re.search(pattern, dialogue.question):
                thought, outcome = step(watched, asked)
                if isinstance(outcome, str):
                    return {"role": "assistant", "content": f"<think>{thought}</think><answer>{outcome}</answer>"}
                if outcome is None or watched.turn >= self.max_calls:
                    guess = watched.guess(asked)
                    return {"role": "assistant", "content": f"<think>I cannot tell.</think><answer>{guess}</answer>"}
                name, arguments = outcome
                call = ToolCall(f"call_{watched.turn + 1}", name, {"video_path": dialogue.video, **arguments})
                return {
                    "role": "assistant",
                    "content": f"<think>{thought}</think>",
                    "tool_calls": [call.to_message_entry()],
                }
        return None

    def knows(self, messages: Sequence[Mapping[str, Any]]) -> bool:
        """Whether a conversation shows what its question asks for, so that nothing is guessed."""
        message = self.write(messages, ())
        return message is not None and "I cannot tell." not in str(message["content"])


class _Watched:
    """A conversation, as far as the tasks need it."""

    def __init__(
        self,
        dialogue: Dialogue,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        min_sign: int,
    ) -> None:
        self.dialogue = dialogue
        self.turn = len(dialogue.replies)
        self.min_sign = min_sign
        self.seen: list[SeenFrame] = [frame for reply in dialogue.replies for frame in reply]
        self.told = "\n".join(_text(message) for message in messages if message.get("role") == "tool")
        self._offered = {tool["function"]["name"]: tool["function"]["parameters"]["properties"] for tool in tools}

    def offers(self, tool: str, parameter: str = "video_path") -> bool:
        """Whether a tool can be called, with this parameter."""
        return parameter in self._offered.get(tool, {})

    def guess(self, asked: re.Match[str]) -> str:
        """An answer of the right kind, always the same one to a question."""
        chance = random.Random(asked[0])
        if "shape" in asked[0]:
            return chance.choice(SHAPES)
        if "often" in asked[0]:
            return str(chance.randint(1, 5))
        count = len(_moments(asked)) if "colours" in asked[0] else 1
        return ", ".join(chance.choice(list(COLOURS)) for _ in range(count))


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "\n".join(block["text"] for block in content if block.get("type") == "text")


Outcome = tuple[str, str | Call | None]
"""A thought, and an answer, a call, or None where there is nothing more to do."""


def _sign(watched: _Watched, asked: re.Match[str]) -> Outcome:
    for frame in reversed(watched.seen):
        shape = read_sign(frame.image, watched.min_sign)
        if shape is not None:
            return f"It is a {shape}.", shape
    spots = [(spot, frame.time) for frame in watched.dialogue.overview if (spot := find_sign(frame.image)) is not None]
    known = [(spot, time) for spot, time in spots if time is not None]
    if not known:
        return "I see no sign.", None
    (left, top, right, bottom), time = known[len(known) // 2]
    if watched.offers("zoom_region"):
        if watched.turn:
            return "I still cannot tell.", None
        reach = _LARGEST_SIGN / 2
        across, down = (left + right) / 2, (top + bottom) / 2
        edges = (across - reach, down - reach, across + reach, down + reach)
        box = [round(1000 * min(max(edge, 0.0), 1.0)) for edge in edges]
        return "Something small and red is there.", ("zoom_region", {"timestamp": time, "bbox": box})
    if watched.offers("crop_video") and not watched.turn:
        return "Something small and red is there.", ("crop_video", {"start_time": time, "end_time": time + 1})
    return "It is too small.", None


def _colours(watched: _Watched, asked: re.Match[str]) -> Outcome:
    moments = _moments(asked)
    colours = []
    for moment in moments:
        # A label has tenths of a second, and a flash lasts half of one.
        near = [frame for frame in watched.seen if frame.time is not None and -0.1 < frame.time - moment < 0.4]
        colours.append(next((shown for frame in near if (shown := read_frame(frame.image)) in COLOURS), None))
    found = [colour for colour in colours if colour is not None]
    if len(found) == len(moments):
        return f"I see {', '.join(found)}.", ", ".join(found)
    missing = moments[colours.index(None)]
    if watched.offers("get_frames"):
        call = ("get_frames", {"timestamps": moments})
        return "I look at all these moments.", None if watched.turn else call
    if watched.offers("crop_video"):
        return "I look at one of these moments.", ("crop_video", {"start_time": missing, "end_time": missing + 1})
    return "I did not see them.", None


def _count(watched: _Watched, asked: re.Match[str]) -> Outcome:
    start, end = float(asked[1]), float(asked[2])
    fps = tool_tasks.FLASH_FPS
    ticks = round((end - start) * fps)
    lit: dict[int, bool] = {}
    for frame in watched.seen:
        # The nearest picture to a label's tenth of a second; pictures are an eighth apart.
        if frame.time is not None and 0 <= (tick := round((frame.time - start) * fps)) < ticks:
            lit[tick] = read_frame(frame.image) in COLOURS
    if len(lit) == ticks:
        times = sum(lit[tick] and not lit.get(tick - 1, False) for tick in range(ticks))
        return f"It flashes {times} times.", str(times)
    missing = start + min(set(range(ticks)) - set(lit)) / fps
    if watched.offers("crop_video", "fps"):
        arguments = {"start_time": missing, "end_time": min(end, missing + 1), "fps": fps}
        return "I look at every picture.", None if watched.turn > end - start else ("crop_video", arguments)
    if watched.offers("crop_video"):
        return "I look closer.", ("crop_video", {"start_time": missing, "end_time": end})
    return "I did not see them.", None


def _lit(watched: _Watched, asked: re.Match[str]) -> Outcome:
    colour = asked[1]
    for frame in watched.seen:
        sight = read_sight(frame.image)
        if sight.colour == colour and sight.shape is not None:
            return f"It is a {sight.shape}.", sight.shape
    if watched.offers("search_frames"):
        return f"I search for {colour}.", None if watched.turn else ("search_frames", {"query": f"a {colour} shape"})
    length = watched.dialogue.length
    if watched.offers("crop_video") and length is not None:
        # Nothing tells where: somewhere else each time.
        start = round(random.Random(f"{asked[0]} {watched.turn}").uniform(0, length - 8))
        return "I look somewhere.", ("crop_video", {"start_time": start, "end_time": start + 8})
    return "I did not see it.", None


def _line(tool: str, pattern: str) -> Any:
    def step(watched: _Watched, asked: re.Match[str]) -> Outcome:
        animal = asked[1]
        told = re.search(pattern.format(animal=re.escape(animal), colour="([a-z]+)"), watched.told)
        if told is not None:
            return f"It is {told[1]}.", told[1]
        if watched.offers(tool, "query") and not watched.turn:
            return f"I search for the {animal}.", (tool, {"query": animal})
        if watched.offers(tool, "start_time") and not watched.turn and watched.dialogue.length is not None:
            return "I listen to all of it.", (tool, {"start_time": 0, "end_time": watched.dialogue.length})
        return "I did not learn it.", None

    return step


def _moments(asked: re.Match[str]) -> list[float]:
    return [float(moment) for moment in re.findall(r"(\d+(?:\.\d+)?) s", asked[1])]


_STEPS = {
    "Which shape does the small red sign have": _sign,
    "Which colours does the square flash at (.{1,400}), in this order": _colours,
    r"How often does the square flash between ([\d.]{1,9}) s and ([\d.]{1,9}) s": _count,
    "Which colour does the speaker say the ([a-z]{1,20}) is": _line("search_subtitles", r"The {animal} is {colour}\."),
    "Which colour does the caption give the ([a-z]{1,20})": _line("search_captions", "A {colour} {animal} passes"),
    "Which shape lights up in ([a-z]{1,20})": _lit,
    # What is heard may lack a space.
    "Which colour does the voice give the ([a-z]{1,20})": _line("transcribe", "the ?{animal} ?is ?{colour}"),
}


def find_sign(image: Image.Image) -> tuple[float, float, float, float] | None:
    """Where a picture has something red.

    Returns:
        Left, top, right and bottom as shares of its sides; None where nothing is red.
    """
    mask = _red(image)
    if not mask.any():
        return None
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    height, width = mask.shape
    return columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height


def read_sign(image: Image.Image, min_pixels: int = MIN_SIGN) -> str | None:
    """The shape of what is red in a picture.

    Args:
        image: Any size.
        min_pixels: Of the shorter side of the red spot, below which nothing is said.

    Returns:
        The likeliest shape, or None.
    """
    found = find_sign(image)
    if found is None:
        return None
    width, height = image.size
    left, top, right, bottom = (
        round(edge * side) for edge, side in zip(found, (width, height, width, height), strict=True)
    )
    if min(right - left, bottom - top) < min_pixels:
        return None
    spot = _stretched(_red(image)[top:bottom, left:right])
    return max(SHAPES, key=lambda shape: _overlap(spot, _template(shape)))


def _red(image: Image.Image) -> NDArray[np.bool_]:
    pixels = np.asarray(image.convert("RGB"), dtype=np.int16)
    red: NDArray[np.bool_] = pixels[..., 0] - pixels[..., 1:].max(axis=2) > _REDNESS
    return red


def _template(shape: str) -> NDArray[np.bool_]:
    side = 4 * _FINE
    mask = shape_distances((side, side), (side, side))[shape] < 1
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return _stretched(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def _stretched(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    height, width = mask.shape
    places = np.arange(_FINE)
    stretched: NDArray[np.bool_] = mask[places * height // _FINE][:, places * width // _FINE]
    return stretched


def _overlap(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / (a | b).sum())
