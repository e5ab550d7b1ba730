"""The film that is measured: moving textures in H.264, of which every frame carries its own number.

::

    film = write_film(Path("film.mp4"), seconds=3600)     # 90,000 frames, groups of 250, B-frames
    read_number(picture)                                  # 41234, from a frame as any reader returned it

Panning noise with cuts, a second texture that moves over it and grain, so that packets and motion are like those of
real footage, not those of a test card. It is written once and kept; the same settings give the same frames.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np

WIDTH, HEIGHT, FPS, GOP = 640, 360, 25, 250

ENCODER = {"preset": "veryfast", "crf": "23", "g": str(GOP), "keyint_min": str(GOP), "sc_threshold": "0", "bf": "3"}
"""Of x264: a key frame exactly every ``GOP`` frames."""

Pyramid = Literal["normal", "none"]
"""Whether B-frames may refer to other B-frames: x264's default, with half of the frames referred to by none, or not,
with three quarters of them."""

COLUMNS, ROWS, CELL = 6, 4, 16
"""The mark: black or white cells of so many pixels in the top left corner; 20 bits of number, 4 of checksum."""

_NUMBER_BITS, _CHECK_BITS = 20, 4
_BLACK, _WHITE = 40, 216
_SCENE = 32 * FPS
"""Frames between two cuts."""

_TEXTURES, _GRAINS = 6, 16


@dataclass(frozen=True)
class Film:
    """A film and the facts that the peers' answers are checked against."""

    path: Path
    seconds: int
    frames: int
    fps: int = FPS

    def shown_at(self, time: float) -> int:
        """The number of the frame on screen at this second."""
        return min(self.frames - 1, math.floor(time * self.fps + 1e-6))


def write_film(
    path: Path,
    seconds: int,
    *,
    pyramid: Pyramid = "normal",
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Film:
    """Writes the film, or takes the one that is there if its settings are the same.

    Args:
        path: Where; a note of the settings is kept beside it.
        seconds: Length.
        pyramid: Of its B-frames.
        tell: Told how many of how many frames are written.
    """
    frames = seconds * FPS
    film = Film(path, seconds, frames)
    encoder = {**ENCODER, "x264-params": f"b-pyramid={pyramid}"}
    settings = {"frames": frames, "size": [WIDTH, HEIGHT], "fps": FPS, "encoder": encoder, "version": 1}
    note = path.with_suffix(".json")
    if path.exists() and note.exists() and json.loads(note.read_text(encoding="utf-8")) == settings:
        return film
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.stem}.part{path.suffix}")
    _encode(unfinished, frames, encoder, tell)
    unfinished.replace(path)
    note.write_text(json.dumps(settings), encoding="utf-8")
    return film


def film_facts(film: Film) -> dict[str, Any]:
    """What the film is, as measured from the file."""
    import av

    with av.open(str(film.path)) as container:
        stream = container.streams.video[0]
        keys = disposable = 0
        for packet in container.demux(stream):
            keys += packet.size > 0 and packet.is_keyframe
            disposable += packet.size > 0 and packet.is_disposable
        return {
            **asdict(film),
            "path": str(film.path),
            "codec": stream.codec_context.name,
            "size": [stream.width, stream.height],
            "gop": GOP,
            "key_frames": keys,
            "non_reference_frames": disposable,
            "bytes": film.path.stat().st_size,
            "kbit_per_second": round(film.path.stat().st_size * 8 / film.seconds / 1000),
        }


def read_number(picture: np.ndarray[Any, Any]) -> int | None:
    """The number that a frame carries.

    Args:
        picture: Height x width x 3, of any size that keeps the film's shape.

    Returns:
        None if no mark can be read.
    """
    height, width = picture.shape[:2]
    cell_y, cell_x = CELL * height / HEIGHT, CELL * width / WIDTH
    code = 0
    for row in range(ROWS):
        for column in range(COLUMNS):
            y, x = (row + 0.5) * cell_y, (column + 0.5) * cell_x
            # The middle half of the cell: its rim blends into its neighbours when the frame is resized.
            inside = picture[
                int(y - cell_y / 4) : int(y + cell_y / 4) + 1, int(x - cell_x / 4) : int(x + cell_x / 4) + 1
            ]
            code = code << 1 | int(inside.mean() > (_BLACK + _WHITE) / 2)
    number, check = code >> _CHECK_BITS, code & (1 << _CHECK_BITS) - 1
    return number if check == _checksum(number) else None


def _checksum(number: int) -> int:
    """Not 0 for 0, so that a black picture is no mark."""
    return (number * 7 + number // 16 * 3 + number // 4096 * 5 + 9) % (1 << _CHECK_BITS)


def _mark(number: int) -> np.ndarray[Any, Any]:
    import numpy as np

    code = number << _CHECK_BITS | _checksum(number)
    bits = [code >> place & 1 for place in reversed(range(ROWS * COLUMNS))]
    cells = np.array(bits, dtype=np.uint8).reshape(ROWS, COLUMNS) * (_WHITE - _BLACK) + _BLACK
    return np.repeat(np.repeat(cells, CELL, axis=0), CELL, axis=1).astype(np.uint8)


class _Scenery:
    """Draws the frames, the same ones on every run."""

    def __init__(self) -> None:
        import numpy as np

        random = np.random.default_rng(20251120)
        self._textures = [self._texture(random, 3 * HEIGHT, 3 * WIDTH) for _ in range(_TEXTURES)]
        self._tints = [self._texture(random, 3 * HEIGHT // 2, 3 * WIDTH // 2, fine=False) for _ in range(_TEXTURES)]
        self._grain = [random.normal(0, 3, (HEIGHT, WIDTH)).round().astype(np.int16) for _ in range(_GRAINS)]

    @staticmethod
    def _texture(random: Any, height: int, width: int, *, fine: bool = True) -> np.ndarray[Any, Any]:
        import numpy as np
        from PIL import Image

        total = np.zeros((height, width), np.float32)
        for scale, strength in ((256, 50), (96, 36), (32, 24), (12, 12), (4, 6)) if fine else ((256, 30), (64, 14)):
            coarse = random.normal(0, 1, (height // scale + 2, width // scale + 2)).astype(np.float32)
            total += strength * np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
        return np.clip(128 + total, 16, 235).astype(np.uint8)

    def draw(self, number: int) -> np.ndarray[Any, Any]:
        """One frame as YUV 4:2:0 planes, stacked."""
        import numpy as np

        scene, moment = divmod(number, _SCENE)
        pace = 0.4 + 0.6 * (scene * 7 % 5) / 4
        y = round(HEIGHT * (1 + 0.9 * math.sin(scene + moment * pace / 190)))
        x = round(WIDTH * (1 + 0.9 * math.sin(2 * scene + moment * pace / 240)))
        picture = np.empty((HEIGHT * 3 // 2, WIDTH), np.uint8)
        luma = self._textures[scene % _TEXTURES][y : y + HEIGHT, x : x + WIDTH].astype(np.int16)
        # What moves over it, at another pace, and uncovers it again.
        top = round((HEIGHT - 160) * (0.5 + 0.5 * math.sin(moment / 31)))
        left = round((WIDTH - 200) * (0.5 + 0.5 * math.cos(moment / 47)))
        luma[top : top + 160, left : left + 200] = self._textures[(scene + 1) % _TEXTURES][:160, :200]
        luma += self._grain[(number * 7 + number // _GRAINS) % _GRAINS]
        np.clip(luma, 16, 235, out=luma)
        picture[:HEIGHT] = luma
        picture[: ROWS * CELL, : COLUMNS * CELL] = _mark(number)
        tint = self._tints[scene % _TEXTURES]
        half_y, half_x = y // 2, x // 2
        blue = tint[half_y : half_y + HEIGHT // 2, half_x : half_x + WIDTH // 2]
        red = tint[HEIGHT - half_y : HEIGHT - half_y + HEIGHT // 2, half_x : half_x + WIDTH // 2]
        picture[HEIGHT : HEIGHT * 5 // 4] = blue.reshape(HEIGHT // 4, WIDTH)
        picture[HEIGHT * 5 // 4 :] = red.reshape(HEIGHT // 4, WIDTH)
        return picture


def _encode(path: Path, frames: int, encoder: dict[str, str], tell: Callable[[int, int], None]) -> None:
    import av

    scenery = _Scenery()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options=encoder)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.thread_count = 0
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(scenery.draw(number), format="yuv420p")
            frame.pts = number
            container.mux(stream.encode(frame))
            tell(number + 1, frames)
        container.mux(stream.encode(None))
