"""``exact``: the judge that asks nobody. Two answers agree when they are the same after tidying.

>>> exact_score("three red cars", "The 3 red cars.").score
1.0
>>> exact_score("Black", "Blue").score
0.0
>>> exact_score("blue", "(B)", options=["black", "blue"]).score
1.0
>>> exact_score("[10, 20]", "[15, 20]", kind="grounding").score
0.5

It knows no synonyms: for open questions an LLM judge finds more right answers. It always has a verdict;
a reference of a grounding question that is not an interval is a fault of the data and raises.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Sequence

from longvt_plugins import temporal
from longvt_plugins.errors import ConfigError
from longvt_plugins.hookspecs import hookimpl
from longvt_plugins.judges.judge import Judge, JudgeConfig, Judgement
from longvt_plugins.types import TimeSpan

FINGERPRINT = "exact/1"

RELAXED_SHARE = 0.9
"""An answer inside the other agrees when it has this share of its length (LongVT's evaluation)."""

OPTION_LETTERS = "ABCDEFGH"

_ARTICLES = frozenset({"a", "an", "the"})
_NEGATIONS = frozenset(
    {"no", "not", "never", "neither", "nor", "none", "without", "cant", "dont", "doesnt", "isnt", "wasnt"}
)
_NUMBER_NAMES = (
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)
_NUMBER_WORDS = {name: str(number) for number, name in enumerate(_NUMBER_NAMES)}
# A number, with thousands in groups of three or without; else a word. A minus counts where no word stands before it.
_TOKEN = re.compile(
    r"(?:(?<!\w)-)?(?:(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|(?<!\w)\.[0-9]+)|[^\W_0-9]+"
)
_LETTER = re.compile(r"\(?([A-Ha-h])(?:[.:)]{1,2}\s*(\S.*)?)?", re.DOTALL)
_LEAD_IN = re.compile(r"\A(?:the )?(?:correct |right |final )?(?:answer|option|choice)(?: is)?:? ")
_INTERVAL = re.compile(
    r"[\[(]?\s*([0-9]+(?:\.[0-9]+)?)\s*(?:s|seconds)?\s*(?:,|-|–|to)\s*([0-9]+(?:\.[0-9]+)?)\s*(?:s|seconds)?\s*[\])]?"
)
_INTERVAL_CHARACTERS = 100


def exact_score(
    reference: str, prediction: str, options: Sequence[str] | None = None, kind: str | None = None
) -> Judgement:
    """Compares an answer with its reference.

    Args:
        reference: The right answer; where options are given, one of them or its letter.
        prediction: The answer under test. Where options are given, and only then, it may be a letter (``B``, ``(b)``,
            ``The answer is B``), an option's text, or both (``B. blue``) if they agree.
        options: The choices, at most the first eight of which have letters.
        kind: ``"grounding"`` compares intervals ``[start, end]`` in seconds: the score is their IoU.

    Raises:
        ConfigError: The reference of a grounding question is not an interval.
    """
    if kind == "grounding":
        return _grounding_score(reference, prediction)
    if options:
        options = _unlabelled(options)
        chosen, right = _chosen(prediction, options), _chosen(reference, options)
        if right is not None:
            said = f"chose {options[chosen]!r}" if chosen is not None else "chose none of the options"
            # By text, not by place: an option may be listed twice.
            return _verdict(chosen is not None and _tokens(options[chosen]) == _tokens(options[right]), said)
    reference_tokens, predicted = _tokens(reference), _tokens(prediction)
    if reference_tokens == predicted:
        return _verdict(bool(predicted) or _plain(reference) == _plain(prediction) != "", "compared as text")
    return _verdict(_relaxed_match(reference_tokens, predicted), "compared as text, one inside the other")


def exact_judge(config: JudgeConfig) -> Judge:
    """Makes the judge.

    Raises:
        ConfigError: Options were given; it has none.
    """
    if config.options:
        raise ConfigError(f"the judge 'exact' takes no options, not {', '.join(sorted(config.options))}")

    async def judge(
        question: str,
        reference: str,
        prediction: str,
        *,
        options: Sequence[str] | None = None,
        kind: str | None = None,
    ) -> Judgement:
        return exact_score(reference, prediction, options, kind)

    return judge


@hookimpl
def register_judges(register) -> None:  # type: ignore[no-untyped-def]
    """Gives ``exact``."""
    register("exact", exact_judge)


def read_interval(text: str) -> TimeSpan | None:
    """The interval that a text is, such as ``[12.5, 20]``, ``12.5 to 20`` or ``12.5s - 20s``; None if it is not one."""
    # The bound keeps the pattern's white space, which can be split in many ways, from costing time.
    found = _INTERVAL.fullmatch(text.strip()) if len(text) <= _INTERVAL_CHARACTERS else None
    if found is None:
        return None
    start, end = float(found[1]), float(found[2])
    return TimeSpan(start, end) if start <= end else None


def _grounding_score(reference: str, prediction: str) -> Judgement:
    right, given = read_interval(reference), read_interval(prediction)
    if right is None:
        raise ConfigError(
            f"the answer of a grounding question must be an interval [start, end], not {reference[:80]!r}"
        )
    if given is None:
        return _verdict(False, "no interval in the answer")
    score = temporal.iou(given, right)
    verdict = "wrong" if score == 0 else "correct" if score == 1 else "partly"
    return Judgement(score, verdict, "IoU of the intervals", fingerprint=FINGERPRINT)


def _verdict(right: bool, reason: str) -> Judgement:
    return Judgement(float(right), "correct" if right else "wrong", reason, fingerprint=FINGERPRINT)


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _tokens(text: str) -> list[str]:
    """Words and numbers in one spelling; punctuation and articles left out."""
    tokens = [_spelled(token) for token in _TOKEN.findall(_plain(text).replace("'", "").replace("’", ""))]
    # "A" may be all there is: a blood group, a note, a label.
    return [token for token in tokens if token not in _ARTICLES] or tokens


def _spelled(token: str) -> str:
    if token[-1] not in string.digits:
        return _NUMBER_WORDS.get(token, token)
    sign, digits = ("-", token[1:]) if token[0] == "-" else ("", token)
    whole, _, fraction = digits.replace(",", "").partition(".")
    number = ".".join(part for part in (whole.lstrip("0") or "0", fraction.rstrip("0")) if part)
    return number if number == "0" else sign + number


def _relaxed_match(a: list[str], b: list[str]) -> bool:
    """Whether one text holds the other as a run of words and is hardly longer.

    What it says besides may be neither a number nor a negation: they change the meaning.
    """
    shorter, longer = sorted((a, b), key=lambda tokens: len(" ".join(tokens)))
    inner, outer = " ".join(shorter), " ".join(longer)
    if not inner or len(inner) < RELAXED_SHARE * len(outer) or f" {inner} " not in f" {outer} ":
        return False
    more = f" {outer} ".replace(f" {inner} ", " ", 1).split()
    return not any(token in _NEGATIONS or token[-1] in string.digits for token in more)


def _unlabelled(options: Sequence[str]) -> Sequence[str]:
    """The options' texts, where each one carries its own letter: ``["A. red", "B. blue"]``."""
    found = [_LETTER.fullmatch(option.strip()) for option in options]
    letters = [match[1].upper() if match and match[2] else None for match in found]
    if letters != list(OPTION_LETTERS[: len(options)]):
        return options
    return [match[2] for match in found if match]


def _chosen(text: str, options: Sequence[str]) -> int | None:
    """Which option a text names, None if none or if letter and text disagree."""
    plain = _plain(text)
    for place, option in enumerate(options):
        if _plain(option) == plain:
            return place
    bare = _LEAD_IN.sub("", plain)
    found = _LETTER.fullmatch(bare)
    if found is None:
        by_text = _option_of_text(plain, options)
        return by_text if by_text is not None else _option_of_text(bare, options)
    letter = OPTION_LETTERS.index(found[1].upper())
    named = letter if letter < len(options) else None
    if found[2] is None:
        return named
    # "A. blue" must not pass for blue where A is black, though "a" alone would count as an article.
    by_text = _option_of_text(found[2], options)
    return by_text if by_text is None or by_text == named else None


def _option_of_text(text: str, options: Sequence[str]) -> int | None:
    tokens = _tokens(text)
    spelled = [_tokens(option) for option in options]
    if tokens in spelled:
        return spelled.index(tokens)
    near = [place for place, option in enumerate(spelled) if _relaxed_match(option, tokens)]
    return near[0] if len(near) == 1 else None
