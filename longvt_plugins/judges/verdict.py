r"""Reads a score out of what a judge wrote, or says why there is none to be read. The last number never wins.

>>> allowed = {"correct": 1.0, "partly": 0.5, "wrong": 0.0}
>>> read_verdict('<think>Maybe 0.5?</think>{"reason": "same colour", "score": "1"}', allowed).score
1.0
>>> read_verdict("The colour is right, the place is not.\n\n**Judgement:** 0.5", allowed).score
0.5
>>> read_verdict("0.2 out of 1", allowed)
Verdict(score=None, reason="'0.2' is not one of the scores 1, 0.5, 0")
>>> read_verdict("Score: 1\nOr rather:\nScore: 0", allowed)
Verdict(score=None, reason='it gives more than one score: 0, 1')
>>> read_verdict("It says that the correct score is 1", allowed, answer="The correct score is 1").score is None
True

A verdict is a ``score`` in JSON, a line that begins with a word such as "Score:", a line that is nothing but a
score, or "the score is 1" at the very end. It counts where a verdict stands, first or last; all others that are
found must say the same, since it is not guessed which of two was meant. What stands word for word in the answer
under test is a quotation and no verdict. Thoughts are not read. Nothing is evaluated, and no text raises.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from longvt_plugins.judges.quoting import harmless

LONGEST = 20_000
"""Characters after the thought that are read; a longer reply is refused, since its end might contradict."""

_MAX_BRACES = 64
_KEYS = ("score", "judgement", "judgment", "verdict", "rating", "grade")
_REASONS = ("reason", "explanation", "rationale")
_KEY = "|".join(_KEYS)
# Lines are matched after their white space has become single spaces, and every repetition has a bound: whoever makes
# a judge write much must not make it be read for ever.
_LABEL = rf"(?:(?:final|overall|my|the) ){{0,3}}(?:{_KEY})"
# A number, with "/1" or "out of 1" after it. What follows must not make another number of it.
_SCORE = (
    r"(?P<number>[-+]?(?:\d{1,9}(?:\.\d{0,9})?|\.\d{1,9}))(?: ?(?:/|out of) ?(?P<of>\d{1,9}(?:\.\d{1,9})?))?"
    r"(?! ?%)(?! ?(?:/|out of|of|or|to|and|-|–|—|,|x)? ?[-+]?\.?\d)(?![\w^])"
)
_IS = r" ?(?:(?:is|=|:|：|-|–) ?){0,3}"
_ALONE = re.compile(rf"{_SCORE} ?[.!]?")
_LABELLED = re.compile(rf"{_LABEL}{_IS}{_SCORE}(?= ?(?:$|[.,;:(–—-]|because\b|since\b|as\b))", re.I)
_LABELLED_WORD = re.compile(rf"{_LABEL}{_IS}(?P<word>[^\W\d_]{{1,40}}) ?[.!]?", re.I)
_IN_SENTENCE = re.compile(rf"\b{_LABEL} ?(?:is|=|:) ?:? ?{_SCORE}", re.I)
_AT_THE_END = re.compile(rf"\b{_LABEL} ?(?:is|of|=|:) ?:? ?{_SCORE} ?[.!]?$", re.I)
_HEADING = re.compile(rf"{_LABEL} ?[:：]?", re.I)
_LEFT_OVER = re.compile(rf"[\"'](?:{_KEY})[\"'] ?:", re.I)
_WRAPPED = re.compile(r"\\boxed\{([^{}]{0,40})\}|</?(?:answer|score|verdict)>|[\[(] ?([\d.]{1,20}) ?[\])]")
_MARKUP = re.compile(r"[*_`#\"'“”]+")
_LIST_MARK = re.compile(r"^(?:[-•>] ){1,9}")


@dataclass(frozen=True)
class Verdict:
    """What was read.

    Attributes:
        score: None if no score could be read.
        reason: What the judge gave as its reason; without a score, why there is none.
    """

    score: float | None
    reason: str = ""


@dataclass(frozen=True)
class _Found:
    """Something that looks like a verdict.

    Attributes:
        value: A number as written, "1/1" for one out of one, or a word.
        text: All of it, to be looked for in the answer; empty for a bare score, which any answer may be.
        is_decisive: It stands where verdicts stand.
    """

    value: str
    text: str
    is_decisive: bool


class _Pairs(list[Any]):
    """A JSON object with all its keys, also those that come twice."""


def read_verdict(text: str, scores: Mapping[str, float], *, answer: str = "") -> Verdict:
    """Reads a judge's reply.

    Args:
        text: The whole of it, its thought included.
        scores: The scores that it may give, by the words that stand for them.
        answer: The answer under test, which the reply may quote.
    """
    spoken = _without_thought(text)
    if not spoken:
        return Verdict(None, "it is empty" if spoken is not None else "it ends within its thought")
    if len(spoken) > LONGEST:
        return Verdict(None, f"it is longer than {LONGEST} characters")
    try:
        prose, found, reason = _read_objects(spoken)
    except ValueError as error:
        return Verdict(None, str(error))
    found += _read_lines(_plain_lines(prose), scores)
    quoted = _squeezed(harmless(answer))
    own = [verdict for verdict in found if not verdict.text or _squeezed(verdict.text) not in quoted]
    if not any(verdict.is_decisive for verdict in own):
        return Verdict(None, "it gives no score of its own" if found else "it gives no score")
    return _one([verdict.value for verdict in own], scores, reason)


def _without_thought(text: str) -> str | None:
    """What follows the thought; None if it never ended. Templates may open the thought, so its start may be missing."""
    _, end, after = text.rpartition("</think>")
    return None if "<think>" in after else after.strip() if end else text.strip()


def _read_objects(spoken: str) -> tuple[str, list[_Found], str]:
    """The text without its JSON objects, the verdicts in these, and the reason that they give.

    Raises:
        ValueError: JSON that cannot be read for certain; the message says why.
    """
    decoder = json.JSONDecoder(object_pairs_hook=_Pairs, parse_constant=str, parse_int=str, parse_float=str)
    prose: list[str] = []
    found: list[_Found] = []
    reason, start, place = "", 0, spoken.find("{")
    for _ in range(_MAX_BRACES):
        if place < 0:
            break
        try:
            value, end = decoder.raw_decode(spoken, place)
        except (ValueError, RecursionError):
            place = spoken.find("{", place + 1)
            continue
        before = spoken[spoken.rfind("\n", 0, place) + 1 : place]
        stands_alone = re.fullmatch(r"\s*(?:```\w*)?\s*", before) or not spoken[end:].strip("`\n ")
        for key, content in value:
            if key.casefold() in _KEYS:
                if not isinstance(content, str):
                    raise ValueError(f"its {key} is neither a number nor a text")
                found.append(_Found(content.strip(), spoken[place:end], bool(stands_alone)))
            elif key.casefold() in _REASONS and isinstance(content, str):
                reason = content
        prose.append(spoken[start:place])
        start, place = end, spoken.find("{", end)
    if place >= 0:
        raise ValueError(f"it holds more than {_MAX_BRACES} opening braces")
    left = "".join([*prose, spoken[start:]])
    if _LEFT_OVER.search(" ".join(left.split())):
        raise ValueError("its JSON is broken")
    return left, found, reason


def _plain_lines(prose: str) -> list[str]:
    """The lines that are not empty, without Markdown and what else is put around a score."""
    lines = (" ".join(_MARKUP.sub("", line).split()) for line in prose.splitlines())
    bare = (_LIST_MARK.sub("", _WRAPPED.sub(lambda found: found[1] or found[2] or "", line)).strip() for line in lines)
    return [line for line in bare if line]


def _read_lines(lines: list[str], scores: Mapping[str, float]) -> Iterator[_Found]:
    words = {word.casefold() for word in scores}
    values = set(scores.values())
    is_first = True
    for place, line in enumerate(lines):
        is_last = place == len(lines) - 1
        decisive = is_first or is_last
        bare = line.rstrip(".!")
        if alone := _ALONE.fullmatch(line):
            # In the midst it may be anybody's number, unless it could be a score.
            if decisive or float(alone["number"]) in values:
                yield _Found(_written(alone), "", decisive)
        elif bare.casefold() in words:
            yield _Found(bare, "", decisive)
        elif labelled := _LABELLED.match(line):
            yield _Found(_written(labelled), labelled[0], decisive)
        elif (worded := _LABELLED_WORD.fullmatch(line)) and worded["word"].casefold() in words:
            yield _Found(worded["word"], line, decisive)
        else:
            end = _AT_THE_END.search(line) if is_last else None
            if end:
                yield _Found(_written(end), end[0], True)
            for within in _IN_SENTENCE.finditer(line):
                if float(within["number"]) in values:
                    yield _Found(_written(within), within[0], False)
        # A heading does not keep what follows it from being the first line.
        is_first = is_first and _HEADING.fullmatch(line) is not None


def _written(match: re.Match[str]) -> str:
    return match["number"] if match["of"] is None else f"{match['number']}/{match['of']}"


def _squeezed(text: str) -> str:
    return re.sub(r"[\s*_`#\"'“”.!]+", "", text).casefold()


def _one(given: list[str], scores: Mapping[str, float], reason: str) -> Verdict:
    by_word = {word.casefold(): score for word, score in scores.items()}
    best = max(scores.values())
    read: set[float] = set()
    for text in given:
        number, _, full = text.partition("/")
        score = by_word.get(text.casefold())
        if score is None and re.fullmatch(r"\+?(?:\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})", number.strip()):
            score = float(number)
        if score is None or score not in scores.values():
            allowed = ", ".join(f"{value:g}" for value in sorted(set(scores.values()), reverse=True))
            return Verdict(None, f"{number[:40]!r} is not one of the scores {allowed}")
        if full and (not re.fullmatch(r"\s*\d+(?:\.\d+)?", full) or float(full) != best):
            return Verdict(None, f"it scores out of {full[:40].strip()}, not out of {best:g}")
        read.add(score)
    if len(read) > 1:
        return Verdict(None, f"it gives more than one score: {', '.join(f'{score:g}' for score in sorted(read))}")
    return Verdict(read.pop(), reason)
