"""``apply_review``: what people decided on the review page, or in an annotation tool, taken back into the pipeline.

::

    - {step: apply_review, from: filter_vlm, set: {decisions: decisions.jsonl, undecided: drop}}
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from datapipe.records import Dropped, Kept, Outcome, QAPair, Trace, Verdict
from datapipe.review.decisions import Decision, read_decisions
from datapipe.step import Step
from longvt_plugins.errors import ConfigError

REJECTED = "rejected in review"
UNDECIDED = "not reviewed"


@dataclass(frozen=True)
class ApplyReview(Step[QAPair | Trace, QAPair | Trace]):
    """Accepts, rejects and edits records as reviewers decided.

    Args:
        decisions: The file.
        undecided: What becomes of records that nobody decided on.
    """

    name, version = "apply_review", 1
    decisions: Path
    undecided: Literal["keep", "drop"] = "keep"

    def __post_init__(self) -> None:
        _ = self._decided  # A faulty file is told before anything is run.

    def process(self, record: QAPair | Trace) -> Outcome[QAPair | Trace]:
        """An edited question is a record of its own place, and says who edited it."""
        decision = self._decided.get(record.id)
        if decision is None:
            return Kept(record) if self.undecided == "keep" else Dropped(UNDECIDED)
        shown = record.reference_answer if isinstance(record, Trace) else record.answer
        if decision.seen_answer is not None and decision.seen_answer != shown:
            raise ConfigError(f"{self.decisions}: {record.id} has another answer by now: it is to be reviewed again")
        verdict = Verdict(
            by=self.name,
            accepted=decision.decision != "reject",
            reason=" ".join(filter(None, [decision.reviewer and f"{decision.reviewer}:", decision.note])),
        )
        judged = replace(record, verdicts=(*record.verdicts, verdict))
        if decision.decision == "reject":
            return Dropped(REJECTED, judged)
        return Kept(judged if decision.decision == "accept" else self._edited(judged, decision))

    def files(self) -> Iterable[Path]:
        """Other decisions make other results."""
        return (self.decisions,)

    @functools.cached_property
    def _decided(self) -> Mapping[str, Decision]:
        return read_decisions(self.decisions)

    def _edited(self, record: QAPair | Trace, decision: Decision) -> QAPair:
        if isinstance(record, Trace):
            raise ConfigError(f"{self.decisions}: {record.id} is a trace, which is accepted or rejected, never edited")
        start = record.start if decision.start is None else decision.start
        end = record.end if decision.end is None else decision.end
        question, answer = decision.question or record.question, decision.answer or record.answer
        if not 0 <= start < end <= record.duration + 1e-6:
            raise ConfigError(
                f"{self.decisions}: {record.id}: the window must satisfy 0 <= start < end <= {record.duration:g}, "
                f"not {start:g} and {end:g}"
            )
        return QAPair.of(
            record,
            start=start,
            end=end,
            question=question,
            answer=answer,
            kind=record.kind,
            options=record.options,
            question_type=record.question_type,
            events=record.events,
            verdicts=record.verdicts,
        )
