"""One answer as it grows, as HTML: a time line of what was looked at, the turns, and what it took.

::

    conversation = Conversation("with tools")
    asker.ask(video, question, watch=conversation)
    conversation.html()                      # <section> ... <button class="look" data-look="1" ...>
    conversation.looks[1].frames             # [(image, "60s"), ...]: what the click shows

All that a model or a tool wrote is escaped: nothing in it is markup, and nothing is fetched because of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

from longvt_plugins.asking.looks import call_text, images_of, label_of, looked_at, spread, what_it_took, why_not
from longvt_plugins.asking.parts import Kind, TurnParts
from longvt_plugins.events import AskedAgain, Called, Event, Opened, Replied, TurnEnded, Wrote
from longvt_plugins.transcript import is_error_reply
from longvt_plugins.types import Block, text_of
from longvt_plugins.video.sampling import format_seconds

if TYPE_CHECKING:
    from PIL import Image

    from longvt_plugins.asking import Answer

MAX_FRAMES = 128
"""Of one look that a click shows; evenly spaced where there are more."""

MAX_LOOKS = 64
MAX_CHARACTERS = 20_000
"""Of one text."""

STYLE = """
.longvt h3 { margin: .2rem 0 .4rem; font-size: 1rem; }
.longvt .line { position: relative; height: 2.2rem; border-radius: 4px; margin-bottom: 1.3rem;
  background: var(--background-fill-secondary, #eee); }
.longvt .line button { position: absolute; top: .35rem; height: 1.5rem; min-width: 6px; padding: 0; border: 0;
  border-radius: 3px; background: #d9822b; opacity: .8; cursor: pointer; }
.longvt .line button:hover, .longvt .line button:focus { opacity: 1; outline: 2px solid currentColor; }
.longvt .line .tick { position: absolute; bottom: 0; width: 1px; height: .35rem; background: #4a6fa5; }
.longvt .line .end { position: absolute; top: 2.25rem; font-size: .75rem; opacity: .7; }
.longvt .turn { white-space: pre-wrap; overflow-wrap: anywhere; border-left: 3px solid #4a6fa5; margin: .5rem 0;
  padding: .1rem .6rem; }
.longvt .thought { font-style: italic; opacity: .8; }
.longvt .answer { border-color: #2a9d5c; font-weight: 600; }
.longvt .call { border-color: #d9822b; font-family: ui-monospace, monospace; font-size: .9em; }
.longvt .reply.error { border-color: #c0392b; }
.longvt .look { cursor: pointer; text-decoration: underline; background: none; border: 0; padding: 0; font: inherit;
  color: inherit; }
.longvt .facts { font-size: .85rem; opacity: .75; }
"""


@dataclass(frozen=True)
class Look:
    """Frames that the model was shown at once.

    Attributes:
        title: What a person reads.
        frames: Images with their seconds.
        video: Name that the model knows, None where a call named none.
        marks: Spans of seconds.
    """

    title: str
    frames: list[tuple[Image.Image, str]]
    video: str | None
    marks: list[tuple[float, float]]


@dataclass
class Conversation:
    """The ``watch`` of one question.

    Args:
        title: Above it.
    """

    title: str
    looks: list[Look] = field(default_factory=list, init=False)
    _turns: list[tuple[str, str]] = field(default_factory=list, init=False)
    _parts: TurnParts = field(default_factory=TurnParts, init=False)
    _started: int = field(default=0, init=False)
    _durations: dict[str, float] = field(default_factory=dict, init=False)
    _calls: int = field(default=0, init=False)
    _facts: str = field(default="", init=False)
    _reason: str | None = field(default=None, init=False)

    def __call__(self, event: Event) -> None:
        """Takes in what happened."""
        if isinstance(event, Opened):
            self._durations = dict(event.durations)
            self._add_look("overview", event.messages[-1].get("content"), None, [])
            seconds = ", ".join(f"{name} lasts {format_seconds(end)} s" for name, end in event.durations.items())
            self._add("reply", f"{escape(seconds)}. {self._look_button(0)}")
        elif isinstance(event, Wrote):
            for kind, text in self._parts.feed(event.text):
                self._write(kind, text)
        elif isinstance(event, AskedAgain):
            del self._turns[self._started :]
            self._parts = TurnParts()
        elif isinstance(event, TurnEnded):
            for kind, text in self._parts.end():
                self._write(kind, text)
            self._parts = TurnParts()
            self._started = len(self._turns)
        elif isinstance(event, Called):
            self._add("call", escape(call_text(event.call, self._durations)))
        else:
            self._reply(event)
            self._started = len(self._turns)

    def finish(self, answer: Answer) -> None:
        """Says what it took, and why there is no answer where there is none."""
        self._facts = what_it_took(answer)
        self._reason = why_not(answer)

    def html(self) -> str:
        """As it stands at this moment."""
        turns = "".join(f'<div class="turn {kind}">{html}</div>' for kind, html in self._turns)
        reason = f'<div class="turn reply error">{escape(self._reason)}</div>' if self._reason else ""
        facts = f'<div class="facts">{escape(self._facts)}</div>' if self._facts else ""
        head = f"<h3>{escape(self.title)}</h3>{''.join(self._line(video) for video in self._durations)}"
        return f'<section class="longvt">{head}{turns}{reason}{facts}</section>'

    def _write(self, kind: Kind, text: str) -> None:
        if kind == "call":
            return
        if self._started < len(self._turns) and self._turns[-1][0] == kind:
            self._turns[-1] = (kind, (self._turns[-1][1] + escape(text))[:MAX_CHARACTERS])
        elif text.strip():
            self._add(kind, escape(text.lstrip())[:MAX_CHARACTERS])

    def _add(self, kind: str, html: str) -> None:
        self._turns.append((kind, html))

    def _reply(self, event: Replied) -> None:
        text = text_of({"role": "tool", "content": event.content}).strip()
        if is_error_reply(text):
            self._add("reply error", escape(text[:MAX_CHARACTERS]))
            return
        self._calls += 1
        shown = images_of(event.content)
        arguments = event.call["function"]["arguments"]
        video = arguments.get("video_path") if isinstance(arguments, dict) else None
        marks = looked_at(arguments, [block["time"] for block in shown if "time" in block])
        texts = [block["text"] for block in event.content if isinstance(block, dict) and block["type"] == "text"]
        told = (" ".join(texts[:1]) if shown else text)[:MAX_CHARACTERS]
        html = escape(f"{told} ({event.seconds:.1f} s) ")
        if shown and len(self.looks) < MAX_LOOKS:
            self._add_look(f"look {self._calls}", event.content, video if isinstance(video, str) else None, marks)
            html += self._look_button(len(self.looks) - 1)
        self._add("reply", html)

    def _add_look(
        self, title: str, content: list[Block] | str | None, video: str | None, marks: list[tuple[float, float]]
    ) -> None:
        shown = spread(images_of(content), MAX_FRAMES)
        self.looks.append(Look(title, [(block["image"], label_of(block)) for block in shown], video, marks))

    def _look_button(self, number: int) -> str:
        look = self.looks[number]
        count = len(look.frames)
        return (
            f'<button class="look" data-look="{number}">{look.title}: {count} frame{"" if count == 1 else "s"}</button>'
        )

    def _line(self, video: str) -> str:
        length = self._durations[video] or 1.0
        only = len(self._durations) == 1
        bars = []
        for number, look in enumerate(self.looks):
            if not (look.video == video or (only and look.video is None)):
                continue
            for start, end in look.marks:
                left = min(max(start / length, 0.0), 1.0) * 100
                width = max(min(end / length, 1.0) * 100 - left, 0.0)
                span = f"{format_seconds(start)}s to {format_seconds(end)}s"
                bars.append(
                    f'<button data-look="{number}" title="{look.title}: {span}" aria-label="{look.title}: {span}" '
                    f'style="left:{left:.3f}%;width:{width:.3f}%"></button>'
                )
        label = "" if only else f"{escape(video)} "
        ends = f'<span class="end">{label}0s</span><span class="end" style="right:0">{format_seconds(length)}s</span>'
        return f'<div class="line">{"".join(bars)}{ends}</div>'
