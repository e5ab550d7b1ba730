"""The one thread that uses a store, and what gathers results for it.

::

    async with StoreThread(store, reserve, budget) as thread:
        page = await thread.call(store.units, "caption", upstream)
        await thread.save(results)              # returns when they are on disk

        gathered = Gathered(thread.save)
        await gathered.add(result)              # soon on disk; waits only while too many are on their way there
        await gathered.drain()                  # returns when all are

Results that are ready at about the same time cost one commit. What the shard has cost is written too, with requests
that have been on their way for a moment: if the process is killed, the server bills them all the same. When the disk
is full the reserve is given up, so that what is ready still finds room.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import ParamSpec, TypeVar

from datapipe.store import Store, UnitResult
from datapipe.workdir import Reserve
from longvt_plugins.chat import CostBudget

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger(__name__)

GATHER_SECONDS = 0.02
"""How long results are gathered before they are written. Every hand-over to another thread costs as much as a request;
a kill in this time costs no request, since replies are in the cache."""

MOST_GATHERED = 512
"""Results that wait to be written; who has another one waits then."""

LEDGER_SECONDS = 0.05
"""Requests that take longer are in the ledger before their reply comes. No reply of a model takes less."""


class StoreThread:
    """Uses a store from one thread; an async context manager.

    Args:
        store: Whose results are saved.
        reserve: Room that is given up when the disk is full.
        budget: What the shard has cost so far.

    Attributes:
        full: Why the disk took no more at some time; empty while all is well.
    """

    def __init__(self, store: Store, reserve: Reserve, budget: CostBudget) -> None:
        self._store = store
        self._reserve = reserve
        self._budget = budget
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="datapipe-store")
        self.full = ""

    async def __aenter__(self) -> StoreThread:
        self._ledger = asyncio.create_task(self._keep_ledger())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ledger.cancel()
        if not self.full:
            await self.call(self._store.set_meta, "spent", repr(self._budget.spent))
        self._thread.shutdown(wait=True)

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Calls a function of the store in its thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: function(*args, **kwargs))

    async def save(self, results: Sequence[UnitResult]) -> None:
        """Writes results, all of them or none.

        Raises:
            OSError: They cannot be written, not even without the reserve.
        """
        await self.call(self._write, results)

    async def _keep_ledger(self) -> None:
        written = self._budget.spent
        while True:
            await asyncio.sleep(LEDGER_SECONDS)
            if (committed := self._budget.committed) > written:
                try:
                    await self.call(self._store.set_meta, "spent", repr(committed))
                except sqlite3.Error as error:
                    # Of a full disk the next result will tell, and there is a reserve for it.
                    logger.warning("what is spent cannot be written: %s", error)
                    return
                written = committed

    def _write(self, results: Sequence[UnitResult]) -> None:
        spent = self._budget.committed
        try:
            self._store.save(results, spent=spent)
        except OSError as error:
            self.full = self.full or str(error)
            if not self._reserve.give_up():
                raise
            logger.warning("%s; the reserve is given up to save what is under way", error)
            self._store.save(results, spent=spent)


class Gathered:
    """Results on their way to the disk. It belongs to one event loop.

    Args:
        save: Called with all that were added within a moment; never twice at once.
    """

    def __init__(self, save: Callable[[Sequence[UnitResult]], Awaitable[None]]) -> None:
        self._save = save
        self._waiting: list[UnitResult] = []
        self._saving: asyncio.Task[None] | None = None

    async def add(self, result: UnitResult) -> None:
        """Takes a result; returns before it is saved.

        Raises:
            Exception: What saving an earlier one raised.
        """
        if self._saving is not None and (self._saving.done() or len(self._waiting) >= MOST_GATHERED):
            await self.drain()
        self._waiting.append(result)
        if self._saving is None:
            self._saving = asyncio.create_task(self._save_all())

    async def drain(self) -> None:
        """Returns when all are saved.

        Raises:
            Exception: What the saving raised.
        """
        saving = self._saving
        if saving is not None:
            await asyncio.shield(saving)
            if self._saving is saving:
                self._saving = None

    async def _save_all(self) -> None:
        while self._waiting:
            await asyncio.sleep(GATHER_SECONDS)
            some, self._waiting = self._waiting, []
            await self._save(some)
