"""The demo's training conversations: the offline reader answers the training rows, several processes at once.

::

    traces/tool-000.parquet ...       it looks once, mostly at too wide a window, and answers
    traces/non_think-000.parquet ...  the answer alone

Files hold 16 rows each and appear when they are complete, so that a stopped run goes on with the next one.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from longvt_plugins.conversation import Form
from longvt_plugins.plugins import create_plugin_manager
from longvt_plugins.rows import Row, read_rows
from longvt_plugins.synthetic.traces import make_traces
from longvt_plugins.synthetic.world import TINY

TOOLS = ("crop_video",)
_ROWS = 16


@dataclass(frozen=True)
class TracePlan:
    """How the conversations of one form are made.

    Args:
        form: With the tool, or the answer alone.
        traces_per_row: Tries of the teacher; the right ones are kept.
        sloppiness: Share of its windows that are too wide, on each side.
        seed: Another seed slips elsewhere.
    """

    form: Form
    traces_per_row: int
    sloppiness: float
    seed: int


def write_traces(rows_file: Path, folder: Path, plan: TracePlan, processes: int) -> Iterator[tuple[int, int]]:
    """Writes the files of one plan that are not there yet.

    Args:
        rows_file: Questions about synthetic videos.
        folder: Where to; the files are named by the plan's form.
        plan: How.
        processes: How many work at once.

    Yields:
        How many of how many files are done.
    """
    rows = read_rows(rows_file)
    jobs = [
        (folder / f"{plan.form}-{number:03d}.parquet", rows[begin : begin + _ROWS], plan)
        for number, begin in enumerate(range(0, len(rows), _ROWS))
    ]
    waiting = [job for job in jobs if not job[0].is_file()]
    done = len(jobs) - len(waiting)
    # Spawned, not forked: a parent that has started threads (torch has) cannot be forked safely.
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        for _ in pool.map(_write, waiting):
            done += 1
            yield done, len(jobs)


def _write(job: tuple[Path, list[Row], TracePlan]) -> int:
    from trl_ext.dataset import messages_to_sft, write_sft

    path, rows, plan = job
    plugins = create_plugin_manager(entry_points=False)
    schemas = [tool.schema for tool in plugins.select_tools(TOOLS)] if plan.form == "tool" else []
    # One look and kept guesses: an annotator in a hurry, so that RL has something to improve on.
    traces = make_traces(
        rows, plugins, form=plan.form, seed=plan.seed, sloppiness=plan.sloppiness,
        traces_per_row=plan.traces_per_row, max_calls=1, keep_guesses=True, overview=TINY.overview, crop=TINY.crop,
    )  # fmt: skip
    source = f"offline-reader/{plan.form}"
    return write_sft(
        path,
        ({"id": trace.id, "source": source, "messages": messages_to_sft(trace.messages, schemas)} for trace in traces),
    )
