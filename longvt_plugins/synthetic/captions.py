"""A clip in plain sentences, from its pixels: what the offline reader says when it is asked to describe one.

>>> describe_frames(frames)
'8 frames from 36s to 52.5s. The picture is gray and of medium brightness. A square is shown from 38.2s to
50.2s. The square flashes red at 44.2s.'

It says what it measured and no more, so that what it says of any footage is true. Figures that drift through
a scene are not mentioned.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise

import numpy as np

from longvt_plugins.synthetic.dialogue import SeenFrame
from longvt_plugins.synthetic.sight import Floats, read_sight, small_pixels
from longvt_plugins.video.sampling import format_seconds

_DARK, _BRIGHT = 80, 170
_MIN_TINT = 15
_MIN_CHANGE = 14.0
_MAX_CHANGES = 20

_TINTS = {
    "reddish": (1, 0, 0),
    "yellowish": (1, 1, 0),
    "greenish": (0, 1, 0),
    "bluish": (0, 0, 1),
    "purplish": (1, 0, 1),
    "brownish": (1, 0.5, 0),
    "turquoise": (0, 1, 1),
}


def describe_frames(frames: Sequence[SeenFrame]) -> str:
    """What frames show.

    Args:
        frames: In the order in which they were shown, with their seconds where these are known.
    """
    if not frames:
        return "There are no frames to describe."
    pixels = [small_pixels(frame.image) for frame in frames]
    sentences = [_extent(frames), _look(pixels), *_changes(frames, pixels), *_events(frames)]
    return " ".join(sentences)


def _extent(frames: Sequence[SeenFrame]) -> str:
    count = "1 frame" if len(frames) == 1 else f"{len(frames)} frames"
    first, last = frames[0].time, frames[-1].time
    if first is None or last is None:
        return f"{count}."
    if first == last:
        return f"{count} at {format_seconds(first)}s."
    return f"{count} from {format_seconds(first)}s to {format_seconds(last)}s."


def _look(pixels: Sequence[Floats]) -> str:
    mean = np.mean([picture.mean(axis=(0, 1)) for picture in pixels], axis=0)
    tint = mean - mean.mean()
    colour = "gray"
    if np.ptp(mean) > _MIN_TINT:
        hues = {name: np.array(rgb) - np.mean(rgb) for name, rgb in _TINTS.items()}
        colour = max(hues, key=lambda name: float(tint @ hues[name] / np.linalg.norm(hues[name])))
    light = mean.mean()
    brightness = "dark" if light < _DARK else "bright" if light > _BRIGHT else "of medium brightness"
    return f"The picture is {colour} and {brightness}."


def _changes(frames: Sequence[SeenFrame], pixels: Sequence[Floats]) -> Iterator[str]:
    """Where most of the picture changes at once, as it does at a cut."""
    pairs = list(pairwise(range(len(frames))))
    changed = [
        (a, b) for a, b in pairs if pixels[a].shape == pixels[b].shape and _change(pixels[a], pixels[b]) > _MIN_CHANGE
    ]
    if len(changed) > _MAX_CHANGES:
        yield f"Most of the picture changes {len(changed)} times."
        return
    for a, b in changed:
        yield f"Most of the picture changes between {_moment(frames, a)} and {_moment(frames, b)}."


def _change(a: Floats, b: Floats) -> float:
    # The median: a flash in the middle covers less than half of the picture.
    return float(np.median(np.abs(a - b).mean(axis=2)))


def _events(frames: Sequence[SeenFrame]) -> Iterator[str]:
    sights = [read_sight(frame.image) for frame in frames]
    for shape, run in groupby(range(len(frames)), key=lambda number: sights[number].shape):
        if shape is None:
            continue
        places = list(run)
        if any(sights[place].colour is None for place in places):
            yield f"A {shape} is shown {_stretch(frames, places)}."
        for colour, flash in groupby(places, key=lambda place: sights[place].colour):
            if colour is not None:
                yield f"A {shape} flashes {colour} {_stretch(frames, list(flash))}."


def _stretch(frames: Sequence[SeenFrame], places: Sequence[int]) -> str:
    if len(places) == 1:
        return f"at {_moment(frames, places[0])}"
    return f"from {_moment(frames, places[0])} to {_moment(frames, places[-1])}"


def _moment(frames: Sequence[SeenFrame], place: int) -> str:
    time = frames[place].time
    return f"frame {place + 1}" if time is None else f"{format_seconds(time)}s"
