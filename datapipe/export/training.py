"""Which records go into which file.

::

    sft        traces that agree with their reference             rollouts
    rft        traces that were selected                          rollouts
    rl         questions that were selected                       rows
    benchmark  questions about videos that nothing else is about  rows

A share of the videos, by a digest of their ids, is set aside for the benchmark: none of their questions or traces
goes into a file to train on. A trace that disagrees with its reference, or did not come to an answer, is left out of
``sft`` and counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datapipe.checking import check
from datapipe.compare import merged
from datapipe.export.parts import Written, write_parts
from datapipe.records import QAPair, Trace, stable_number
from datapipe.steps.rows import qa_row, trace_rollout
from datapipe.store import Store
from longvt_plugins.errors import ConfigError
from longvt_plugins.rollouts import write_rollouts
from longvt_plugins.rows import write_rows

STEPS = {"sft": "generate_imcott", "rft": "select_rft", "rl": "select_rl", "benchmark": "filter_vlm"}
"""The step whose records go into a file, where the user names none."""

ROWS_OF_A_FILE = 50_000
ROLLOUTS_OF_A_FILE = 2_000
"""A conversation of 512 frames' references takes some 50 KB in memory."""

_SHARES = 10_000


@dataclass(frozen=True)
class ExportOptions:
    """What is exported.

    Attributes:
        steps: File (``sft``, ``rft``, ``rl``, ``benchmark``) to the step whose records go into it.
        benchmark_share: Of the videos, set aside for the benchmark.
        all_traces: Traces that disagree with their reference go into ``sft`` too.

    Raises:
        ConfigError: An unknown file, or no share.
    """

    steps: dict[str, str] = field(default_factory=lambda: dict(STEPS))
    benchmark_share: float = 0.1
    all_traces: bool = False

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.steps) - set(STEPS)):
            raise ConfigError(f"no file {', '.join(unknown)}; there are: {', '.join(STEPS)}")
        if not 0 <= self.benchmark_share < 1:
            raise ConfigError(f"the benchmark's share must be from 0 to below 1, not {self.benchmark_share}")

    def is_set_aside(self, video: str) -> bool:
        """Whether a video is for the benchmark alone."""
        return stable_number("benchmark", video, below=_SHARES) < self.benchmark_share * _SHARES


@dataclass
class ExportedFile:
    """One file, or its parts.

    Attributes:
        name: ``sft``, ``rft``, ``rl`` or ``benchmark``.
        step: Whose records these are.
        written: Names of the files and how many records.
        left_out: Why records are not in it, and how many.
    """

    name: str
    step: str
    written: Written = field(default_factory=Written)
    left_out: dict[str, int] = field(default_factory=dict)

    def leave_out(self, reason: str) -> None:
        """Counts a record that is not in it."""
        self.left_out[reason] = self.left_out.get(reason, 0) + 1


def export_files(stores: Sequence[Store], folder: Path, options: ExportOptions) -> list[ExportedFile]:
    """Writes the files for which there are steps.

    Args:
        stores: All shares of a run.
        folder: Where to.
        options: What.

    Raises:
        ConfigError: Nothing to export, or a step whose records are of another kind.
    """
    known = {step for store in stores for step in store.steps()}
    done = []
    for name, step in options.steps.items():
        if step in known:
            file = ExportedFile(name, step)
            path = folder / f"{name}.parquet"
            if name in ("rl", "benchmark"):
                rows = map(qa_row, questions(stores, file, options))
                file.written = write_parts(rows, path, ROWS_OF_A_FILE, write_rows)
            else:
                rollouts = map(trace_rollout, traces(stores, file, options))
                file.written = write_parts(rollouts, path, ROLLOUTS_OF_A_FILE, write_rollouts)
            done.append(file)
    if not done:
        wanted = ", ".join(f"{name} from {step}" for name, step in options.steps.items())
        raise ConfigError(f"nothing to export ({wanted}); the run has the steps {', '.join(sorted(known)) or 'none'}")
    return done


def questions(stores: Sequence[Store], file: ExportedFile, options: ExportOptions) -> Iterator[QAPair]:
    """The questions of a file; others are counted in it."""
    for pair in _records(stores, file, QAPair):
        if options.is_set_aside(pair.video) != (file.name == "benchmark"):
            file.leave_out("about a video for training" if file.name == "benchmark" else "about a video set aside")
        else:
            yield pair


def traces(stores: Sequence[Store], file: ExportedFile, options: ExportOptions) -> Iterator[Trace]:
    """The traces of a file; others are counted in it."""
    for trace in _records(stores, file, Trace):
        if options.is_set_aside(trace.video):
            file.leave_out("about a video set aside")
        elif trace.stop_reason != "answered":
            file.leave_out("without an answer")
        elif file.name == "sft" and not options.all_traces and not all(verdict.accepted for verdict in trace.verdicts):
            file.leave_out("disagrees with its reference")
        else:
            yield trace


def _records(stores: Sequence[Store], file: ExportedFile, kind: type[Any]) -> Iterator[Any]:
    for key, record in merged(stores, file.step):
        try:
            yield check(kind, record, f"{file.name}: record {key} of step {file.step}")
        except ConfigError as error:
            raise ConfigError(f"{error}: {file.name} is made of {kind.__name__} records") from None
