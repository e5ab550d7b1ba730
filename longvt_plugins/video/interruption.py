"""Giving up a long read of a video, because nobody waits for its frames any more.

::

    given_up = threading.Event()
    with interruptible(given_up.is_set):      # in the thread that reads
        video.overview()                      # VideoInterruptedError soon after another thread sets the event

It is looked at between packets by the built-in reader, and between frames for any other. It counts for the thread (and
the task of asyncio) in which it was said, so that others who read the same video go on undisturbed. It ends nothing
that is stuck in one packet: that takes a reader in a process of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from longvt_plugins.errors import VideoInterruptedError

_stop: ContextVar[Callable[[], bool] | None] = ContextVar("longvt_stop", default=None)


@contextmanager
def interruptible(stop: Callable[[], bool]) -> Iterator[None]:
    """Lets reads inside the block end early.

    Args:
        stop: Whether they should; asked often, from the thread that reads.
    """
    token = _stop.set(stop)
    try:
        yield
    finally:
        _stop.reset(token)


def is_interruptible() -> bool:
    """Whether the reads of this thread may be given up."""
    return _stop.get() is not None


def check_interrupted(path: Path) -> None:
    """Ends a read that is given up.

    Args:
        path: What is read, for the error.

    Raises:
        VideoInterruptedError: It is.
    """
    stop = _stop.get()
    if stop is not None and stop():
        raise VideoInterruptedError(f"{path}: reading was given up")
