"""The built-in reader, on PyAV, whose wheels carry FFmpeg.

::

    reader = PyavReader(Path("film.mp4"))
    for frame in reader.frames([10.0, 11.0, 600.0]):    # decodes 10 to 11, then seeks
        ...
    reader.close()

It decodes forwards, and seeks only to a key frame that lies ahead of where it stands, or behind. One
frame is alive at a time. It runs in one thread, since training reads many videos in many processes.
Addresses, playlists and image sequences are never opened.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from longvt_plugins.errors import DamagedVideoError, NotAVideoError, VideoNotFoundError
from longvt_plugins.hookspecs import RegisterNamed, hookimpl
from longvt_plugins.video.index import KeyPacket, PacketIndex
from longvt_plugins.video.sampling import Timetable
from longvt_plugins.video.video import Frame

if TYPE_CHECKING:
    from PIL import Image

CONTAINERS = ("mov", "mp4", "matroska", "webm", "avi", "mpegts", "mpeg", "flv", "asf", "ogg", "mxf")
"""Formats that hold their own data. Playlists (hls, dash, concat) and image sequences name other files."""

NEAR = 1.0
"""Seconds within which a neighbour may stand in for a frame that damage took."""

ROUNDING = 0.0005
"""Seconds by which a frame may come late, or half a tick where that is less: containers round the times of frames."""

_UNSPECIFIED, _BT601, _FULL_RANGE = 2, 5, 2
"""FFmpeg's numbers for colour spaces and ranges."""

_WORTH_SEEKING = 3
"""Packets: to decode so few of them costs less than a seek."""


class _Decoded(NamedTuple):
    """A decoded frame, its presentation time in ticks, and what was known of damage when it came out."""

    ticks: int
    frame: Any
    sound: bool
    damages: int


class PyavReader:
    """Reads frames by time with PyAV.

    Args:
        path: A regular file.

    Raises:
        VideoNotFoundError: The file cannot be opened.
        NotAVideoError: No container that is read here, or no video stream in it.
        DamagedVideoError: A video of which no frame can be decoded.
    """

    def __init__(self, path: Path) -> None:
        from av.video.reformatter import VideoReformatter

        self._path = path
        self._converter: Any = VideoReformatter()
        self._shown: _Decoded | None = None
        self._ahead: _Decoded | None = None
        self._decoding: Iterator[_Decoded] = iter(())
        self._damages = 0
        self._packets_read = 0
        # A decoder that was stopped half-way, by a signal or Ctrl-C, must not be trusted to go on from there.
        self._interrupted = False
        self._open()
        try:
            index = PacketIndex.read(self._container, self._stream)
            if index is None:
                raise DamagedVideoError(f"{path}: holds no frame that can be decoded")
            self._index = index
            self._tick = float(self._stream.time_base)
            self._end = max(index.end, self._promised_end())
            self._holes = self._find_holes()
            self._seek(0)
            self._width, self._height = self._image(self._first_frame()).size
        except BaseException:
            self.close()
            raise

    @property
    def duration(self) -> float:
        """Seconds; of a file that was cut short, as many as its header promises."""
        return (self._end - self._index.start) * self._tick

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

    def frames(self, times: Iterable[float]) -> Iterator[Frame]:
        """The frame on screen at each time.

        Args:
            times: Seconds in ``[0, duration)``; rising ones are read without going back.

        Raises:
            DamagedVideoError: Nothing near one of the times can be decoded.
        """
        for time in times:
            yield self._frame_at(time)

    def close(self) -> None:
        """Closes the file; without it PyAV keeps memory and the file descriptor."""
        self._container.close()

    def _first_frame(self) -> Any:
        """Decodes the first frame, from which times count."""
        self._ahead = next(self._decoding, None)
        if self._ahead is None:
            raise DamagedVideoError(f"{self._path}: no frame of it can be decoded")
        if not self._damages and not self._index.counted:
            self._index.start_at(self._ahead.ticks)
        return self._ahead.frame

    def _promised_end(self) -> int:
        """Ticks at which the file's header says that the video ends, if its packets end much earlier; else 0."""
        stream, index = self._stream, self._index
        if self._container.format.name == "avi" or self._is_mp4():
            # An edit list shortens the video rightly; a cut file has fewer packets than its header counts too.
            promised = index.start + (stream.duration or 0) if index.packets < stream.frames else 0
        else:
            promised = round(_matroska_seconds(stream.metadata.get("DURATION", "")) / self._tick)
        return promised if (promised - index.end) * self._tick > NEAR else 0

    def _find_holes(self) -> list[tuple[int, float]]:
        index, second = self._index, math.ceil(1 / self._tick)
        holes = [] if self._is_mp4() else index.holes(second)
        if self._end > index.end:
            # What a cut takes away is not only the end: of the last frames, some were stored after later ones.
            holes.append((index.times[-1] - second, math.inf))
        return holes

    def _is_mp4(self) -> bool:
        return "mp4" in self._container.format.name

    def _usual_gap(self) -> float:
        return (self._index.end - self._index.start) * self._tick / len(self._index.times)

    def _frame(self, decoded: _Decoded, *, exact: bool) -> Frame:
        time = max(0.0, (decoded.ticks - self._index.start) * self._tick)
        return Frame(self._image(decoded.frame), time, exact)

    def _image(self, frame: Any) -> Image.Image:
        # One converter for all frames: each frame's own would set up the conversion anew, which takes longer than it.
        # Left to itself it takes every video for BT.601, so that the colours of HD ones would be off by up to 15.
        rgb = self._converter.reformat(
            frame,
            format="rgb24",
            src_colorspace=_BT601 if frame.colorspace == _UNSPECIFIED else frame.colorspace,
            dst_colorspace=_BT601,
            src_color_range=frame.color_range,
            dst_color_range=_FULL_RANGE,
        )
        image: Image.Image = rgb.to_image()
        turn = _turn(frame)
        return image.transpose(turn) if turn is not None else image

    def _frame_at(self, time: float) -> Frame:
        ticks = self._index.start + math.floor(time / self._tick + min(0.5, ROUNDING / self._tick))
        wanted = self._index.shown_at(ticks)
        # Long after its frame the picture may truly stand still, or frames may be missing: the next one tells.
        look_past = (ticks - wanted) * self._tick > 2 * self._usual_gap()
        self._interrupted, interrupted = True, self._interrupted
        self._go_to(wanted, look_past, anew=interrupted)
        self._interrupted = False
        shown = self._shown
        past_end = ticks >= self._index.end
        # With damage on the way, what is shown may not be what should be.
        sure = shown is not None and ((shown.ticks == wanted and not look_past) or self._damages == shown.damages)
        if shown is not None and sure and not past_end:
            in_hole = any(start <= ticks < end for start, end in self._holes)
            return self._frame(shown, exact=shown.sound and not in_hole)
        near = [
            (abs(ticks - candidate.ticks), candidate) for candidate in (shown, self._ahead) if candidate is not None
        ]
        if near:
            distance, stand_in = min(near, key=lambda pair: pair[0])
            if distance * self._tick <= NEAR + self._usual_gap():
                return self._frame(stand_in, exact=False)
        raise DamagedVideoError(
            f"{self._path}: damaged or cut short; nothing within {NEAR:g} s of {time:g} s can be decoded"
        )

    def _go_to(self, wanted: int, look_past: bool, *, anew: bool) -> None:
        """Makes ``_shown`` the last frame that is not later than ``wanted``, as far as it can be decoded."""
        place = self._index.key_before(wanted)
        key = self._index.keys[place]
        current = self._shown or self._ahead
        behind = current is not None and current.ticks > wanted
        skips = not self._index.counted and key.ordinal - self._packets_read > _WORTH_SEEKING
        if anew or behind or skips:
            self._seek(place)
        self._walk(wanted, look_past)
        # Decoding from a key frame may show nothing yet (gradual refresh, or the key frame is damaged).
        for earlier in (place - 1, place - 2, 0):
            if self._shown is not None or self._index.counted or earlier < 0:
                break
            damages = self._damages
            self._seek(earlier)
            self._walk(wanted, look_past)
            self._damages += damages

    def _walk(self, wanted: int, look_past: bool) -> None:
        while True:
            if self._ahead is None:
                if self._shown is not None and self._shown.ticks == wanted and not look_past:
                    return
                self._ahead = next(self._decoding, None)
            if self._ahead is None or self._ahead.ticks > wanted:
                return
            self._shown, self._ahead = self._ahead, None

    def _seek(self, place: int) -> None:
        """Stands before a key frame, or before an earlier one where the container cannot do better."""
        from av.error import FFmpegError

        keys = self._index.keys
        if not self._index.counted:
            # Some containers seek by presentation time, some by decoding time, and transport streams by guess.
            for offset in (keys[place].pts, keys[place].dts, keys[max(0, place - 1)].dts):
                try:
                    self._container.seek(offset, stream=self._stream)
                    packet = next((found for found in self._container.demux(self._stream) if found.is_keyframe), None)
                except FFmpegError:
                    continue
                if packet is None or packet.pts is None:
                    continue
                landed = keys[self._index.key_before(packet.pts)]
                if landed.pts == packet.pts <= keys[place].pts:
                    self._start_decoding(landed, packet)
                    return
        self._container.close()
        self._open()
        self._start_decoding(keys[0], None)

    def _open(self) -> None:
        self._container = _open_container(self._path)
        try:
            self._stream = _video_stream(self._container, self._path)
        except BaseException:
            self._container.close()
            raise

    def _start_decoding(self, key: KeyPacket, packet: Any) -> None:
        self._shown, self._ahead = None, None
        self._damages = 0
        self._packets_read = key.ordinal if packet is not None else 0
        self._decoding = self._decode(key, packet)

    def _decode(self, start: KeyPacket, first: Any) -> Iterator[_Decoded]:
        """Frames in the order in which they are shown, from a key packet on."""
        from av.error import FFmpegError

        sound_from: float = -math.inf
        count = 0
        for packet in self._packets(first):
            failed = packet is not None and self._index.is_damaged(self._packets_read - 1)
            try:
                frames = self._stream.codec_context.decode(packet)
            except FFmpegError:
                frames, failed = [], True
            # Frames that lead the first key frame refer to others before it: that they fail is no damage.
            leading = packet is not None and packet.pts is not None and packet.pts < start.pts
            if failed and not leading:
                self._damages += 1
                sound_from = math.inf
            elif packet is not None and packet.is_keyframe and packet.pts is not None and not self._index.counted:
                # All that is shown from a key frame on is whole again. Lost frames cannot be counted, though.
                sound_from = min(sound_from, packet.pts)
            for frame in frames:
                ticks = frame.pts if frame.pts is not None else frame.dts
                if self._index.counted:
                    ticks = self._index.times[min(count, len(self._index.times) - 1)]
                    count += 1
                elif ticks is None or ticks < start.pts:
                    continue
                yield _Decoded(ticks, frame, ticks >= sound_from and not frame.is_corrupt, self._damages)

    def _packets(self, first: Any) -> Iterator[Any]:
        """The packets from here to the end of the file, then None, which empties the decoder."""
        from av.error import FFmpegError

        packets = self._container.demux(self._stream)
        while True:
            try:
                packet, first = (first if first is not None else next(packets)), None
            except StopIteration:
                break
            except FFmpegError:
                self._damages += 1
                break
            if packet.size:
                self._packets_read += 1
                yield packet
        yield None


def _open_container(path: Path) -> Any:
    import av
    from av.error import FFmpegError, InvalidDataError

    only = {"format_whitelist": ",".join(CONTAINERS), "protocol_whitelist": "file"}
    try:
        # "file:" keeps FFmpeg from reading the name as anything but a file's. Not `options`: PyAV 15.1 frees more of
        # them than it made when streams appear while it probes (MPEG program streams), which crashes the process.
        return av.open(f"file:{path}", container_options=only)
    except InvalidDataError:
        if _has_container_header(path):
            raise DamagedVideoError(f"{path}: starts like a video, but is damaged or cut short") from None
        raise NotAVideoError(f"{path}: not a video file") from None
    except FFmpegError as error:
        if isinstance(error, ValueError):  # What FFmpeg says of a format that is not on the list.
            raise NotAVideoError(f"{path}: not a video file of a kind that is read: {', '.join(CONTAINERS)}") from None
        raise VideoNotFoundError(f"{path}: cannot be opened: {error.strerror}") from None


def _has_container_header(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(12)
    return head[4:8] in (b"ftyp", b"moov", b"mdat") or head[:4] in (b"\x1a\x45\xdf\xa3", b"RIFF")


def _video_stream(container: Any, path: Path) -> Any:
    from av.stream import Disposition

    # The picture on the cover of a piece of music is a video stream too, of one frame.
    streams = [stream for stream in container.streams.video if Disposition.attached_pic not in stream.disposition]
    if not streams:
        held = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise NotAVideoError(f"{path}: no video stream in it (it holds: {held})")
    stream = streams[0]
    if stream.codec_context is None:
        raise NotAVideoError(f"{path}: its video has a codec that cannot be decoded here")
    stream.codec_context.thread_count = 1
    stream.thread_type = "NONE"
    # Otherwise the decoder paints over what it could not read and does not say so.
    stream.codec_context.options = {"err_detect": "explode"}
    return stream


def _turn(frame: Any) -> Image.Transpose | None:
    """How to turn the decoded picture so that it stands upright; PyAV leaves that to us."""
    from PIL.Image import Transpose

    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return None
    a, b, _, c, d = (round(value / 65536) for value in struct.unpack("=9i", bytes(matrix))[:5])
    # A point (x, y) is shown at (a x + c y, b x + d y). Skewed pictures stay as they are.
    return {
        (0, 1, -1, 0): Transpose.ROTATE_270,
        (-1, 0, 0, -1): Transpose.ROTATE_180,
        (0, -1, 1, 0): Transpose.ROTATE_90,
        (-1, 0, 0, 1): Transpose.FLIP_LEFT_RIGHT,
        (1, 0, 0, -1): Transpose.FLIP_TOP_BOTTOM,
        (0, 1, 1, 0): Transpose.TRANSPOSE,
        (0, -1, -1, 0): Transpose.TRANSVERSE,
    }.get((a, b, c, d))


def _matroska_seconds(text: str) -> float:
    """Reads ``00:04:00.250000000``, the tag of a stream; 0 if it is not written so."""
    parts = text.split(":")
    try:
        hours, minutes, seconds = (float(part) for part in parts)
    except ValueError:
        return 0.0
    total = hours * 3600 + minutes * 60 + seconds
    return total if math.isfinite(total) else 0.0


@hookimpl
def register_video_readers(register: RegisterNamed) -> None:  # noqa: D103 - the hook's own docstring says it
    register("pyav", PyavReader)
