"""What the offline reader replies where it is asked for JSON: it plays captioner, question writer, filter and teacher.

>>> fill_schema({"properties": {"caption": {}}}, messages, OfflineReader())
{'caption': '10 frames from 30s to 39s. The picture is gray and dark. A square is shown from 37s to 39s.'}

It goes by the names of the fields that it is asked for, and by nothing but what it is sent: pixels where there are
some, else the descriptions that stand in the text. A field that it does not know makes it describe the frames in
prose, which a client that wanted JSON has to refuse.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from longvt_plugins.synthetic.captions import describe_frames
from longvt_plugins.synthetic.dialogue import SeenFrame, read_dialogue
from longvt_plugins.synthetic.questions import find_question, question_texts
from longvt_plugins.synthetic.reader import TOOL, OfflineReader
from longvt_plugins.types import TimeSpan, text_of

_SECOND = r"(\d{1,9}(?:\.\d+)?)s"
_SHOWN = re.compile(rf"A ([a-z]+) is shown (?:at {_SECOND}|from {_SECOND} to {_SECOND})\.")
_FLASHED = re.compile(rf"A ([a-z]+) flashes ([a-z]+) (?:at {_SECOND}|from {_SECOND} to {_SECOND})\.")
_LOOK = re.compile(r"The picture is ([a-z]+) and [a-z ]+\.")
_QUOTED = re.compile(r'"([^"]*)"')
_SENTENCE = re.compile(r"[A-Z0-9][^.]*(?:\.\d[^.]*)*\.")
_WINDOW = re.compile(r"from (\d+(?:\.\d+)?) s to (\d+(?:\.\d+)?) s")
_ANSWER = re.compile(r'Answer: "([^"]*)"')
_ASKED_BEFORE = re.compile(r"^- (.+\?)$", re.MULTILINE)

_HALF_GAP = 0.5
"""Seconds: captions are written from a frame a second, so what was seen came and went half a second off."""

_ONE_FLASH = 1.6
"""Seconds between two sights of a colour that are one flash, told in two captions."""

_TYPES = {"what": "attribute", "how_many": "count", "after": "order", "before": "order"}


@dataclass
class _Facts:
    """What descriptions say of one shape.

    Attributes:
        seen: First and last second of every time it is mentioned.
        shown: Whether it was seen without a flash: others only flash, and nobody can find them.
        flashes: Colours with their first and last second, in order of time.
    """

    seen: list[tuple[float, float]] = field(default_factory=list)
    shown: bool = False
    flashes: list[tuple[str, float, float]] = field(default_factory=list)

    @property
    def span(self) -> TimeSpan:
        """From half a second before it was first seen to half a second after."""
        start = min(start for start, _ in self.seen) - _HALF_GAP
        return TimeSpan(max(0.0, start), max(end for _, end in self.seen) + _HALF_GAP)

    @property
    def colours(self) -> list[str]:
        """Of its flashes, one after the other."""
        return [colour for colour, _, _ in self.flashes]


def fill_schema(
    schema: Mapping[str, Any], messages: Sequence[Mapping[str, Any]], reader: OfflineReader
) -> dict[str, Any] | None:
    """A reply of a JSON Schema.

    Args:
        schema: Of an object.
        messages: The conversation, in memory or from the wire.
        reader: Plans the first look of a teacher.

    Returns:
        None for fields that it does not know.

    Raises:
        ChatError: The messages cannot be read.
    """
    properties = schema.get("properties")
    names = frozenset(properties) if isinstance(properties, Mapping) else frozenset()
    for wanted, fill in _ROLES.items():
        if names == wanted:
            return fill(messages, reader)
    return None


def _caption(messages: Sequence[Mapping[str, Any]], reader: OfflineReader) -> dict[str, Any]:
    frames = _frames(messages)
    if frames:
        return {"caption": describe_frames(frames)}
    return {"caption": " ".join(_sentences(_descriptions(messages)))}


def _same_event(messages: Sequence[Mapping[str, Any]], reader: OfflineReader) -> dict[str, Any]:
    parts = [set(_facts(text)) for text in _descriptions(messages)[:2]]
    return {"same_event": len(parts) == 2 and (bool(parts[0] & parts[1]) or not (parts[0] or parts[1]))}


def _question(messages: Sequence[Mapping[str, Any]], reader: OfflineReader) -> dict[str, Any]:
    told = _descriptions(messages)
    asked = set(_ASKED_BEFORE.findall(_text(messages)))
    for shape, facts in _facts(" ".join(told)).items():
        if not facts.shown or not facts.flashes:
            continue
        for family, answer in _answers(facts).items():
            text = next(text for text in question_texts(shape) if find_question(text) == (family, shape))
            if text not in asked:
                span = facts.span
                return _pair(text, answer, span.start, span.end, _TYPES[family])
    windows = [tuple(map(float, found)) for found in _WINDOW.findall(_text(messages))] or [(0.0, 1.0)]
    look = _LOOK.search(" ".join(told))
    colour = look[1] if look else "gray"
    return _pair("Which colour has the picture?", colour, windows[0][0], windows[0][1], "attribute")


def _pair(question: str, answer: str, start: float, end: float, kind: str) -> dict[str, Any]:
    return {"question": question, "answer": answer, "start": start, "end": end, "question_type": kind}


def _answers(facts: _Facts) -> dict[str, str]:
    """What can be asked about a shape, the plainest first."""
    colours = facts.colours
    if len(colours) == 1:
        return {"what": colours[0], "how_many": "1"}
    later = {"after": colours[1], "before": colours[-2]} if len(colours) > 2 else {}
    return {**later, "how_many": str(len(colours))}


def _summary(messages: Sequence[Mapping[str, Any]], reader: OfflineReader) -> dict[str, Any]:
    sentences = [text for text in _sentences(_descriptions(messages)) if text.startswith("A ")]
    return {"summary": " ".join(sentences) or "Nothing is shown but figures that drift by."}


def _text_verdict(messages: Sequence[Mapping[str, Any]], reader: OfflineReader) -> dict[str, Any]:
    text = _text(messages)
    family, shape = find_question(text) or ("", "")
    colours = set(_facts(text).get(shape, _Facts()).colours)
    ambiguous = not family or (family == "what" and len(colours) > 1)
    return {
        "ambiguous": ambiguous,
        "outside_knowledge": False,
        "subjective": False,
        "several_questions": False,
        "specificity": 0.9 if family else 0.2,
        "clarity": 0.4 if ambiguous else 0.9,
        "reason": "more than one answer fits" if ambiguous else "it asks for one thing that happens",
    }


def _blind(messages: Sequence[Mapping[str, Any]], reader: OfflineReader) -> dict[str, Any]:
    # Answers in the synthetic world are drawn evenly: nobody knows one without having looked.
    return {"knows": False, "answer": ""}


def _clip_verdict(messages: Sequence[Mapping[str, Any]], reader: OfflineReader) -> dict[str, Any]:
    text = _text(messages)
    family, shape = find_question(text) or ("", "")
    facts = _facts(describe_frames(_frames(messages))).get(shape)
    found, window = _ANSWER.search(text), _WINDOW.search(text)
    if facts is None or found is None or window is None:
        scores, reason = (0.0, 0.0, 0.5, 0.0), "what is asked about is not seen"
    else:
        is_right = _answers(facts).get(family) == found[1] if facts.flashes else False
        told = TimeSpan(*sorted((float(window[1]), float(window[2]))))
        scores = (1.0, float(is_right), 1.0, _overlap(facts.span, told))
        reason = "the frames show it" if is_right else "the frames show something else"
    names = ("relevance", "evidence", "clarity", "timing")
    return {**dict(zip(names, scores, strict=True)), "reason": reason}


def _plan(messages: Sequence[Mapping[str, Any]], reader: OfflineReader) -> dict[str, Any]:
    turn = reader.write(messages, [{"type": "function", "function": {"name": TOOL}}])
    thought = re.sub(r"</?think>|<answer>.*</answer>", "", text_of(turn)).strip()
    for call in turn.get("tool_calls", ()):
        arguments: Any = call["function"]["arguments"]
        return {"thought": thought, "start": float(arguments["start_time"]), "end": float(arguments["end_time"])}
    length = read_dialogue(messages).length or 1.0
    return {"thought": thought or "Nothing stands out.", "start": 0.0, "end": length}


_Fill = Callable[[Sequence[Mapping[str, Any]], OfflineReader], dict[str, Any]]

_ROLES: dict[frozenset[str], _Fill] = {
    frozenset({"caption"}): _caption,
    frozenset({"same_event"}): _same_event,
    frozenset({"question", "answer", "start", "end", "question_type"}): _question,
    frozenset({"summary"}): _summary,
    frozenset(
        {"ambiguous", "outside_knowledge", "subjective", "several_questions", "specificity", "clarity", "reason"}
    ): _text_verdict,
    frozenset({"knows", "answer"}): _blind,
    frozenset({"relevance", "evidence", "clarity", "timing", "reason"}): _clip_verdict,
    frozenset({"thought", "start", "end"}): _plan,
}


def _frames(messages: Sequence[Mapping[str, Any]]) -> tuple[SeenFrame, ...]:
    return read_dialogue(messages).overview


def _text(messages: Sequence[Mapping[str, Any]]) -> str:
    """The first message of the user, without its frames: a complaint about a reply changes nothing."""
    for message in messages:
        if message.get("role") == "user":
            return read_dialogue([message]).question
    return ""


def _descriptions(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    return [told for told in _QUOTED.findall(_text(messages)) if _SENTENCE.search(told)]


def _sentences(texts: Sequence[str]) -> list[str]:
    """Every sentence once, in the order in which they come."""
    return list(dict.fromkeys(found for text in texts for found in _SENTENCE.findall(text)))


def _facts(text: str) -> dict[str, _Facts]:
    """What a text says of each shape."""
    facts: dict[str, _Facts] = {}
    for shape, *times in _SHOWN.findall(text):
        own = facts.setdefault(shape, _Facts())
        own.seen.append(_stretch(times))
        own.shown = True
    for shape, colour, *times in _FLASHED.findall(text):
        own = facts.setdefault(shape, _Facts())
        start, end = _stretch(times)
        own.seen.append((start, end))
        own.flashes.append((colour, start, end))
    for own in facts.values():
        own.flashes = _joined(own.flashes)
    return facts


def _stretch(times: Sequence[str]) -> tuple[float, float]:
    at, start, end = times
    return (float(at), float(at)) if at else (float(start), float(end))


def _joined(flashes: Sequence[tuple[str, float, float]]) -> list[tuple[str, float, float]]:
    joined: list[tuple[str, float, float]] = []
    for colour, start, end in sorted(set(flashes), key=lambda flash: flash[1:]):
        if joined and joined[-1][0] == colour and start - joined[-1][2] <= _ONE_FLASH:
            joined[-1] = (colour, joined[-1][1], max(end, joined[-1][2]))
        else:
            joined.append((colour, start, end))
    return joined


def _overlap(one: TimeSpan, other: TimeSpan) -> float:
    from longvt_plugins.temporal import iou

    return round(iou(one, other), 4)
