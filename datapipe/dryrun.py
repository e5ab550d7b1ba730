"""What a run would do and cost, reckoned without sending or writing anything.

::

    for line in forecast(plan, store, Amount(videos=100, seconds=360_000, records=100)):
        line.requests, line.cost, line.basis        # 3600, 4.1, "estimated"

A step that has results already is reckoned from what these took; the others from their own guesses
(:meth:`datapipe.Step.estimate`). A step that asks a model and makes no guess is said to be unknown, not free.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from datapipe.estimate import Amount, Estimate
from datapipe.plan import PlannedStep
from datapipe.source import Shard, source_entries
from datapipe.step import Step
from datapipe.store import SOURCE, Store
from longvt_plugins.errors import LongvtError

if TYPE_CHECKING:
    from datapipe.toolbox import Toolbox

Basis = Literal["measured", "estimated", "unknown", "free"]

SAMPLE = 20
"""Videos that are opened for the length of all."""


@dataclass(frozen=True)
class ForecastLine:
    """One step of a forecast.

    Attributes:
        name: Of the step.
        units: What it will be given, in all.
        done: How many of these are done.
        requests: Still to be sent.
        prompt_tokens: Still to be read.
        completion_tokens: Still to be written.
        cost: US dollars still to be spent; None where the model has no prices.
        basis: Where the numbers come from.
    """

    name: str
    units: float
    done: int
    requests: float
    prompt_tokens: float
    completion_tokens: float
    cost: float | None
    basis: Basis


def forecast(plan: Sequence[PlannedStep], store: Store | None, amount: Amount) -> list[ForecastLine]:
    """What is still to be done, step by step.

    Args:
        plan: The steps.
        store: What there is; None for a run that has not begun.
        amount: The input.
    """
    given: dict[str, Amount] = {SOURCE: amount}
    lines = []
    for planned in plan:
        before = given[planned.upstream.step]
        units = before.videos if planned.upstream.per == "video" else before.records
        counts = None if store is None else store.counts(planned.name)
        done = 0 if store is None else store.fingerprints(planned.name).get(planned.fingerprint, 0)
        if counts is not None and counts.units:
            scale = units / counts.units
            estimate = Estimate(
                counts.kept * scale,
                counts.replies * scale,
                counts.prompt_tokens * scale,
                counts.completion_tokens * scale,
            )
            basis: Basis = "measured" if planned.model is not None else "free"
        else:
            estimate = planned.step.estimate(before)
            basis = _basis(planned, estimate)
        given[planned.name] = Amount(before.videos, before.seconds, estimate.records)
        lines.append(_line(planned, units, done, estimate, basis))
    return lines


def _basis(planned: PlannedStep, estimate: Estimate) -> Basis:
    if planned.model is None:
        return "free"
    is_guess = type(planned.step).estimate is not Step.estimate or estimate.requests > 0
    return "estimated" if is_guess else "unknown"


def _line(planned: PlannedStep, units: float, done: int, estimate: Estimate, basis: Basis) -> ForecastLine:
    left = max(0.0, units - done) / units if units else 0.0
    read, written = estimate.prompt_tokens * left, estimate.completion_tokens * left
    cost: float | None = 0.0
    if planned.model is not None:
        config = planned.model.config
        cost = None if config.prices is None else config.price(round(read), round(written))
    return ForecastLine(planned.name, units, done, estimate.requests * left, read, written, cost, basis)


def measure_input(path: Path, shard: Shard, toolbox: Toolbox) -> tuple[Amount, int]:
    """How much there is to do; lengths are those of a few videos, spread over all.

    Args:
        path: The input.
        shard: Which share of it.
        toolbox: Opens videos.

    Returns:
        The amount, and how many videos were opened for it.

    Raises:
        ConfigError: The input cannot be read.
    """
    import json

    entries = videos = 0
    last = ""
    for _, video, _, _ in source_entries(path, shard):
        entries += 1
        videos += video != last
        last = video
    lengths = []
    step = max(1, entries // SAMPLE)
    for _, _, _, data in islice(source_entries(path, shard), 0, step * SAMPLE, step):
        seconds = _length(json.loads(data), toolbox)
        if seconds is not None:
            lengths.append(seconds)
    mean = sum(lengths) / len(lengths) if lengths else 0.0
    return Amount(videos, mean * videos, entries), len(lengths)


def _length(value: object, toolbox: Toolbox) -> float | None:
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("duration"), int | float):
        return float(value["duration"])
    if not isinstance(value.get("path"), str):
        return None
    try:
        with toolbox.videos.open(value["path"]) as video:
            return video.duration
    except (LongvtError, OSError):
        return None  # the run quarantines it and says why; a forecast passes it over


def totals(lines: Sequence[ForecastLine]) -> tuple[float, float, bool]:
    """Requests, US dollars, and whether something of both is unknown."""
    unknown = any(line.basis == "unknown" or line.cost is None for line in lines)
    return sum(line.requests for line in lines), sum(line.cost or 0.0 for line in lines), unknown


def rows(lines: Sequence[ForecastLine]) -> Iterator[tuple[str, ...]]:
    """A table's cells."""
    for line in lines:
        unknown = line.basis == "unknown"
        cost = "?" if unknown or line.cost is None else f"${line.cost:.2f}"
        yield (
            line.name,
            f"{line.units:,.0f}",
            f"{line.done:,}",
            "?" if unknown else f"{line.requests:,.0f}",
            "?" if unknown else f"{line.prompt_tokens:,.0f}",
            "?" if unknown else f"{line.completion_tokens:,.0f}",
            cost,
            line.basis,
        )
