"""A reader on torchcodec, PyTorch's decoder, which uses the FFmpeg libraries of the system.

::

    video = Video.open("film.mp4", reader=TorchcodecReader)      # or `torchcodec` wherever a reader is named

For parity with models whose frames torchcodec decoded; the built-in reader is faster and sees more damage. Every
frame that comes back is compared with the packet index: torchcodec returns a later frame without a word where it
cannot seek. What it does not see is damage that FFmpeg paints over. It does not scale: its own scaling is bilinear,
and saves a tenth of the time that full-size frames and the bicubic scaling of every reader take. It needs
``pip install 'longvt-plugins[readers]'``, and FFmpeg: ``apt install ffmpeg`` or the like.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longvt_plugins.console import one_line
from longvt_plugins.errors import ConfigError, DamagedVideoError, MissingExtraError
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
        NotAVideoError: No container that is read here, or no video stream in it.
        DamagedVideoError: The first frame cannot be decoded.
        VideoError: A file of which torchcodec would return wrong frames, or that it cannot open.
    """

    def __init__(self, path: Path) -> None:
        self._new_decoder = _torchcodec()
        self._survey = Survey.take(path)
        self._survey.check("torchcodec", containers=_REFUSED)
        self._decoder: Any = self._open()
        metadata = self._decoder.metadata
        self._fps: float = metadata.average_fps
        self._survey.check_count("torchcodec", metadata.num_frames)
        # Not from its metadata, which are the header's: a turned picture has another width.
        self.height, self.width = self._pixels(0).shape[:2]

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
        return self._survey.timetable(self._fps)

    def frames(self, times: Iterable[float]) -> Iterator[Frame]:
        """The frames on screen at these times, full size.

        Raises:
            DamagedVideoError: torchcodec cannot decode one of them, or returns another in its place.
        """
        from PIL import Image

        survey = self._survey
        for time in times:
            number = survey.number_at(time)
            yield Frame(Image.fromarray(self._pixels(number)), survey.seconds(number), survey.is_whole(number))

    def close(self) -> None:
        """Closes the file."""
        self._decoder = None

    def _pixels(self, number: int) -> Any:
        survey = self._survey
        wanted = survey.index.times[number] * survey.tick
        if self._decoder is None:
            self._decoder = self._open()
        try:
            frame = self._decoder.get_frame_at(number)
            if abs(frame.pts_seconds - wanted) <= survey.tick / 2:
                return frame.data.numpy()
            start = survey.index.start * survey.tick
            told = f"it gives that of {frame.pts_seconds - start:g} s"
        except (RuntimeError, IndexError) as error:
            told = _reason(error)
        self._decoder = None  # It would go on from where it stands, and miss the next frames too.
        raise DamagedVideoError(
            f"{survey.path}: damaged, or of a kind that torchcodec cannot seek in: the frame at "
            f"{survey.seconds(number):g} s cannot be decoded ({told}); use the reader 'pyav'"
        )

    def _open(self) -> Any:
        try:
            return self._new_decoder(
                f"file:{self._survey.path}",  # So that no name is taken for an address.
                stream_index=self._survey.stream,
                dimension_order="NHWC",
                num_ffmpeg_threads=1,
                device="cpu",
                seek_mode="exact",
            )
        except (RuntimeError, ValueError) as error:
            if "libtorchcodec" in str(error):
                raise _no_ffmpeg(error) from None
            raise self._survey.refusal("torchcodec", f"cannot open it ({_reason(error)})") from None


def _torchcodec() -> Any:
    try:
        from torchcodec.decoders import VideoDecoder
    except ImportError:
        raise MissingExtraError("torchcodec", "readers", "for the video reader 'torchcodec'") from None
    except RuntimeError as error:  # Some versions look for FFmpeg here, others when a file is opened.
        raise _no_ffmpeg(error) from None
    return VideoDecoder


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
