"""Runs the steps of a plan over one share of the videos, one step after another, each over many records at once.

::

    runner = Runner(plan, store, toolbox, reserve=Reserve(folder), budget=budget)
    result = runner.run()
    result.stopped, result.message        # None, "" when everything is done; "budget", "server", "disk", ...

Every unit is saved as soon as it is done. A step whose results are there already is passed over at the speed of the
disk. What concerns one record becomes its ``Failed``; what concerns all of them stops the run cleanly, with what is
in flight finished and saved and nothing recorded as a failure: a server that stays down, a refused key, a used-up
budget, a full disk, Ctrl-C. It decides nothing about configurations: see :mod:`datapipe.plan`.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import signal
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

from datapipe.calling import in_order, unit_seed, work_on
from datapipe.checking import check_json
from datapipe.context import Spent, StepContext
from datapipe.plan import PlannedStep
from datapipe.recipe import PATIENCE_SECONDS
from datapipe.records import Dropped, Failed, Kept, Outcome, Provenance
from datapipe.step import ContextStep, Step, VideoGroup, failure, record_type
from datapipe.store import SOURCE, Store, Unit, UnitResult
from datapipe.toolbox import Toolbox
from datapipe.trouble import Probe, Trouble
from datapipe.workdir import Reserve
from datapipe.writer import Gathered, StoreThread
from longvt_plugins.chat import CostBudget
from longvt_plugins.console import one_line
from longvt_plugins.errors import BudgetExceededError, ChatError, ChatUnavailableError, ConfigError

logger = logging.getLogger(__name__)

Stop = Literal["budget", "server", "refused", "disk", "interrupted", "bug"]

QUICK_SECONDS = 0.2
"""A step that only computes saves its records at least this often."""

QUICK_UNITS = 64
"""And after this many at the latest."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 30.0
"""Seconds, on top of the client's own waits."""


class View(Protocol):
    """Who is told how the run goes."""

    def step_started(self, name: str, units: int) -> None:
        """A step begins, with so many units, finished ones among them."""

    def unit_done(self, name: str, result: UnitResult | None, spent: float) -> None:
        """A unit has been saved, or was done before (None); so many US dollars are spent so far."""

    def step_ended(self, name: str) -> None:
        """A step is through, or stopped."""

    def note(self, text: str) -> None:
        """Something that the user should know now."""


class Silence:
    """Tells nobody."""

    def step_started(self, name: str, units: int) -> None:
        """Nothing."""

    def unit_done(self, name: str, result: UnitResult | None, spent: float) -> None:
        """Nothing."""

    def step_ended(self, name: str) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


@dataclass
class RunResult:
    """How a run ended.

    Attributes:
        stopped: Why it ended early; None when everything is done.
        message: The same in a line for the user.
        worked: Units that were worked on in this run, by step.
        spent: US dollars, of all runs of this share.
    """

    stopped: Stop | None = None
    message: str = ""
    worked: dict[str, int] = field(default_factory=dict)
    spent: float = 0.0


class _Left(Exception):
    """A unit is left for the next run."""


class Runner:
    """Runs a plan over one share.

    Args:
        plan: The steps.
        store: Their results.
        toolbox: Models, videos and prompts.
        reserve: Room on the disk.
        budget: What may be spent, and has been.
        view: Is told how it goes.
        patience: Seconds that a server may be down.
    """

    def __init__(
        self,
        plan: Sequence[PlannedStep],
        store: Store,
        toolbox: Toolbox,
        *,
        reserve: Reserve,
        budget: CostBudget,
        view: View | None = None,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._plan = plan
        self._store = store
        self._toolbox = toolbox
        self._budget = budget
        self._reserve = reserve
        self._view: View = view or Silence()
        self._patience = patience
        self._result = RunResult()
        self._stopping = asyncio.Event()
        self._bug: BaseException | None = None
        self._probe = Probe()

    def run(self) -> RunResult:
        """Runs until everything is done, or nothing more can be.

        Raises:
            Exception: A bug of a step, with the record that it met; what was done is saved.
            KeyboardInterrupt: At the second Ctrl-C; what was saved stays.
        """
        result = asyncio.run(self._run())
        if self._bug is not None:
            raise self._bug
        return result

    async def _run(self) -> RunResult:
        thread = StoreThread(self._store, self._reserve, self._budget)
        with self._signals():
            try:
                async with thread:
                    for planned in self._plan:
                        await self._run_step(planned, thread)
                        if self._stopping.is_set():
                            break
            except (OSError, sqlite3.Error) as error:
                told = f"{self._store.path}: {one_line(error)}" if isinstance(error, sqlite3.Error) else one_line(error)
                self._stop("disk", f"{told}: make room and run again; what was saved stays")
            finally:
                await self._toolbox.aclose()
        self._result.spent = self._budget.spent
        return self._result

    async def _run_step(self, planned: PlannedStep, thread: StoreThread) -> None:
        store, name = self._store, planned.name
        await thread.call(store.set_plan, name, planned.fingerprint, planned.parts)
        if vanished := await thread.call(store.forget_vanished, name, planned.upstream):
            self._view.note(f"{name}: {vanished} results removed, since what they were made of is gone")
        by_video = planned.upstream.per == "video"
        count = store.count_videos if by_video else store.count_records
        self._view.step_started(name, await thread.call(count, planned.upstream.step))
        self._result.worked[name] = 0
        is_quick = not isinstance(planned.step, ContextStep) and type(planned.step).work is Step.work and not by_video
        crowd = self._crowd(planned)
        units: asyncio.Queue[Unit | None] = asyncio.Queue(QUICK_UNITS * crowd if is_quick else crowd)
        saving = Gathered(lambda results: self._save(planned, results, thread))
        workers = [
            asyncio.create_task(
                self._work_quickly(planned, units, thread) if is_quick else self._work(planned, units, thread, saving)
            )
            for _ in range(crowd)
        ]
        try:
            async for unit in self._waiting(planned, thread):
                await units.put(unit)
                if not is_quick:
                    await asyncio.sleep(0)  # the first is asked about while the next is prepared
                if self._stopping.is_set():
                    break
            for _ in workers:
                await units.put(None)
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            try:
                await saving.drain()
            finally:
                self._view.step_ended(name)
        if planned.upstream.step == SOURCE:
            await thread.call(store.find_videos, name)

    def _crowd(self, planned: PlannedStep) -> int:
        """How many units are worked on at once."""
        if planned.model is None:
            return self._toolbox.workers
        # A few more than may ask at once: as soon as one has its reply, another asks.
        return self._toolbox.concurrency + max(2, self._toolbox.concurrency // 4)

    async def _waiting(self, planned: PlannedStep, thread: StoreThread) -> AsyncIterator[Unit]:
        """The units that are still to be done."""
        after = ""
        while page := await thread.call(self._store.units, planned.name, planned.upstream, after=after):
            after = page[-1].key
            for unit in page:
                if self._stopping.is_set():
                    return
                if unit.is_done(planned.fingerprint):
                    self._view.unit_done(planned.name, None, self._budget.spent)
                else:
                    yield unit

    async def _work(
        self, planned: PlannedStep, units: asyncio.Queue[Unit | None], thread: StoreThread, saving: Gathered
    ) -> None:
        while (unit := await units.get()) is not None:
            if self._stopping.is_set():
                continue  # the queue is emptied, so that whoever fills it can end
            try:
                with self._probe.unit():
                    result = await self._do(planned, unit, thread)
                await saving.add(result)
            except _Left:
                continue
            except Exception as error:  # noqa: BLE001 - a bug ends the run, once the others have been saved
                self._meet_bug(error, planned, unit.key)

    async def _work_quickly(self, planned: PlannedStep, units: asyncio.Queue[Unit | None], thread: StoreThread) -> None:
        """For steps that only compute: many small records are one turn of a thread."""
        ended = False
        while not ended:
            batch: list[Unit] = []
            while len(batch) < QUICK_UNITS and (not batch or not units.empty()):
                unit = await units.get()
                if unit is None:
                    ended = True
                    break
                batch.append(unit)
            while batch and not self._stopping.is_set():
                try:
                    results = await self._toolbox.in_thread(_process_some, planned, batch)
                except _BugAt as bug:
                    self._meet_bug(bug.error, planned, bug.key)
                    results = bug.results
                    batch = []
                batch = batch[len(results) :]
                await self._save(planned, results, thread)

    async def _save(self, planned: PlannedStep, results: Sequence[UnitResult], thread: StoreThread) -> None:
        try:
            await thread.save(results)
        except OSError as error:
            self._stop("disk", f"{one_line(error)}: make room and run again; what was saved stays")
            return
        if thread.full:
            self._stop("disk", f"{thread.full}: make room and run again; everything that was done is saved")
        self._result.worked[planned.name] += len(results)
        for result in results:
            self._view.unit_done(planned.name, result, self._budget.spent)

    async def _do(self, planned: PlannedStep, unit: Unit, thread: StoreThread) -> UnitResult:
        """A unit's outcomes; waits out a server that is down."""
        started = time.monotonic()
        known = unit.known
        attempt = known.attempt + 1 if known is not None and known.again else 0
        try:
            record, parents = await self._read(planned, unit, thread)
            beside = await self._beside(planned, unit, thread)
        except ConfigError as error:
            return _result(planned, unit, (failure(error),), attempt, Spent(), started, (), None)
        seed = unit_seed(self._toolbox.seed, planned.step.name, unit.key, attempt)
        trouble = Trouble(self._answered(planned))
        while True:
            with self._toolbox.temp_folder() as make_temp:
                context = StepContext(
                    toolbox=self._toolbox,
                    seed=seed,
                    make_temp=make_temp,
                    beside=beside,
                    model=planned.model,
                    prompt_folder=planned.step.prompt_folder,
                )
                try:
                    outcomes = await work_on(planned.step, record, context)
                except ChatError as error:
                    trouble.met(self._answered(planned))
                    is_its_own = trouble.is_its_own and isinstance(error, ChatUnavailableError)
                    asks = planned.model is not None and not is_its_own
                    if asks or isinstance(error, BudgetExceededError):
                        with self._probe.trouble():
                            await self._meet_trouble(planned, error, trouble)
                        continue
                    outcomes = (failure(error),)
            return _result(planned, unit, outcomes, attempt, context.spent, started, parents, seed)

    def _answered(self, planned: PlannedStep) -> int:
        """Requests that the server has answered so far, of all records."""
        if planned.model is None:
            return 0
        usage = planned.model.client.usage
        return usage.completions - usage.cached

    async def _meet_trouble(self, planned: PlannedStep, error: ChatError, trouble: Trouble) -> None:
        """Waits where that may help, and stops the run where it does not.

        Raises:
            _Left: The unit is left for the next run.
        """
        if isinstance(error, BudgetExceededError):
            self._stop("budget", f"{one_line(error)}: run again with a larger --max-cost to go on")
            raise _Left
        if not isinstance(error, ChatUnavailableError):
            self._stop("refused", f"{one_line(error)}: mend the model's settings and run again")
            raise _Left
        assert planned.model is not None
        down = planned.model.client.health.down_seconds
        if down > self._patience:
            self._stop(
                "server", f"{one_line(error)}; nothing was had from it for {down:.0f} s: run again when it is up"
            )
        if self._stopping.is_set():
            raise _Left
        if trouble.tries == 1:
            logger.warning("step %s: %s; tried again", planned.name, one_line(error))
        else:
            await self._probe.ask(planned.model)
        pause = min(_FIRST_PAUSE * 2 ** (trouble.tries - 1), _LONGEST_PAUSE)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), pause)
            raise _Left

    async def _read(self, planned: PlannedStep, unit: Unit, thread: StoreThread) -> tuple[Any, tuple[str, ...]]:
        """What the step is given, and the ids of the records that it is made of."""
        wanted, what = record_type(type(planned.step)), f"record for step {planned.step.name!r}"
        if unit.data is not None:
            return check_json(wanted, unit.data, what), (unit.key,)
        texts = await thread.call(self._store.records, planned.upstream.step, unit.video)
        records = sorted((check_json(wanted, text, what) for text in texts), key=in_order)
        parents = tuple(record.id for record in records if isinstance(getattr(record, "id", None), str))
        return VideoGroup(unit.video, tuple(records)), parents

    async def _beside(self, planned: PlannedStep, unit: Unit, thread: StoreThread) -> dict[str, tuple[Any, ...]]:
        found = {}
        for name, source in planned.upstream.beside.items():
            texts = await thread.call(self._store.records, source, unit.video)
            wanted, what = planned.step.beside[name], f"record of {source} for step {planned.step.name!r}"
            found[name] = tuple(sorted((check_json(wanted, text, what) for text in texts), key=in_order))
        return found

    def _meet_bug(self, error: BaseException, planned: PlannedStep, key: str) -> None:
        if self._bug is None:
            error.add_note(f"step {planned.name}, record {key}")
            self._bug = error
        self._stop("bug", f"step {planned.name} met a bug at record {key}")

    def _stop(self, why: Stop, message: str) -> None:
        if self._result.stopped is None:
            self._result.stopped, self._result.message = why, message
            logger.warning("stopping: %s", message)
            self._view.note(f"stopping: {message}")
        self._stopping.set()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """The first Ctrl-C, or a scheduler's SIGTERM, stops cleanly; the second Ctrl-C at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()

        def stop(number: signal.Signals) -> None:
            for caught in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(caught)
            self._stop("interrupted", f"{number.name}: what is under way is finished and saved; run again to go on")

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop, number)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


class _BugAt(Exception):
    """A bug met in a thread, with what was done before it."""

    def __init__(self, error: BaseException, key: str, results: list[UnitResult]) -> None:
        super().__init__(key)
        self.error = error
        self.key = key
        self.results = results


def _process_some(planned: PlannedStep, units: Sequence[Unit]) -> list[UnitResult]:
    """The results of the first units, as many as are done in a moment."""
    wanted, what = record_type(type(planned.step)), f"record for step {planned.step.name!r}"
    results: list[UnitResult] = []
    until = time.monotonic() + QUICK_SECONDS
    for unit in units:
        started = time.monotonic()
        if results and started > until:
            break
        known = unit.known
        attempt = known.attempt + 1 if known is not None and known.again else 0
        try:
            record = check_json(wanted, unit.data or "", what)
        except ConfigError as error:
            outcomes: Sequence[Outcome[Any]] = (failure(error),)
        else:
            try:
                outcomes = planned.step.attempt_all(record)
            except Exception as error:
                raise _BugAt(error, unit.key, results) from error
        results.append(_result(planned, unit, outcomes, attempt, Spent(), started, (unit.key,), None))
    return results


def _result(
    planned: PlannedStep,
    unit: Unit,
    outcomes: Sequence[Outcome[Any]],
    attempt: int,
    spent: Spent,
    started: float,
    parents: tuple[str, ...],
    seed: int | None,
) -> UnitResult:
    """Outcomes as they are saved: records are JSON, each with where it comes from."""
    from pydantic_core import to_jsonable_python

    seconds = time.monotonic() - started
    share = 1 / max(1, sum(isinstance(outcome, Kept) for outcome in outcomes))
    provenance = Provenance(
        step=planned.name,
        version=planned.step.version,
        fingerprint=planned.fingerprint,
        model=None if planned.model is None else planned.model.config.model,
        prompts=planned.prompts,
        seed=seed if planned.model is not None else None,
        cost=spent.cost * share,
        seconds=round(seconds * share, 6),
        requests=spent.replies * share,
        prompt_tokens=spent.prompt_tokens * share,
        completion_tokens=spent.completion_tokens * share,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        parents=parents,
    )
    written: list[Outcome[Any]] = []
    for outcome in outcomes:
        match outcome:
            case Kept(record):
                written.append(Kept(to_jsonable_python(_with_provenance(record, provenance))))
            case Dropped(reason, record):
                written.append(Dropped(reason, to_jsonable_python(record)))
            case Failed(error, record):
                written.append(Failed(error, to_jsonable_python(record)))
    return UnitResult(
        step=planned.name,
        unit=unit,
        fingerprint=planned.fingerprint,
        outcomes=written,
        attempt=attempt,
        cost=spent.cost,
        seconds=seconds,
        replies=spent.replies,
        prompt_tokens=spent.prompt_tokens,
        completion_tokens=spent.completion_tokens,
    )


def _with_provenance(record: Any, provenance: Provenance) -> Any:
    if dataclasses.is_dataclass(record) and not isinstance(record, type) and hasattr(record, "provenance"):
        return dataclasses.replace(record, provenance=provenance)
    return record
