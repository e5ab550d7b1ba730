"""The audit log: every verdict of a judge as a row of parquet, with what was asked, what was replied and what it cost.

::

    judge = audited(JudgeConfig("llm", {..., "audit": "runs/audit"}), make_llm_judge)
    rows = read_verdicts("runs/audit")
    rows[0]["fingerprint"], rows[0]["raw"], rows[0]["score"], rows[0]["cost"], rows[0]["error"]

A process writes a journal, one line for each verdict, and turns it into ``verdicts-*.parquet`` when it is long
enough, closed, or at the end of the program. A process that is killed loses nothing that it had judged: its journal
is read as it is, and the next log that opens the folder turns it into parquet. Any number of processes may share
a folder. ``audit_texts: false`` keeps only a hash of question, reference and answer, and no reply.
It is a record, not a cache: nothing reads it back to judge.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longvt_plugins.errors import ConfigError
from longvt_plugins.judges.judge import Judge, JudgeConfig, JudgeHealth, Judgement, close_judge, health_of

if TYPE_CHECKING:
    import pyarrow

SHARD_ROWS = 1000
"""Verdicts in one parquet file."""

LONGEST_TEXT = 20_000
"""Characters of a text that are kept."""

_LONGEST_LINE = 16 << 20

_TEXTS = (
    *("judge", "fingerprint", "prompt_hash", "texts_hash", "question", "reference", "prediction", "options", "kind"),
    *("verdict", "reason", "scores", "raw", "error"),
)
_NUMBERS = ("time", "score", "seconds", "cost")
AUDIT_OPTIONS = frozenset({"audit", "audit_texts"})
"""What every judge of ours takes besides its own options."""

COLUMNS = (*_TEXTS, *_NUMBERS, "cached")


class AuditLog:
    """A folder that verdicts are written to; may be used from several threads and by forked children.

    Args:
        folder: Created if need be. Journals of processes that were killed become parquet.
        keep_texts: Keep what was asked and replied, not only its hash.

    Raises:
        ConfigError: The folder cannot be used.
    """

    def __init__(self, folder: str | Path, *, keep_texts: bool = True) -> None:
        # Not when the last shard is written: at the end of a program nothing more can be imported.
        import pyarrow.json
        import pyarrow.parquet  # noqa: F401

        self.folder = Path(folder).expanduser()
        self._keep_texts = keep_texts
        self._lock = threading.Lock()
        self._journal: _Journal | None = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for path in sorted(self.folder.glob("verdicts-*.jsonl")):
                _adopt(path)
        except OSError as error:
            raise ConfigError(f"audit: {self.folder} cannot be used: {error.strerror or error}") from None

    def write(
        self,
        judge: str,
        judgement: Judgement,
        *,
        question: str,
        reference: str,
        prediction: str,
        options: Sequence[str] | None = None,
        kind: str | None = None,
    ) -> None:
        """Writes one verdict; it survives the end of this process from then on.

        Args:
            judge: The judge's registered name.
            judgement: What it said.
            question: What it was asked, as the other arguments.
            reference: The right answer.
            prediction: The answer under test.
            options: The choices.
            kind: Of the question.

        Raises:
            ConfigError: The folder cannot be written any more.
        """
        asked = {"question": question, "reference": reference, "prediction": prediction}
        chosen = json.dumps(list(options)) if options is not None else None
        texts = {**asked, "options": chosen, "reason": judgement.reason, "raw": judgement.raw}
        missing = judgement.score is None
        row = {
            "time": time.time(),
            "judge": judge,
            "fingerprint": judgement.fingerprint,
            "prompt_hash": judgement.prompt_hash,
            "texts_hash": hashlib.sha256(json.dumps([*asked.values(), chosen, kind]).encode()).hexdigest(),
            **{name: text[:LONGEST_TEXT] if text and self._keep_texts else None for name, text in texts.items()},
            "kind": kind,
            "score": judgement.score,
            "verdict": judgement.verdict,
            "scores": json.dumps(judgement.scores),
            "seconds": judgement.seconds,
            "cost": judgement.cost,
            "cached": judgement.cached,
            "error": judgement.reason[:LONGEST_TEXT] if missing else None,
        }
        # Half of a surrogate pair, which a model may write, has no bytes in UTF-8.
        line = json.dumps(row, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        try:
            with self._lock:
                journal = self._own_journal()
                journal.write(line)
                if journal.rows >= SHARD_ROWS:
                    journal.finish()
                    self._journal = None
        except OSError as error:
            raise ConfigError(f"audit: {self.folder} cannot be written: {error.strerror or error}") from error

    def close(self) -> None:
        """Turns what is still in the journal into parquet; the log opens again when it is needed."""
        with self._lock:
            if self._journal is not None:
                self._journal.finish()
                self._journal = None

    def _own_journal(self) -> _Journal:
        if self._journal is None or self._journal.process != os.getpid():
            self._journal = _Journal(self.folder)
            weakref.finalize(self, _Journal.finish, self._journal)
        return self._journal


class _Journal:
    """One process's lines of one shard. The lock on the file says that its process lives."""

    def __init__(self, folder: Path) -> None:
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        self.path = folder / f"verdicts-{stamp}-{os.getpid()}-{uuid.uuid4().hex[:8]}.jsonl"
        self.process = os.getpid()
        self.rows = 0
        self._file: int | None = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_RDWR, 0o644)
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def write(self, line: bytes) -> None:
        assert self._file is not None
        while line:
            line = line[os.write(self._file, line) :]
        self.rows += 1

    def finish(self) -> None:
        """Becomes parquet. Does nothing in a forked child, and nothing the second time."""
        if self._file is None or self.process != os.getpid():
            return
        _to_parquet(self.path)
        os.close(self._file)
        self._file = None


def _adopt(path: Path) -> None:
    """Turns the journal of a process that is gone into parquet."""
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return  # another process has done it
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Its process locks it before it writes: an empty one may just have been created.
        if os.fstat(file).st_size:
            _to_parquet(path)
    except BlockingIOError:
        return
    finally:
        os.close(file)


def _to_parquet(path: Path) -> None:
    import pyarrow.parquet as pq

    unfinished = path.with_name(f".{path.stem}.{os.getpid()}")
    try:
        pq.write_table(_read_journal(path), unfinished)
        unfinished.replace(path.with_suffix(".parquet"))
    finally:
        unfinished.unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _read_journal(path: Path) -> pyarrow.Table:
    import pyarrow as pa
    from pyarrow import json as reader

    # What follows the last line break is a line that its process was killed in.
    whole = path.read_bytes().rpartition(b"\n")[0]
    if not whole:
        return _schema().empty_table()
    rules = reader.ParseOptions(explicit_schema=_schema(), unexpected_field_behavior="ignore")
    # Not Table.from_pylist: it loads pandas where that is installed. A line must fit into a block.
    return reader.read_json(pa.BufferReader(whole), reader.ReadOptions(block_size=_LONGEST_LINE), rules)


def _schema() -> pyarrow.Schema:
    import pyarrow as pa

    types = {**dict.fromkeys(_TEXTS, pa.string()), **dict.fromkeys(_NUMBERS, pa.float64()), "cached": pa.bool_()}
    return pa.schema([(name, types[name]) for name in COLUMNS])


def read_verdicts(folder: str | Path) -> list[dict[str, Any]]:
    """All verdicts of a folder in the order of their times, those of running processes among them.

    Raises:
        ConfigError: No such folder.
    """
    import pyarrow.parquet as pq

    folder = Path(folder)
    if not folder.is_dir():
        raise ConfigError(f"no audit folder {folder}")
    journals = {path.stem: path for path in folder.glob("verdicts-*.jsonl")}
    rows: list[dict[str, Any]] = []
    for stem, path in journals.items():
        try:
            rows += _read_journal(path).to_pylist() if not (folder / f"{stem}.parquet").exists() else []
        except FileNotFoundError:
            continue  # it became parquet just now, which is read below
    for path in sorted(folder.glob("verdicts-*.parquet")):
        rows += pq.read_table(path, schema=_schema()).to_pylist()
    # A journal may have become parquet between the two.
    unique = {(row["time"], row["texts_hash"], row["raw"]): row for row in rows}
    return sorted(unique.values(), key=lambda row: row["time"])


class AuditedJudge:
    """A judge whose verdicts are written down.

    Args:
        judge: Any judge.
        log: Where to.
        name: The judge's registered name.
    """

    def __init__(self, judge: Judge, log: AuditLog, name: str) -> None:
        self.judge = judge
        self.log = log
        self._name = name

    @property
    def health(self) -> JudgeHealth | None:
        """The judge's own."""
        return health_of(self.judge)

    @property
    def scale(self) -> tuple[float, ...]:
        """The scores that the judge may give, empty if it does not say."""
        return tuple(getattr(self.judge, "scale", ()))

    async def __call__(
        self,
        question: str,
        reference: str,
        prediction: str,
        *,
        options: Sequence[str] | None = None,
        kind: str | None = None,
    ) -> Judgement:
        """Judges one answer and writes the verdict down."""
        judgement = await self.judge(question, reference, prediction, options=options, kind=kind)
        self.log.write(
            self._name, judgement,
            question=question, reference=reference, prediction=prediction, options=options, kind=kind,
        )  # fmt: skip
        return judgement

    async def close(self) -> None:
        """Closes the judge and the log."""
        self.log.close()
        await close_judge(self.judge)


def audited(config: JudgeConfig, make: Callable[[Mapping[str, Any]], Judge]) -> Judge:
    """Makes a judge, with an audit log if its options ``audit`` (a folder) and ``audit_texts`` say so.

    Args:
        config: Its name and options.
        make: Gets the other options.

    Raises:
        ConfigError: A folder that cannot be used, or what ``make`` raises.
    """
    options = dict(config.options)
    folder, keep_texts = options.pop("audit", None), options.pop("audit_texts", True)
    if folder is not None and not (isinstance(folder, str | Path) and str(folder)):
        raise ConfigError(f"the judge {config.name!r}: audit must be a folder, not {folder!r}")
    if not isinstance(keep_texts, bool):
        raise ConfigError(f"the judge {config.name!r}: audit_texts must be true or false, not {keep_texts!r}")
    judge = make(options)
    return judge if folder is None else AuditedJudge(judge, AuditLog(folder, keep_texts=keep_texts), config.name)
