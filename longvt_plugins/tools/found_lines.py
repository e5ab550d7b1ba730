"""What searches in text have in common: a searchable set of timed lines, and the reply that shows what was found.

::

    2 of 340 lines of subtitles, best first:
    61.2s to 64s: the code is 4711
    12s to 15.5s: nobody knows the code
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

from pydantic import Field

from longvt_plugins.errors import ToolError
from longvt_plugins.subtitles import Line
from longvt_plugins.tools.ranking import MAX_QUERY, WordIndex
from longvt_plugins.video.sampling import format_seconds

if TYPE_CHECKING:
    from longvt_plugins.tools.context import ToolContext
    from longvt_plugins.types import Block

Shown = Annotated[int, Field(ge=1, le=100)]
"""How many lines a reply has at most: an option of each search."""

_KEPT_FILES = 64
"""Whose lines a process keeps ready: about 1 MB for the subtitles of a film."""

_LONGEST_LINE = 500
"""Characters of a line in a reply."""


class FileState(NamedTuple):
    """A file with this very content, as far as its metadata tell: the key under which its lines are kept."""

    path: Path
    size: int
    modified_ns: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> FileState:
        """The file as it is now."""
        found = path.stat()
        return cls(path, found.st_size, found.st_mtime_ns, found.st_ino)


class Lines:
    """Timed lines of text, made ready to be searched."""

    def __init__(self, lines: tuple[Line, ...]) -> None:
        self.lines = lines
        self._index = WordIndex([line.text for line in lines])

    def search(self, query: str, limit: int) -> list[Line]:
        """The best lines, best first."""
        return [self.lines[number] for number in self._index.search(query, limit=limit)]


def keep_lines(
    read: Callable[[FileState, str | None, float | None], tuple[Line, ...]],
) -> Callable[[FileState, str | None, float | None], Lines]:
    """Reads and indexes a file once, until it changes: the rollouts of a group ask for the same one."""

    @functools.lru_cache(maxsize=_KEPT_FILES)
    def kept(file: FileState, which: str | None, time_limit: float | None) -> Lines:
        return Lines(read(file, which, time_limit))

    return kept


def check_query(query: str) -> str:
    """A query that can be searched for.

    Raises:
        ToolError: Nothing in it, or more than anyone searches for.
    """
    if not query.strip():
        raise ToolError("query is empty: give the words to search for")
    if len(query) > MAX_QUERY:
        raise ToolError(f"query has {len(query)} characters, and at most {MAX_QUERY} are searched for")
    return query


def show_lines(ctx: ToolContext, lines: Lines, query: str, *, limit: int, kind: str) -> list[Block]:
    """The reply to a search: as many of the best lines as the budget has room for.

    Args:
        ctx: Of the call.
        lines: To search in.
        query: As the model wrote it.
        limit: Lines at most.
        kind: What the lines are, in the plural.
    """
    found = lines.search(query, limit)
    total = len(lines.lines)

    def show(count: int) -> list[Block]:
        if not found:
            return [ctx.text(f"none of the {total} {kind} has a word of the query; try other words")]
        told = [f"{_span(line)}: {line.text[:_LONGEST_LINE]}" for line in found[:count]]
        return [ctx.text("\n".join([f"{len(told)} of {total} {kind}, best first:", *told]))]

    return ctx.fit_text(max(1, len(found)), show)


def _span(line: Line) -> str:
    return f"{format_seconds(line.start)}s to {format_seconds(line.end)}s"
