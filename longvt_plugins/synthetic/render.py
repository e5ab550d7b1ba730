"""A script as pixels, and as an H.264 file.

>>> frame = Renderer(script).frame(44.0)          # uint8, [height, width, 3], the square lit in red
>>> write_video(script, "00012.mp4")

The same script gives the same pixels before compression on every machine.
"""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from longvt_plugins.sound import RATE
from longvt_plugins.synthetic.world import COLOURS, Script

Pixels = NDArray[np.uint8]

HINT_LIGHT = 235
HINT_SHARE = 2 / 5
HINT_BORDER = 25
"""A shape that is shown faintly is this much nearer to this gray than its surroundings, with a dark border."""

_NOISE_TILES = 16


class Renderer:
    """Paints the frames of one script."""

    def __init__(self, script: Script) -> None:
        self.script = script
        rng = np.random.default_rng([script.seed, 1])
        width, height = script.size
        self._scenes = [_draw_scene(rng, width, height) for _ in script.cuts]
        self._life = [_draw_walkers(rng, width, height) for _ in script.cuts]
        self._noise = rng.integers(-6, 7, size=(_NOISE_TILES, height, width, 1), dtype=np.int16)
        self._masks = _shape_masks(width, height)

    def frame(self, time: float) -> Pixels:
        """The picture at one moment.

        Args:
            time: Seconds from the start.

        Returns:
            RGB, ``[height, width, 3]``.
        """
        script = self.script
        scene = int(np.searchsorted(script.cuts, time + 1e-9, side="right")) - 1
        canvas = self._scenes[scene].copy()
        for walker in self._life[scene]:
            walker.paint(canvas, time - script.cuts[scene])
        for event in script.events:
            if time in event.hint:
                inside, border = self._masks[event.shape]
                # Faint on purpose: a third of the way to white, so that the overview hints and no more.
                canvas[inside] += (HINT_LIGHT - canvas[inside]) * 2 // 5
                canvas[border] = HINT_BORDER
                for flash in event.flashes:
                    if time in flash.span:
                        canvas[inside] = COLOURS[flash.colour]
        for distractor in script.distractors:
            if time in distractor.flash.span:
                canvas[self._masks[distractor.shape][0]] = COLOURS[distractor.flash.colour]
        canvas += self._noise[round(time * script.fps) % _NOISE_TILES]
        return np.clip(canvas, 0, 255).astype(np.uint8)


def write_video(
    script: Script, path: str | Path, renderer: Renderer | None = None, sound: NDArray[np.float32] | None = None
) -> None:
    """Renders a script into an H.264 file; the file appears only when it is complete.

    Args:
        script: What happens.
        path: Where to, ``.mp4``.
        renderer: Paints the frames, where the script is not all that they show.
        sound: Of its track of sound, mono at 16 kHz, from -1 to 1; None makes no track.
    """
    import av

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    renderer = renderer if renderer is not None else Renderer(script)
    with av.open(str(unfinished), "w", format="mp4") as container:
        options = {"preset": "ultrafast", "crf": "30", "x264-params": f"keyint={8 * script.fps}:threads=1"}
        stream = container.add_stream("libx264", rate=script.fps, options=options)
        stream.width, stream.height = script.size
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, script.fps)
        track = container.add_stream("aac", rate=RATE, layout="mono") if sound is not None else None
        for number in range(round(script.duration * script.fps)):
            picture = av.VideoFrame.from_ndarray(renderer.frame(number / script.fps), format="rgb24")
            picture.pts = number
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
        if track is not None and sound is not None:
            for begin in range(0, len(sound), RATE):
                part = np.ascontiguousarray(sound[None, begin : begin + RATE], dtype=np.float32)
                samples = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
                samples.sample_rate, samples.pts = RATE, begin
                container.mux(track.encode(samples))
            container.mux(track.encode(None))
    unfinished.replace(path)


class _Walker:
    """A gray figure that drifts through a scene: life, of no meaning."""

    def __init__(self, rng: np.random.Generator, width: int, height: int) -> None:
        self._shade = int(rng.integers(40, 190))
        self._size = rng.uniform(0.06, 0.14, size=2) * (width, height)
        self._place = rng.uniform(0, 1, size=2) * (width, height)
        self._speed = rng.uniform(-0.08, 0.08, size=2) * (width, height)
        self._bounds = np.array([width, height])

    def paint(self, canvas: NDArray[np.int16], seconds: float) -> None:
        x, y = ((self._place + self._speed * seconds) % self._bounds).astype(int)
        w, h = np.maximum(1, self._size).astype(int)
        canvas[y : y + h, x : x + w] = self._shade


def _draw_walkers(rng: np.random.Generator, width: int, height: int) -> list[_Walker]:
    return [_Walker(rng, width, height) for _ in range(int(rng.integers(1, 4)))]


def _draw_scene(rng: np.random.Generator, width: int, height: int) -> NDArray[np.int16]:
    """A background of little saturation: a slope of light with a coarse texture."""
    y, x = np.mgrid[0:height, 0:width]
    angle = rng.uniform(0, 2 * np.pi)
    slope = (np.cos(angle) * x / width + np.sin(angle) * y / height) * rng.uniform(10, 45)
    coarse = rng.uniform(-12, 12, size=(6, 6)).repeat(-(-height // 6), axis=0).repeat(-(-width // 6), axis=1)
    light = rng.uniform(60, 150) + slope + coarse[:height, :width]
    tint = rng.uniform(-12, 12, size=3)
    scene: NDArray[np.int16] = (light[..., None] + tint).astype(np.int16)
    return scene


def _square(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(abs(x), abs(y))


def _disc(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.hypot(x, y)


def _triangle(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(2 * abs(x) - y, y) / 1.5 + 0.2


def _cross(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.minimum(abs(x), abs(y)) < 0.35, np.maximum(abs(x), abs(y)), 9.0)


def _bar(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(abs(x), 3 * abs(y))


# A shape is where its distance from the centre, in units of its half size, is below one.
_DISTANCES = {"square": _square, "disc": _disc, "triangle": _triangle, "cross": _cross, "bar": _bar}


def shape_distances(source: tuple[float, float], size: tuple[int, int]) -> dict[str, NDArray[np.float64]]:
    """Where every shape lies: below 0.92 inside it, from there to 1 on its border.

    Args:
        source: Width and height of the picture that the shapes were painted in.
        size: Width and height of the pictures to give, which may have other proportions.

    Returns:
        For each shape its distance at every pixel's middle, ``[height, width]``.
    """
    half = 0.3 * min(source)
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    across = ((x + 0.5) / size[0] - 0.5) * source[0] / half
    down = ((y + 0.5) / size[1] - 0.5) * source[1] / half
    return {shape: distance(across, down) for shape, distance in _DISTANCES.items()}


def _shape_masks(width: int, height: int) -> dict[str, tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Inside and border of every shape in the middle of the picture."""
    distances = shape_distances((width, height), (width, height))
    return {shape: (far < 0.92, (far >= 0.92) & (far < 1.0)) for shape, far in distances.items()}
