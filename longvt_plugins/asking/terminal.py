"""What happens while a question is answered, printed as it happens.

::

    video_1.mp4 lasts 96 s; 16 frames shown
    think   The square shows between 38 s and 52 s.
    call    crop_video(start_time=38, end_time=52)
            0s ────────────────────────▐████████▌──────────────────── 96s
            14 frames from 38s to 52s: (0.1 s)
    think   It flashes red.
    answer  red

    answered in 2.1 s: 2 turns, 30 frames, 1,021 tokens read, 74 written

What a model or a file says is printed as text: nothing in it can move the cursor, ring or recolour the terminal.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from longvt_plugins.asking.looks import call_text, images_of, looked_at, what_it_took, why_not
from longvt_plugins.asking.parts import Kind, TurnParts
from longvt_plugins.asking.thumbnails import Way, frame_strip, terminal_picture
from longvt_plugins.events import AskedAgain, Called, Event, Opened, Replied, TurnEnded, Wrote
from longvt_plugins.transcript import is_error_reply
from longvt_plugins.types import FunctionCall, text_block, text_of
from longvt_plugins.video.sampling import format_seconds

if TYPE_CHECKING:
    from rich.console import Console

    from longvt_plugins.asking.asker import Answer

THUMBNAILS = 8
"""Of one reply."""

_LABELS: dict[Kind, tuple[str, str]] = {
    "thought": ("think", "dim"),
    "answer": ("answer", "bold green"),
    "text": ("text", ""),
}
_INDENT = 8
_LONGEST_REPLY = 500
_NARROWEST_LINE, _WIDEST_LINE = 20, 60


class TerminalWatch:
    """Prints what happens; the ``watch`` of one question.

    Args:
        console: Where.
        thumbnails: How pictures are shown.
    """

    def __init__(self, console: Console, thumbnails: Way = "none") -> None:
        self._console = console
        self._thumbnails = thumbnails
        self._durations: dict[str, float] = {}
        self._parts = TurnParts()
        self._printed: Kind | None = None

    def __call__(self, event: Event) -> None:
        """Prints one event."""
        if isinstance(event, Opened):
            self._open(event)
        elif isinstance(event, Wrote):
            for kind, text in self._parts.feed(event.text):
                self._write(kind, text)
        elif isinstance(event, AskedAgain):
            self._end_line()
            self._line("again", "the turn broke off and is asked for again", "yellow")
            self._parts = TurnParts()
        elif isinstance(event, TurnEnded):
            for kind, text in self._parts.end():
                self._write(kind, text)
            self._end_line()
            self._parts = TurnParts()
            if event.completion.stop_reason == "length":
                self._line("", "cut off at the longest turn (--max-tokens)", "yellow")
        elif isinstance(event, Called):
            self._call(event.call)
        else:
            self._reply(event)

    def _open(self, event: Opened) -> None:
        self._durations = dict(event.durations)
        question = event.messages[-1].get("content")
        lengths = ", ".join(f"{name} lasts {format_seconds(length)} s" for name, length in self._durations.items())
        self._line("", f"{lengths}; {len(images_of(question))} frames shown")
        self._pictures(question)

    def _write(self, kind: Kind, text: str) -> None:
        """Text as it comes; calls are printed when they are run."""
        if kind == "call":
            return
        text = printable(text)
        if kind != self._printed:
            text = text.lstrip()
            if not text:
                return
            self._end_line()
            self._label(*_LABELS[kind])
            self._printed = kind
        style = "italic dim" if kind == "thought" else "bold" if kind == "answer" else ""
        self._console.print(text, end="", style=style, markup=False, highlight=False, soft_wrap=True)

    def _end_line(self) -> None:
        if self._printed is not None:
            self._console.print()
            self._printed = None

    def _label(self, label: str, style: str = "") -> None:
        self._console.print(f"{label:<{_INDENT}}", end="", style=style, markup=False, highlight=False)

    def _line(self, label: str, text: str, style: str = "") -> None:
        self._label(label, "bold" if label else "")
        self._console.print(printable(text), style=style, markup=False, highlight=False, soft_wrap=True)

    def _call(self, call: FunctionCall) -> None:
        self._line("call", call_text(call, self._durations), "cyan")

    def _reply(self, event: Replied) -> None:
        text = text_of({"role": "tool", "content": event.content}).strip()
        if is_error_reply(text):
            self._line("", _cut(text, _LONGEST_REPLY), "red")
            return
        arguments = event.call["function"]["arguments"]
        video = arguments.get("video_path") if isinstance(arguments, dict) else None
        duration = self._durations.get(video) if isinstance(video, str) else None
        content = event.content if isinstance(event.content, list) else [text_block(text)]
        times = [block["time"] for block in images_of(event.content) if "time" in block]
        if duration and (marks := looked_at(arguments, times)):
            width = min(_WIDEST_LINE, max(_NARROWEST_LINE, self._console.width - _INDENT - 20))
            self._line("", f"0s {time_line(marks, duration, width)} {format_seconds(duration)}s", "cyan")
        # The seconds between the frames stand below the pictures.
        texts = [block["text"] for block in content if block["type"] == "text"] if times else [text]
        self._line("", f"{_cut(' '.join(texts[:1]).strip(), _LONGEST_REPLY)} ({event.seconds:.1f} s)", "dim")
        self._pictures(event.content)

    def _pictures(self, content: Any) -> None:
        if self._thumbnails == "none" or (strip := frame_strip(content, THUMBNAILS)) is None:
            return
        shown = terminal_picture(strip, self._thumbnails, self._console.width)
        if shown is not None:
            self._console.print(shown)


def time_line(marks: list[tuple[float, float]], duration: float, width: int) -> str:
    """Spans on a line.

    >>> time_line([(25, 50), (90, 90)], 100, 20)
    '─────█████────────█─'

    Args:
        marks: Spans in seconds.
        duration: Of the video in seconds.
        width: Letters.
    """
    line = ["─"] * width
    for start, end in marks:
        first = min(max(math.floor(start / duration * width), 0), width - 1)
        last = min(max(math.ceil(end / duration * width), first + 1), width)
        line[first:last] = "█" * (last - first)
    return "".join(line)


def print_summary(console: Console, answer: Answer) -> None:
    """The last lines: what it took, and why there is no answer where there is none."""
    if (reason := why_not(answer)) is not None:
        style = "yellow" if answer.error is None else "red"
        console.print(printable(reason), style=style, markup=False, highlight=False)
    console.print(what_it_took(answer), style="dim", markup=False, highlight=False, soft_wrap=True)


def printable(text: str) -> str:
    r"""Text without anything that a terminal would obey.

    >>> printable("red\x1b[2J")
    'red�[2J'
    """
    return "".join(letter if letter.isprintable() or letter == "\n" else "\ufffd" for letter in text)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}..."
