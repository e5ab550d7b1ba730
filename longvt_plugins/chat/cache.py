"""Replies that need not be paid for twice: a file of SQLite that threads and processes may share.

::

    cache = ResponseCache("runs/cache", max_bytes=4_000_000_000)
    cache.put(key, {"message": ..., "stop_reason": "stop", ...})
    cache.get(key)          # the same, or None

The file is ``replies-v1.sqlite3`` in the folder, in write-ahead mode: a process that is killed in the middle of a
write leaves the reply out, never half in. The values are JSON, packed with zlib; nothing in it is ever executed,
unlike the pickles of general cache libraries. The folder belongs on a local disk, since write-ahead mode needs
memory that processes share. It keeps no failures; what is equal is decided by the keys of its caller.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
import zlib
from pathlib import Path
from typing import Any

from longvt_plugins.errors import ConfigError

FORMAT = 1
"""Version of the file and of the keys. Another one is another file."""

MAX_VALUE_BYTES = 16 << 20
"""The largest reply that is kept, unpacked."""

_PATIENCE_SECONDS = 30.0
_TOUCH_SECONDS = 3600
_KEEP_SHARE = 0.9
_LOOK_SHARE = 0.01
"""The size is looked at after so much of it was written, since that takes as long as the writing."""

_SHORT_BYTES = 16 << 10
_AT_ONCE_IN_A_ROW = 256

_PUT = "INSERT OR REPLACE INTO replies VALUES (?, ?, ?)"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS replies (
    key BLOB PRIMARY KEY,
    value BLOB NOT NULL,
    used INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS replies_by_use ON replies (used);
"""


class ResponseCache:
    """A bounded store of replies on disk.

    Args:
        folder: Created if need be.
        max_bytes: Size of the file; what was not used for longest goes when it is passed.

    Raises:
        ConfigError: The folder or the file cannot be used.
    """

    def __init__(self, folder: str | Path, max_bytes: int) -> None:
        self.path = Path(folder).expanduser() / f"replies-v{FORMAT}.sqlite3"
        self._max_bytes = max_bytes
        self._written = max_bytes  # since the size was looked at: the first write looks
        self._lock = threading.Lock()
        self._since_put = 0  # replies that were kept at once
        self._process = -1  # that opened both connections
        self._patient: sqlite3.Connection
        self._hasty: sqlite3.Connection
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connect()
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(
                f"cache_dir: {self.path} cannot be used: {error}. Choose another folder, or delete the file"
            ) from None

    def get(self, key: bytes) -> dict[str, Any] | None:
        """The reply that was kept under a key, or None.

        Raises:
            OSError: The file cannot be read just now.
        """
        with self._lock:
            try:
                connection = self._connect()
                found = connection.execute("SELECT value, used FROM replies WHERE key = ?", (key,)).fetchone()
                if found is None:
                    return None
                value = _unpack(found[0])
                now = int(time.time())
                if value is None:
                    connection.execute("DELETE FROM replies WHERE key = ?", (key,))
                elif now - found[1] > _TOUCH_SECONDS:
                    # Not at every hit: readers would wait for each other as writers do.
                    connection.execute("UPDATE replies SET used = ? WHERE key = ?", (now, key))
            except sqlite3.Error as error:
                raise OSError(f"{self.path}: {error}") from error
            return value

    def put(self, key: bytes, value: dict[str, Any]) -> None:
        """Keeps a reply. One that is too large is left out.

        Raises:
            OSError: The file cannot be written just now.
        """
        text = json.dumps(value).encode()
        if len(text) > MAX_VALUE_BYTES:
            return
        packed = _pack(text)
        with self._lock:
            try:
                connection = self._connect()
                connection.execute(_PUT, (key, packed, int(time.time())))
                self._since_put = 0
                self._written += len(packed)
                if self._written >= self._max_bytes * _LOOK_SHARE:
                    self._written = 0
                    self._shrink(connection)
            except sqlite3.Error as error:
                raise OSError(f"{self.path}: {error}") from error

    def put_at_once(self, key: bytes, value: dict[str, Any]) -> bool:
        """Keeps a short reply if that takes no waiting, for callers who would hold up others; else it is theirs to put.

        Returns:
            Whether it is kept. From time to time a reply is not, so that the file is tidied by who may wait.
        """
        text = json.dumps(value).encode()
        if len(text) > _SHORT_BYTES or self._since_put >= _AT_ONCE_IN_A_ROW or not self._lock.acquire(blocking=False):
            return False
        try:
            if not self._is_open():
                return False
            packed = _pack(text)
            self._hasty.execute(_PUT, (key, packed, int(time.time())))
            self._since_put += 1
            self._written += len(packed)
            return True
        except sqlite3.Error:
            return False  # locked by another process, or broken: who waits for the file is told
        finally:
            self._lock.release()

    def has_none(self, key: bytes) -> bool:
        """Whether there is surely no reply under a key; False where that is not known at once.

        It waits for nobody, so that it may be asked where waiting would hold up others.
        """
        if not self._lock.acquire(blocking=False):
            return False
        try:
            if not self._is_open():
                return False
            return self._hasty.execute("SELECT 1 FROM replies WHERE key = ?", (key,)).fetchone() is None
        except sqlite3.Error:
            return False
        finally:
            self._lock.release()

    def close(self) -> None:
        """Closes the file; it opens again when it is needed."""
        with self._lock:
            if self._is_open():
                self._hasty.close()
                self._patient.close()
            self._process = -1

    def _is_open(self) -> bool:
        # A connection must not be used, nor closed, in a process that inherited it.
        return self._process == os.getpid()

    def _connect(self) -> sqlite3.Connection:
        if not self._is_open():
            self._patient = _open(self.path, _PATIENCE_SECONDS)
            self._patient.execute("PRAGMA journal_mode = WAL")
            self._patient.executescript(_SCHEMA)
            self._hasty = _open(self.path, 0.0)
            # To move what was written to its place in the file takes as long as the disk does.
            self._hasty.execute("PRAGMA wal_autocheckpoint = 0")
            self._process = os.getpid()
        return self._patient

    def _shrink(self, connection: sqlite3.Connection) -> None:
        if self._used_bytes(connection) <= self._max_bytes:
            return
        count = connection.execute("SELECT count(*) FROM replies").fetchone()[0]
        # Whole tenths at a time, since every look at the size after that costs nothing.
        portion = max(1, int(count * (1 - _KEEP_SHARE)))
        while count and self._used_bytes(connection) > self._max_bytes * _KEEP_SHARE:
            connection.execute(
                "DELETE FROM replies WHERE key IN (SELECT key FROM replies ORDER BY used LIMIT ?)", (portion,)
            )
            count -= portion
            count = max(count, 0)

    @staticmethod
    def _used_bytes(connection: sqlite3.Connection) -> int:
        pages, free, size = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)


def _open(path: Path, patience: float) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=patience, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA synchronous = NORMAL")  # a power cut may lose the latest replies, no more
    return connection


def _pack(text: bytes) -> bytes:
    # To make room for the largest window takes zlib longer than to pack a short reply.
    packer = zlib.compressobj(1) if len(text) > _SHORT_BYTES else zlib.compressobj(1, zlib.DEFLATED, 12, 5)
    return packer.compress(text) + packer.flush()


def _unpack(packed: bytes) -> dict[str, Any] | None:
    """A value, or None where somebody else's bytes stand in its place."""
    try:
        reader = zlib.decompressobj()
        text = reader.decompress(packed, MAX_VALUE_BYTES + 1)
        value = json.loads(text) if reader.eof else None
    except (zlib.error, ValueError, TypeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
