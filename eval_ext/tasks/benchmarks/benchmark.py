"""What we know of a public benchmark besides what the installed lmms-eval knows.

::

    Benchmark("lvbench", base="lvbench/lvbench.yaml", read=read, has_windows=True, shuffle=shuffle)

Data set, prompts and where videos lie come from the task of lmms-eval that ``base`` names. Here is how one of its
documents becomes a question, and nothing of how it is asked or scored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from longvt_plugins.conversation import Form
    from longvt_plugins.rows import RowKind

Doc = Mapping[str, Any]
"""A document, with the columns of the published data set."""


@dataclass(frozen=True)
class Question:
    """One document, read.

    Attributes:
        question: Without options and without what a prompt says besides.
        answer: The right one: words, an option's letter, or ``[start, end]`` in seconds.
        video: What the document says of its file.
        kind: Of the answer.
        id: Unique in the data set; None where it gives none.
        options: The choices, with or without letters.
        segment: ``(start, end)`` of the evidence in seconds, where the data set says.
        categories: Each has an accuracy of its own.
    """

    question: str
    answer: str
    video: str
    kind: RowKind
    id: str | None = None
    options: Sequence[str] | None = None
    segment: tuple[float, float] | None = None
    categories: tuple[str, ...] = ()


@dataclass(frozen=True)
class Benchmark:
    """A public benchmark.

    Attributes:
        name: Before ``_tool`` and the other forms.
        base: The YAML of lmms-eval's task, below ``lmms_eval/tasks``; for each form where they differ.
        read: Reads a document.
        shuffle: A document with its options in the order that is given, right answer included.
        has_windows: Documents may say where the evidence is, and the answer is not that.
        track_of: The benchmark of which it is a part.
        subtitle: The file, below the benchmark's folder, from which the prompt of a document takes subtitles.
    """

    name: str
    base: str | Mapping[Form, str]
    read: Callable[[Doc], Question]
    shuffle: Callable[[Doc, Sequence[int]], dict[str, Any]] | None = None
    has_windows: bool = False
    track_of: str | None = None
    subtitle: Callable[[Doc], str] | None = None

    @property
    def family(self) -> str:
        """Name of the whole benchmark."""
        return self.track_of or self.name

    @property
    def has_options(self) -> bool:
        """Whether the answers are choices."""
        return self.shuffle is not None

    def base_for(self, form: Form) -> str:
        """The YAML of lmms-eval's task for a form."""
        return self.base if isinstance(self.base, str) else self.base[form]
