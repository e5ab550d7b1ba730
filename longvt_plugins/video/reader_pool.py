"""A bounded number of open videos, each lent to one thread at a time.

::

    pool = ReaderPool(max_open=16)
    with pool.borrow("film", lambda: PyavReader(path)) as reader:    # opened, or one that stands open
        ...

A reader that is given back stays open until another one needs its place. One that raised is closed, since nobody
knows where it stands. It belongs to one process: after a fork the child calls :meth:`ReaderPool.forget`.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator

from longvt_plugins.video.video import VideoReader

_LEFT_BEHIND: list[VideoReader] = []
"""Readers of a parent process. They must not be freed in the child: that would run a decoder's clean-up on threads
and locks that exist only in the parent."""


class ReaderPool:
    """Open readers by key; several threads that read one video at once have a reader each.

    Args:
        max_open: Readers that are open at once. When all are lent, the next borrower waits.
    """

    def __init__(self, max_open: int) -> None:
        self._max_open = max_open
        self._changed = threading.Condition()
        self._idle: OrderedDict[int, tuple[Hashable, VideoReader]] = OrderedDict()
        self._lent: list[VideoReader] = []
        self._open = 0
        self._closed = False

    @property
    def open(self) -> int:
        """How many readers are open, lent ones included."""
        return self._open

    @contextlib.contextmanager
    def borrow(self, key: Hashable, make: Callable[[], VideoReader]) -> Iterator[VideoReader]:
        """Lends a reader for the time of a ``with`` statement.

        Args:
            key: Which video.
            make: Opens it where no reader of it stands idle.
        """
        reader = self._take(key, make)
        try:
            yield reader
        except BaseException:
            self._drop(reader)
            raise
        self._give_back(key, reader)

    def close(self) -> None:
        """Closes the readers that stand idle, and from now on each that is given back."""
        with self._changed:
            self._closed = True
            idle = [reader for _, reader in self._idle.values()]
            self._idle.clear()
            self._open -= len(idle)
        for reader in idle:
            reader.close()

    def forget(self) -> None:
        """In a child process: leaves all readers to the parent."""
        readers = [reader for _, reader in self._idle.values()] + self._lent
        for reader in readers:
            if (leave := getattr(reader, "leave_to_parent", None)) is not None:
                leave()
        _LEFT_BEHIND.extend(readers)
        # The lock may have been held by a thread that the child does not have.
        self._changed = threading.Condition()
        self._idle, self._lent, self._open = OrderedDict(), [], 0

    def _take(self, key: Hashable, make: Callable[[], VideoReader]) -> VideoReader:
        surplus: VideoReader | None = None
        with self._changed:
            while True:
                # The one used last: its decoder most likely stands where the next frames are.
                for number in reversed(self._idle):
                    if self._idle[number][0] == key:
                        reader = self._idle.pop(number)[1]
                        self._lent.append(reader)
                        return reader
                if self._open < self._max_open:
                    self._open += 1
                    break
                if self._idle:
                    _, (_, surplus) = self._idle.popitem(last=False)
                    break
                self._changed.wait()
        try:
            if surplus is not None:
                surplus.close()
            reader = make()
        except BaseException:
            self._free_place()
            raise
        with self._changed:
            self._lent.append(reader)
        return reader

    def _give_back(self, key: Hashable, reader: VideoReader) -> None:
        with self._changed:
            if not self._closed:
                self._remove(reader)
                self._idle[id(reader)] = (key, reader)
                self._changed.notify()
                return
        self._drop(reader)

    def _drop(self, reader: VideoReader) -> None:
        try:
            reader.close()
        finally:
            with self._changed:
                self._remove(reader)
            self._free_place()

    def _remove(self, reader: VideoReader) -> None:
        # By identity: a reader may compare equal to another. After a fork it is not there.
        self._lent = [other for other in self._lent if other is not reader]

    def _free_place(self) -> None:
        with self._changed:
            self._open -= 1
            self._changed.notify()
