"""What is asked about a synthetic video, and the answer.

================  ==============================================================  =================
family            question                                                        answer
================  ==============================================================  =================
what              Which colour does the square flash?                             red
how_many          How many times does the square flash?                           2
order             In which order does the square flash its colours?               red, blue (a choice)
after             Which colour does the square flash right after its first flash? blue
before            Which colour does the square flash right before its last flash? red
when              When is the square shown?                                       [37.0, 53.0] (grounding)
================  ==============================================================  =================

Answers are drawn evenly and independently of everything that the question says, so that a reader of
the text alone stays at chance, the share of the most frequent answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from longvt_plugins.errors import ConfigError
from longvt_plugins.rows import RowKind
from longvt_plugins.synthetic.world import COLOURS, Event
from longvt_plugins.video.sampling import format_seconds

if TYPE_CHECKING:
    import numpy as np

FAMILIES = ("what", "how_many", "order", "after", "before", "when")
"""Question families, in the order in which a folder of videos cycles through them."""

_TEXTS = {
    "what": "Which colour does the {shape} flash?",
    "how_many": "How many times does the {shape} flash?",
    "order": "In which order does the {shape} flash its colours?",
    "after": "Which colour does the {shape} flash right after its first flash?",
    "before": "Which colour does the {shape} flash right before its last flash?",
    "when": "When is the {shape} shown?",
}


SEEN = {"what": (1, 2), "how_many": (2,), "order": (2,), "after": (2,), "before": (2,), "when": (1, 2)}
"""In how many overview frames a family's event is seen: the same for every answer of the family."""


@dataclass(frozen=True)
class Question:
    """A question about one event of a video."""

    family: str
    kind: RowKind
    text: str
    answer: str
    options: tuple[str, ...] | None = None


def check_families(families: tuple[str, ...]) -> None:
    """Refuses a family that does not exist.

    Raises:
        ConfigError: It is named, and so are those that exist.
    """
    if unknown := [family for family in families if family not in FAMILIES]:
        raise ConfigError(f"no question family {', '.join(map(repr, unknown))}; there are: {', '.join(FAMILIES)}")


def draw_flashes(family: str, number: int, rng: np.random.Generator) -> tuple[str, ...]:
    """Colours of the flashes that a question of this family needs.

    Args:
        family: See :data:`FAMILIES`.
        number: Which video of the family this is: answers take turns, so that each is equally frequent.
        rng: Draws what the answer does not fix.
    """
    colours = list(COLOURS)
    turn = colours[number % len(colours)]
    other = [str(colour) for colour in rng.choice(colours, size=2)]
    if family == "how_many":
        return tuple(str(colour) for colour in rng.choice(colours, size=1 + number % 3))
    if family == "order":
        # Two different colours, or the order could not be told.
        return tuple(str(colour) for colour in rng.choice(colours, size=2, replace=False))
    if family == "after":
        return (other[0], turn, other[1])
    if family == "before":
        return (other[0], turn, other[1])
    return (turn,)


def ask(family: str, event: Event, rng: np.random.Generator) -> Question:
    """The question of a family about an event, with its answer read from the script."""
    colours = [flash.colour for flash in event.flashes]
    text = _TEXTS[family].format(shape=event.shape)
    if family == "what":
        return Question(family, "open", text, colours[0])
    if family == "how_many":
        return Question(family, "open", text, str(len(colours)))
    if family == "order":
        return _ask_order(text, colours, rng)
    if family == "after":
        return Question(family, "open", text, colours[1])
    if family == "before":
        return Question(family, "open", text, colours[-2])
    span = f"[{format_seconds(event.hint.start)}, {format_seconds(event.hint.end)}]"
    return Question(family, "grounding", text, span)


def _ask_order(text: str, colours: list[str], rng: np.random.Generator) -> Question:
    # Both orders of the true pair and of another one: no option is told apart by what it holds.
    rest = [colour for colour in COLOURS if colour not in colours]
    false = [str(colour) for colour in rng.choice(rest, size=2, replace=False)]
    pairs = [colours, colours[::-1], false, false[::-1]]
    options = [", ".join(pairs[place]) for place in rng.permutation(4)]
    return Question("order", "choice", text, ", ".join(colours), tuple(options))


def find_question(text: str) -> tuple[str, str] | None:
    """Family and shape of the question that a text holds, None if it is none of ours."""
    for family, template in _TEXTS.items():
        if found := re.search(re.escape(template).replace(r"\{shape\}", "([a-z]+)"), text):
            return family, found[1]
    return None


def question_texts(shape: str = "square") -> list[str]:
    """Every question that can be asked about a shape."""
    return [text.format(shape=shape) for text in _TEXTS.values()]
