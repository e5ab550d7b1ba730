"""A voice of tones: every letter is two of them, as a telephone dials, so that a model learns to hear it in seconds.

::

    samples = speak("the heron is blue")      # float32 at 16 kHz, 3.2 s
    spell("to")                               # [(0.0, 0.1, 't'), (0.16, 0.26, 'o')]: when each letter sounds

It is no human voice, and a model that was trained on speech hears nothing in it.
"""

from __future__ import annotations

import string

import numpy as np
from numpy.typing import NDArray

from longvt_plugins.sound import RATE

LETTERS = string.ascii_lowercase

_LOW, _HIGH = (450, 700, 1000, 1400, 1900), (2500, 3000, 3600, 4300, 5100, 6000)
"""Hertz: a low one and a high one of each letter, so far apart that a spectrum never takes one for its neighbour."""

_TONE, _GAP, _PAUSE = 0.1, 0.06, 0.3
"""Seconds that a letter sounds, of silence after it, and of the space between words instead."""

_LOUDNESS = 0.3
"""Of each tone, where 1 is the loudest."""


def spell(text: str) -> list[tuple[float, float, str]]:
    """What sounds when.

    Args:
        text: Of small letters and single spaces.

    Returns:
        Start and end in seconds, and the letter; for a space the pause.
    """
    places, at = [], 0.0
    for letter in text:
        length = _PAUSE if letter == " " else _TONE
        places.append((at, at + length, letter))
        at += length + (0 if letter == " " else _GAP)
    return places


def speak(text: str) -> NDArray[np.float32]:
    """A text as sound.

    Args:
        text: Of small letters and single spaces.

    Returns:
        Samples at 16 kHz, from -1 to 1.
    """
    places = spell(text)
    samples = np.zeros(round((places[-1][1] + _GAP) * RATE), np.float32)
    for start, end, letter in places:
        if letter == " ":
            continue
        times = np.arange(round((end - start) * RATE)) / RATE
        row, column = divmod(LETTERS.index(letter), len(_HIGH))
        tones = sum(np.sin(2 * np.pi * pitch * times) for pitch in (_LOW[row], _HIGH[column]))
        # Faded in and out: a tone that is cut off is a click, which sounds in every band.
        faded = np.minimum(1, np.minimum(times, times[::-1]) / 0.01)
        begin = round(start * RATE)
        samples[begin : begin + len(times)] = _LOUDNESS * faded * tones
    return samples
