"""Writes rollouts as one web page: page through them, filter by reward, see what the model saw and when.

::

    write_page(read_rollouts("runs/rl/rollouts"), "page")                          # page/index.html and page/frames/
    write_page(rollouts, "trace.html")                                             # one file, pictures inside
    write_page(rollouts, "page", against=read_rollouts("runs/rl-2/rollouts"))      # two runs, side by side

The page needs no server and asks none. What a model wrote is data in it, never markup. It shows at most so
many rollouts and frames a turn, and says what it left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longvt_plugins.progress import Tell
from longvt_plugins.rollouts import Rollout
from longvt_plugins.transcript import parse_transcript
from longvt_plugins.video.sampling import format_seconds
from longvt_plugins.viewer.pictures import Pictures

_MARK = "/*ROLLOUTS*/null"


@dataclass(frozen=True)
class PageLimits:
    """How much a page holds.

    Args:
        rollouts: Of each run, evenly over the steps where there are more.
        frames: Of each message, evenly spaced where there are more.
        characters: Of each text.
    """

    rollouts: int = 500
    frames: int = 64
    characters: int = 20_000


@dataclass(frozen=True)
class Written:
    """What became of it.

    Attributes:
        page: The HTML file.
        rollouts: On the page.
        left_out: Beyond the limit.
        failures: Videos whose frames could not be shown, and why.
    """

    page: Path
    rollouts: int
    left_out: int
    failures: dict[str, str]


def write_page(
    rollouts: Sequence[Rollout],
    path: str | Path,
    *,
    against: Sequence[Rollout] = (),
    limits: PageLimits = PageLimits(),
    tell: Tell | None = None,
) -> Written:
    """Writes the page.

    Args:
        rollouts: What to show.
        path: A folder; or a file named ``.html``, which then holds the pictures too.
        against: Another run; rollouts of the same question stand beside each other.
        limits: How much the page holds.
        tell: Told of the progress.
    """
    path = Path(path)
    alone = path.suffix == ".html"
    pictures = Pictures(None if alone else path)
    runs = []
    left_out = 0
    for given in (rollouts, against):
        chosen = _spread(given, limits.rollouts)
        left_out += len(given) - len(chosen)
        runs.append([_shown(rollout, pictures, limits) for rollout in chosen])
    pictures.write(tell)
    for shown in (entry for run in runs for entry in run):
        _fill(shown, pictures)
    data = {"runs": runs if against else runs[:1], "left_out": left_out}
    file = path if alone else path / "index.html"
    file.parent.mkdir(parents=True, exist_ok=True)
    template = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    # No "<" is left in the data, so that nothing a model wrote can end the script.
    packed = json.dumps(data, ensure_ascii=True, allow_nan=False).replace("<", "\\u003c")
    file.write_text(template.replace(_MARK, packed), encoding="utf-8")
    return Written(file, sum(map(len, runs)), left_out, pictures.failures)


def _spread(items: Sequence[Any], most: int) -> list[Any]:
    """At most so many, evenly spaced, the first among them."""
    if len(items) <= most:
        return list(items)
    return [items[place * len(items) // most] for place in range(most)]


def _shown(rollout: Rollout, pictures: Pictures, limits: PageLimits) -> dict[str, Any]:
    videos = rollout.row["videos"]
    return {
        "id": rollout.id,
        "run": rollout.run,
        "step": rollout.step,
        "row": rollout.row_id,
        "kind": rollout.row["kind"],
        "files": list(videos.values()),
        "question": rollout.row["question"],
        "options": rollout.row["options"],
        "right": rollout.row["answer"],
        "answer": rollout.answer,
        "reference": rollout.reference,
        "windows": rollout.windows,
        "iou": rollout.last_iou,
        "format": parse_transcript(rollout.messages).format_ok,
        "rewards": rollout.rewards,
        "tokens": rollout.tokens,
        "frames": rollout.frames,
        "seconds": round(rollout.seconds, 3),
        "stop": rollout.stop_reason,
        "error": rollout.error,
        "model": rollout.model,
        "turns": [_turn(message, videos, pictures, limits) for message in rollout.messages],
    }


def _turn(
    message: Mapping[str, Any], videos: Mapping[str, str], pictures: Pictures, limits: PageLimits
) -> dict[str, Any]:
    content = message.get("content") or ""
    blocks: list[Any] = content if isinstance(content, list) else [{"type": "text", "text": content}]
    images = [block["image"] for block in blocks if block["type"] == "image"]
    frames = [
        {"time": image["time"], "width": image["width"], "height": image["height"], "video": image["video"],
         "name": pictures.want(videos[image["video"]], image) if _can_show(image, videos) else None}
        for image in _spread(images, limits.frames)
    ]  # fmt: skip
    labels = {f"{format_seconds(image['time'])}s" for image in images if image["time"] is not None}
    texts = [block["text"] for block in blocks if block["type"] == "text" and block["text"] not in labels]
    text = "\n".join(texts)
    return {
        "role": message["role"],
        "text": text[: limits.characters],
        "cut": max(0, len(text) - limits.characters),
        "calls": [call["function"] for call in message.get("tool_calls") or ()],
        "frames": frames,
        "left_out": len(images) - len(frames),
    }


def _can_show(image: Mapping[str, Any], videos: Mapping[str, str]) -> bool:
    return image["video"] in videos and image["time"] is not None


def _fill(shown: dict[str, Any], pictures: Pictures) -> None:
    """Puts the pictures' sources in, and how far the time line reaches."""
    ends = [end for _, end in (*shown["windows"], *([shown["reference"]] if shown["reference"] else []))]
    ends += [pictures.durations.get(video, 0.0) for video in shown.pop("files")]
    for turn in shown["turns"]:
        for frame in turn["frames"]:
            name = frame.pop("name")
            frame["source"] = pictures.source(name) if name is not None else None
            if frame["time"] is not None:
                ends.append(frame["time"])
    shown["length"] = max(ends, default=0.0)
