"""Lists of options whose right one is named by a letter, and the same list in another order.

>>> reordered(["A. red", "B. blue", "C. pink"], "C", [2, 0, 1])
(['A. pink', 'B. red', 'C. blue'], 'A')
>>> reordered(["red", "blue"], "A", [1, 0])
(['blue', 'red'], 'B')
"""

from __future__ import annotations

import string
from collections.abc import Sequence

LETTERS = string.ascii_uppercase


def letter_of(place: int) -> str:
    """The letter of an option."""
    return LETTERS[place]


def reordered(options: Sequence[str], answer: str, order: Sequence[int]) -> tuple[list[str], str]:
    """The options in another order, and the letter that the right one then has.

    Args:
        options: With letters of their own, such as ``A. red``, which stay in their places, or without.
        answer: The letter of the right one.
        order: The place that each one had.

    Raises:
        ValueError: The answer is not the letter of one of the options.
    """
    place = LETTERS.index(answer.strip().upper())
    if place >= len(options) or sorted(order) != list(range(len(options))):
        raise ValueError(f"answer {answer!r} and order {list(order)} do not fit {len(options)} options")
    labels = [f"{letter_of(at)}." for at in range(len(options))]
    if all(option.startswith(label) for option, label in zip(options, labels, strict=True)):
        texts = [option.removeprefix(label).strip() for option, label in zip(options, labels, strict=True)]
        moved = [f"{labels[at]} {texts[old]}" for at, old in enumerate(order)]
    else:
        moved = [options[old] for old in order]
    return moved, letter_of(list(order).index(place))
