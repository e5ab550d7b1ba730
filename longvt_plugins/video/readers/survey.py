"""What PyAV tells of a file before another library decodes it.

::

    survey = Survey.take(Path("film.mp4"))
    survey.number_at(12.5)      # 312: the number of the frame that is on screen
    survey.seconds(312)         # 12.48: when it comes on screen

It opens the file as the built-in reader does, so errors have the same types, and playlists and addresses never
reach a library that would follow them. Its packet index says which frame is the right one, by the same rule as
everywhere, so that what the other library returns can be checked. It decodes the first frame alone, so it does not
see damage inside of packets.
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass
from pathlib import Path

from longvt_plugins.errors import DamagedVideoError, VideoError
from longvt_plugins.video.container import open_container, video_stream
from longvt_plugins.video.damage import Damage
from longvt_plugins.video.index import PacketIndex
from longvt_plugins.video.picture import turn_of
from longvt_plugins.video.readers.pyav import ROUNDING
from longvt_plugins.video.sampling import Timetable, format_seconds


@dataclass(frozen=True)
class Survey:
    """A file before it is decoded.

    Args:
        path: The file.
        containers: Names that FFmpeg has for its format, such as ``mov`` and ``mp4``.
        codec: Such as ``"h264"``.
        stream: Number of the video stream in the file.
        video_streams: How many there are, pictures on covers included.
        index: Its packets.
        damage: What is missing of it.
        tick: Seconds of one tick of the stream's clock.
        mirrored: Whether its pictures are to be shown as in a mirror, which other libraries do not do.
    """

    path: Path
    containers: tuple[str, ...]
    codec: str
    stream: int
    video_streams: int
    index: PacketIndex
    damage: Damage
    tick: float
    mirrored: bool

    @classmethod
    def take(cls, path: Path) -> Survey:
        """Reads the packets of a file.

        Raises:
            VideoNotFoundError: The file cannot be opened.
            NotAVideoError: No container that is read here, or no video stream in it.
            DamagedVideoError: No frame of it can be decoded.
        """
        container = open_container(path)
        try:
            stream = video_stream(container, path)
            index = PacketIndex.read(container, stream)
            if index is None:
                raise DamagedVideoError(f"{path}: holds no frame that can be decoded")
            return cls(
                path=path,
                containers=tuple(container.format.name.split(",")),
                codec=stream.codec_context.codec.canonical_name,
                stream=stream.index,
                video_streams=len(container.streams.video),
                index=index,
                damage=Damage.find(container, stream, index),
                tick=float(stream.time_base),
                mirrored=_is_mirrored(path),
            )
        finally:
            container.close()

    @property
    def duration(self) -> float:
        """Seconds; of a file that was cut short, as many as its header promises."""
        return (self.damage.end - self.index.start) * self.tick

    @property
    def frames(self) -> int:
        """How many are found."""
        return len(self.index.times)

    @property
    def has_leading_frames(self) -> bool:
        """Whether frames are stored behind a key frame that are shown before it: an open group of pictures.

        Whoever seeks to that key frame cannot decode them, and miscounts if they do not come out.
        """
        import numpy as np

        if not self.index.ordinals:
            return False
        times = np.frombuffer(self.index.times, np.int64)
        # Of all frames shown up to each moment, the place of the one stored last.
        latest = np.maximum.accumulate(np.frombuffer(self.index.ordinals, np.int64))
        before = np.searchsorted(times, np.frombuffer(self.index.key_times, np.int64)) - 1
        keys = np.frombuffer(self.index.key_ordinals, np.int64)
        return bool((latest[before[before >= 0]] > keys[before >= 0]).any())

    def timetable(self, fps: float) -> Timetable:
        """When each frame comes on screen.

        Args:
            fps: The mean frame rate as the library has it with which parity is to be had.
        """
        return Timetable([self.seconds(number) for number in range(self.frames)], fps, self.duration)

    def number_at(self, time: float) -> int:
        """Which frame is on screen at a moment.

        Args:
            time: Seconds from the first frame.

        Raises:
            DamagedVideoError: The file was cut short before this moment.
        """
        ticks = self.index.start + math.floor(time / self.tick + min(0.5, ROUNDING / self.tick))
        until = self.damage.readable_until
        if until is not None and ticks >= self.index.end:
            raise DamagedVideoError(
                f"{self.path}: cut short at {format_seconds(until)} of {format_seconds(self.duration)} s; "
                f"{format_seconds(time)} s is not in it",
                readable_until=until,
            )
        return max(0, bisect.bisect_right(self.index.times, ticks) - 1)

    def seconds(self, number: int) -> float:
        """When a frame comes on screen, in seconds from the first one."""
        return (self.index.times[number] - self.index.start) * self.tick

    def is_whole(self, number: int) -> bool:
        """Whether no frames seem to be missing around this one."""
        return not self.damage.is_in_hole(self.index.times[number])

    def refusal(self, library: str, why: str) -> VideoError:
        """What to raise for a file of which a library would return wrong frames."""
        return VideoError(f"{self.path}: {library} {why}; use the reader 'pyav'")

    def check(self, library: str, *, containers: tuple[str, ...]) -> None:
        """Refuses files whose frames a library cannot tell apart.

        Args:
            library: For the message.
            containers: FFmpeg's names of the formats in which it misplaces frames.

        Raises:
            VideoError: This is one of them, or one that does not say when its frames are shown, or mirrored.
        """
        if self.mirrored:
            raise self.refusal(library, "does not mirror its pictures as the file asks")
        for name in set(containers) & set(self.containers):
            raise self.refusal(library, f"returns wrong frames of {name} files")
        if self.index.counted:
            raise self.refusal(library, "returns wrong frames where the container does not say when they are shown")

    def check_count(self, library: str, count: int) -> None:
        """Refuses a file of which a library counts other frames than there are.

        Raises:
            DamagedVideoError: It counts on frames that a cut has taken.
            VideoError: It counts frames that are never shown, as edit lists leave them.
        """
        if count == self.frames:
            return
        if self.damage.readable_until is not None:
            raise DamagedVideoError(
                f"{self.path}: {self.damage.findings()[0]}, and {library} counts on it; use the reader 'pyav'",
                readable_until=self.damage.readable_until,
            )
        raise self.refusal(library, f"counts {count} frames where {self.frames} are shown")


def _is_mirrored(path: Path) -> bool:
    """Whether the first frame is to be turned over; the file's header has it, but PyAV shows it with frames alone."""
    from av.error import FFmpegError
    from PIL.Image import Transpose

    container = open_container(path)
    try:
        first = next(container.decode(video_stream(container, path)), None)
    except FFmpegError:
        first = None  # Damage at the start, which whoever decodes it will tell.
    finally:
        container.close()
    turns = (None, Transpose.ROTATE_90, Transpose.ROTATE_180, Transpose.ROTATE_270)
    return first is not None and turn_of(first) not in turns
