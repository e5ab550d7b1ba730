"""Questions that are asked twice, and questions that a benchmark asks too.

>>> benchmark = Benchmark(["Which colour is the car that leaves the yard first?"])
>>> benchmark.has("In the video, which colour is the car that leaves the yard first?")
True

Case, marks and white space do not count. A question overlaps with a benchmark's if all words are the same, or if they
share eight words in a row, as contamination of language models is usually told.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from datapipe.records import digest
from datapipe.steps.rules import words_of

SHINGLE = 8
"""Words in a row."""

LIKE = 0.8
"""Share of common words from which on two questions of a video are nearly alike."""

MOST_COMPARED = 200
"""Questions of one video that each new one is compared with."""


class Benchmark:
    """The questions of a benchmark.

    Args:
        questions: As it asks them.
    """

    def __init__(self, questions: Iterable[str]) -> None:
        self._known: set[tuple[str, ...]] = set()
        self._shingles: set[tuple[str, ...]] = set()
        for question in questions:
            words = tuple(words_of(question))
            self._known.add(words)
            self._shingles.update(_shingles(words))

    def has(self, question: str) -> bool:
        """Whether it asks that, or nearly that."""
        words = tuple(words_of(question))
        return words in self._known or any(shingle in self._shingles for shingle in _shingles(words))


class Repeats:
    """Counts questions that come again, as they are read.

    Attributes:
        same_in_video: Of one video, with the same words as an earlier one.
        like_in_video: Of one video, with nearly the same words.
    """

    def __init__(self) -> None:
        self.same_in_video = 0
        self.like_in_video = 0
        self._of_video: dict[str, list[frozenset[str]]] = defaultdict(list)
        self._texts: dict[str, set[str]] = defaultdict(set)
        # A digest for each wording, not the wording: a million questions take about 100 MB.
        self._videos_of: Counter[str] = Counter()

    @property
    def videos(self) -> int:
        """How many videos there were."""
        return len(self._texts)

    @property
    def same_elsewhere(self) -> int:
        """Questions whose very words are asked of another video too."""
        return sum(count for count in self._videos_of.values() if count > 1)

    def add(self, video: str, question: str) -> None:
        """Takes a question."""
        words = words_of(question)
        text, own = digest(words), frozenset(words)
        if text in self._texts[video]:
            self.same_in_video += 1
            return
        others = self._of_video[video]
        self.like_in_video += any(_share(own, other) >= LIKE for other in others)
        if len(others) < MOST_COMPARED:
            others.append(own)
        self._texts[video].add(text)
        self._videos_of[text] += 1


def _share(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / max(1, len(one | other))


def _shingles(words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    return (words[start : start + SHINGLE] for start in range(len(words) - SHINGLE + 1))
