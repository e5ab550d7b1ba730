"""The one thread that uses a store: whatever has queued up meanwhile is written in one transaction.

::

    async with StoreThread(store, reserve, budget) as thread:
        page = await thread.call(store.units, "caption", upstream)
        await thread.save(result)               # returns when the result is on disk

A result is lost only if it was not returned from :meth:`StoreThread.save`; results that are ready at about the same
time cost one commit. What the shard has cost is written too, with requests that have been on their way for a moment:
if the process is killed, the server bills them all the same. When the disk is full the reserve is given up, so that
what is ready still finds room.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import ParamSpec, TypeVar

from datapipe.store import Store, UnitResult
from datapipe.workdir import Reserve
from longvt_plugins.chat import CostBudget
from longvt_plugins.chat.gathered import GatheredWrites

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger(__name__)

GATHER_SECONDS = 0.02
"""How long results are gathered before they are written. Every hand-over to another thread costs as much as a request;
a kill in this time costs no request, since replies are in the cache."""

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
        self._writes: GatheredWrites[UnitResult] = GatheredWrites(
            self._write, seconds=GATHER_SECONDS, threads=self._thread
        )
        self.full = ""

    async def __aenter__(self) -> StoreThread:
        self._ledger = asyncio.create_task(self._keep_ledger())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ledger.cancel()
        await self._writes.drain()
        if not self.full:
            await self.call(self._store.set_meta, "spent", repr(self._budget.spent))
        self._thread.shutdown(wait=True)

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Calls a function of the store in its thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: function(*args, **kwargs))

    async def save(self, result: UnitResult) -> None:
        """Writes a result, together with all others that are ready.

        Raises:
            OSError: It cannot be written, not even without the reserve.
        """
        await self._writes.add(result)

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
