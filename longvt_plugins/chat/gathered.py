"""Writes of many coroutines, handed to a thread together: each hand-over costs as much as a small request.

::

    writes = GatheredWrites(cache.put_all, seconds=0.01)
    await writes.add((key, value))          # returns when it is written, with whatever else came in that time

It belongs to one event loop. What fails fails for all that were written together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

T = TypeVar("T")


class GatheredWrites(Generic[T]):
    """Gathers items for a moment and writes them in a thread.

    Args:
        write: Called with all of them, in a thread; never twice at once.
        seconds: How long they are gathered.
        threads: Where; None: the loop's own.
    """

    def __init__(
        self, write: Callable[[Sequence[T]], object], *, seconds: float, threads: Executor | None = None
    ) -> None:
        self._write = write
        self._seconds = seconds
        self._threads = threads
        self._waiting: list[tuple[T, asyncio.Future[None]]] = []
        self._flushing: asyncio.Task[None] | None = None

    async def add(self, item: T) -> None:
        """Returns when the item is written.

        Raises:
            Exception: What the writing raised.
        """
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((item, done))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())
        await done

    async def drain(self) -> None:
        """Returns when nothing waits any more."""
        if self._flushing is not None:
            await asyncio.shield(self._flushing)

    async def _flush(self) -> None:
        while self._waiting:
            await asyncio.sleep(self._seconds)
            batch, self._waiting = self._waiting, []
            fault: Exception | None = None
            try:
                await asyncio.get_running_loop().run_in_executor(
                    self._threads, self._write, [item for item, _ in batch]
                )
            except Exception as error:  # noqa: BLE001 - whoever waits gets it; nobody waits for ever
                fault = error
            for _, done in batch:
                if done.done():
                    continue  # who waited for it was cancelled
                if fault is None:
                    done.set_result(None)
                else:
                    done.set_exception(fault)
