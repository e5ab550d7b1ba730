"""Lines of text ranked by the words that they share with a query (BM25, by bm25s).

>>> WordIndex(["the lamp is red", "a dog barks"]).search("red lamps", limit=5)
[0]

Words are compared whole and without case; a text in Chinese, Japanese or Thai, which is written without spaces, by
pairs of characters. It knows no synonyms: a line that shares no word is never found.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

MAX_QUERY = 500
"""Characters of a query that are looked at."""

_WORD = re.compile(r"\w+")
# Kana, Han and Thai: a run of them is a sentence, not a word.
_UNSPACED = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+")


class WordIndex:
    """Texts, made ready to be searched.

    Args:
        texts: In the order whose numbers :meth:`search` gives.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        import bm25s

        words = [split_words(text) for text in texts]
        self._known = {word for text in words for word in text}
        self._scores = bm25s.BM25()
        if self._known:
            self._scores.index(words, show_progress=False)

    def search(self, query: str, *, limit: int) -> list[int]:
        """Numbers of the texts that share a word with the query, the best first, and of equals the earlier one.

        Args:
            query: Words, in any order.
            limit: How many at most.
        """
        words = [word for word in split_words(query[:MAX_QUERY]) if word in self._known]
        if not words:
            return []
        scores = self._scores.get_scores(words)
        found = [number for number in range(len(scores)) if scores[number] > 0]
        return sorted(found, key=lambda number: -scores[number])[:limit]


def split_words(text: str) -> list[str]:
    """The words of a text as they are compared.

    >>> split_words("Über-Lampe 4711")
    ['über', 'lampe', '4711']
    """
    words: list[str] = []
    for run in _WORD.findall(unicodedata.normalize("NFKC", text).casefold()):
        rest = run
        for unspaced in _UNSPACED.findall(run):
            words += [unspaced[at : at + 2] for at in range(max(1, len(unspaced) - 1))]
            rest = rest.replace(unspaced, " ", 1)
        words += rest.split()
    return words
