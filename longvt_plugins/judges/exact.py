"""``exact``: the judge that asks nobody. Two answers agree when they are the same after tidying.

>>> exact_score("three red cars", "The 3 red cars.").score
1.0
>>> exact_score("Black", "Blue").score
0.0
>>> exact_score("5 km", "5000 m").score
1.0
>>> exact_score("blue", "(B)", options=["black", "blue"]).score
1.0
>>> exact_score("[10, 20]", "[15, 20]", kind="grounding").score
0.5
>>> exact_score("a red car", "a red truck").scores
{'exact': 0.0, 'token_f1': 0.5}

It knows no synonyms: for open questions an LLM judge finds more right answers. It always has a verdict;
a reference of a grounding question that is not an interval is a fault of the data and raises. Formulas are
compared where ``maths: true`` says so, which needs math-verify: verdicts never depend on what is installed.
"""

from __future__ import annotations

import asyncio
import functools
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from longvt_plugins import temporal
from longvt_plugins.errors import ConfigError
from longvt_plugins.hookspecs import hookimpl
from longvt_plugins.judges.audit import audited
from longvt_plugins.judges.judge import Judge, JudgeConfig, Judgement
from longvt_plugins.judges.maths import Maths
from longvt_plugins.judges.quantities import NUMBER_WORDS, same_quantity
from longvt_plugins.types import TimeSpan

FINGERPRINT = "exact/2"

RELAXED_SHARE = 0.9
"""An answer inside the other agrees when it has this share of its length (LongVT's evaluation)."""

OPTION_LETTERS = "ABCDEFGHIJ"
"""As many as VideoMMMU has options."""

EXACT_OPTIONS = frozenset({"maths"})

_ARTICLES = frozenset({"a", "an", "the"})
_NEGATIONS = frozenset(
    {"no", "not", "never", "neither", "nor", "none", "without", "cant", "dont", "doesnt", "isnt", "wasnt"}
)
_NUMBER_WORDS = {name: str(number) for name, number in NUMBER_WORDS.items()}
_LETTER = re.compile(r"\(?([A-Ja-j])(?:[.:)]{1,2}\s*(\S.*)?)?", re.DOTALL)
_LEAD_IN = re.compile(r"\A(?:the )?(?:correct |right |final )?(?:answer|option|choice)(?: is)?:? ")
_INTERVAL = re.compile(
    r"[\[(]?\s*([0-9]+(?:\.[0-9]+)?)\s*(?:s|seconds)?\s*(?:,|-|–|to)\s*([0-9]+(?:\.[0-9]+)?)\s*(?:s|seconds)?\s*[\])]?"
)
_INTERVAL_CHARACTERS = 100
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff]")


def exact_score(
    reference: str,
    prediction: str,
    options: Sequence[str] | None = None,
    kind: str | None = None,
    *,
    question: str = "",
    maths: Maths | None = None,
) -> Judgement:
    """Compares an answer with its reference.

    Args:
        reference: The right answer; where options are given, one of them or its letter.
        prediction: The answer under test. Where options are given, and only then, it may be a letter (``B``, ``(b)``,
            ``The answer is B``), an option's text, or both (``B. blue``) if they agree.
        options: The choices, at most the first ten of which have letters.
        kind: ``"grounding"`` compares intervals ``[start, end]`` in seconds: the score is their IoU.
        question: Where it names a unit, numbers without one are in it.
        maths: Compares formulas; None leaves them to their spelling.

    Returns:
        A judgement that always has a score. Its ``scores`` hold that as ``exact``, and where words were compared
        also ``token_f1``, the F1 of the words that both have, which decides nothing.

    Raises:
        ConfigError: The reference of a grounding question is not an interval.
    """
    version = _fingerprint(maths)
    if kind == "grounding":
        return _grounding_score(reference, prediction, version)
    if options:
        options = unlabelled(options)
        chosen, right = _chosen(prediction, options), _chosen(reference, options)
        if right is not None:
            said = f"chose {options[chosen]!r}" if chosen is not None else "chose none of the options"
            # By text, not by place: an option may be listed twice.
            agree = chosen is not None and _tokens(options[chosen]) == _tokens(options[right])
            return _judgement(float(agree), said, version)
    reference_tokens, predicted = _tokens(reference), _tokens(prediction)
    agree, how = _compare(reference, prediction, reference_tokens, predicted, question, maths)
    return _judgement(float(agree), how, version, token_f1=_token_f1(reference_tokens, predicted))


def exact_judge(config: JudgeConfig) -> Judge:
    """Makes the judge. Its option ``maths: true`` compares formulas with math-verify; ``audit`` names a folder.

    Raises:
        ConfigError: Another option, or a value that makes no sense.
        MissingExtraError: Formulas are to be compared and math-verify is not installed.
    """
    return audited(config, make_exact_judge)


def make_exact_judge(options: Mapping[str, Any]) -> ExactJudge:
    """The judge of these options, without an audit log.

    Raises:
        ConfigError: Another option than maths, or another value than true or false.
        MissingExtraError: As :func:`exact_judge`.
    """
    if unknown := sorted(set(options) - EXACT_OPTIONS):
        raise ConfigError(f"the judge 'exact' takes no options but maths and audit, not {', '.join(unknown)}")
    if not isinstance(wanted := options.get("maths", False), bool):
        raise ConfigError(f"the judge 'exact': maths must be true or false, not {wanted!r}")
    return ExactJudge(Maths() if wanted else None)


class ExactJudge:
    """:func:`exact_score` as a judge.

    Args:
        maths: Compares formulas; None leaves them to their spelling.

    Attributes:
        fingerprint: Names its version.
        scale: The scores that it gives to open answers and choices.
    """

    scale = (1.0, 0.0)

    def __init__(self, maths: Maths | None = None) -> None:
        self._maths = maths
        self.fingerprint = _fingerprint(maths)

    async def __call__(
        self,
        question: str,
        reference: str,
        prediction: str,
        *,
        options: Sequence[str] | None = None,
        kind: str | None = None,
    ) -> Judgement:
        """Judges one answer.

        Raises:
            ConfigError: As :func:`exact_score`.
        """

        def score() -> Judgement:
            return exact_score(reference, prediction, options, kind, question=question, maths=self._maths)

        # A comparison of formulas waits for another process.
        return score() if self._maths is None else await asyncio.to_thread(score)

    def close(self) -> None:
        """Ends the process that compares formulas."""
        if self._maths is not None:
            self._maths.close()


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


def is_choice(text: str, options: Sequence[str]) -> bool:
    """Whether a text names one of the options, by its letter or in words."""
    return _chosen(text, unlabelled(options)) is not None


def _fingerprint(maths: Maths | None) -> str:
    return FINGERPRINT if maths is None else f"{FINGERPRINT} math-verify/{maths.version}"


def _compare(
    reference: str,
    prediction: str,
    reference_tokens: list[str],
    predicted: list[str],
    question: str,
    maths: Maths | None,
) -> tuple[bool, str]:
    if _plain(reference) == _plain(prediction) != "":
        return True, "the same text"
    # Before the words: they say nothing of signs, so that $5 and €5 would be one.
    same = same_quantity(reference, prediction, question)
    if same is not None:
        return same, "compared as quantities"
    if reference_tokens == predicted:
        return bool(predicted), "compared as text"
    if maths is not None and (same := maths.agree(reference, prediction)) is not None:
        return same, "compared as formulas"
    if _relaxed_match(reference_tokens, predicted):
        return True, "compared as text, one inside the other"
    return False, "not the same words"


def _grounding_score(reference: str, prediction: str, version: str) -> Judgement:
    right, given = read_interval(reference), read_interval(prediction)
    if right is None:
        raise ConfigError(
            f"the answer of a grounding question must be an interval [start, end], not {reference[:80]!r}"
        )
    if given is None:
        return _judgement(0.0, "no interval in the answer", version)
    return _judgement(temporal.iou(given, right), "IoU of the intervals", version)


def _judgement(score: float, reason: str, version: str, **others: float) -> Judgement:
    verdict = "wrong" if score == 0 else "correct" if score == 1 else "partly"
    return Judgement(score, verdict, reason, fingerprint=version, scores={"exact": score, **others})


def _plain(text: str) -> str:
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    # ٥ and ५ are 5.
    return plain if plain.isascii() else re.sub(r"\d", lambda digit: str(unicodedata.decimal(digit[0])), plain)


def _tokens(text: str) -> list[str]:
    """Words and numbers in one spelling; punctuation and articles left out."""
    tokens = _joined_tens(_token().findall(_plain(text).replace("'", "").replace("’", "")))
    tokens = [_spelled(token) for token in tokens]
    # "A" may be all there is: a blood group, a note, a label.
    return [token for token in tokens if token not in _ARTICLES] or tokens


@functools.cache
def _token() -> re.Pattern[str]:
    """A number, with thousands in groups of three or without, a word, or a sign that makes another answer.

    A minus counts where no word stands before it. Of the other signs, C++ is not C, x < 3 not x > 3, 1/2 not 1-2.
    """
    # Vowel signs and accents that stand for themselves: without them "सेब" and "साब" would be one word.
    marks = "".join(mark for mark in map(chr, range(0x300, 0xFE30)) if unicodedata.category(mark)[0] == "M")
    return re.compile(
        r"(?:(?<!\w)-)?(?:(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|(?<!\w)\.[0-9]+)"
        rf"|[^\W_0-9](?:[^\W_0-9]|[{marks}])*"
        r"|(?<=\w)\+|[<>≤≥]|(?<=\w)\^(?=\w)|(?<=[0-9])/(?=[0-9])"
    )


def _joined_tens(tokens: list[str]) -> list[str]:
    """Twenty-five is one number, not 20 and 5."""
    joined: list[str] = []
    for token in tokens:
        tens = NUMBER_WORDS.get(joined[-1], 0) if joined else 0
        if tens >= 20 and 0 < NUMBER_WORDS.get(token, 0) < 10:
            joined[-1] = str(tens + NUMBER_WORDS[token])
        else:
            joined.append(token)
    return joined


def _token_f1(reference: list[str], predicted: list[str]) -> float:
    """F1 of the words in common; Chinese and Japanese, which write none, by the character."""
    right, given = Counter(_pieces(reference)), Counter(_pieces(predicted))
    common = (right & given).total()
    return 2 * common / (right.total() + given.total()) if common else 0.0


def _pieces(tokens: list[str]) -> list[str]:
    return [piece for token in tokens for piece in (token if _UNSPACED.search(token) else [token])]


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


def unlabelled(options: Sequence[str]) -> Sequence[str]:
    """The options' texts without their letters, where each one carries its own: ``["A. red", "B. blue"]``."""
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
