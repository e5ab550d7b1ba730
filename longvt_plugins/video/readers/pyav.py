"""The built-in reader, on PyAV, whose wheels carry FFmpeg.

::

    reader = PyavReader(Path("film.mp4"))
    for frame in reader.scaled_frames([10.0, 11.0, 600.0], (280, 168), "fast"):
        ...
    reader.close()

It decodes the groups of pictures that hold wanted frames, and of each no more than these are made from
(:mod:`longvt_plugins.video.group`); where a file is not what its index says, it decodes every packet in order and
says what is not exact (:mod:`longvt_plugins.video.careful`). One frame is alive at a time. It runs in one thread,
since training reads many videos in many processes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from longvt_plugins.errors import DamagedVideoError
from longvt_plugins.hookspecs import RegisterNamed, hookimpl
from longvt_plugins.video.careful import CarefulDecoder
from longvt_plugins.video.container import Deadline
from longvt_plugins.video.damage import NEAR, Damage
from longvt_plugins.video.group import GroupDecoder, Wanted
from longvt_plugins.video.index_store import IndexStore, KeptIndex, identify
from longvt_plugins.video.packets import PacketSource
from longvt_plugins.video.picture import PictureMaker
from longvt_plugins.video.sampling import Timetable, format_seconds
from longvt_plugins.video.video import Frame

if TYPE_CHECKING:
    from PIL import Image

    _Make = Callable[[Any], Image.Image]

ROUNDING = 0.0005
"""Seconds by which a frame may come late, or half a tick where that is less: containers round the times of frames."""


_LATE = 0.98
"""Times the usual gap between frames, after which the frame on screen is late to be followed by the next."""


class _Moment(NamedTuple):
    """A moment that is asked for.

    Attributes:
        time: Seconds.
        ticks: The same in ticks of the stream.
        wanted: Ticks of the frame that the index has on screen then.
        late: Whether that is so long after the frame came that another might be missing.
        witness: Ticks of the frame after it, which tells, if it is late.
    """

    time: float
    ticks: int
    wanted: int
    late: bool
    witness: int | None


class PyavReader:
    """Reads frames by time with PyAV.

    Args:
        path: A regular file.
        index_dir: Folder where packet indexes are kept between openings, see
            :class:`~longvt_plugins.video.index_store.IndexStore`; None reads the packets at every opening.
        time_limit: Seconds that opening, and each call for frames, may take; None is no limit. Looked at between
            packets: a decoder that is stuck in one packet is ended by nothing but its process.

    Raises:
        VideoNotFoundError: The file cannot be opened.
        NotAVideoError: No container that is read here, or no video stream in it.
        DamagedVideoError: A video of which no frame can be decoded.
        VideoTimeoutError: Opening took longer than the limit.
    """

    def __init__(self, path: Path, *, index_dir: Path | None = None, time_limit: float | None = None) -> None:
        self._path = path
        self._deadline = Deadline(path, time_limit)
        self._pictures = PictureMaker()
        identity = identify(path)
        self._source = PacketSource(path, self._deadline)
        try:
            store = IndexStore(index_dir) if index_dir is not None else None
            kept = store.load(identity) if store is not None else None
            self._index = kept.index if kept is not None else self._source.read_index()
            self._tick = float(self._source.stream.time_base)
            self._damage = Damage.find(self._source.container, self._source.stream, self._index)
            self._careful = CarefulDecoder(self._source, self._index)
            if kept is None:
                first = self._careful.first()
                if first is None:
                    raise DamagedVideoError(f"{path}: no frame of it can be decoded")
                kept = KeptIndex(self._index, *self._pictures.full(first).size)
                if store is not None and not self.damage:
                    store.save(identity, kept)
            self._width, self._height = kept.width, kept.height
            self._usual_gap = self._index.usual_gap()
            self._groups = GroupDecoder(self._source, self._index)
        except BaseException:
            self.close()
            raise

    @property
    def duration(self) -> float:
        """Seconds; of a file that was cut short, as many as its header promises."""
        return (self._damage.end - self._index.start) * self._tick

    @property
    def timetable(self) -> Timetable:
        """When each frame comes on screen. The mean frame rate is over the packets found, as torchcodec has it."""
        index = self._index
        # Each end in seconds before they are subtracted: the last bit decides how many frames `qwen` takes.
        seconds = index.end * self._tick - index.start * self._tick
        times = [(ticks - index.start) * self._tick for ticks in index.times]
        return Timetable(times, len(times) / seconds, self.duration)

    @property
    def width(self) -> int:
        """Pixels, rotation applied."""
        return self._width

    @property
    def height(self) -> int:
        """Pixels, rotation applied."""
        return self._height

    @property
    def codec(self) -> str:
        """FFmpeg's name of it, such as ``"h264"``."""
        name: str = self._source.stream.codec_context.codec.canonical_name
        return name

    @property
    def damage(self) -> tuple[str, ...]:
        """What is known to be damaged so far, one line each."""
        return self._damage.findings(self._careful)

    def frames(self, times: Iterable[float]) -> Iterator[Frame]:
        """The frame on screen at each time, as large as the video.

        Args:
            times: Seconds in ``[0, duration)``, best rising.

        Raises:
            DamagedVideoError: Nothing near one of the times can be decoded.
            VideoTimeoutError: It took longer than the limit, from the first frame asked for on.
        """
        return self._frames(times, self._pictures.full)

    def scaled_frames(
        self, times: Iterable[float], size: tuple[int, int], scaling: Literal["fast", "exact"]
    ) -> Iterator[Frame]:
        """The frame on screen at each time, at another size.

        Args:
            times: Seconds in ``[0, duration)``, best rising.
            size: Width and height in pixels, as the picture stands upright.
            scaling: See :mod:`longvt_plugins.video.picture`.

        Raises:
            DamagedVideoError: Nothing near one of the times can be decoded.
            VideoTimeoutError: It took longer than the limit, from the first frame asked for on.
        """
        return self._frames(times, partial(self._pictures.scaled, size=size, scaling=scaling))

    def close(self) -> None:
        """Closes the file; without it PyAV keeps memory and the file descriptor."""
        if (careful := getattr(self, "_careful", None)) is not None:  # It is not there where opening failed.
            careful.close()
        self._source.close()

    def _frames(self, times: Iterable[float], make: _Make) -> Iterator[Frame]:
        self._deadline.start()
        moments = [self._moment(time) for time in times]
        wanted = [Wanted(moment.wanted, moment.witness) for moment in moments]
        # For each moment the next one that must be read carefully.
        stops = [len(moments)] * (len(moments) + 1)
        for place in reversed(range(len(moments))):
            stops[place] = stops[place + 1] if self._is_clear(moments[place]) else place
        place = 0
        while place < len(moments):
            for frame in self._grouped(wanted, place, stops[place]):
                yield self._frame(make(frame), frame.pts)
                place += 1
            if place < len(moments):
                yield self._carefully(moments[place], make)
                place += 1

    def _moment(self, time: float) -> _Moment:
        index = self._index
        ticks = index.start + math.floor(time / self._tick + min(0.5, ROUNDING / self._tick))
        if self._damage.readable_until is None:
            ticks = min(ticks, index.end - 1)
        wanted = index.shown_at(ticks)
        # Long after its frame the picture may truly stand still, or frames may be missing: the next one tells.
        late = ticks - wanted >= _LATE * self._usual_gap
        return _Moment(time, ticks, wanted, late, index.after(wanted) if late else None)

    def _grouped(self, wanted: list[Wanted], place: int, stop: int) -> Iterator[Any]:
        """PyAV's frames for wanted ones from a place on, one for each, as far as they can be had by groups."""
        while place < stop and self._groups.usable and not self._careful.disordered:
            run = self._groups.plan(wanted, place, stop)
            if run is None:
                return
            for ticks, frame in self._groups.frames(run):
                while place < run.stop and wanted[place].ticks == ticks:
                    yield frame
                    place += 1
            if place < run.stop:
                return

    def _is_clear(self, moment: _Moment) -> bool:
        """Whether nothing speaks against the frame that the index has for a moment."""
        told = not moment.late or moment.witness is not None
        return told and moment.ticks < self._index.end and not self._damage.is_in_hole(moment.ticks)

    def _carefully(self, moment: _Moment, make: _Make) -> Frame:
        time, ticks, wanted, late, _ = moment
        careful = self._careful
        careful.go_to(wanted, look_past=late)
        shown = careful.shown
        # With damage on the way, what is shown may not be what should be. Of interlaced video the index may have the
        # second half of a frame too, which is no frame of its own.
        met = shown is not None and (shown.ticks == wanted or shown.frame.interlaced_frame)
        sure = shown is not None and met and (not late or careful.damages == shown.damages)
        if shown is not None and sure and ticks < self._index.end:
            exact = shown.sound and not careful.disordered and not self._damage.is_in_hole(ticks)
            return self._frame(make(shown.frame), shown.ticks, exact=exact)
        near = [
            (abs(ticks - candidate.ticks), candidate) for candidate in (shown, careful.ahead) if candidate is not None
        ]
        if near:
            distance, stand_in = min(near, key=lambda pair: pair[0])
            mean_gap = (self._index.end - self._index.start) / len(self._index.times)
            if (distance - mean_gap) * self._tick <= NEAR:
                return self._frame(make(stand_in.frame), stand_in.ticks, exact=False)
        raise self._unreadable(time, ticks)

    def _unreadable(self, time: float, ticks: int) -> DamagedVideoError:
        until, failed = self._damage.readable_until, self._careful.damages
        if until is not None and ticks >= self._index.times[-1]:
            return DamagedVideoError(
                f"{self._path}: cut short at {format_seconds(until)} of {format_seconds(self.duration)} s; "
                f"{format_seconds(time)} s is not in it",
                readable_until=until,
                damaged_packets=failed,
            )
        return DamagedVideoError(
            f"{self._path}: damaged: {failed} packet{'s' * (failed != 1)} skipped; nothing within {NEAR:g} s of "
            f"{format_seconds(time)} s can be decoded",
            readable_until=until,
            damaged_packets=failed,
        )

    def _frame(self, image: Image.Image, ticks: int, *, exact: bool = True) -> Frame:
        return Frame(image, max(0.0, (ticks - self._index.start) * self._tick), exact)


@hookimpl
def register_video_readers(register: RegisterNamed) -> None:  # noqa: D103 - the hook's own docstring says it
    register("pyav", PyavReader)
