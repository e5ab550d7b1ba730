"""What one shard of a run has done: a file of SQLite, from which a killed run goes on.

::

    store = Store("runs/demo/shard-00000-of-00001/store.sqlite3")
    for unit in store.units("caption", Upstream("segment", per="record"), after=""): ...
    store.save([UnitResult(step="caption", unit=segment.id, fingerprint=..., outcomes=[Kept({...})], ...)])

A *unit* is what a step is given at once: a record, or all records of a video. Its outcomes, their records and what
they cost are written in one transaction, together with the removal of what an earlier configuration had made of the
same unit: after a kill at any moment a unit has all of its outcomes or none, and never two sets of them.

Why SQLite, and not a line appended to a file: half a line, a record found by its video, a result that is replaced and
a million finished units that are not held in memory all come with it. It is used by one process at a time (the
runner's lock), from one thread; others may read meanwhile. The journal is a write-ahead log, which wants a local
disk; ``journal="delete"`` is for folders on a network.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from datapipe.records import Outcome, digest
from datapipe.saving import json_text, remove_units, save_units
from longvt_plugins.errors import ConfigError

FORMAT = 1
"""Of the file. Another one is refused, not guessed at."""

PAGE = 500
"""Units that are read at once."""

SOURCE = ""
"""The name under which the input is kept, beside the names of steps."""

Journal = Literal["wal", "delete"]

_PATIENCE_SECONDS = 30.0
_LARGEST_LOG = 64 << 20

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS plans (
    fingerprint TEXT NOT NULL, step TEXT NOT NULL, parts TEXT NOT NULL, PRIMARY KEY (step, fingerprint)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS videos (video TEXT PRIMARY KEY, path TEXT NOT NULL, subtitles_path TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS units (
    step TEXT NOT NULL, unit TEXT NOT NULL, video TEXT NOT NULL, fingerprint TEXT NOT NULL, input TEXT NOT NULL,
    attempt INTEGER NOT NULL, again INTEGER NOT NULL,
    kept INTEGER NOT NULL, dropped INTEGER NOT NULL, failed INTEGER NOT NULL,
    cost REAL NOT NULL, seconds REAL NOT NULL, replies INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, made REAL NOT NULL,
    PRIMARY KEY (step, unit)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS records (
    step TEXT NOT NULL, id TEXT NOT NULL, unit TEXT NOT NULL, video TEXT NOT NULL, digest TEXT NOT NULL,
    data TEXT NOT NULL, PRIMARY KEY (step, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS records_by_video ON records (step, video);
CREATE INDEX IF NOT EXISTS records_by_unit ON records (step, unit);
CREATE TABLE IF NOT EXISTS rejects (
    step TEXT NOT NULL, unit TEXT NOT NULL, place INTEGER NOT NULL, kind TEXT NOT NULL, reason TEXT NOT NULL,
    data TEXT, PRIMARY KEY (step, unit, place)
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Upstream:
    """Where the units of a step come from.

    Attributes:
        step: Name of the step whose records they are made of; :data:`SOURCE` for the input.
        per: Whether a unit is a record or a video.
        beside: Names of the steps whose records of the same video are looked at besides, by the step's own names.
    """

    step: str
    per: Literal["record", "video"] = "record"
    beside: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Unit:
    """What a step is given at once, and what is known of it.

    Attributes:
        key: Id of the record, or of the video.
        video: Id of the video.
        input: Digest of everything that it is made of.
        data: JSON of the record, with its file as it lies today; None for a video, whose records are read when their
            turn comes.
        known: What was made of it, if anything.
    """

    key: str
    video: str
    input: str
    data: str | None = None
    known: KnownUnit | None = None

    def is_done(self, fingerprint: str) -> bool:
        """Whether it needs nothing more, by a step of this fingerprint."""
        known = self.known
        return known is not None and not known.again and (known.fingerprint, known.input) == (fingerprint, self.input)


@dataclass(frozen=True)
class KnownUnit:
    """What was made of a unit.

    Attributes:
        fingerprint: Of the step that made it.
        input: Digest of what it was made of.
        attempt: How often it was tried again.
        again: It is to be tried again.
        failed: How many of its outcomes are failures.
    """

    fingerprint: str
    input: str
    attempt: int
    again: bool
    failed: int


@dataclass(frozen=True)
class UnitResult:
    """What a step made of a unit, ready to be saved.

    Attributes:
        step: Name of the step.
        unit: The unit.
        fingerprint: Of the step.
        outcomes: With JSON for records.
        attempt: How often it was tried before.
        cost: US dollars that its replies were worth.
        seconds: That it took.
        replies: How many.
        prompt_tokens: Read.
        completion_tokens: Written.
    """

    step: str
    unit: Unit
    fingerprint: str
    outcomes: Sequence[Outcome[Any]]
    attempt: int = 0
    cost: float = 0.0
    seconds: float = 0.0
    replies: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass
class StepCounts:
    """What a step has come to.

    Attributes:
        units: Finished ones.
        kept: Records.
        dropped: Outcomes.
        failed: Outcomes.
        cost: US dollars that the replies were worth.
        seconds: Of all units, added up; they overlap.
        replies: How many.
        prompt_tokens: Read.
        completion_tokens: Written.
    """

    units: int = 0
    kept: int = 0
    dropped: int = 0
    failed: int = 0
    cost: float = 0.0
    seconds: float = 0.0
    replies: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def add(self, other: StepCounts) -> None:
        """Adds those of another shard."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


class Store:
    """The results of one shard.

    Args:
        path: The file, made if need be.
        journal: ``"wal"`` on a local disk, ``"delete"`` on a network.
        read_only: For commands that look while a run goes on.

    Raises:
        ConfigError: The file cannot be used, or is of another format.
    """

    def __init__(self, path: str | Path, *, journal: Journal = "wal", read_only: bool = False) -> None:
        self.path = Path(path)
        try:
            if read_only:
                if not self.path.is_file():
                    raise ConfigError(f"no results at {self.path}")
                self._db = sqlite3.connect(
                    f"{self.path.absolute().as_uri()}?mode=ro", uri=True, timeout=_PATIENCE_SECONDS
                )
            else:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._db = sqlite3.connect(
                    self.path, timeout=_PATIENCE_SECONDS, isolation_level=None, check_same_thread=False
                )
                self._db.execute(f"PRAGMA journal_mode = {journal}")
                # A process that is killed loses nothing; a power cut may lose the latest results, no more.
                self._db.execute("PRAGMA synchronous = NORMAL")
                # The log of a large input is given back to the disk once it has been worked in.
                self._db.execute(f"PRAGMA journal_size_limit = {_LARGEST_LOG}")
                self._db.executescript(_SCHEMA)
            found = self.meta("format")
            if found is None and not read_only:
                self.set_meta("format", str(FORMAT))
            elif found != str(FORMAT):
                raise ConfigError(
                    f"{self.path} has format {found}, this version reads {FORMAT}: use another work folder"
                )
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"{self.path} cannot be used: {error}") from None

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    def meta(self, name: str) -> str | None:
        """A note about the whole shard, or None."""
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def set_meta(self, name: str, value: str) -> None:
        """Writes a note about the whole shard."""
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def set_plan(self, step: str, fingerprint: str, parts: Mapping[str, Any]) -> None:
        """Keeps what a fingerprint stands for, so that a later change can be told."""
        self._db.execute("INSERT OR REPLACE INTO plans VALUES (?, ?, ?)", (fingerprint, step, json.dumps(parts)))

    def plan(self, step: str, fingerprint: str) -> dict[str, Any]:
        """What a fingerprint stood for; empty if nobody kept it."""
        row = self._db.execute(
            "SELECT parts FROM plans WHERE step = ? AND fingerprint = ?", (step, fingerprint)
        ).fetchone()
        return {} if row is None else dict(json.loads(row[0]))

    def fingerprints(self, step: str) -> dict[str, int]:
        """The configurations with which the results of a step were made, and how many units by each."""
        rows = self._db.execute("SELECT fingerprint, count(*) FROM units WHERE step = ? GROUP BY 1", (step,))
        return {fingerprint: count for fingerprint, count in rows}

    def replace_source(self, records: Iterable[tuple[str, str, str, str]], name: str = SOURCE) -> int:
        """Takes a new list of inputs; what was made of inputs that are still there stays.

        Args:
            records: Key, video, digest and JSON of each.
            name: Of the input, where there are several.

        Returns:
            How many keys came twice; the first of them counts.
        """
        twice = 0
        with self._transaction():
            self._db.execute("DELETE FROM records WHERE step = ?", (name,))
            for key, video, content, data in records:
                done = self._db.execute(
                    "INSERT OR IGNORE INTO records VALUES (?, ?, ?, ?, ?, ?)", (name, key, "", video, content, data)
                )
                twice += 1 - done.rowcount
        return twice

    def find_videos(self, step: str) -> None:
        """Notes where videos lie today, from the inputs of a step that reads them."""
        self._db.execute(
            "INSERT OR REPLACE INTO videos SELECT made.video, json_extract(input.data, '$.path'),"
            " json_extract(input.data, '$.subtitles_path')"
            " FROM records AS made JOIN records AS input ON input.step = ? AND input.id = made.unit"
            " WHERE made.step = ? AND json_extract(input.data, '$.path') IS NOT NULL",
            (SOURCE, step),
        )

    def units(self, step: str, upstream: Upstream, *, after: str = "", limit: int = PAGE) -> list[Unit]:
        """The next units of a step in the order of their keys, finished ones among them.

        Args:
            step: Its name.
            upstream: Where its units come from.
            after: The last key of the page before.
            limit: How many.
        """
        if upstream.per == "record":
            rows = self._db.execute(
                "SELECT id, video, digest, data, path, subtitles_path FROM records LEFT JOIN videos USING (video)"
                " WHERE step = ? AND id > ? ORDER BY id LIMIT ?",
                (upstream.step, after, limit),
            ).fetchall()
            found = [
                Unit(
                    key,
                    video,
                    self._input([content], video, upstream.beside),
                    data if path is None else _with_path(data, path, subtitles),
                )
                for key, video, content, data, path, subtitles in rows
            ]
        else:
            videos = self._db.execute(
                "SELECT DISTINCT video FROM records WHERE step = ? AND video > ? ORDER BY video LIMIT ?",
                (upstream.step, after, limit),
            ).fetchall()
            found = [
                Unit(video, video, self._input(self._digests(upstream.step, video), video, upstream.beside))
                for (video,) in videos
            ]
        return [self._with_known(step, unit) for unit in found]

    def records(self, step: str, video: str) -> list[str]:
        """JSON of all records that a step made of a video, with its file as it lies today."""
        rows = self._db.execute(
            "SELECT data, path, subtitles_path FROM records LEFT JOIN videos USING (video)"
            " WHERE step = ? AND video = ? ORDER BY id",
            (step, video),
        )
        return [data if path is None else _with_path(data, path, subtitles) for data, path, subtitles in rows]

    def save(self, results: Sequence[UnitResult], *, spent: float | None = None) -> None:
        """Writes the outcomes of units, all of them or, where the disk is full, none.

        Args:
            results: Of units of any steps.
            spent: US dollars that the whole shard has cost so far.

        Raises:
            OSError: They cannot be written; nothing was changed.
        """
        try:
            with self._transaction():
                save_units(self._db, results)
                if spent is not None:
                    self.set_meta("spent", repr(spent))
        except sqlite3.Error as error:
            raise OSError(f"{self.path} cannot be written: {error}") from error

    def forget_vanished(self, step: str, upstream: Upstream) -> int:
        """Removes what was made of units that are no longer there.

        Returns:
            How many units went.
        """
        column = "id" if upstream.per == "record" else "video"
        with self._transaction():
            gone = self._db.execute(
                f"SELECT unit FROM units WHERE step = ? AND unit NOT IN (SELECT {column} FROM records WHERE step = ?)",
                (step, upstream.step),
            ).fetchall()
            remove_units(self._db, step, [unit for (unit,) in gone])
        return len(gone)

    def mark_again(self, step: str, *, unit: str | None = None) -> int:
        """Marks units with a failure to be tried again by the next run.

        Args:
            step: Its name.
            unit: Only this one.

        Returns:
            How many.
        """
        one = "" if unit is None else "AND unit = ?"
        done = self._db.execute(
            f"UPDATE units SET again = 1 WHERE step = ? AND failed > 0 {one}", (step, *([] if unit is None else [unit]))
        )
        return done.rowcount

    def steps(self) -> list[str]:
        """Names of the steps that have results."""
        return [step for (step,) in self._db.execute("SELECT DISTINCT step FROM units ORDER BY step")]

    def counts(self, step: str) -> StepCounts:
        """What a step has come to."""
        row = self._db.execute(
            "SELECT count(*), total(kept), total(dropped), total(failed), total(cost), total(seconds), total(replies),"
            " total(prompt_tokens), total(completion_tokens) FROM units WHERE step = ?",
            (step,),
        ).fetchone()
        units, kept, dropped, failed, cost, seconds, replies, read, written = row
        return StepCounts(
            units, int(kept), int(dropped), int(failed), cost, seconds, int(replies), int(read), int(written)
        )

    def count_records(self, step: str) -> int:
        """How many records a step has kept; of :data:`SOURCE`, how many inputs there are."""
        return int(self._db.execute("SELECT count(*) FROM records WHERE step = ?", (step,)).fetchone()[0])

    def count_videos(self, step: str) -> int:
        """Of how many videos a step has kept records."""
        return int(self._db.execute("SELECT count(DISTINCT video) FROM records WHERE step = ?", (step,)).fetchone()[0])

    def reasons(self, step: str, kind: Literal["dropped", "failed"]) -> list[tuple[str, int]]:
        """Why a step dropped or failed, and how often, the most frequent reason first."""
        rows = self._db.execute(
            "SELECT reason, count(*) FROM rejects WHERE step = ? AND kind = ? GROUP BY reason ORDER BY 2 DESC, 1",
            (step, kind),
        )
        return [(reason, count) for reason, count in rows]

    def kept(self, step: str) -> Iterator[dict[str, Any]]:
        """The records of a step in the order of their ids, with their files as they lie today."""
        after = ""
        while rows := self._db.execute(
            "SELECT records.id, data, videos.path, videos.subtitles_path FROM records LEFT JOIN videos USING (video)"
            " WHERE step = ? AND records.id > ? ORDER BY records.id LIMIT ?",
            (step, after, PAGE),
        ).fetchall():
            after = rows[-1][0]
            for _, data, path, subtitles in rows:
                yield json.loads(data if path is None else _with_path(data, path, subtitles))

    def rejected(self, step: str, kind: Literal["dropped", "failed"]) -> Iterator[dict[str, Any]]:
        """What a step dropped or failed on: ``unit``, ``reason``, and the ``record`` where the step named one."""
        after = ("", -1)
        while rows := self._db.execute(
            "SELECT unit, place, reason, data FROM rejects WHERE step = ? AND kind = ? AND (unit, place) > (?, ?)"
            " ORDER BY unit, place LIMIT ?",
            (step, kind, *after, PAGE),
        ).fetchall():
            after = (rows[-1][0], rows[-1][1])
            for unit, _, reason, data in rows:
                yield {"unit": unit, "reason": reason, "record": None if data is None else json.loads(data)}

    def record(self, step: str, key: str) -> Any:
        """One record of a step, or None."""
        row = self._db.execute("SELECT data FROM records WHERE step = ? AND id = ?", (step, key)).fetchone()
        return None if row is None else json.loads(row[0])

    def _digests(self, step: str, video: str) -> list[str]:
        rows = self._db.execute("SELECT digest FROM records WHERE step = ? AND video = ? ORDER BY id", (step, video))
        return [content for (content,) in rows]

    def _input(self, contents: Sequence[str], video: str, beside: Mapping[str, str]) -> str:
        if len(contents) == 1 and not beside:
            return contents[0]
        return digest([list(contents), {name: self._digests(step, video) for name, step in beside.items()}])

    def _with_known(self, step: str, unit: Unit) -> Unit:
        row = self._db.execute(
            "SELECT fingerprint, input, attempt, again, failed FROM units WHERE step = ? AND unit = ?",
            (step, unit.key),
        ).fetchone()
        if row is None:
            return unit
        fingerprint, made_of, attempt, again, failed = row
        known = KnownUnit(fingerprint, made_of, attempt, bool(again), failed)
        return Unit(unit.key, unit.video, unit.input, unit.data, known)

    def _transaction(self) -> _Transaction:
        return _Transaction(self._db)


class _Transaction:
    """All or nothing, also where the commit itself fails because the disk is full."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._db.execute("COMMIT")
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")


def _with_path(text: str, path: str, subtitles_path: str | None) -> str:
    record = json.loads(text)
    if isinstance(record, dict):
        for name, place in (("path", path), ("subtitles_path", subtitles_path)):
            if name in record:
                record[name] = place
    return json_text(record)
