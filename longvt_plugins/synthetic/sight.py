"""What one frame of the synthetic world shows, read from its pixels and from nothing else.

>>> read_sight(frame.image)               # the square is there, lit in red
Sight(shape='square', colour='red')
>>> read_frame(frame.image), read_frame(frame.image, "disc")
('red', 'nothing')

The shapes are those of render.py, at any size and after compression. The script is never read, and a
frame of real footage, which holds no such shape, is a Sight of nothing.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from longvt_plugins.synthetic.phrases import NOTHING
from longvt_plugins.synthetic.render import HINT_BORDER, HINT_LIGHT, HINT_SHARE, shape_distances
from longvt_plugins.synthetic.world import COLOURS, PRESETS

if TYPE_CHECKING:
    from PIL import Image

Floats = NDArray[np.float32]

_SIDE = 84
"""Frames whose shorter side is longer are shrunk to it first: there is nothing finer to see."""

_SECTORS = 12
_REACH = 1.3
"""How far around the middle a faint shape is looked for, in units of its half size: the same pixels for every shape."""

_MIN_LIKENESS = 0.6
_MIN_AGREEING = 0.75
_MIN_OVERLAP = 0.6
_MIN_COLOUR = 60
_MAX_COLOUR_DISTANCE = 75.0


class Sight(NamedTuple):
    """What a frame shows.

    Attributes:
        shape: The shape in the middle, None if there is none.
        colour: What it is lit in, None if it is only faintly shown.
    """

    shape: str | None = None
    colour: str | None = None


def read_frame(image: Image.Image, shape: str = "square") -> str:
    """What a frame shows of one shape.

    Args:
        image: Any size.
        shape: Which one is asked about; what another shape does is nothing.

    Returns:
        ``"nothing"``, the shape's name where it is faintly shown, or the colour that it flashes.
    """
    sight = read_sight(image)
    return (sight.colour or shape) if sight.shape == shape else NOTHING


def read_sight(image: Image.Image) -> Sight:
    """What a frame shows.

    Args:
        image: Any size.
    """
    pixels = small_pixels(image)
    height, width = pixels.shape[:2]
    views = _views(width, height)
    middle = pixels[height // 2, width // 2]
    # Every shape covers the middle, and every colour of a flash is far from gray: most frames end here.
    if np.ptp(middle) > _MIN_COLOUR:
        overlap, shape, colour = max(_flash(pixels, view) for view in views)
        if overlap >= _MIN_OVERLAP:
            return Sight(shape, colour)
    likeness, shape = max((_likeness(pixels.mean(axis=2), view), view.shape) for view in views)
    return Sight(shape) if likeness >= _MIN_LIKENESS else Sight()


def small_pixels(image: Image.Image) -> Floats:
    """RGB in 0..255, ``[height, width, 3]``, the shorter side at most 84 pixels."""
    from PIL import Image as Images

    scale = min(1.0, _SIDE / min(image.size))
    size = (min(4 * _SIDE, max(1, round(image.width * scale))), min(4 * _SIDE, max(1, round(image.height * scale))))
    small = image.convert("RGB")
    if size != image.size:
        small = small.resize(size, Images.Resampling.BOX)
    return np.asarray(small, dtype=np.float32)


class _View(NamedTuple):
    """Where a shape lies in a picture of one size.

    Attributes:
        shape: Its name.
        inside: Share of each pixel that the shape covers, its border left out, ``[height, width]``.
        core: Pixels well inside.
        near: Whether a pixel is near the middle, ``[height, width]``.
        border: Share of each near pixel that the border covers.
        cover: ``inside`` of the near pixels.
        sector: Direction of each near pixel from the middle, as a number below ``_SECTORS``.
        outside: Whether a near pixel lies wholly outside.
    """

    shape: str
    inside: Floats
    core: NDArray[np.bool_]
    near: NDArray[np.bool_]
    border: Floats
    cover: Floats
    sector: NDArray[np.int64]
    outside: NDArray[np.bool_]


@functools.lru_cache(maxsize=16)
def _views(width: int, height: int) -> tuple[_View, ...]:
    """Every shape, in the picture's own proportions and in those of the presets that the patch grid bends a little."""
    own = width / height
    proportions = [own]
    for preset in PRESETS.values():
        proportion = preset.size[0] / preset.size[1]
        if 0.02 < abs(own / proportion - 1) < 0.2 and proportion not in proportions:
            proportions.append(proportion)
    return tuple(view for proportion in proportions for view in _views_of(width, height, proportion))


def _views_of(width: int, height: int, proportion: float) -> list[_View]:
    fine = 4  # sub-pixels a side: a border is thinner than one pixel of a small frame
    source = (proportion * height, float(height))
    near = shape_distances(source, (width, height))["square"] < _REACH
    views = []
    for shape, distance in shape_distances(source, (fine * width, fine * height)).items():
        blocks = distance.reshape(height, fine, width, fine)
        inside = (blocks < 0.92).mean(axis=(1, 3), dtype=np.float32)
        border = ((blocks >= 0.92) & (blocks < 1.0)).mean(axis=(1, 3), dtype=np.float32)
        y, x = np.nonzero(near)
        angle = np.arctan2(y + 0.5 - height / 2, x + 0.5 - width / 2)
        sector = ((angle + np.pi) / (2 * np.pi) * _SECTORS).astype(np.int64) % _SECTORS
        outside = (inside + border)[near] < 0.02
        views.append(_View(shape, inside, inside > 0.98, near, border[near], inside[near], sector, outside))
    return views


def _flash(pixels: Floats, view: _View) -> tuple[float, str, str]:
    """How well the lit shape covers what has its colour: intersection over union, the shape, the colour."""
    if not view.core.any():
        return 0.0, view.shape, NOTHING
    typical = np.median(pixels[view.core], axis=0)
    distances = {name: float(np.linalg.norm(typical - rgb)) for name, rgb in COLOURS.items()}
    colour = min(distances, key=distances.__getitem__)
    if distances[colour] > _MAX_COLOUR_DISTANCE:
        return 0.0, view.shape, NOTHING
    # Border and background are nearly gray, so the share of colour in a pixel is the share of the shape.
    tint, tints = typical - typical.mean(), pixels - pixels.mean(axis=2, keepdims=True)
    alike = np.clip(1.5 * (tints @ tint) / (tint @ tint) - 0.25, 0, 1)
    overlap = float(np.minimum(alike, view.inside).sum() / np.maximum(alike, view.inside).sum())
    return overlap, view.shape, colour


def _likeness(light: Floats, view: _View) -> float:
    """How much the picture is what a faint shape would make of its surroundings, up to 1."""
    near = light[view.near]
    around = _sums(view.sector, near * view.outside) / np.maximum(1, _sums(view.sector, view.outside))
    ground = around[view.sector]
    change = view.cover * HINT_SHARE * (HINT_LIGHT - ground) + view.border * (HINT_BORDER - ground)
    count = np.maximum(1, _sums(view.sector, np.ones_like(near)))
    change = change - (_sums(view.sector, change) / count)[view.sector]
    seen = near - (_sums(view.sector, near) / count)[view.sector]
    products, powers = _sums(view.sector, change * seen), _sums(view.sector, change * change)
    # A gray figure may hide a part of the contour's contrast, never most of it.
    if not powers.any():
        return 0.0
    agreeing = powers[products > 0.35 * powers].sum() / powers.sum()
    if agreeing < _MIN_AGREEING:
        return 0.0
    return float(products.sum() / np.sqrt(powers.sum() * max(1e-6, float((seen * seen).sum()))))


def _sums(sector: NDArray[np.int64], values: NDArray[np.floating] | NDArray[np.bool_]) -> Floats:
    return np.bincount(sector, weights=values, minlength=_SECTORS).astype(np.float32)
