"""The review page: frames, descriptions, question, window and verdicts, and buttons to decide.

::

    write_review_page(entries, "review.html", title="runs/demo, filter_vlm")

It needs no server. Decisions are kept in the browser until they are saved as a file, which the step ``apply_review``
reads. What a model wrote is data in it, never markup.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from datapipe.records import digest
from datapipe.review.entries import Entry
from longvt_plugins.errors import VideoError
from longvt_plugins.progress import Tell
from longvt_plugins.types import TimeSpan
from longvt_plugins.video.sampling import FrameSampling
from longvt_plugins.video.video import Video
from longvt_plugins.viewer.pictures import Pictures

_MARK = "/*REVIEW*/null"

FRAMES = 8
"""Of an entry."""

MARGIN = 0.25
"""Of the window's length, shown on both sides of it, so that one sees whether it begins and ends rightly."""

_PIXELS = 200 * 120


def write_review_page(
    entries: Sequence[Entry], path: str | Path, *, title: str, frames: int = FRAMES, tell: Tell | None = None
) -> dict[str, str]:
    """Writes the page.

    Args:
        entries: What is reviewed.
        path: A file, named ``.html``, which holds the pictures too; or a folder, where they lie beside it.
        title: Names run and step.
        frames: Of an entry.
        tell: Told of the progress.

    Returns:
        Why videos could not be shown, by file.
    """
    path = Path(path)
    alone = path.suffix == ".html"
    pictures = Pictures(None if alone else path)
    shown = [_shown(entry, pictures, frames) for entry in entries]
    pictures.write(tell)
    for one in shown:
        for frame in one["frames"]:
            frame["source"] = pictures.source(frame.pop("name"))
    # Decisions of another review of other records are not taken for those of this one.
    data = {"title": title, "key": digest([entry.id for entry in entries]), "entries": shown}
    file = path if alone else path / "index.html"
    file.parent.mkdir(parents=True, exist_ok=True)
    template = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    # No "<" is left in the data, so that nothing a model wrote can end the script.
    packed = json.dumps(data, ensure_ascii=True, allow_nan=False).replace("<", "\\u003c")
    file.write_text(template.replace(_MARK, packed), encoding="utf-8")
    return pictures.failures


def _shown(entry: Entry, pictures: Pictures, frames: int) -> dict[str, Any]:
    values = asdict(entry)
    for name in ("path", "events"):
        del values[name]
    return {
        **values,
        "file": Path(entry.path).name,
        "is_trace": entry.trace_answer is not None or bool(entry.windows),
        "frames": _frames(entry, pictures, frames),
    }


def _frames(entry: Entry, pictures: Pictures, count: int) -> list[dict[str, Any]]:
    margin = MARGIN * (entry.end - entry.start)
    span = TimeSpan(max(0.0, entry.start - margin), min(entry.duration, entry.end + margin))
    sampling = FrameSampling(min_frames=count, max_frames=count, min_pixels=1, max_pixels=_PIXELS, factor=2)
    try:
        with Video.open(entry.path) as video:
            width, height = sampling.size(video.width, video.height)
    except VideoError as error:
        pictures.failures[entry.path] = str(error)
        return []
    return [
        {
            "time": round(time, 2),
            "name": pictures.want(entry.path, {"time": time, "width": width, "height": height}),
            "inside": entry.start <= time < entry.end,
        }
        for time in sampling.times(span)
    ]
