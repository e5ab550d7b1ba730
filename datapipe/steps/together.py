"""Several pieces of work on one record at once, each with an outcome of its own.

::

    outcomes = await together(pieces, lambda piece: self._caption(piece, context))

One piece that fails is a ``Failed`` with the piece it was about; the others are kept. What says something about the
server or the purse rather than about a piece ends all of them, and is left to the run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import TypeVar

from datapipe.context import is_everybodys
from datapipe.records import Outcome
from datapipe.step import failure
from longvt_plugins.errors import LongvtError

P = TypeVar("P")
T = TypeVar("T")


async def together(pieces: Iterable[P], work: Callable[[P], Awaitable[Outcome[T]]]) -> list[Outcome[T]]:
    """One outcome for each piece, in their order.

    Args:
        pieces: Records, or parts of one.
        work: Called for each, all at once: requests wait for their places in the client.

    Raises:
        ChatError: One that :func:`~datapipe.context.is_everybodys`.
    """

    async def attempt(piece: P) -> Outcome[T]:
        try:
            return await work(piece)
        except (LongvtError, OSError) as error:
            if is_everybodys(error):
                raise
            return replace(failure(error), record=piece)

    return list(await all_of(attempt(piece) for piece in pieces))


async def all_of(works: Iterable[Awaitable[T]]) -> list[T]:
    """All results in order; after one error the other works are not left running."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
