"""Where shots end, from how a film changes: cuts, fades, and changes that take a second or two.

>>> find_cuts(read_signals("film.mp4"))
[12.48, 31.04, 55.2]

A cut stands out from what happens around it and lasts: a flash is over within a second, and a moving camera changes
every picture alike. What changes gradually is found where pictures a second apart differ far more than those before and
after. It reads no file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from datapipe.steps.scenes.signals import FAR_SECONDS, Signals

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


_FLASH_SECONDS = 0.16
"""What lasts no longer is a flash."""


_FADE_SECONDS = 1.0
"""From the darkest moment of a fade to its beginning and its end, at most."""


@dataclass(frozen=True)
class CutRule:
    """What counts as a cut. Tuned on drawn films of the segmenting benchmark, judged on its footage.

    Args:
        min_change: A cut changes at least so much from one picture to the next (luma and chroma, 0 to 765).
        contrast: And so many times what is usual in the two seconds around it.
        min_lasting: And pictures a second apart across it differ in coarse blocks by at least this share of it.
        min_gradual: A gradual change has at least this coarse distance over a second.
        gradual_contrast: And so many times what is usual in the eight seconds around it.
        dark: A picture of this luma or less, with hardly any contrast, is the bottom of a fade.
        min_gap: Seconds between two cuts.
    """

    min_change: float = 15.0
    contrast: float = 3.0
    min_lasting: float = 0.5
    min_gradual: float = 26.0
    gradual_contrast: float = 2.6
    dark: float = 24.0
    min_gap: float = 0.6


def find_cuts(signals: Signals, rule: CutRule = CutRule()) -> list[float]:
    """The seconds at which a new shot begins, the start of the film left out.

    Args:
        signals: Of the whole film.
        rule: What counts.
    """
    times = signals.times
    if len(times) < 3:
        return []
    fades, jumps = _fades(signals, rule), _hard(signals, rule)
    # What goes to black or comes out of it, at once or slowly, is no cut of its own.
    others = [
        cut
        for cut in [*jumps, *_gradual(signals, rule, jumps)]
        if all(abs(cut - fade) > _FADE_SECONDS for fade in fades)
    ]
    found: list[float] = []
    # Fades and jumps first: what is found again as a gradual change nearby is the same cut.
    for second in [*fades, *others]:
        if all(abs(second - other) >= rule.min_gap for other in found) and second > float(times[0]):
            found.append(second)
    return sorted(found)


def _hard(signals: Signals, rule: CutRule) -> list[float]:
    import numpy as np

    times, change, coarse = signals.times, signals.change, signals.coarse
    usual = _usual(times, change, 1.0)
    across = np.interp(times + FAR_SECONDS / 2, times, signals.far)
    found = []
    for place in np.flatnonzero((change >= rule.min_change) & (change >= rule.contrast * usual)):
        around = slice(max(0, place - 2), place + 3)
        if change[place] < change[around].max():
            continue
        if across[place] < rule.min_lasting * coarse[place]:
            continue
        found.append(float(times[place]))
    return found


def _fades(signals: Signals, rule: CutRule) -> list[float]:
    """The darkest moment of every dark stretch between two lighter ones."""
    import numpy as np

    dark = (signals.light <= rule.dark) & (signals.spread <= rule.dark / 2)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], dark, [False]]).astype(np.int8)))
    found = []
    for start, end in edges.reshape(-1, 2):
        if start == 0 or end == len(dark):
            continue
        found.append(float(signals.times[start:end][np.argmin(signals.light[start:end])]))
    return found


def _gradual(signals: Signals, rule: CutRule, hard: list[float]) -> list[float]:
    """The middle of every stretch across which pictures a second apart differ most."""
    import numpy as np

    times = signals.times
    far = _lasting(times, signals.far)
    # A hard cut shows in every pair of pictures across it for a second: these say nothing about gradual changes.
    told = np.ones(len(times), bool)
    for cut in hard:
        told &= (times < cut - 0.2) | (times > cut + FAR_SECONDS + 0.2)
    far = np.where(told, far, 0)
    usual = _usual(times, far, 4.0, gap=FAR_SECONDS, told=told)
    found: list[float] = []
    for place in np.flatnonzero((far >= rule.min_gradual) & (far >= rule.gradual_contrast * usual)):
        near = np.abs(times - times[place]) <= FAR_SECONDS
        middle = float(times[place]) - FAR_SECONDS / 2
        if far[place] >= far[near].max() and (not found or middle - found[-1] > FAR_SECONDS):
            found.append(middle)
    return found


def _lasting(times: Floats, values: Floats) -> Floats:
    """The least within a few pictures: what a flash does to single pictures is taken out."""
    import numpy as np

    usual_gap = float(np.median(np.diff(times)))
    reach = max(1, min(16, round(_FLASH_SECONDS / usual_gap)))
    padded = np.pad(values, reach, mode="edge")
    least: Floats = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1).min(axis=1)
    return least


def _usual(
    times: Floats, values: Floats, reach: float, gap: float = 0.0, told: NDArray[np.bool_] | None = None
) -> Floats:
    """The mean within ``reach`` seconds before and after each moment, without what lies within ``gap`` seconds of it.

    With a gap of 0 the value itself and its neighbours are left out. Only values that are ``told`` count.
    """
    import numpy as np

    weights = np.ones(len(times)) if told is None else told.astype(np.float64)
    sums = np.concatenate([[0.0], np.cumsum(values * weights, dtype=np.float64)])
    counts = np.concatenate([[0.0], np.cumsum(weights)])
    places = np.arange(len(times))

    def within(seconds: float, at_least: int) -> tuple[Floats, Floats]:
        low = np.minimum(np.searchsorted(times, times - seconds), places - at_least).clip(0)
        high = np.maximum(np.searchsorted(times, times + seconds, "right"), places + at_least + 1).clip(0, len(times))
        return sums[high] - sums[low], counts[high] - counts[low]

    outer, outer_count = within(reach, 4)
    inner, inner_count = within(gap, 1)
    usual: Floats = (outer - inner) / np.maximum(1, outer_count - inner_count)
    return usual
