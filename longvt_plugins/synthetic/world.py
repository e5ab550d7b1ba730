"""What happens in a synthetic video, drawn from a seed.

A script of the tiny preset, 96 s long, whose overview takes a frame every 6 s::

    background     | scene 1      | scene 2          | scene 3   | ...      cuts, drifting shapes, noise
    square           . . . . . . . . . .[##############]. . . . . . .       shown from 37 s to 53 s: the hint
    flash                                  ^red 44.0-46.5                   the evidence, between two overview frames
    distractor          ^blue 13.0-15.5 (a disc)                            a flash of something else, elsewhere

The hint lasts longer than one gap of the overview, so that the overview shows roughly *when*; a flash is
shorter than one gap and never touches an overview time, so that only a closer look shows *what*.
This file draws no pixels (render.py) and asks nothing (questions.py).
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from longvt_plugins.errors import ConfigError
from longvt_plugins.types import TimeSpan
from longvt_plugins.video.sampling import FrameSampling

if TYPE_CHECKING:
    import numpy as np

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (225, 25, 25),
    "orange": (245, 140, 0),
    "yellow": (245, 235, 20),
    "green": (20, 160, 40),
    "cyan": (30, 225, 225),
    "blue": (30, 50, 225),
    "purple": (125, 20, 170),
    "pink": (250, 120, 200),
}
"""Names and RGB values of what can flash."""

SHAPES = ("square", "disc", "triangle", "cross")
"""What can appear; each is shown at most once in a video."""


@dataclass(frozen=True)
class Flash:
    """A shape lights up in a colour for a moment."""

    colour: str
    span: TimeSpan


@dataclass(frozen=True)
class Event:
    """A shape is shown faintly (``hint``) and flashes inside that time."""

    shape: str
    hint: TimeSpan
    flashes: tuple[Flash, ...]


@dataclass(frozen=True)
class Distractor:
    """A flash without a hint, of a shape that is not asked about."""

    shape: str
    flash: Flash


@dataclass(frozen=True)
class Script:
    """Everything that happens in one video.

    Attributes:
        seed: What background, drifting shapes and noise are drawn from.
        duration: Seconds.
        fps: Frames per second of the file.
        size: Width and height in pixels.
        cuts: Seconds at which a new scene begins, the first one 0.
        events: In order of time.
        distractors: In order of time.
    """

    seed: int
    duration: float
    fps: int
    size: tuple[int, int]
    cuts: tuple[float, ...]
    events: tuple[Event, ...]
    distractors: tuple[Distractor, ...]


@dataclass(frozen=True)
class Preset:
    """A kind of synthetic video.

    Attributes:
        name: As ``longvt synth --preset`` takes it.
        size: Width and height of the files in pixels.
        fps: Frames per second of the files.
        durations: Lengths in seconds that are drawn from.
        scene_seconds: Shortest and longest scene.
        events: Events in one video.
        overview: How the whole video is sampled; events hide between its frames.
        crop: How ``crop_video`` samples.
    """

    name: str
    size: tuple[int, int]
    fps: int
    durations: tuple[int, ...]
    scene_seconds: tuple[float, float]
    events: int
    overview: FrameSampling
    crop: FrameSampling


TINY = Preset(
    name="tiny",
    size=(84, 84),
    fps=4,
    durations=tuple(range(64, 241, 16)),
    scene_seconds=(10.0, 40.0),
    events=1,
    overview=FrameSampling(fps=1.0, min_frames=1, max_frames=16, min_pixels=28 * 28, max_pixels=28 * 28),
    crop=FrameSampling(fps=1.0, min_frames=1, max_frames=8, min_pixels=28 * 28, max_pixels=28 * 28),
)
"""Files of 1 to 4 minutes; a frame of 28x28 pixels is one visual token. The tiny model trains on these."""

LONG = Preset(
    name="long",
    size=(640, 360),
    fps=10,
    durations=(3600,),
    scene_seconds=(5.0, 90.0),
    events=4,
    overview=FrameSampling(fps=1.0, max_frames=512),
    crop=FrameSampling(fps=1.0, max_frames=128),
)
"""Files of one hour, for LongVT's own overview of 512 frames."""

PRESETS = {preset.name: preset for preset in (TINY, LONG)}


def get_preset(name: str) -> Preset:
    """A preset by name.

    Raises:
        ConfigError: There is none of this name.
    """
    if name not in PRESETS:
        raise ConfigError(f"no preset {name!r}; there are: {', '.join(PRESETS)}")
    return PRESETS[name]


def derive_seed(*parts: object) -> int:
    """A seed that depends on every part and on nothing else, the same on every machine."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def draw_script(
    preset: Preset, seed: int, flashes: tuple[tuple[str, ...], ...], seen: tuple[int, ...] = (1, 2)
) -> Script:
    """Draws what happens in one video.

    Args:
        preset: Its kind.
        seed: Everything but the colours of the flashes is drawn from it.
        flashes: For each event the colours of its flashes, in order: the questions decide these.
        seen: In how many overview frames an event may be seen, drawn evenly; one more than that many
            flashes fit into it. It must not depend on the answer.

    Returns:
        A script in which every event can be seen in the overview, and no flash can.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    duration = float(rng.choice(preset.durations))
    gap = duration / preset.overview.count(TimeSpan(0, duration))
    frames = preset.overview.count(TimeSpan(0, duration))
    shapes = list(SHAPES) if preset.events > 1 else ["square"]
    events = []
    free = frames // preset.events
    for number in range(preset.events):
        frames_seen = int(rng.choice(seen))
        events.append(
            _draw_event(
                rng, preset, shapes[number], flashes[number], gap, frames_seen, number * free, (number + 1) * free - 1
            )
        )
    cuts = [0.0]
    while (cut := cuts[-1] + _snap(rng.uniform(*preset.scene_seconds), preset.fps)) < duration:
        cuts.append(cut)
    distractors = _draw_distractors(rng, preset, events, gap, frames)
    return Script(seed, duration, preset.fps, preset.size, tuple(cuts), tuple(events), distractors)


def _draw_event(
    rng: np.random.Generator,
    preset: Preset,
    shape: str,
    colours: tuple[str, ...],
    gap: float,
    seen: int,
    first: int,
    last: int,
) -> Event:
    """An event between the overview frames ``first`` and ``last``, seen in ``seen`` of them in between."""
    before = int(rng.integers(first, last - seen))
    hint = TimeSpan(
        _snap((before + rng.uniform(0.06, 0.2)) * gap, preset.fps, up=True),
        _snap((before + seen + 1 - rng.uniform(0.06, 0.2)) * gap, preset.fps),
    )
    # One gap holds one flash, so that a crop of a single gap can tell each of them apart.
    gaps = sorted(int(g) for g in rng.choice(seen + 1, size=len(colours), replace=False))
    flashes = tuple(
        Flash(colour, _draw_flash(rng, preset, before + g, gap, hint)) for colour, g in zip(colours, gaps, strict=True)
    )
    return Event(shape, hint, flashes)


def _draw_flash(rng: np.random.Generator, preset: Preset, number: int, gap: float, inside: TimeSpan | None) -> TimeSpan:
    """A flash in gap ``number``, clear of the overview's frames at both ends and inside the hint."""
    tick = 1 / preset.fps
    low, high = number * gap + tick, (number + 1) * gap - tick
    if inside is not None:
        low, high = max(low, inside.start + tick), min(high, inside.end - tick)
    length = min(max(rng.uniform(0.25, 0.45) * gap, 1.25), high - low)
    start = _snap(rng.uniform(low, high - length), preset.fps, up=True)
    return TimeSpan(start, min(start + _snap(length, preset.fps), _snap(high, preset.fps)))


def _draw_distractors(
    rng: np.random.Generator, preset: Preset, events: list[Event], gap: float, frames: int
) -> tuple[Distractor, ...]:
    """A few flashes of another shape, at least two gaps away from every hint."""
    shape = "disc" if preset.events == 1 else SHAPES[-1]
    asked = {event.shape for event in events}
    shape = shape if shape not in asked else "bar"
    taken = [TimeSpan(event.hint.start - 3 * gap, event.hint.end + 3 * gap) for event in events]
    free = [number for number in range(frames - 1) if all((number + 0.5) * gap not in span for span in taken)]
    wanted = min(len(free), math.ceil(frames / 8))
    chosen = sorted(int(g) for g in rng.choice(free, size=wanted, replace=False)) if free else []
    return tuple(
        Distractor(shape, Flash(str(rng.choice(list(COLOURS))), _draw_flash(rng, preset, number, gap, None)))
        for number in chosen
    )


def _snap(seconds: float, fps: int, *, up: bool = False) -> float:
    """The nearest frame boundary not later than ``seconds``, or not earlier."""
    ticks = math.ceil(seconds * fps - 1e-9) if up else math.floor(seconds * fps + 1e-9)
    return ticks / fps
