"""What is wrong with a file of training data, and how long its rows are.

::

    report = check_file("longvt_sft_tvg_6k3.parquet", media, sizes=Sizes(replayer, measure), max_length=51_200)
    report.faults["missing video"].count       # 12
    report.tokens.largest                      # 9331

Without ``sizes`` no video is opened: columns, messages and the presence of files are checked. It changes nothing and
leaves nothing out: :mod:`trl_ext.dataset.materialize` does.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from longvt_plugins.errors import VideoError
from longvt_plugins.rows import Row
from longvt_plugins.types import Message
from trl_ext.dataset.conversations import Conversation, read_conversations
from trl_ext.dataset.faults import DataFault, Kind
from trl_ext.dataset.measure import Measure, Size
from trl_ext.dataset.media import MediaFolder
from trl_ext.dataset.published import videos_line
from trl_ext.dataset.questions import is_questions, iterate_questions
from trl_ext.dataset.replay import Replayer

EXAMPLES = 20
"""Faults of one kind that a report names; the others are counted."""


@dataclass
class Found:
    """Faults of one kind.

    Attributes:
        count: All.
        examples: The first of them, a line each.
    """

    count: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass
class Spread:
    """Numbers of all rows: 8 bytes each, so that the middle one can be told."""

    values: list[int] = field(default_factory=list)

    def summary(self) -> dict[str, float]:
        """Total, middle and largest; zeros of none."""
        if not self.values:
            return {"total": 0, "median": 0, "largest": 0}
        return {"total": sum(self.values), "median": statistics.median(self.values), "largest": max(self.values)}


@dataclass
class Report:
    """What was found in one file.

    Attributes:
        path: The file.
        holds: ``conversations`` or ``questions``.
        rows: All of them, faulty ones included.
        sources: Rows without a fault, by source.
        faults: By kind.
        videos: Different files.
        sizes: Tokens, tokens that are trained on, and frames of the rows without a fault; empty where not counted.
        download: The line that downloads missing media, where they are published.
    """

    path: str
    holds: str
    rows: int = 0
    sources: dict[str, int] = field(default_factory=dict)
    faults: dict[Kind, Found] = field(default_factory=dict)
    videos: int = 0
    sizes: dict[str, Spread] = field(
        default_factory=lambda: {name: Spread() for name in ("tokens", "trained", "frames")}
    )
    download: str | None = None

    @property
    def ok(self) -> bool:
        """Whether there is something, and nothing wrong."""
        return self.rows > 0 and not self.faults

    def add(self, fault: DataFault) -> None:
        """Counts a fault."""
        found = self.faults.setdefault(fault.kind, Found())
        found.count += 1
        if len(found.examples) < EXAMPLES:
            found.examples.append(str(fault))

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "path": self.path,
            "holds": self.holds,
            "rows": self.rows,
            "sources": self.sources,
            "videos": self.videos,
            "faults": {kind: {"count": found.count, "examples": found.examples} for kind, found in self.faults.items()},
            "sizes": {name: spread.summary() for name, spread in self.sizes.items() if spread.values},
            "download": self.download,
        }


@dataclass(frozen=True)
class Sizes:
    """Counts what rows take without decoding a frame.

    Args:
        replayer: Its library gives blank pictures, see :class:`~trl_ext.dataset.measure.BlankLibrary`.
        measure: Counts tokens.
    """

    replayer: Replayer
    measure: Measure

    def of(self, item: Conversation | Row) -> Size:
        """Of a conversation, or of the prompt of a question.

        Raises:
            DataFault: A call that a tool refuses.
            VideoError: A video cannot be opened.
        """
        return self.measure.of(self._messages(item))

    def _messages(self, item: Conversation | Row) -> list[Message]:
        if isinstance(item, Conversation):
            return self.replayer.messages(item)
        return self.replayer.prompt(item)


def check_file(
    path: str | Path,
    media: MediaFolder | None = None,
    *,
    sizes: Sizes | None = None,
    max_length: int | None = None,
    replay: bool = True,
    tell: Callable[[int], None] | None = None,
) -> Report:
    """Reads every row of a file.

    Args:
        path: Conversations or questions.
        media: Where videos and pictures are; beside the file by default.
        sizes: Opens videos and counts tokens and frames; None does neither.
        max_length: Tokens from which a row is over-long; needs ``sizes``.
        replay: See :func:`~trl_ext.dataset.conversations.read_conversations`.
        tell: Told how many rows are done.

    Raises:
        ConfigError: No such file, or columns that are neither's.
    """
    path = Path(path)
    questions = is_questions(path)
    report = Report(str(path), "questions" if questions else "conversations")
    media = media if media is not None else MediaFolder(path.parent)
    rows: Iterator[Any] = (
        iterate_questions(path, media) if questions else read_conversations(path, media, replay=replay)
    )
    videos: set[str] = set()
    for row in rows:
        report.rows += 1
        fault = row if isinstance(row, DataFault) else _look(row, sizes, max_length, report, videos)
        if fault is not None:
            report.add(fault)
        if tell is not None:
            tell(report.rows)
    report.videos = len(videos)
    if {"missing video", "missing image"} & set(report.faults):
        report.download = videos_line(path, media.root)
    return report


def _look(
    row: Conversation | Row, sizes: Sizes | None, max_length: int | None, report: Report, videos: set[str]
) -> DataFault | None:
    name, source, files = (
        (row.id, row.source, row.videos) if isinstance(row, Conversation) else (row["id"], row["source"], row["videos"])
    )
    videos |= set(files.values())
    where = f"{report.path}, {name}"
    if sizes is not None:
        try:
            size = sizes.of(row)
        except DataFault as fault:
            return DataFault(fault.kind, where, fault.what)
        except VideoError as error:
            return DataFault("unreadable video", where, str(error))
        if max_length is not None and size.tokens > max_length:
            return DataFault("over-long", where, f"{size.tokens} tokens, more than {max_length}")
        for part, spread in report.sizes.items():
            spread.values.append(getattr(size, part))
    report.sources[source] = report.sources.get(source, 0) + 1
    return None
