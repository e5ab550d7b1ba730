"""The rollouts of an evaluation on disk, a line of JSON each, written as they are done.

::

    with TraceFile(Path("traces/longvt_synthetic_tool"), run="evaluation", model="m", rank=0, order=ids) as trace:
        trace.add(rollout, effort, score)              # ... /rollouts-00000000.jsonl, from a thread

A line has the columns of a rollout, so that ``longvt rollouts view`` and :func:`~longvt_plugins.rollouts.read_rollouts`
read it, and ``effort``: turns, calls, tokens and waits. An evaluation that was cut short has left what was done. A run
that continues asks only what is missing: what an earlier one of the same name and model left stays; of a question that
is answered anew the last line counts. Rollouts of another run or model are taken out. In the end the lines are put into
the order of the questions.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from eval_ext.metering import Effort
from eval_ext.outcome import count_calls
from longvt_plugins.rollouts import Rollout, read_rollouts, rollout_line

Score = Callable[[Rollout, Effort], Mapping[str, float | None]]
"""Gives the rewards of a rollout."""


class TraceFile:
    """The file of one task and process.

    Args:
        folder: Of the task.
        run: Name of the run.
        model: Who answers.
        rank: Each process of a distributed evaluation has a file of its own.
        order: Ids of the rows that are asked about.

    Raises:
        ConfigError: There is a file in the way that does not hold rollouts.
    """

    def __init__(self, folder: Path, *, run: str, model: str, rank: int, order: Sequence[str]) -> None:
        self.path = folder / f"rollouts-00000000{f'-{rank}' if rank else ''}.jsonl"
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="longvt-traces")
        self._written: list[Future[None]] = []
        self._order = {row_id: place for place, row_id in enumerate(order)}
        folder.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            read_rollouts(self.path)  # raises where it holds something else
            self._rewrite([line for line in self._lines() if (line["run"], line["model"]) == (run, model)])
        self._file = self.path.open("a", encoding="utf-8")

    def __enter__(self) -> TraceFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add(self, rollout: Rollout, effort: Effort, score: Score) -> None:
        """Writes a rollout; returns at once.

        Args:
            rollout: Done, or failed.
            effort: What it took.
            score: Its rewards; asked in the thread that writes.
        """
        self._written.append(self._writer.submit(self._write, rollout, effort, score))

    def close(self) -> None:
        """Waits until all is written.

        Raises:
            OSError: Something could not be, such as on a full disk.
        """
        self._writer.shutdown()
        self._file.close()
        for written in self._written:
            written.result()
        last = {line["id"]: line for line in self._lines()}
        # Those of an earlier run come first.
        self._rewrite(sorted(last.values(), key=lambda line: self._order.get(line["row_id"], -1)))

    def _write(self, rollout: Rollout, effort: Effort, score: Score) -> None:
        scored = replace(rollout, rewards=dict(score(rollout, effort)))
        self._file.write(rollout_line(scored, effort={**count_calls(rollout), **asdict(effort)}) + "\n")
        self._file.flush()

    def _lines(self) -> list[dict[str, Any]]:
        """All that were written to their end."""
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def _rewrite(self, lines: Sequence[Mapping[str, Any]]) -> None:
        unfinished = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        unfinished.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        unfinished.replace(self.path)
