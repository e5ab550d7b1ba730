"""``select_rft``: the traces worth imitating: a right answer, found by looking at the right place.

The rules are those of :func:`longvt_plugins.selection.select_rft`; every trace that is dropped has its own reason.
"""

from __future__ import annotations

from dataclasses import dataclass

from datapipe.estimate import Amount, Estimate
from datapipe.records import Dropped, Kept, Outcome, Trace
from datapipe.step import Step, VideoGroup
from datapipe.steps.rows import ANSWER_REWARD, trace_rollout
from longvt_plugins import selection
from longvt_plugins.errors import ConfigError
from longvt_plugins.rollouts import Rollout


@dataclass(frozen=True)
class SelectRFT(Step[VideoGroup[Trace], Trace]):
    """Keeps right traces whose last window overlaps the reference.

    Args:
        min_iou: Least overlap (LongVT).
        per_question: Traces of one question, at most.
        min_score: Least score of the answer.
        well_formed: Drop traces that are not in the form that is trained.
        seed: Another seed picks others among the equally good.
    """

    name, version, per = "select_rft", 1, "video"
    min_iou: float = 0.3
    per_question: int = 1
    min_score: float = 1.0
    well_formed: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.per_question < 1:
            raise ConfigError(f"per_question must be at least 1, not {self.per_question}")

    def process(self, record: VideoGroup[Trace]) -> list[Outcome[Trace]]:
        """One outcome for each trace."""
        reasons: dict[str, str] = {}
        left: list[Rollout] = []
        for trace in record.records:
            rollout = trace_rollout(trace)
            if self.well_formed and trace.verdicts and trace.verdicts[-1].scores.get("format") == 0:
                reasons[trace.id] = "not in the form that is trained"
            elif reason := self._own_fault(rollout):
                reasons[trace.id] = reason
            else:
                left.append(rollout)
        # Those that are left are good, and can only be too many, or too much alike.
        different, alike = self._selected(left, len(left) + 1)
        chosen, many = self._selected(left, self.per_question)
        names = {one.id for one in different}, {one.id for one in chosen}
        for rollout in left:
            if rollout.id not in names[0]:
                reasons[rollout.id] = next(iter(alike))
            elif rollout.id not in names[1]:
                reasons[rollout.id] = next(name for name in many if name not in alike)
        return [Dropped(reasons[trace.id], trace) if trace.id in reasons else Kept(trace) for trace in record.records]

    def estimate(self, amount: Amount) -> Estimate:
        """Half of the traces."""
        return Estimate(records=amount.records / 2)

    def _own_fault(self, rollout: Rollout) -> str | None:
        kept, dropped = self._selected([rollout], 1)
        return None if kept else next(iter(dropped))

    def _selected(self, rollouts: list[Rollout], per_question: int) -> tuple[list[Rollout], dict[str, int]]:
        return selection.select_rft(
            rollouts,
            min_iou=self.min_iou,
            per_question=per_question,
            min_answer=self.min_score,
            answer_reward=ANSWER_REWARD,
            seed=self.seed,
        )
