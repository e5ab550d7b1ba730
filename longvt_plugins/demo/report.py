"""What the demo found: ``results.json``, ``report.html`` and the table in the terminal.

The page holds everything it shows: curves are drawn as SVG here, frames are embedded.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from longvt_plugins.demo.figures import Figures, read_curve, read_figures
from longvt_plugins.demo.stages import Stages
from longvt_plugins.rollouts import Rollout, read_rollouts
from longvt_plugins.synthetic.world import TINY
from longvt_plugins.types import text_of
from longvt_plugins.video.sampling import format_seconds
from longvt_plugins.video.video import Video

TITLES = {
    "base": "base model",
    "no_tool_sft": "SFT on answers, no tool",
    "sft": "SFT on tool traces",
    "rl": "RL with tools",
    "rft": "RFT on own good rollouts",
    "oracle_window": "RFT, given the right window",
}
"""What is in ``results.json`` and in the table, in order."""

_COLOURS = ("#3366cc", "#dc3912", "#109618", "#ff9900")
_CURVES = (
    ("SFT: loss", "sft", ("loss",)),
    ("RL: rewards", "rl", tuple(f"rewards/{name}_reward/mean" for name in ("answer", "format", "time_iou"))),
    ("RFT: loss", "rft", ("loss",)),
)


def write_report(stages: Stages, rollouts_shown: int = 4) -> dict[str, Figures]:
    """Writes ``results.json`` and ``report.html`` into the work folder.

    Args:
        stages: All of them done.
        rollouts_shown: Questions whose conversations are shown with their frames.

    Returns:
        The figures by stage.
    """
    folder = stages.folder
    figures = {name: read_figures(folder, name) for name in TITLES}
    (folder / "results.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
    charts = [(title, line_chart(read_curve(folder, stage, keys))) for title, stage, keys in _CURVES]
    shown = read_rollouts(folder / "evaluation" / "rft" / "longvt_synthetic_tool")[:rollouts_shown]
    page = (
        _environment()
        .get_template("report.html.jinja")
        .render(
            rows=table_rows(figures),
            charts=charts,
            rollouts=[_shown(rollout) for rollout in shown],
            settings=json.loads((folder / "settings.json").read_text(encoding="utf-8")),
        )
    )
    (folder / "report.html").write_text(page, encoding="utf-8")
    return figures


def table_rows(figures: Mapping[str, Figures]) -> list[list[str]]:
    """The table as text: stage, accuracy with its 95 % interval, format, IoU, calls, questions."""
    rows = []
    for name, title in TITLES.items():
        own = figures[name]
        interval = own["accuracy_ci"]
        accuracy = _number(own["accuracy"])
        if interval is not None:
            accuracy += f" [{_number(interval[0])}, {_number(interval[1])}]"
        others = [_number(own["format"]), _number(own["iou"]), _number(own["calls"])]
        rows.append([title, accuracy, *others, str(own["questions"])])
    return rows


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def line_chart(curves: Mapping[str, Sequence[tuple[int, float]]], width: int = 420, height: int = 180) -> str:
    """Curves as an SVG picture, steps to the right, values upwards from their least to their greatest.

    Args:
        curves: Points by name.
        width: Pixels.
        height: Pixels.
    """
    steps = [step for points in curves.values() for step, _ in points]
    values = [value for points in curves.values() for _, value in points]
    if not values:
        return ""
    low, high = min(0.0, *values), max(*values, 1e-9)
    last = max(*steps, 1)

    def place(step: int, value: float) -> str:
        x = 36 + (width - 46) * step / last
        y = height - 24 - (height - 40) * (value - low) / (high - low)
        return f"{x:.1f},{y:.1f}"

    parts = [f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img">']
    parts.append(f'<path d="M36,{16}V{height - 24}H{width - 10}" fill="none" stroke="#999"/>')
    for value in (low, high):
        parts.append(f'<text x="2" y="{place(0, value).split(",")[1]}" font-size="10">{value:.2f}</text>')
    parts.append(f'<text x="{width - 60}" y="{height - 8}" font-size="10">{last} steps</text>')
    for number, (name, points) in enumerate(curves.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        line = " ".join(place(step, value) for step, value in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        label = name.removeprefix("rewards/").removesuffix("/mean").removesuffix("_reward")
        parts.append(f'<text x="{44 + 90 * number}" y="12" font-size="11" fill="{colour}">{label}</text>')
    return "".join([*parts, "</svg>"])


def _shown(rollout: Rollout) -> dict[str, Any]:
    """A rollout for the page: its turns with text and embedded frames."""
    turns: list[dict[str, Any]] = []
    videos = {name: Video.open(path) for name, path in rollout.row["videos"].items()}
    try:
        for message in rollout.messages[1:]:
            content = message["content"]
            blocks = content if isinstance(content, list) else []
            frames = [_frame(videos, block["image"]) for block in blocks if block["type"] == "image"]
            calls = [json.dumps(call["function"]["arguments"]) for call in message.get("tool_calls", [])]
            text = text_of(message) if not frames else _last_text(blocks)
            turns.append({"role": message["role"], "text": text, "frames": frames, "calls": calls})
        duration = max(video.duration for video in videos.values())
    finally:
        for video in videos.values():
            video.close()
    spans = [("reference", rollout.reference)] if rollout.reference else []
    spans += [("crop", window) for window in rollout.windows]
    bars = [
        {"kind": kind, "left": 100 * span[0] / duration, "width": 100 * (min(span[1], duration) - span[0]) / duration}
        for kind, span in spans
    ]
    return {"question": rollout.row["question"], "answer": rollout.answer, "right": rollout.row["answer"],
            "turns": turns, "bars": bars}  # fmt: skip


def _last_text(blocks: Sequence[Any]) -> str:
    """What is said besides the seconds, which stand under the frames."""
    return " ".join(block["text"] for block in blocks if block["type"] == "text" and not _is_label(block["text"]))


def _is_label(text: str) -> bool:
    return text.endswith("s") and text[:-1].replace(".", "", 1).isdigit()


def _frame(videos: Mapping[str, Video], reference: Any) -> dict[str, Any]:
    time = float(reference["time"])
    picture = videos[reference["video"]].frames([time], TINY.overview)[0].image
    packed = io.BytesIO()
    picture.resize((84, 84)).save(packed, "JPEG", quality=85)
    data = base64.b64encode(packed.getvalue()).decode()
    return {"time": time, "label": format_seconds(time), "data": f"data:image/jpeg;base64,{data}"}


def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    # The page shows what a model wrote: everything is escaped but the charts, which are ours.
    return Environment(loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, autoescape=True)
