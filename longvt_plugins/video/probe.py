"""What a video file is, without showing any of it: length, size, frame rate, groups of pictures, damage.

::

    info = probe("film.mp4")
    info.duration, info.codec, info.gop_median      # (5400.0, 'h264', 250.0)
    info.damage                                     # ("truncated: nothing after 1234.5 of 5400 s",)

It reads the packets and decodes one frame. Damage inside of packets shows only when they are decoded, which
``decode=True`` does with all of them.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longvt_plugins.errors import DamagedVideoError
from longvt_plugins.video.careful import CarefulDecoder
from longvt_plugins.video.container import Deadline
from longvt_plugins.video.damage import Damage
from longvt_plugins.video.index import PacketIndex
from longvt_plugins.video.packets import PacketSource
from longvt_plugins.video.picture import PictureMaker, degrees_of
from longvt_plugins.video.video import check_regular_file


@dataclass(frozen=True)
class VideoInfo:
    """What a video file is.

    Attributes:
        duration: Seconds; of a file that was cut short, as many as its header promises.
        width: Pixels, rotation applied.
        height: Pixels, rotation applied.
        rotation: Degrees clockwise by which the stored picture is turned to stand upright.
        codec: FFmpeg's name of it, such as ``h264``.
        container: Such as ``mp4``.
        average_fps: Frames a second that are in the file.
        nominal_fps: Frames a second that the file claims; None if it claims none.
        variable: Whether frames come at uneven times.
        frames: How many are shown.
        key_frames: From how many of them decoding can start.
        gop_min: Frames of the shortest group of pictures.
        gop_median: Of the middle one.
        gop_max: Of the longest one.
        size: Bytes of the file.
        bit_rate: Bits a second, sound included.
        damage: What was found to be damaged, one line each.
        has_audio: Whether it holds sound.
        has_subtitles: Whether it holds subtitles.
    """

    duration: float
    width: int
    height: int
    rotation: int
    codec: str
    container: str
    average_fps: float
    nominal_fps: float | None
    variable: bool
    frames: int
    key_frames: int
    gop_min: int
    gop_median: float
    gop_max: int
    size: int
    bit_rate: float
    damage: tuple[str, ...]
    has_audio: bool
    has_subtitles: bool


def probe(path: str | Path, *, decode: bool = False, time_limit: float | None = None) -> VideoInfo:
    """Looks at a video file.

    Args:
        path: A regular file.
        decode: Decode all of it, so that all damage is found.
        time_limit: Seconds that it may take; None is no limit.

    Raises:
        VideoNotFoundError: There is no such file, or it is a folder, a pipe or a device.
        NotAVideoError: No video stream in it.
        DamagedVideoError: A video of which no frame can be decoded.
        VideoTimeoutError: It took longer than the limit.
    """
    file = Path(path).absolute()
    check_regular_file(file)
    source = PacketSource(file, Deadline(file, time_limit))
    try:
        index = source.read_index()
        damage = Damage.find(source.container, source.stream, index)
        careful = CarefulDecoder(source, index)
        first = careful.first()
        if first is None:
            raise DamagedVideoError(f"{file}: no frame of it can be decoded")
        rotation = degrees_of(first)
        width, height = PictureMaker().full(first).size
        if decode:
            careful.examine()
        return _info(file, source, index, damage.findings(careful), damage.end, (width, height, rotation))
    finally:
        source.close()


def _info(
    file: Path, source: PacketSource, index: PacketIndex, damage: tuple[str, ...], end: int, shape: tuple[int, int, int]
) -> VideoInfo:
    stream, container = source.stream, source.container
    tick = float(stream.time_base)
    starts = sorted(index.key_ordinals)
    groups = [later - earlier for earlier, later in zip(starts, [*starts[1:], index.packets], strict=True)]
    nominal = stream.guessed_rate or stream.average_rate
    size = file.stat().st_size
    duration = (end - index.start) * tick
    width, height, rotation = shape
    return VideoInfo(
        duration=duration,
        width=width,
        height=height,
        rotation=rotation,
        codec=stream.codec_context.codec.canonical_name,
        container=_container_name(container, file),
        average_fps=len(index.times) / ((index.end - index.start) * tick),
        nominal_fps=float(nominal) if nominal else None,
        variable=len(index.times) > 1 and index.regular_gap() is None,
        frames=len(index.times),
        key_frames=len(starts),
        gop_min=min(groups),
        gop_median=statistics.median(groups),
        gop_max=max(groups),
        size=size,
        bit_rate=8 * size / duration,
        damage=damage,
        has_audio=bool(container.streams.audio),
        has_subtitles=bool(container.streams.subtitles),
    )


def _container_name(container: Any, file: Path) -> str:
    """FFmpeg has several names for one format: the one that the file's own name has, or the first."""
    names: list[str] = container.format.name.split(",")
    suffix = file.suffix.lower().lstrip(".")
    return suffix if suffix in names else names[0]
