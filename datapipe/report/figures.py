"""The figures of a quality report, read from the results of a run.

::

    figures = collect(open_stores("runs/demo"), ["probe_video", "segment", ...])
    figures.steps[3].reasons                    # [("dropped", "question with a time", 12)]
    figures.questions["filter_vlm"].types       # {"attribute": 40, "count": 12}

Records are read one by one; what is remembered of them is bounded. Nothing is judged here anew: verdicts are those
that filters and judges have left in the records.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from datapipe.report.overlap import Benchmark, Repeats
from datapipe.steps.filter_text import BLIND
from datapipe.store import StepCounts, Store
from longvt_plugins import temporal
from longvt_plugins.rows import Row
from longvt_plugins.types import TimeSpan

BINS = 10

LENGTH_EDGES = (0.0, 5.0, 10.0, 20.0, 40.0, 60.0, 120.0, 300.0)
"""Seconds at which the classes of window lengths begin."""

MOST_REASONS = 20
"""Of a step, the most frequent first; the others are counted together."""

AGREES = 0.5
"""From this overlap on a window counts as that of the truth."""


@dataclass
class StepFigures:
    """What a step has come to.

    Attributes:
        name: In the recipe.
        counts: Units, outcomes, cost.
        reasons: ``("dropped", reason, count)`` and ``("failed", error, count)``.
    """

    name: str
    counts: StepCounts
    reasons: list[tuple[str, str, int]] = field(default_factory=list)


@dataclass
class Agreement:
    """How windows agree with a truth that is known.

    Attributes:
        windows: How many could be compared.
        mean_iou: Of them.
        share: That overlap by :data:`AGREES` at least.
        same_question: Pairs whose question is that of the truth.
        same_answer: Of those, pairs with its answer.
    """

    windows: int = 0
    mean_iou: float = 0.0
    share: float = 0.0
    same_question: int = 0
    same_answer: int = 0


@dataclass
class QuestionFigures:
    """The questions that a step has kept.

    Attributes:
        count: How many.
        videos: About how many videos.
        types: How many of each question type.
        kinds: Open, choice, grounding.
        lengths: Windows by length, in the classes of :data:`LENGTH_EDGES`.
        places: Windows by where their middle lies in the video, in tenths of it.
        share_of_video: Mean length of a window as a share of its video.
        same_in_video: Questions that are asked of their video more than once, wording apart.
        like_in_video: Questions nearly like another one of their video.
        same_elsewhere: Questions that are asked of another video too, word for word.
        blind: Pairs of which somebody was asked without the video.
        leaked: Those among all pairs of the filter that were answered without it.
        benchmarks: For each benchmark, how many questions share their wording with one of its questions.
        agreement: With the truth, where it is known.
    """

    count: int = 0
    videos: int = 0
    types: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, int] = field(default_factory=dict)
    lengths: list[int] = field(default_factory=lambda: [0] * len(LENGTH_EDGES))
    places: list[int] = field(default_factory=lambda: [0] * BINS)
    share_of_video: float = 0.0
    same_in_video: int = 0
    like_in_video: int = 0
    same_elsewhere: int = 0
    blind: int = 0
    leaked: int = 0
    benchmarks: dict[str, int] = field(default_factory=dict)
    agreement: Agreement | None = None


@dataclass
class TraceFigures:
    """The traces that a step has kept.

    Attributes:
        count: How many.
        scored: Of them, with a verdict on the answer.
        right: Of these, with a right answer.
        mean_iou: Of the last window with the reference; None where no trace has both.
        well_formed: In the form that is trained.
        calls: Traces by the number of windows they looked at.
        stop_reasons: Why they ended.
        told: Whose teacher was told the reference.
    """

    count: int = 0
    scored: int = 0
    right: int = 0
    mean_iou: float | None = None
    well_formed: int = 0
    calls: dict[str, int] = field(default_factory=dict)
    stop_reasons: dict[str, int] = field(default_factory=dict)
    told: int = 0


@dataclass
class Figures:
    """A quality report.

    Attributes:
        steps: In the order of the recipe.
        questions: By the name of the step that kept them.
        traces: Likewise.
    """

    steps: list[StepFigures] = field(default_factory=list)
    questions: dict[str, QuestionFigures] = field(default_factory=dict)
    traces: dict[str, TraceFigures] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def collect(
    stores: Sequence[Store],
    steps: Sequence[str],
    *,
    truth: Iterable[Row] = (),
    benchmarks: Mapping[str, Iterable[Row]] | None = None,
) -> Figures:
    """Reads the results of all shards.

    Args:
        stores: Of the run.
        steps: Names, in the order of the recipe.
        truth: Rows whose windows are known to be right, as those of a synthetic world; matched by video file.
        benchmarks: Rows of benchmarks by name, whose questions must not be trained on.
    """
    figures = Figures()
    known = _Truth(truth)
    tests = {name: Benchmark(row["question"] for row in rows) for name, rows in (benchmarks or {}).items()}
    for name in steps:
        figures.steps.append(_step(stores, name))
        questions, traces = _Questions(known, tests), _Traces()
        for store in stores:
            for record in store.kept(name):
                if not (isinstance(record, dict) and "question" in record):
                    break  # The records of a step are of one kind, and there may be a million captions.
                if "messages" in record:
                    traces.add(record)
                else:
                    questions.add(record)
            questions.count_leaks(store, name)
        if questions.figures.count or questions.figures.blind:
            figures.questions[name] = questions.done()
        if traces.figures.count:
            figures.traces[name] = traces.done()
    return figures


def _step(stores: Sequence[Store], name: str) -> StepFigures:
    total = StepCounts()
    reasons: Counter[tuple[str, str]] = Counter()
    for store in stores:
        total.add(store.counts(name))
        for kind in ("dropped", "failed"):
            for reason, count in store.reasons(name, kind):
                reasons[kind, reason] += count
    told = [(kind, reason, count) for (kind, reason), count in reasons.most_common(MOST_REASONS)]
    if rest := reasons.total() - sum(count for _, _, count in told):
        told.append(("other", "other reasons", rest))
    return StepFigures(name, total, told)


class _Truth:
    """Rows whose windows are right, found by their video file."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows: dict[Path, list[Row]] = defaultdict(list)
        for row in rows:
            if row["video_segment"] is not None:
                for file in row["videos"].values():
                    self._rows[Path(file)].append(row)

    def of(self, path: str) -> list[Row]:
        return self._rows.get(Path(path), [])


class _Questions:
    """Counts the questions of a step as they are read."""

    def __init__(self, truth: _Truth, benchmarks: Mapping[str, Benchmark]) -> None:
        self.figures = QuestionFigures(benchmarks=dict.fromkeys(benchmarks, 0))
        self._truth = truth
        self._benchmarks = benchmarks
        self._repeats = Repeats()
        self._types: Counter[str] = Counter()
        self._kinds: Counter[str] = Counter()
        self._shares = 0.0
        self._ious: list[float] = []
        self._asked = [0, 0]

    def add(self, record: Mapping[str, Any]) -> None:
        figures = self.figures
        figures.count += 1
        start, end, duration = (float(record[name]) for name in ("start", "end", "duration"))
        self._types[record.get("question_type") or "unknown"] += 1
        self._kinds[record.get("kind") or "open"] += 1
        figures.lengths[sum(end - start >= edge for edge in LENGTH_EDGES) - 1] += 1
        if duration > 0:
            figures.places[min(BINS - 1, int((start + end) / 2 / duration * BINS))] += 1
            self._shares += (end - start) / duration
        self._repeats.add(record["video"], record["question"])
        for name, benchmark in self._benchmarks.items():
            figures.benchmarks[name] += benchmark.has(record["question"])
        figures.blind += any(BLIND in verdict.get("scores", {}) for verdict in record.get("verdicts", ()))
        self._compare(record, TimeSpan(start, end))

    def count_leaks(self, store: Store, name: str) -> None:
        """Those that the filter dropped, since they were answered without the video."""
        for rejected in store.rejected(name, "dropped"):
            record = rejected["record"]
            verdicts = record.get("verdicts", ()) if isinstance(record, dict) else ()
            scores = verdicts[-1].get("scores", {}) if verdicts else {}
            if BLIND in scores:
                self.figures.blind += 1
                self.figures.leaked += scores[BLIND] > 0

    def done(self) -> QuestionFigures:
        figures = self.figures
        figures.types, figures.kinds = dict(self._types.most_common()), dict(self._kinds.most_common())
        figures.videos = self._repeats.videos
        figures.share_of_video = round(self._shares / figures.count, 4) if figures.count else 0.0
        figures.same_in_video, figures.like_in_video = self._repeats.same_in_video, self._repeats.like_in_video
        figures.same_elsewhere = self._repeats.same_elsewhere
        if self._ious:
            figures.agreement = Agreement(
                windows=len(self._ious),
                mean_iou=round(sum(self._ious) / len(self._ious), 4),
                share=round(sum(value >= AGREES for value in self._ious) / len(self._ious), 4),
                same_question=self._asked[0],
                same_answer=self._asked[1],
            )
        return figures

    def _compare(self, record: Mapping[str, Any], window: TimeSpan) -> None:
        rows = self._truth.of(record["path"])
        spans = [TimeSpan(*row["video_segment"]) for row in rows if row["video_segment"] is not None]
        if not spans:
            return
        # A video may hold several events; the question is about one of them.
        self._ious.append(max(temporal.iou(window, span) for span in spans))
        for row in rows:
            if row["question"] == record["question"]:
                self._asked[0] += 1
                self._asked[1] += row["answer"] == record["answer"]


class _Traces:
    """Counts the traces of a step as they are read."""

    def __init__(self) -> None:
        self.figures = TraceFigures()
        self._ious: list[float] = []
        self._calls: Counter[str] = Counter()
        self._stops: Counter[str] = Counter()

    def add(self, record: Mapping[str, Any]) -> None:
        figures = self.figures
        figures.count += 1
        if (score := record.get("score")) is not None:
            figures.scored += 1
            figures.right += score >= 1
        if (iou := record.get("iou")) is not None:
            self._ious.append(iou)
        verdicts = record.get("verdicts") or [{}]
        figures.well_formed += verdicts[-1].get("scores", {}).get("format") == 1
        figures.told += "told the reference" in verdicts[-1].get("reason", "")
        self._calls[str(len(record.get("windows", ())))] += 1
        self._stops[str(record.get("stop_reason"))] += 1

    def done(self) -> TraceFigures:
        figures = self.figures
        figures.mean_iou = round(sum(self._ious) / len(self._ious), 4) if self._ious else None
        figures.calls, figures.stop_reasons = dict(sorted(self._calls.items())), dict(self._stops.most_common())
        return figures
