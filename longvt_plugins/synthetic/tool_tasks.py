"""Questions that need one tool: each can be answered with it, and not by looking with ``crop_video``.

================  ==========================================================  ===========  ============================
task              question                                                    answer       why a crop does not do
================  ==========================================================  ===========  ============================
zoom_region       Which shape does the small red sign have?                   disc         2 pixels of a crop's frame
get_frames        Which colours does the square flash at 4.5 s, 15 s, ...?    red, ...     7 moments, and 5 calls
crop_video:fps    How often does the square flash between 40 s and 42 s?      3            8 pictures in each second
search_subtitles  Which colour does the speaker say the heron is?             blue         it is said, not shown
search_captions   Which colour does the caption give the heron?               blue         it is told, not shown
search_frames     Which shape lights up in purple?                            disc         2 of 600 seconds, anywhere
transcribe        Which colour does the voice give the heron?                 blue         it is said, not shown
================  ==========================================================  ===========  ============================

::

    DIR/tools.parquet                                     the rows
    DIR/videos/zoom_region/00000.mp4 ...                  a video each; subtitles and captions lie beside theirs

Frames are those of the preset ``tiny``: an overview of 16 frames and crops of 8, all of 28x28 pixels. The reader that
calls the tools is in tool_reader.py. ``search_frames`` and ``transcribe`` need models that know this world: those of
frame_model.py and speech_model.py, ``longvt synth models``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from longvt_plugins.errors import ConfigError
from longvt_plugins.registry import did_you_mean
from longvt_plugins.rows import Row, write_rows
from longvt_plugins.sound import RATE
from longvt_plugins.synthetic.make import VIDEO_NAME
from longvt_plugins.synthetic.render import Renderer, shape_distances, write_video
from longvt_plugins.synthetic.voice import speak
from longvt_plugins.synthetic.world import COLOURS, SHAPES, TINY, Distractor, Event, Flash, Script, derive_seed
from longvt_plugins.types import TimeSpan
from longvt_plugins.video.sampling import format_seconds

if TYPE_CHECKING:
    from numpy.typing import NDArray

SOURCE = "longvt_synthetic_tools"

VERSION = 1
"""Raised when the same seed draws other videos."""

SIGN_QUESTION = "Which shape does the small red sign have: {shapes}?"
MOMENTS_QUESTION = "Which colours does the square flash at {moments}, in this order?"
COUNT_QUESTION = "How often does the square flash between {start} s and {end} s?"
SPEECH_QUESTION = "Which colour does the speaker say the {animal} is?"
CAPTION_QUESTION = "Which colour does the caption give the {animal}?"
SEARCH_QUESTION = "Which shape lights up in {colour}: {shapes}?"
VOICE_QUESTION = "Which colour does the voice give the {animal}?"

SPOKEN = "The {animal} is {colour}."
TOLD = "A {colour} {animal} passes."
HEARD = "the {animal} is {colour}"

ANIMALS = ("heron", "otter", "lizard", "camel", "badger", "parrot", "salmon", "beetle", "donkey", "falcon")

SIGN_COLOUR = "red"
"""Of every sign: its colour tells nothing."""

MOMENTS = 7
"""More than a rollout has calls by default."""

FLASH_FPS = 8
"""Of the videos whose flashes are counted: a flash is on screen for one or two pictures."""

COUNTED_SECONDS = 2

SEARCHED_SECONDS, LIT_SECONDS = 600.0, 2.0
"""Of a film that is searched for a colour, and how long each colour is on screen."""

HEARD_SECONDS = 75.0
"""Of a film with a voice: five of the pieces that ``transcribe`` hears, with two sentences each."""

_DURATION = 96.0
"""Seconds of a video with moments; the others, but for these two, are shorter."""


@dataclass(frozen=True)
class Task:
    """One video, what lies beside it, and its question."""

    script: Script
    question: str
    answer: str
    segment: tuple[float, float] | None = None
    renderer: Renderer | None = None
    beside: tuple[str, str] | None = None
    sound: NDArray[np.float32] | None = None


class SignRenderer(Renderer):
    """A script with a small sign in it.

    Args:
        script: Everything else.
        shape: Of the sign.
        half: Half its width in pixels.
        centre: Where it is, across and down, in pixels.
        span: When it is shown.
    """

    def __init__(self, script: Script, shape: str, half: int, centre: tuple[int, int], span: TimeSpan) -> None:
        super().__init__(script)
        # Inside a picture whose shapes are 0.3 of its side.
        side = round(half / 0.3)
        self._mask: NDArray[np.bool_] = shape_distances((side, side), (side, side))[shape] < 1
        self._left, self._top = centre[0] - side // 2, centre[1] - side // 2
        self._span = span

    def frame(self, time: float) -> NDArray[np.uint8]:
        """The picture at one moment, in seconds."""
        pixels = super().frame(time)
        if time in self._span:
            height, width = self._mask.shape
            pixels[self._top : self._top + height, self._left : self._left + width][self._mask] = COLOURS[SIGN_COLOUR]
        return pixels


def make_tool_tasks(folder: str | Path, tasks: Sequence[str], count: int, seed: int) -> list[Row]:
    """Writes videos, what belongs beside them, and the rows.

    Args:
        folder: Where to; videos that are there are kept.
        tasks: Names of :data:`TASKS`.
        count: Videos of each.
        seed: Another seed is another world.

    Returns:
        The rows, as they are written to ``tools.parquet``.

    Raises:
        ConfigError: There is no such task, or the folder holds videos of it that were drawn otherwise.
    """
    folder = Path(folder)
    for name in tasks:
        if name not in TASKS:
            raise ConfigError(f"no task {name!r}.{did_you_mean(name, TASKS)} There are: {', '.join(TASKS)}")
    rows = []
    for name in tasks:
        place = folder.absolute() / "videos" / name.replace(":", "_")
        _claim(place, {"version": VERSION, "seed": seed, "count": count})
        # Answers take turns, and the turns are shuffled, so that no number of a row tells its answer.
        turns = np.random.default_rng(derive_seed(SOURCE, seed, name)).permutation(count)
        for number in range(count):
            rng = np.random.default_rng(derive_seed(SOURCE, seed, name, number))
            task = TASKS[name](rng, int(turns[number]))
            file = place / f"{number:05d}.mp4"
            if not file.is_file():
                if task.beside is not None:
                    suffix, text = task.beside
                    file.with_suffix(suffix).write_text(text, encoding="utf-8")
                write_video(task.script, file, task.renderer, task.sound)
            rows.append(_row(name, number, seed, task, file))
    write_rows(rows, folder / "tools.parquet")
    return rows


def _claim(place: Path, drawn: dict[str, int]) -> None:
    """A folder holds what was drawn once: rows of another seed would tell wrong answers of its videos."""
    manifest = place / "drawn.json"
    try:
        place.mkdir(parents=True, exist_ok=True)
        if not manifest.exists():
            manifest.write_text(json.dumps(drawn), encoding="utf-8")
        found = manifest.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{place} cannot be a folder: {error.strerror}") from error
    if found != json.dumps(drawn):
        raise ConfigError(f"{place} holds videos drawn otherwise ({found[:200]}); choose another folder")


def _row(name: str, number: int, seed: int, task: Task, file: Path) -> Row:
    return {
        "id": f"tools-{seed}-{name.replace(':', '_')}-{number:05d}",
        "videos": {VIDEO_NAME: str(file)},
        "kind": "open",
        "question": task.question,
        "answer": task.answer,
        "video_segment": list(task.segment) if task.segment is not None else None,
        "options": None,
        "source": f"{SOURCE}/{name}",
    }


def _script(
    rng: np.random.Generator,
    *,
    duration: float = _DURATION,
    fps: int = 4,
    size: tuple[int, int] = TINY.size,
    events: tuple[Event, ...] = (),
    distractors: tuple[Distractor, ...] = (),
) -> Script:
    cuts = tuple(float(cut) for cut in np.arange(0, duration, 24))
    return Script(int(rng.integers(2**31)), duration, fps, size, cuts, events, distractors)


def _draw_sign(rng: np.random.Generator, turn: int) -> Task:
    shape = SHAPES[turn % len(SHAPES)]
    side = 336
    script = _script(rng, duration=48.0, fps=1, size=(side, side))
    # Sizes overlap, so that the area of the spot that a small frame shows is not that of one shape alone.
    half = int(rng.integers(8, 15))
    across, down = (int(place) for place in rng.integers(50, side - 50, size=2))
    start = float(rng.integers(3, 24))
    span = TimeSpan(start, start + 20)
    renderer = SignRenderer(script, shape, half, (across, down), span)
    question = SIGN_QUESTION.format(shapes=", ".join(SHAPES))
    return Task(script, question, shape, (span.start, span.end), renderer)


def _draw_moments(rng: np.random.Generator, turn: int) -> Task:
    # Farther apart than a crop of 8 frames at 1 fps is long.
    gaps = _DURATION / MOMENTS
    moments = [float(round((number * gaps + rng.uniform(1, gaps - 9)) * 4) / 4) for number in range(MOMENTS)]
    names = list(COLOURS)
    colours = [names[turn % len(names)], *(str(colour) for colour in rng.choice(names, size=MOMENTS - 1))]
    flashes = tuple(
        Flash(colour, TimeSpan(moment, moment + 0.5)) for colour, moment in zip(colours, moments, strict=True)
    )
    script = _script(rng, events=(Event("square", TimeSpan(0, _DURATION), flashes),))
    told = ", ".join(f"{format_exact(moment)} s" for moment in moments)
    return Task(script, MOMENTS_QUESTION.format(moments=told), ", ".join(colours))


def _draw_count(rng: np.random.Generator, turn: int) -> Task:
    count = 1 + turn % 5
    start = float(rng.integers(5, 25))
    ticks = COUNTED_SECONDS * FLASH_FPS
    # Starts at least two pictures apart, so that one picture without light parts any two flashes.
    free = rng.choice((ticks - 1) // 2, size=count, replace=False)
    colour = str(rng.choice(list(COLOURS)))
    flashes = tuple(
        Flash(colour, TimeSpan(start + 2 * int(place) / FLASH_FPS, start + (2 * int(place) + 1) / FLASH_FPS))
        for place in sorted(free)
    )
    script = _script(
        rng, duration=32.0, fps=FLASH_FPS, events=(Event("square", TimeSpan(start - 4, start + 6), flashes),)
    )
    question = COUNT_QUESTION.format(start=format_seconds(start), end=format_seconds(start + COUNTED_SECONDS))
    return Task(script, question, str(count), (start, start + COUNTED_SECONDS))


def _draw_speech(rng: np.random.Generator, turn: int) -> Task:
    animal, colour, lines = _draw_lines(rng, turn)
    text = "\n\n".join(
        f"{number}\n{_clock(start)} --> {_clock(start + 2)}\n{SPOKEN.format(animal=named, colour=of)}"
        for number, (start, named, of) in enumerate(lines, start=1)
    )
    return Task(
        _script(rng, duration=32.0, fps=1), SPEECH_QUESTION.format(animal=animal), colour, beside=(".srt", text + "\n")
    )


def _draw_caption(rng: np.random.Generator, turn: int) -> Task:
    animal, colour, lines = _draw_lines(rng, turn)
    text = "\n".join(
        json.dumps({"start": start, "end": start + 3, "caption": TOLD.format(animal=named, colour=of)})
        for start, named, of in lines
    )
    question = CAPTION_QUESTION.format(animal=animal)
    return Task(_script(rng, duration=32.0, fps=1), question, colour, beside=(".captions.jsonl", text + "\n"))


def _draw_search(rng: np.random.Generator, turn: int) -> Task:
    """Each colour once, in a shape that it does not tell, never when the overview looks."""
    gap = SEARCHED_SECONDS / TINY.overview.max_frames
    places = rng.choice(TINY.overview.max_frames, size=len(COLOURS), replace=False)
    asked = str(rng.choice(list(COLOURS)))
    shown = []
    for colour, place in zip(COLOURS, places, strict=True):
        shape = SHAPES[turn % len(SHAPES)] if colour == asked else str(rng.choice(SHAPES))
        start = float(round(int(place) * gap + rng.uniform(2, gap - LIT_SECONDS - 2)))
        shown.append(Distractor(shape, Flash(colour, TimeSpan(start, start + LIT_SECONDS))))
    shown.sort(key=lambda each: each.flash.span.start)
    (found,) = [each for each in shown if each.flash.colour == asked]
    script = _script(rng, duration=SEARCHED_SECONDS, fps=1, distractors=tuple(shown))
    question = SEARCH_QUESTION.format(colour=asked, shapes=", ".join(SHAPES))
    return Task(script, question, found.shape, (found.flash.span.start, found.flash.span.end))


def _draw_voice(rng: np.random.Generator, turn: int) -> Task:
    animal, colour, lines = _draw_lines(rng, turn)
    sound = np.zeros(round(HEARD_SECONDS * RATE), np.float32)
    each = HEARD_SECONDS / len(lines)
    for number, (_, named, of) in enumerate(lines):
        spoken = speak(HEARD.format(animal=named, colour=of))
        # A word that is said where two pieces meet may be lost, so that no sentence reaches over.
        begin = round((number * each + rng.uniform(0.2, each - len(spoken) / RATE - 0.2)) * RATE)
        sound[begin : begin + len(spoken)] = spoken
    script = _script(rng, duration=HEARD_SECONDS, fps=1)
    return Task(script, VOICE_QUESTION.format(animal=animal), colour, sound=sound)


def _draw_lines(rng: np.random.Generator, turn: int) -> tuple[str, str, list[tuple[float, str, str]]]:
    """An animal, its colour, and a line for each of all animals: second, animal, colour."""
    names = list(COLOURS)
    colour = names[turn % len(names)]
    order = [ANIMALS[place] for place in rng.permutation(len(ANIMALS))]
    animal = str(rng.choice(list(ANIMALS)))
    lines = [
        (float(3 * number), named, colour if named == animal else str(rng.choice(names)))
        for number, named in enumerate(order)
    ]
    return animal, colour, lines


def format_exact(moment: float) -> str:
    """A moment of the question, in quarters of a second.

    >>> format_exact(12.25), format_exact(3.0)
    ('12.25', '3')
    """
    return f"{moment:g}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"00:{minutes:02d}:{rest:02d},000"


TASKS: dict[str, Callable[[np.random.Generator, int], Task]] = {
    "zoom_region": _draw_sign,
    "get_frames": _draw_moments,
    "crop_video:fps": _draw_count,
    "search_subtitles": _draw_speech,
    "search_captions": _draw_caption,
    "search_frames": _draw_search,
    "transcribe": _draw_voice,
}
"""Task to what draws it; a task has the name of the tool that it needs, as a configuration names it."""
