"""How the outcomes of units are written into a shard's file: many units with few statements.

::

    with transaction:
        save_units(db, results)                   # in place of whatever was made of the same units before
        remove_units(db, "caption", ["s1", "s2"])

After every statement a thread waits until it may run Python again, so a statement for each record would take longer
than the requests that the records came from. Of two records with one id that of the smaller unit stays, whichever was
done first; where that happens, units are written one by one. It opens no file and ends no transaction.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any

from datapipe.records import Dropped, Failed, Kept, content_digest

if TYPE_CHECKING:
    import sqlite3

    from datapipe.store import UnitResult

MOST_VALUES = 999
"""What SQLite takes in one statement wherever it runs."""

_SAME_ID = "another record has the same id"

_Record = tuple[str, str, str, str, str, str]
_Reject = tuple[str, str, int, str, str, str | None]


def save_units(db: sqlite3.Connection, results: Sequence[UnitResult]) -> None:
    """Writes outcomes in place of those that the same units had.

    Args:
        db: In a transaction.
        results: Of units of any steps.
    """
    for step, group in groupby(results, key=lambda result: result.step):
        some = list(group)
        keys = [result.unit.key for result in some]
        remove_records(db, step, keys)
        records = {result.unit.key: _records(result) for result in some}
        ids = [record[1] for made in records.values() for record in made]
        if len(set(keys)) == len(keys) and _are_new(db, step, ids):
            _write(db, "INSERT INTO records", chain.from_iterable(records.values()))
            _write(db, "INSERT INTO rejects", chain.from_iterable(_rejects(result, ()) for result in some))
            _write(
                db, "INSERT OR REPLACE INTO units", (_unit(result, len(records[result.unit.key]), 0) for result in some)
            )
            continue
        for result in some:
            _save_alone(db, result)


def remove_records(db: sqlite3.Connection, step: str, units: Sequence[str]) -> None:
    """Removes what was made of units, but not the note that they were worked on.

    Args:
        db: In a transaction.
        step: Its name.
        units: Their keys.
    """
    for table in ("records", "rejects"):
        db.execute(
            f"DELETE FROM {table} WHERE step = ? AND unit IN (SELECT value FROM json_each(?))",
            (step, json.dumps(units)),
        )


def remove_units(db: sqlite3.Connection, step: str, units: Sequence[str]) -> None:
    """Removes units and what was made of them."""
    remove_records(db, step, units)
    db.execute(
        "DELETE FROM units WHERE step = ? AND unit IN (SELECT value FROM json_each(?))", (step, json.dumps(units))
    )


def record_key(record: Any) -> str:
    """The id of a record's JSON; one without an id is named by its content."""
    key = record.get("id") if isinstance(record, dict) else None
    return key if isinstance(key, str) and key else content_digest(record)


def record_video(record: Any) -> str | None:
    """The video of a record's JSON; that of a :class:`~datapipe.records.VideoRecord` is its own id."""
    if not isinstance(record, dict):
        return None
    if isinstance(record.get("video"), str):
        return str(record["video"])
    # A video's own record has no `video`: it is the one that knows the size of the file.
    return record["id"] if "size_bytes" in record and isinstance(record.get("id"), str) else None


def json_text(value: Any) -> str:
    """JSON as it is kept."""
    # Half a character, which a model may write, has no bytes in UTF-8; it becomes a question mark.
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace").decode()


def _records(result: UnitResult) -> list[_Record]:
    return [_record(result, outcome.record) for outcome in result.outcomes if isinstance(outcome, Kept)]


def _record(result: UnitResult, record: Any) -> _Record:
    video = record_video(record) or result.unit.video
    return result.step, record_key(record), result.unit.key, video, content_digest(record), json_text(record)


def _rejects(result: UnitResult, same: Sequence[Any]) -> list[_Reject]:
    """What was not kept, in order; ``same`` are the records of which another has the id."""
    found: list[tuple[str, str, Any]] = [("dropped", _SAME_ID, record) for record in same]
    for outcome in result.outcomes:
        match outcome:
            case Dropped(reason, record):
                found.append(("dropped", reason, record))
            case Failed(error, record):
                found.append(("failed", error, record))
    return [
        (result.step, result.unit.key, place, kind, reason, None if record is None else json_text(record))
        for place, (kind, reason, record) in enumerate(found)
    ]


def _unit(result: UnitResult, kept: int, same: int) -> tuple[Any, ...]:
    kinds = Counter(type(outcome) for outcome in result.outcomes)
    unit = result.unit
    return (
        *(result.step, unit.key, unit.video, result.fingerprint, unit.input, result.attempt, 0),
        *(kept, kinds[Dropped] + same, kinds[Failed]),
        *(result.cost, result.seconds, result.replies, result.prompt_tokens, result.completion_tokens),
        time.time(),
    )


def _are_new(db: sqlite3.Connection, step: str, ids: Sequence[str]) -> bool:
    if len(set(ids)) < len(ids):
        return False
    found = db.execute(
        "SELECT 1 FROM records WHERE step = ? AND id IN (SELECT value FROM json_each(?)) LIMIT 1",
        (step, json.dumps(ids)),
    )
    return found.fetchone() is None


def _write(db: sqlite3.Connection, into: str, rows: Iterable[tuple[Any, ...]]) -> None:
    waiting = list(rows)
    if not waiting:
        return
    width = len(waiting[0])
    most = MOST_VALUES // width
    for start in range(0, len(waiting), most):
        some = waiting[start : start + most]
        places = ", ".join([f"({', '.join('?' * width)})"] * len(some))
        db.execute(f"{into} VALUES {places}", list(chain.from_iterable(some)))


def _save_alone(db: sqlite3.Connection, result: UnitResult) -> None:
    """Writes one unit, of whose records others may have the ids."""
    remove_records(db, result.step, [result.unit.key])
    same = []
    kept = 0
    for outcome in result.outcomes:
        if isinstance(outcome, Kept):
            if _insert(db, _record(result, outcome.record)):
                kept += 1
            else:
                same.append(outcome.record)
    _write(db, "INSERT INTO rejects", _rejects(result, same))
    _write(db, "INSERT OR REPLACE INTO units", [_unit(result, kept, len(same))])


def _insert(db: sqlite3.Connection, record: _Record) -> bool:
    """Writes a record, unless a smaller unit has made one of the same id."""
    step, key, unit = record[:3]
    row = db.execute("SELECT unit, data FROM records WHERE step = ? AND id = ?", (step, key)).fetchone()
    if row is not None:
        other, data = row
        if other <= unit:
            return False
        _supersede(db, step, other, data)
    _write(db, "INSERT OR REPLACE INTO records", [record])
    return True


def _supersede(db: sqlite3.Connection, step: str, unit: str, data: str) -> None:
    place = db.execute(
        "SELECT coalesce(max(place), -1) + 1 FROM rejects WHERE step = ? AND unit = ?", (step, unit)
    ).fetchone()[0]
    _write(db, "INSERT INTO rejects", [(step, unit, place, "dropped", _SAME_ID, data)])
    db.execute("UPDATE units SET kept = kept - 1, dropped = dropped + 1 WHERE step = ? AND unit = ?", (step, unit))
