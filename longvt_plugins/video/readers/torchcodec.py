"""A reader on torchcodec, PyTorch's decoder, which uses the FFmpeg libraries of the system.

::

    video = Video.open("film.mp4", reader=TorchcodecReader)      # or `torchcodec` wherever a reader is named

For parity with models whose frames torchcodec decoded; the built-in reader is faster and sees more damage. Every
frame that comes back is compared with the packet index: torchcodec returns a later frame without a word where it
cannot seek. What it does not see is damage that FFmpeg paints over. It needs
``pip install 'longvt-plugins[readers]'``, and FFmpeg: ``apt install ffmpeg`` or the like.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from longvt_plugins.console import one_line
from longvt_plugins.errors import ConfigError, DamagedVideoError, MissingExtraError, NotAVideoError
from longvt_plugins.hookspecs import RegisterNamed, hookimpl
from longvt_plugins.video.readers.survey import Survey
from longvt_plugins.video.video import Frame

if TYPE_CHECKING:
    from longvt_plugins.video.sampling import Timetable

_REFUSED = ("mpegts", "mpeg")
"""Without a table of frames it cannot seek into the first group of pictures, and shows pictures half decoded."""


class TorchcodecReader:
    """Reads frames by time with torchcodec, in its exact mode, in one thread.

    Args:
        path: A regular file, absolute.

    Raises:
        MissingExtraError: torchcodec is not installed.
        ConfigError: It finds no FFmpeg libraries that it can use.
        VideoNotFoundError: The file cannot be opened.
        NotAVideoError: No container that is read here, no video stream in it, or a codec that FFmpeg lacks.
        DamagedVideoError: No frame can be decoded.
        VideoError: A file of which torchcodec would return wrong frames.
    """

    def __init__(self, path: Path) -> None:
        self._new_decoder, self._resize = _torchcodec()
        self._survey = Survey.take(path)
        self._survey.check("torchcodec", containers=_REFUSED)
        self._decoder: Any = self._open()
        self._scaled: tuple[tuple[int, int], Any] | None = None
        self._survey.check_count("torchcodec", self._decoder.metadata.num_frames)
        # Not from its metadata, which are the header's: a turned picture has another width.
        self.height, self.width = self._pixels(self._decoder, 0).shape[:2]

    @property
    def duration(self) -> float:
        """Seconds; of a file that was cut short, as many as its header promises."""
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
        """When each frame comes on screen; the mean frame rate is torchcodec's, to the last bit."""
        return self._survey.timetable(self._decoder.metadata.average_fps)

    def frames(self, times: Iterable[float]) -> Iterator[Frame]:
        """The frames on screen at these times, full size.

        Raises:
            DamagedVideoError: torchcodec cannot decode one of them.
            VideoError: It returns another one in its place.
        """
        return self._frames(self._decoder, times)

    def scaled_frames(
        self, times: Iterable[float], size: tuple[int, int], scaling: Literal["fast", "exact"]
    ) -> Iterator[Frame]:
        """The same at another size; ``fast`` is torchcodec's own scaling, which is bilinear.

        Raises:
            VideoError: As in :meth:`frames`.
        """
        if scaling == "exact":
            for frame in self._frames(self._decoder, times):
                yield frame.resized(size)
            return
        if self._scaled is None or self._scaled[0] != size:
            self._scaled = None  # One at a time: each holds the file open, and an index of it.
            self._scaled = size, self._open(size)
        yield from self._frames(self._scaled[1], times)

    def close(self) -> None:
        """Closes the file."""
        self._decoder = self._scaled = None

    def _frames(self, decoder: Any, times: Iterable[float]) -> Iterator[Frame]:
        from PIL import Image

        survey = self._survey
        for time in times:
            number = survey.number_at(time)
            image = Image.fromarray(self._pixels(decoder, number))
            yield Frame(image, survey.seconds(number), survey.is_whole(number))

    def _pixels(self, decoder: Any, number: int) -> Any:
        survey = self._survey
        try:
            frame = decoder.get_frame_at(number)
        except (RuntimeError, IndexError) as error:
            raise DamagedVideoError(
                f"{survey.path}: torchcodec cannot decode the frame at {survey.seconds(number):g} s: {_reason(error)}"
            ) from None
        wanted = survey.index.times[number] * survey.tick
        if abs(frame.pts_seconds - wanted) > survey.tick / 2:
            start = survey.index.start * survey.tick
            raise survey.refusal(
                "torchcodec", f"returns the frame of {frame.pts_seconds - start:g} s for that of {wanted - start:g} s"
            )
        return frame.data.numpy()

    def _open(self, size: tuple[int, int] | None = None) -> Any:
        try:
            return self._new_decoder(
                f"file:{self._survey.path}",  # So that no name is taken for an address.
                stream_index=self._survey.stream,
                dimension_order="NHWC",
                num_ffmpeg_threads=1,
                device="cpu",
                seek_mode="exact",
                transforms=None if size is None else [self._resize((size[1], size[0]))],
            )
        except (RuntimeError, ValueError) as error:
            if "libtorchcodec" in str(error):
                raise _no_ffmpeg(error) from None
            raise NotAVideoError(f"{self._survey.path}: torchcodec cannot open it: {_reason(error)}") from None


def _torchcodec() -> tuple[Any, Any]:
    try:
        from torchcodec.decoders import VideoDecoder
        from torchcodec.transforms import Resize
    except ImportError:
        raise MissingExtraError("torchcodec", "readers", "for the video reader 'torchcodec'") from None
    except RuntimeError as error:  # Some versions look for FFmpeg here, others when a file is opened.
        raise _no_ffmpeg(error) from None
    return VideoDecoder, Resize


def _no_ffmpeg(error: RuntimeError | ValueError) -> ConfigError:
    return ConfigError(
        f"torchcodec cannot be used ({one_line(error).partition('.')[0]}): it needs the shared libraries of FFmpeg 4 "
        "to 9 (`apt install ffmpeg` on Debian and Ubuntu, `conda install ffmpeg` elsewhere) and torch 2.11 or newer"
    )


def _reason(error: Exception) -> str:
    """What FFmpeg said: the last part, after the place in torchcodec's sources."""
    return one_line(error).rpartition(".cpp:")[2].partition(", ")[2] or one_line(error)


@hookimpl
def register_video_readers(register: RegisterNamed) -> None:  # noqa: D103 - the hook's own docstring says it
    register("torchcodec", TorchcodecReader)
