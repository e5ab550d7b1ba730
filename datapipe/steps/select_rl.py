"""``select_rl``: the questions that reinforcement learning can learn from, told by how several tries at them went.

All right or all wrong teaches nothing; so does a question that was tried too seldom. The rules are those of
:func:`longvt_plugins.selection.select_rl`, a question at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

from datapipe.estimate import Amount, Estimate
from datapipe.records import Dropped, Kept, Outcome, QAPair, Trace
from datapipe.step import Step, VideoGroup
from datapipe.steps.rows import ANSWER_REWARD, trace_rollout
from longvt_plugins import selection
from longvt_plugins.errors import ConfigError
from longvt_plugins.selection import DurationBand


@dataclass(frozen=True)
class SelectRL(Step[VideoGroup[Trace], QAPair]):
    """Keeps questions that are neither too easy nor too hard.

    Args:
        min_traces: A question with fewer scored traces is dropped.
        right: Answers of this score or more are right.
        wrong: Answers of this score or less are wrong.
        bands: Lengths of videos that are wanted, such as ``0:300``; empty for any length.
    """

    name, version, per = "select_rl", 1, "video"
    min_traces: int = 2
    right: float = 1.0
    wrong: float = 0.0
    bands: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if any(band.most is not None for band in self._bands()):
            raise ConfigError(
                "a step sees one video at a time, so its bands have no limit of questions: "
                "use START:END, and `longvt rollouts select-rl` for a limit over all videos"
            )

    def process(self, record: VideoGroup[Trace]) -> list[Outcome[QAPair]]:
        """One outcome for each question."""
        questions: dict[str, list[Trace]] = {}
        for trace in record.records:
            questions.setdefault(trace.qa, []).append(trace)
        return [self._outcome(traces) for traces in questions.values()]

    def estimate(self, amount: Amount) -> Estimate:
        """Half of the questions that have enough traces."""
        return Estimate(records=amount.records / max(1, self.min_traces) / 2)

    def _outcome(self, traces: list[Trace]) -> Outcome[QAPair]:
        rows, dropped = selection.select_rl(
            [trace_rollout(trace) for trace in traces],
            min_rollouts=self.min_traces,
            right=self.right,
            wrong=self.wrong,
            answer_reward=ANSWER_REWARD,
            bands=self._bands(),
            duration=lambda row: traces[0].duration,
        )
        pair = _question_of(traces[0])
        return Kept(pair) if rows else Dropped(next(iter(dropped)), pair)

    def _bands(self) -> list[DurationBand]:
        return [DurationBand.parse(band) for band in self.bands]


def _question_of(trace: Trace) -> QAPair:
    return QAPair.of(
        trace,
        start=trace.start,
        end=trace.end,
        question=trace.question,
        answer=trace.reference_answer,
        kind=trace.kind,
        options=trace.options,
        # The last verdict is about the trace.
        verdicts=tuple(verdict for verdict in trace.verdicts if verdict.by != "generate_imcott"),
    )
