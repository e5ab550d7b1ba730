"""A reader on decord, which LongVT's own code and many models were trained with.

::

    video = Video.open("film.mp4", reader=DecordReader)      # or `decord` wherever a reader is named

For parity with them, and for nothing else: it is slower than the built-in reader, has no decoder for AV1, and was
last released in 2021. Of several kinds of files decord returns wrong frames without a word. They are refused here:
open groups of pictures, which most HEVC files have and nearly all of MPEG-2 and MPEG-4; H.264 whose key frames are
not clean starts; edit lists; transport and program streams. What is not seen is damage inside of packets, where it
shows a neighbour, or what FFmpeg painted over.

It may hang while it holds the interpreter's lock, so a library of videos has it work in a process of its own. It
needs ``pip install 'longvt-plugins[readers]'``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from longvt_plugins.console import one_line
from longvt_plugins.errors import DamagedVideoError, MissingExtraError
from longvt_plugins.hookspecs import RegisterNamed, hookimpl
from longvt_plugins.video.readers.clean_keys import has_clean_keys
from longvt_plugins.video.readers.survey import Survey
from longvt_plugins.video.video import Frame

if TYPE_CHECKING:
    from longvt_plugins.video.sampling import Timetable

_REFUSED = ("mpegts", "mpeg")
"""Containers without a table of frames: it takes the second group of pictures for the first."""

_CLOSE = 1e-6
"""Share by which its times may be off: it has them in 32 bits."""


class DecordReader:
    """Reads frames by time with decord, in one thread.

    Args:
        path: A regular file, absolute.

    Raises:
        MissingExtraError: decord is not installed.
        VideoNotFoundError: The file cannot be opened.
        NotAVideoError: No container that is read here, or no video stream in it.
        DamagedVideoError: The file was cut short.
        VideoError: A file of which decord would return wrong frames, or that it cannot open.
    """

    isolate: ClassVar[bool] = True
    """Asks :class:`~longvt_plugins.video.library.VideoLibrary` for a process that can be killed."""

    def __init__(self, path: Path) -> None:
        # PyAV comes first: decord brings an old libvpx for the whole process, with which PyAV could not write VP9.
        self._survey = Survey.take(path)
        self._decord = _decord()
        self._refuse_wrong_frames()
        # By size; None is that of the video. One besides that, since each holds the file open and its own index.
        self._readers: dict[tuple[int, int] | None, Any] = {}
        reader = self._reader(None)
        self._check_table(reader)
        self._fps: float = reader.get_avg_fps()
        self.height, self.width = self._pixels(None, 0).shape[:2]
        reader.seek(0)

    @property
    def duration(self) -> float:
        """Seconds from the first frame shown to the end of the last one."""
        return self._survey.duration

    @property
    def codec(self) -> str:
        """FFmpeg's name of it, such as ``"h264"``."""
        return self._survey.codec

    @property
    def damage(self) -> tuple[str, ...]:
        """What its packets tell of damage, one line each."""
        return self._survey.damage.findings()

    @property
    def timetable(self) -> Timetable:
        """When each frame comes on screen; the mean frame rate is decord's, which is the header's."""
        return self._survey.timetable(self._fps)

    def frames(self, times: Iterable[float]) -> Iterator[Frame]:
        """The frames on screen at these times, full size.

        Raises:
            DamagedVideoError: decord cannot decode one of them.
        """
        return self._frames(None, times)

    def scaled_frames(
        self, times: Iterable[float], size: tuple[int, int], scaling: Literal["fast", "exact"]
    ) -> Iterator[Frame]:
        """The same at another size; ``fast`` is decord's own scaling.

        Raises:
            DamagedVideoError: As in :meth:`frames`.
        """
        if scaling == "fast":
            yield from self._frames(size, times)
        else:
            for frame in self._frames(None, times):
                yield frame.resized(size)

    def close(self) -> None:
        """Closes the file and ends decord's threads."""
        self._readers.clear()

    def _frames(self, size: tuple[int, int] | None, times: Iterable[float]) -> Iterator[Frame]:
        from PIL import Image

        survey = self._survey
        try:
            for time in times:
                number = survey.number_at(time)
                # One at a time: a batch is held twice.
                image = Image.fromarray(self._pixels(size, number))
                yield Frame(image, survey.seconds(number), survey.is_whole(number))
        finally:
            # It decodes ahead, to the end of the group of pictures and beyond: 1.4 MB a frame of 720p. This stops it.
            if size in self._readers:
                self._readers[size].seek(0)

    def _pixels(self, size: tuple[int, int] | None, number: int) -> Any:
        try:
            picture = self._reader(size)[number]
        except (self._decord.DECORDError, RuntimeError, StopIteration) as error:
            self._readers.pop(size, None)  # An error stays in its threads, and comes up again at sound frames.
            raise DamagedVideoError(
                f"{self._survey.path}: damaged: the frame at {self._survey.seconds(number):g} s cannot be decoded by "
                f"decord ({_reason(error)}); use the reader 'pyav'"
            ) from None
        # A tensor, where somebody in this process has told decord to return those of another library.
        return picture.asnumpy() if hasattr(picture, "asnumpy") else picture.numpy()

    def _reader(self, size: tuple[int, int] | None) -> Any:
        if size not in self._readers:
            for other in [kept for kept in self._readers if kept is not None]:
                del self._readers[other]
            width, height = size if size is not None else (-1, -1)
            path = str(self._survey.path)
            try:
                self._readers[size] = self._decord.VideoReader(path, width=width, height=height, num_threads=1)
            except (self._decord.DECORDError, RuntimeError, AssertionError) as error:
                told = _reason(error)
                if "cannot find video stream" in told:  # It means: none that it could decode.
                    told = f"no decoder for {self.codec}"
                raise self._survey.refusal("decord", f"cannot open it ({told})") from None
        return self._readers[size]

    def _refuse_wrong_frames(self) -> None:
        survey = self._survey
        survey.check("decord", containers=_REFUSED)
        if survey.video_streams > 1:
            raise survey.refusal("decord", f"cannot be told which of {survey.video_streams} video streams to read")
        if survey.has_leading_frames:
            raise survey.refusal("decord", "returns wrong frames of open groups of pictures and of some edit lists")
        if not has_clean_keys(survey.path):
            raise survey.refusal("decord", "returns wrong frames after key frames that are no clean start")

    def _check_table(self, reader: Any) -> None:
        """Compares when decord shows its frames with when they are shown; a count too high could make it hang.

        Raises:
            VideoError: They differ.
        """
        import numpy as np

        survey = self._survey
        survey.check_count("decord", len(reader))
        own = reader.get_frame_timestamp(range(len(reader)))[:, 0].astype(np.float64)
        times = np.frombuffer(survey.index.times, np.int64) * survey.tick
        off = np.abs((own - own[0]) - (times - times[0]))
        if (off > survey.tick + _CLOSE * np.abs(times)).any():
            raise survey.refusal("decord", f"has its frames up to {off.max():.3g} s beside the time they are shown at")


def _decord() -> Any:
    try:
        import decord
    except ImportError:
        raise MissingExtraError("decord", "readers", "for the video reader 'decord'") from None
    return decord


def _reason(error: Exception) -> str:
    """What it said, after the time and the place in decord's sources."""
    return one_line(error).rpartition(".cc:")[2].partition(": ")[2] or one_line(error)


@hookimpl
def register_video_readers(register: RegisterNamed) -> None:  # noqa: D103 - the hook's own docstring says it
    register("decord", DecordReader)
