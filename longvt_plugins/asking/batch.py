"""Many questions into a folder; run again, it goes on where it was stopped.

::

    OUT/settings.json       with what the questions were asked
    OUT/answers.jsonl       a line an answer, written when it is there
    OUT/rollouts/           the conversations, for `longvt rollouts view OUT/rollouts`

A question that failed (a broken video, a server that was down) is asked again by the next run; one that the model
did not answer is not. Other settings want another folder.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longvt_plugins.asking.asker import Answer, Asker
from longvt_plugins.errors import ConfigError
from longvt_plugins.progress import Tell
from longvt_plugins.rollouts import read_rollouts, shard_path, write_rollouts
from longvt_plugins.rows import Row

ANSWERS, SETTINGS, ROLLOUTS = "answers.jsonl", "settings.json", "rollouts"

_NOT_COMPARED = (
    "base_url",
    "cache_dir",
    "cache_gb",
    "concurrency",
    "timeout",
    "total_timeout",
    "max_retries",
    "backoff",
    "video",
)
"""Settings that change how long a run takes, and not what is answered."""


@dataclass(frozen=True)
class BatchResult:
    """What became of it.

    Attributes:
        answered: Questions with an answer, earlier runs among them.
        unanswered: Those that the model gave none to.
        failed: Those that could not be asked, and why, by id.
        kept: How many of the answers were there before.
    """

    answered: int
    unanswered: int
    failed: dict[str, str]
    kept: int


def ask_batch(
    asker: Asker, rows: Sequence[Row], out: Path, *, concurrency: int = 8, tell: Tell | None = None
) -> BatchResult:
    """Asks what has no answer yet.

    Args:
        asker: Asks.
        rows: The questions, each with an id of its own.
        out: The folder.
        concurrency: Questions under way at once.
        tell: Told of the progress.

    Raises:
        ConfigError: The folder holds answers of other settings, or something else.
    """
    out.mkdir(parents=True, exist_ok=True)
    _check_settings(out / SETTINGS, asker)
    earlier = _read_answers(out / ANSWERS)
    kept = {row["id"]: earlier[row["id"]] for row in rows if _is_same(row, earlier.get(row["id"]))}
    missing = [row for row in rows if row["id"] not in kept]
    records = dict(kept)
    done = len(kept)

    async def run() -> None:
        nonlocal done
        slots = asyncio.Semaphore(concurrency)

        async def one(row: Row) -> None:
            nonlocal done
            async with slots:
                answer = await asker.answer(row)
            # Here and not in a thread: two answers never write at once.
            records[row["id"]] = _keep(out, row, answer)
            done += 1
            if tell is not None:
                tell("questions", done, len(rows))

        tasks = [asyncio.create_task(one(row)) for row in missing]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asker.close_connections()

    if missing:
        asyncio.run(run())
    failed = {name: str(record["error"]) for name, record in records.items() if record["error"] is not None}
    answered = sum(record["answer"] is not None for record in records.values())
    return BatchResult(answered, len(records) - answered - len(failed), failed, len(kept))


def read_batch(out: Path, rows: Sequence[Row]) -> list[Any]:
    """The kept rollouts of these questions, in their order."""
    shards = [_shard(out, row) for row in rows]
    return [rollout for shard in shards if shard.is_file() for rollout in read_rollouts(shard)]


def _keep(out: Path, row: Row, answer: Answer) -> dict[str, Any]:
    if answer.error is None:
        write_rollouts([answer.rollout], _shard(out, row))
    record = {"key": _key(row), **answer.record()}
    del record["messages"]  # they are in the rollout
    with (out / ANSWERS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
    return record


def _shard(out: Path, row: Row) -> Path:
    # One file a question, named after it, so that nothing is written twice and a stop loses nothing.
    return shard_path(out / ROLLOUTS, int(_key(row)[:12], 16))


def _key(row: Row) -> str:
    asked = [row["id"], row["videos"], row["question"], row["options"]]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def _is_same(row: Row, record: dict[str, Any] | None) -> bool:
    return record is not None and record["error"] is None and record["key"] == _key(row)


def _read_answers(path: Path) -> dict[str, dict[str, Any]]:
    """The last line of each question; a line that a stop cut off does not count."""
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    found = {}
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            record = json.loads(line)
            found[record["id"]] = {name: record[name] for name in ("key", "answer", "error")}
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError(f"{path}, line {number}: not an answer of an earlier run: {error!r}") from None
    return found


def _check_settings(path: Path, asker: Asker) -> None:
    settings = json.loads(json.dumps(asker.settings(), default=str))
    if path.is_file():
        try:
            earlier = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ConfigError(f"{path} is not JSON: {error}") from None
        if differing := sorted(set(_compared(settings).items()) ^ set(_compared(earlier).items())):
            names = sorted({name for name, _ in differing})
            raise ConfigError(
                f"{path.parent} holds answers of other settings ({', '.join(names)}): "
                "choose another --out, or ask as before"
            )
        return
    path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _compared(settings: Any) -> dict[str, str]:
    flat = {"model": settings.get("model"), **(settings.get("chat") or {}), **(settings.get("agent") or {})}
    return {name: json.dumps(value, sort_keys=True) for name, value in flat.items() if name not in _NOT_COMPARED}
