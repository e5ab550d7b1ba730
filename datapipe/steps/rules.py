"""What a question and its answer must be like, as far as it can be checked without a model.

>>> broken_rule("What happens at 01:23?", "A car leaves.")
'question with a time'
>>> broken_rule("Which colour is the car?", "red") is None
True

The limits are LongVT's. Each rule has one reason, so that drops can be counted.
"""

from __future__ import annotations

import re

MAX_QUESTION_WORDS = 50
MAX_ANSWER_WORDS = 25

_CLOCK = r"\b\d{1,2}:[0-5]\d\b"
_MOMENT = (
    r"\b(?:at|from|until|after|before|around|between|to)\s+(?:the\s+)?"
    r"\d+(?:\.\d+)?\s?(?:s|sec|secs|seconds?|minutes?|min)\b"
)
_ORDINAL = r"\b\d+(?:st|nd|rd|th)?\s+(?:second|minute|frame)\b"
_POINTER = (
    r"\b(?:timestamps?|frame\s+(?:number\s+)?\d+|seconds?\s+\d+|minute\s+\d+|caption\s+\d+|clip\s+\d+|segment\s+\d+)\b"
)
_TIME = re.compile("|".join((_CLOCK, _MOMENT, _ORDINAL, _POINTER)), re.IGNORECASE)
_QUESTION_MARK = re.compile(r"[?？]")
_WORD = re.compile(r"\w+")

_TELLING = 2
"""Words from which on an answer that stands in its question is told by it; one word may be there by chance."""


def broken_rule(question: str, answer: str) -> str | None:
    """The reason to drop a pair, None if it keeps all rules."""
    if len(question.split()) > MAX_QUESTION_WORDS:
        return f"question of more than {MAX_QUESTION_WORDS} words"
    if len(answer.split()) > MAX_ANSWER_WORDS:
        return f"answer of more than {MAX_ANSWER_WORDS} words"
    if len(_QUESTION_MARK.findall(question)) != 1:
        return "not exactly one question"
    if _TIME.search(question):
        return "question with a time"
    if _is_told(question, answer):
        return "answer in the question"
    return None


def words_of(text: str) -> list[str]:
    """Words without marks, in small letters."""
    return _WORD.findall(text.casefold())


def _is_told(question: str, answer: str) -> bool:
    asked, told = words_of(question), words_of(answer)
    if len(told) < _TELLING:
        return False
    return any(asked[place : place + len(told)] == told for place in range(len(asked) - len(told) + 1))
