"""What a plugin's own tests need: videos whose frames say which they are, and tools called as a model calls them.

::

    times = write_stamped_video("stamped.mp4", seconds=20, fps=4)
    blocks = call_tool(crop_video, "stamped.mp4", start_time=10, end_time=12)
    seconds_shown(blocks)                                  # [10.0, 11.0]
    [read_stamp(block["image"]) for block in images(blocks)]      # [40, 44]

The videos are encoded for real; nothing is mocked. A scripted chat server is in
:mod:`longvt_plugins.testing_server`.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from longvt_plugins.budget import Budget
    from longvt_plugins.plugins import PluginManager
    from longvt_plugins.types import Block, ImageBlock
    from longvt_plugins.video.sampling import FrameSampling

GRID = 5
"""A stamp is 5x5 cells, black or white, over the whole picture: 19 bits of number, 6 of checksum."""

_NUMBER_BITS, _CHECK_BITS = 19, 6
_DARK, _LIGHT = 48, 208

_SPREAD = 314_159
"""Odd. Numbers are multiplied by it, so that neighbours differ in half of the cells: a picture smeared from two of
them shows no number, or one so large that no test has it."""

VIDEO_NAME = "video_1.mp4"
"""The name under which :func:`call_tool` shows its video to the tool."""


def write_stamped_video(
    path: str | Path,
    seconds: float,
    *,
    fps: float = 4,
    size: tuple[int, int] = (96, 96),
    codec: str = "libx264",
    gop: int = 24,
    b_frames: int = 2,
    variable: bool = False,
    rotation: Literal[0, 90, 180, 270] = 0,
    options: dict[str, str] | None = None,
    pixel_format: str = "yuv420p",
    container_options: dict[str, str] | None = None,
    start: float = 0,
    sound: bool = False,
    grain: int = 0,
) -> list[float]:
    """Writes a video whose n-th frame shows the number n, for :func:`read_stamp`.

    Args:
        path: Its suffix chooses the container.
        seconds: Length.
        fps: Frames per second; on variable frame rate the mean.
        size: Width and height as shown.
        codec: An encoder of PyAV.
        gop: Frames from one key frame to the next.
        b_frames: Frames between others that refer to both sides.
        variable: Frames come at uneven times, the same ones on every run.
        rotation: Degrees clockwise by which players turn the stored picture; MP4 and MOV only.
        options: Of the encoder.
        pixel_format: As stored; an odd width or height needs ``yuv444p``, or a codec that can crop.
        container_options: Of the muxer, such as ``{"movflags": "frag_keyframe+empty_moov"}``.
        start: The time in seconds that the file gives to its first frame, where the container can hold one.
        sound: Whether a silent AAC track runs beside the pictures, from second 0 to the end.
        grain: Gray levels of noise, the same on every run: it makes packets as large as those of real footage.

    Returns:
        When each frame comes on screen, in seconds from the first.

    Raises:
        ValueError: More frames than a stamp can number, or a rotation that the container cannot hold.
    """
    import av

    path = Path(path)
    count = round(seconds * fps)
    if not 0 < count < 2**_NUMBER_BITS:
        raise ValueError(f"a stamped video has 1 to {2**_NUMBER_BITS - 1} frames, not {count}")
    if rotation and path.suffix not in (".mp4", ".mov"):
        raise ValueError(f"only .mp4 and .mov hold a rotation, not {path.suffix or path.name}")
    rate = Fraction(fps).limit_denominator(1001)
    if variable:
        # Whole milliseconds, which every container can hold.
        tick, uneven = Fraction(1, 1000), random.Random(count)
        ticks = [0, *(round((number + uneven.uniform(0, 0.9)) * 1000 / fps) for number in range(1, count))]
    else:
        tick, ticks = 1 / rate, list(range(count))
    preset = {"preset": "ultrafast", "bf": str(b_frames)} if codec == "libx264" else {"bf": str(b_frames)}
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options={**preset, "g": str(gop), **(options or {})})
        turned = rotation in (90, 270)
        stream.width, stream.height = (size[1], size[0]) if turned else size
        stream.pix_fmt = pixel_format
        stream.codec_context.thread_count = 1
        stream.codec_context.time_base = tick
        silence = _Silence(container) if sound else None
        for number, pts in enumerate(ticks):
            picture = _stamp(number, size, rotation, grain)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = pts + round(start / tick), tick
            container.mux(stream.encode(frame))
            if silence is not None:
                silence.write(start + float(pts * tick))
        container.mux(stream.encode(None))
        if silence is not None:
            silence.end()
    if rotation:
        _write_rotation(path, rotation)
    return [float(pts * tick) for pts in ticks]


def read_stamp(image: Image.Image) -> int:
    """The number that a frame of :func:`write_stamped_video` shows, at whatever size.

    Raises:
        ValueError: No stamp can be read: another video, a turned or a damaged picture.
    """
    import numpy as np

    gray = np.asarray(image.convert("L"))
    height, width = gray.shape
    # The middle of each cell: its rim blends into its neighbours when the picture is resized.
    cells = gray[_middles(height)][:, _middles(width)].reshape(GRID, -1, GRID, 1 + 2 * (width // (4 * GRID)))
    code = 0
    for bit in (cells.mean(axis=(1, 3)) > (_DARK + _LIGHT) / 2).flat:
        code = code << 1 | int(bit)
    spread, check = code >> _CHECK_BITS, code & (1 << _CHECK_BITS) - 1
    if check != _checksum(spread):
        raise ValueError("the picture shows no stamp that can be read")
    return spread * pow(_SPREAD, -1, 1 << _NUMBER_BITS) % (1 << _NUMBER_BITS)


def call_tool(
    function: Callable[..., Any],
    video: str | Path,
    *,
    budget: Budget | None = None,
    crop: FrameSampling | None = None,
    **arguments: object,
) -> list[Block]:
    """Calls a tool as a model would: arguments checked against its schema, content blocks back.

    Args:
        function: A tool's function.
        video: The file behind the name ``video_1.mp4``, which is also the default of ``video_path``.
        budget: What may be spent; no limit by default.
        crop: How ``crop_video`` samples, instead of its preset.
        arguments: What the model writes.

    Raises:
        ToolError: As the model would read it.
    """
    from longvt_plugins.tools import Tool, ToolContext
    from longvt_plugins.video.sampling import CROP

    tool = Tool.from_function(function)
    if "video_path" in tool.arguments_model.model_fields:
        arguments = {"video_path": VIDEO_NAME, **arguments}
    with ToolContext({VIDEO_NAME: video}, budget=budget, crop=crop if crop is not None else CROP) as ctx:
        return tool(ctx, arguments)


def images(blocks: Iterable[Block]) -> list[ImageBlock]:
    """The image blocks among content blocks."""
    return [block for block in blocks if block["type"] == "image"]


def seconds_shown(blocks: Iterable[Block]) -> list[float]:
    """The times of the frames among content blocks."""
    return [block["time"] for block in images(blocks)]


def plugin_manager(*plugins: object) -> PluginManager:
    """A manager with the built-in plugins and these, whatever else is installed.

    Args:
        plugins: Modules or objects with hooks, such as the plugin under test.
    """
    from longvt_plugins.plugins import create_plugin_manager

    return create_plugin_manager(entry_points=False, extra=plugins)


def _middles(pixels: int) -> np.ndarray[Any, Any]:
    """The rows, or columns, in the middle of each cell."""
    import numpy as np

    reach = pixels // (4 * GRID)
    centres = (2 * np.arange(GRID) + 1) * pixels // (2 * GRID)
    return (centres[:, None] + np.arange(-reach, reach + 1)).ravel()


def _checksum(number: int) -> int:
    """Not 0 for 0, so that a black picture is no stamp."""
    return (number * 37 + number // 64 * 11 + 21) % 64


class _Silence:
    """A track of nothing to hear, written as far as the pictures are."""

    _RATE, _SAMPLES = 16000, 1024

    def __init__(self, container: Any) -> None:
        self._container = container
        self._stream = container.add_stream("aac", rate=self._RATE, layout="mono")
        self._written = 0

    def write(self, until: float) -> None:
        """Goes on to this second."""
        import av
        import numpy as np

        while self._written < until * self._RATE:
            frame = av.AudioFrame.from_ndarray(np.zeros((1, self._SAMPLES), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = self._RATE, self._written
            frame.time_base = Fraction(1, self._RATE)
            self._container.mux(self._stream.encode(frame))
            self._written += self._SAMPLES

    def end(self) -> None:
        """Writes what the encoder still holds."""
        self._container.mux(self._stream.encode(None))


def _stamp(number: int, size: tuple[int, int], rotation: int, grain: int) -> np.ndarray[Any, Any]:
    import numpy as np

    spread = number * _SPREAD % (1 << _NUMBER_BITS)
    code = spread << _CHECK_BITS | _checksum(spread)
    bits = [code >> place & 1 for place in reversed(range(GRID * GRID))]
    cells = np.array(bits, dtype=np.uint8).reshape(GRID, GRID) * (_LIGHT - _DARK) + _DARK
    width, height = size
    rows = np.arange(height) * GRID // height
    columns = np.arange(width) * GRID // width
    picture = np.repeat(cells[rows][:, columns, None], 3, axis=2)
    if grain:
        noise = np.random.default_rng(number).integers(-grain, grain + 1, size=(height, width, 1))
        picture = np.clip(picture + noise, 0, 255).astype(np.uint8)
    # Stored turned the other way, so that it stands upright once a player has turned it clockwise.
    return np.ascontiguousarray(np.rot90(picture, rotation // 90))


_MATRICES: dict[int, Sequence[int]] = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}


def _write_rotation(path: Path, rotation: int) -> None:
    """PyAV cannot write a display matrix, so it is put into the header of the track."""
    data = bytearray(path.read_bytes())
    # Found from the end, where the header is: picture data may hold the same four letters by chance.
    header = data.rfind(b"tkhd")
    a, b, c, d = (value << 16 for value in _MATRICES[rotation])
    # After the name: version and flags 4, times 8, track 4, reserved 4, duration 4, reserved 8, layer to volume 8.
    struct.pack_into(">9i", data, header + 4 + 40, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
