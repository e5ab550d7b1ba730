"""One event loop in a thread of its own, for reward functions that are async while TRL's main thread waits.

>>> background = Background()
>>> background.run(asyncio.sleep(0, "done"))
'done'

Everything that must stay in the main thread does: collectives between processes, random states, checkpoints. A
notebook, whose own loop runs in the main thread, is no obstacle. The thread ends with the process.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Background:
    """The loop; its thread starts with the first :meth:`run`."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs to its end what is async, and gives its result or raises what it raised."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=self._loop.run_forever, name="longvt-rewards", daemon=True).start()
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # Ctrl-C in the main thread: nobody waits for the rest
            raise
