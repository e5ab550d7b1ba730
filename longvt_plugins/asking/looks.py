"""What a model looked at, and what an answer took, for a terminal and a page alike.

::

    looked_at({"start_time": 38, "end_time": 52}, times)       # [(38, 52)]
    call_text(call, {"video_1.mp4": 96.0})                      # 'crop_video(start_time=38, end_time=52)'
    what_it_took(answer)                                        # 'answered in 2.1 s: 2 turns, 30 frames, ...'

Nothing here escapes anything: whoever shows a text makes it fit for where it is shown.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, TypeGuard

from longvt_plugins.types import Block, FunctionCall, ImageBlock
from longvt_plugins.video.sampling import format_seconds

if TYPE_CHECKING:
    from longvt_plugins.asking.asker import Answer

_LONGEST_NAME, _LONGEST_ARGUMENTS = 80, 300


def looked_at(arguments: Any, times: list[float]) -> list[tuple[float, float]]:
    """What a call looked at, as spans of seconds; moments are spans without a length.

    Args:
        arguments: Of the call, not checked.
        times: Of the frames that it returned.
    """
    given = arguments if isinstance(arguments, dict) else {}
    start, end = given.get("start_time"), given.get("end_time")
    if _is_second(start) and _is_second(end) and start <= end:
        return [(start, end)]
    return [(time, time) for time in times]


def call_text(call: FunctionCall, videos: Collection[str]) -> str:
    """A call as code; the video's name is left out where there is only one.

    Args:
        call: Not checked.
        videos: The names that the model knows.
    """
    name, arguments = call["function"]["name"], call["function"]["arguments"]
    if isinstance(arguments, dict):
        hidden = len(videos) == 1 and arguments.get("video_path") in list(videos)
        shown = ((key, value) for key, value in arguments.items() if not (hidden and key == "video_path"))
        given = ", ".join(f"{key}={_json(value)}" for key, value in shown)
    else:
        given = arguments
    if len(given) > _LONGEST_ARGUMENTS:
        given = f"{given[:_LONGEST_ARGUMENTS]}..."
    return f"{name[:_LONGEST_NAME]}({given})"


def why_not(answer: Answer) -> str | None:
    """Why there is no answer; None where there is one."""
    if answer.error is not None:
        return f"not answered: {answer.error}"
    if answer.text is not None:
        return None
    reasons = {
        "length": "the last turn was cut off (--max-tokens)",
        "max_turns": "no turn was left (--max-turns)",
        "no_answer": "the model stopped without one",
    }
    return f"no answer: {reasons.get(answer.rollout.stop_reason, answer.rollout.stop_reason)}"


def what_it_took(answer: Answer) -> str:
    """Time, turns, frames, tokens and money in one line."""
    ended = "answered" if answer.text is not None else "ended"
    took = [
        f"{ended} in {answer.seconds:.1f} s: {_count(answer.turns, 'turn')}",
        _count(answer.rollout.frames, "frame"),
        "tokens not reported"
        if answer.tokens is None
        else f"{answer.prompt_tokens or 0:,} tokens read, {answer.tokens:,} written",
    ]
    if answer.cost is not None:
        took.append(f"${answer.cost:.4f}")
    return ", ".join(took)


def images_of(content: list[Block] | str | None) -> list[ImageBlock]:
    """The image blocks of a message's content."""
    return [block for block in content if block["type"] == "image"] if isinstance(content, list) else []


def label_of(block: ImageBlock) -> str:
    """The second of a frame, as people read it; empty for an image that has none."""
    time = block.get("time")
    return f"{format_seconds(time)}s" if isinstance(time, int | float) else ""


def spread(items: list[Any], most: int) -> list[Any]:
    """At most so many, evenly spaced, the first among them."""
    if len(items) <= most:
        return items
    return [items[place * len(items) // most] for place in range(most)]


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _is_second(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _json(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return "?"
