"""From what was measured to the figures that the project claims, and the tables that show them.

A cost is the least over the repeats, since other work on the machine only ever adds to it. A figure of which one side
was not measured is None.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from video_peers.catalogue import EVERYTHING, Entry
from video_peers.task import FIRST, KEPT, OPENED

CROP_SECONDS = 60
"""The length of crop that the figures are taken from, or the longest that the film has room for."""

Measured = dict[str, dict[str, list[dict[str, Any]]]]
"""Job to name to one answer for each repeat."""


@dataclass(frozen=True)
class Target:
    """A figure, and what it should be.

    Attributes:
        key: In the JSON file.
        title: In the table.
        least: It should be at least this, if given.
        most: It should be at most this, if given.
    """

    key: str
    title: str
    least: float | None = None
    most: float | None = None

    def reached(self, value: float) -> bool:
        """Whether a value is good enough."""
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)


TARGETS = (
    Target("overview_x_qwen_decord", "overview: qwen-vl-utils on decord / ours", least=4),
    Target("overview_x_torchcodec", "overview: torchcodec, exact + resize / ours", least=1.5),
    Target("overview_memory_ratio", "overview's memory: ours / qwen-vl-utils on decord", most=0.1),
    Target("overview_over_floor", "overview: ours / decoding what is needed", most=1.15),
    Target("crop_x_in_process", "crop: LongVT's in process / ours kept open", least=8),
    Target("crop_x_mcp_per_call", "crop: LongVT's MCP server per call / ours kept open", least=20),
    Target("group16_over_one", "16 rollouts on one video / one rollout", most=1.3),
)


def summarise(measured: Measured) -> dict[str, Any]:
    """Costs by job and name, and the figures of :data:`TARGETS`."""
    overview = {name: _least(answers) for name, answers in measured.get("overview", {}).items() if answers}
    crops = {name: _crops(answers) for name, answers in measured.get("crops", {}).items() if answers}
    group = {name: _least(answers) for name, answers in measured.get("group", {}).items() if answers}
    length = crop_length(crops)
    ours_crop = _crop_cpu(crops, "ours_fast", length, KEPT)
    figures = {
        "overview_x_qwen_decord": _ratio(overview, "qwen_decord", "ours_fast"),
        "overview_x_torchcodec": _ratio(overview, "torchcodec", "ours_fast"),
        "overview_memory_ratio": _ratio(overview, "ours_fast", "qwen_decord", "memory_mb"),
        "overview_over_floor": _ratio(overview, "ours_fast", "floor"),
        "crop_x_in_process": _divide(_crop_cpu(crops, "longvt_in_process", length, OPENED), ours_crop),
        "crop_x_mcp_per_call": _divide(_crop_cpu(crops, "longvt_per_call", length, OPENED), ours_crop),
        "group16_over_one": _ratio(group, "sixteen", "one"),
    }
    more = {
        "overview_exact_x_qwen_decord": _ratio(overview, "qwen_decord", "ours_exact"),
        "overview_floor_x_qwen_decord": _ratio(overview, "qwen_decord", "floor"),
        "overview_exact_over_floor": _ratio(overview, "ours_exact", "floor"),
        "crop_x_in_process_no_images": _divide(_crop_cpu(crops, "qwen_decord", length, OPENED), ours_crop),
        "crop_x_mcp_session": _divide(_crop_cpu(crops, "longvt_session", length, KEPT), ours_crop),
        "crop_floor_x_in_process": _divide(
            _crop_cpu(crops, "longvt_in_process", length, OPENED), _crop_cpu(crops, "floor", length, KEPT)
        ),
        "crop_over_floor": _divide(ours_crop, _crop_cpu(crops, "floor", length, KEPT)),
        "group16_same_window_over_one": _ratio(group, "sixteen_same_window", "one"),
        "group16_anywhere_over_one": _ratio(group, "sixteen_anywhere", "one"),
    }
    return {**figures, **more, "crop_seconds": length, "overview": overview, "crops": crops, "group": group}


def crop_length(crops: dict[str, Any]) -> int | None:
    """The length of crop that the figures are taken from; None if none was measured."""
    lengths = {int(seconds) for found in crops.values() for seconds in found.get("lengths", {})}
    return CROP_SECONDS if CROP_SECONDS in lengths else max(lengths, default=None)


def _least(answers: list[dict[str, Any]]) -> dict[str, Any]:
    if (failed := _not_measured(answers)) is not None:
        return failed
    costs = {key: min(answer[key] for answer in answers) for key in ("cpu", "wall", "memory_mb")}
    repeats = {f"{key}_repeats": [round(answer[key], 4) for answer in answers] for key in costs}
    return {"status": "measured", **costs, **repeats, **_right([answers[-1]])}


def _crops(answers: list[dict[str, Any]]) -> dict[str, Any]:
    """By length and way: the mean over the windows, each at its least over the repeats."""
    if (failed := _not_measured(answers)) is not None:
        return failed
    lengths: dict[str, dict[str, Any]] = {}
    for seconds, ways in answers[-1]["crops"].items():
        lengths[seconds] = {}
        for way, windows in ways.items():
            each = [[answer["crops"][seconds][way][place] for answer in answers] for place in range(len(windows))]
            lengths[seconds][way] = {
                "cpu": statistics.mean(min(cost["cpu"] for cost in repeats) for repeats in each),
                "wall": statistics.mean(min(cost["wall"] for cost in repeats) for repeats in each),
                "memory_mb": max(min(cost["memory_mb"] for cost in repeats) for repeats in each),
                "windows": len(windows),
                **_right(windows),
            }
    return {"status": "measured", "lengths": lengths}


def _not_measured(answers: list[dict[str, Any]]) -> dict[str, Any] | None:
    return next((answer for answer in answers if answer["status"] != "measured"), None)


def _right(answers: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "frames": sum(answer["frames"] for answer in answers),
        "right": sum(answer["right"] for answer in answers),
        "size": answers[-1]["size"],
    }


def _ratio(found: dict[str, Any], above: str, below: str, key: str = "cpu") -> float | None:
    return _divide(found.get(above, {}).get(key), found.get(below, {}).get(key))


def _divide(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None


def _crop_cpu(crops: dict[str, Any], name: str, seconds: int | None, way: str) -> float | None:
    ways = crops.get(name, {}).get("lengths", {}).get(str(seconds), {})
    cpu: float | None = ways.get(way, {}).get("cpu")
    return cpu


def tables(summary: dict[str, Any]) -> Iterator[Table]:
    """What a person reads: overview, crops, group, and the figures beside what they should be."""
    if summary["overview"]:
        yield _overview_table(summary["overview"], summary["default_threads"])
    for seconds in sorted({int(key) for found in summary["crops"].values() for key in found.get("lengths", {})}):
        yield _crop_table(summary["crops"], seconds)
    if summary["group"]:
        yield _group_table(summary["group"])
    figures = Table("figure", "measured", "to reach", "", title="Figures")
    for target in TARGETS:
        value = summary[target.key]
        limit = f"at least {target.least:g}" if target.least is not None else f"at most {target.most:g}"
        if value is None:
            figures.add_row(target.title, "not measured", limit, "")
        else:
            figures.add_row(target.title, f"{value:.3g}", limit, "reached" if target.reached(value) else "missed")
    yield figures


def _overview_table(overview: dict[str, Any], default_threads: dict[str, Any]) -> Table:
    columns = ["", "CPU s", "x ours", "wall s", "memory MB", "right frames"]
    if default_threads:
        columns += ["own threads: CPU s", "wall s"]
    table = Table(*columns, title="Overview")
    ours = overview.get("ours_fast", {}).get("cpu")
    for entry in _rows(overview):
        found = overview[entry.name]
        if found["status"] != "measured":
            table.add_row(entry.title, found["status"])
            continue
        ratio = _divide(found["cpu"], ours)
        cells = [f"{found['cpu']:.2f}", f"{ratio:.2f}" if ratio is not None else "", f"{found['wall']:.2f}",
                 f"{found['memory_mb']:.0f}", _share(found)]  # fmt: skip
        if default_threads:
            threaded = default_threads.get(entry.name, {})
            cells += [f"{threaded[key]:.2f}" if key in threaded else "" for key in ("cpu", "wall")]
        table.add_row(entry.title, *cells)
    return table


def _crop_table(crops: dict[str, Any], seconds: int) -> Table:
    table = Table("", "opened: CPU ms", "kept open: CPU ms", "x ours kept open", "wall ms", "memory MB", "right frames",
                  title=f"Crop of {seconds} s")  # fmt: skip
    ours = _crop_cpu(crops, "ours_fast", seconds, KEPT)
    for entry in _rows(crops):
        found = crops[entry.name]
        if found["status"] != "measured":
            table.add_row(entry.title, found["status"])
            continue
        ways = found["lengths"].get(str(seconds), {})
        best = ways.get(KEPT) or ways.get(OPENED)
        if best is None:
            continue
        ratio = _divide(best["cpu"], ours)
        table.add_row(
            entry.title,
            _milliseconds(ways.get(OPENED)),
            _milliseconds(ways.get(KEPT)),
            f"{ratio:.2f}" if ratio is not None else "",
            f"{best['wall'] * 1000:.0f}",
            f"{best['memory_mb']:.0f}",
            _share(best),
        )
        if FIRST in ways:
            table.add_row(f"{entry.title}, file never seen", _milliseconds(ways[FIRST]))
    return table


def _group_table(group: dict[str, Any]) -> Table:
    table = Table("", "CPU s", "x one", "wall s", "memory MB", "right frames", title="Rollouts on one video")
    one = group.get("one", {}).get("cpu")
    for entry in _rows(group):
        found = group[entry.name]
        if found["status"] != "measured":
            table.add_row(entry.title, found["status"])
            continue
        ratio = _divide(found["cpu"], one)
        table.add_row(entry.title, f"{found['cpu']:.2f}", f"{ratio:.2f}" if ratio is not None else "",
                      f"{found['wall']:.2f}", f"{found['memory_mb']:.0f}", _share(found))  # fmt: skip
    return table


def _rows(found: dict[str, Any]) -> list[Entry]:
    return [entry for entry in EVERYTHING if entry.name in found]


def _milliseconds(cost: dict[str, Any] | None) -> str:
    return f"{cost['cpu'] * 1000:.0f}" if cost is not None else ""


def _share(found: dict[str, Any]) -> str:
    return f"{100 * found['right'] / found['frames']:.1f} %" if found["frames"] else ""
