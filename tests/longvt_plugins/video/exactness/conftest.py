"""Videos of every kind that is read, made by the tests: which frame is right at which second is known.

The catalogue below is one table. A test that takes the fixture ``stamped`` runs on each row of it; the
files are written once a session, whatever the number of processes.
"""

from __future__ import annotations

import bisect
import json
import os
import re
import select
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from longvt_plugins import Frame
from longvt_plugins.testing import read_stamp, write_stamped_video

if TYPE_CHECKING:
    from PIL import Image

SECONDS, FPS, GOP = 6, 10, 16


@dataclass(frozen=True)
class Kind:
    """A row of the catalogue.

    Args:
        name: Of the file; its suffix chooses the container.
        settings: Of :func:`write_stamped_video`.
        edits: Seconds of the recording that the edit list of an MP4 or MOV shows, one after the other.
        hide: The name of a table that is overwritten once the file is there, so that readers skip it.
    """

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    edits: tuple[tuple[float, float], ...] = ()
    hide: bytes = b""


def x264(parameters: str = "", **settings: Any) -> dict[str, Any]:
    options = {"preset": "ultrafast"} | ({"x264-params": parameters} if parameters else {})
    return {"options": options} | settings


def x265(parameters: str = "", **settings: Any) -> dict[str, Any]:
    quiet = "log-level=none:pools=none:frame-threads=1"
    options = {"preset": "ultrafast", "x265-params": f"{quiet}:{parameters}" if parameters else quiet}
    return {"codec": "libx265", "options": options} | settings


def vp9(**settings: Any) -> dict[str, Any]:
    return {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}} | settings


def vp9_hidden(**settings: Any) -> dict[str, Any]:
    """With frames that are never shown, packed into one packet with others."""
    options = {"deadline": "good", "cpu-used": "5", "auto-alt-ref": "1", "lag-in-frames": "16"}
    return {"codec": "libvpx-vp9", "options": options} | settings


def svt(**settings: Any) -> dict[str, Any]:
    options = {"preset": "8", "crf": "15", "svtav1-params": "lp=1"}
    return {"codec": "libsvtav1", "options": options} | settings


def aom(**settings: Any) -> dict[str, Any]:
    return {"codec": "libaom-av1", "options": {"cpu-used": "8", "lag-in-frames": "16"}} | settings


def muxed(settings: dict[str, Any], **options: str) -> dict[str, Any]:
    return settings | {"container_options": options}


PYRAMID = "bframes=3:b-pyramid=normal:b-adapt=0:ref=4:scenecut=0"
FLAT = "bframes=3:b-pyramid=none:b-adapt=0:scenecut=0"
OPEN = "open-gop=1:bframes=3:b-adapt=0:scenecut=0"
REFRESH = "intra-refresh=1:bframes=0:keyint=20"
OPEN_HEVC = "open-gop=1:bframes=4:b-pyramid=1:b-adapt=0:scenecut=0"
FRAGMENTS = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}

KINDS = {
    # H.264 and how its frames refer to each other.
    "h264-long-gop-mp4": Kind("a.mp4", {"gop": 1000}),
    "h264-short-gop-mp4": Kind("a.mp4", {"gop": 5}),
    "h264-only-keys-mp4": Kind("a.mp4", {"gop": 1}),
    "h264-no-b-mp4": Kind("a.mp4", {"b_frames": 0}),
    "h264-b-pyramid-mp4": Kind("a.mp4", x264(PYRAMID, b_frames=3)),
    "h264-b-pyramid-mkv": Kind("a.mkv", x264(PYRAMID, b_frames=3)),
    "h264-b-pyramid-ts": Kind("a.ts", x264(PYRAMID, b_frames=3)),
    "h264-b-pyramid-avi": Kind("a.avi", x264(PYRAMID, b_frames=3)),
    "h264-flat-b-mp4": Kind("a.mp4", x264(FLAT, b_frames=3)),
    "h264-flat-b-mov": Kind("a.mov", x264(FLAT, b_frames=3)),
    "h264-open-gop-mp4": Kind("a.mp4", x264(OPEN)),
    "h264-open-gop-mkv": Kind("a.mkv", x264(OPEN)),
    "h264-open-gop-ts": Kind("a.ts", x264(OPEN)),
    "h264-refresh-mp4": Kind("a.mp4", x264(REFRESH)),
    "h264-refresh-ts": Kind("a.ts", x264(REFRESH)),
    "h264-interlaced-mp4": Kind("a.mp4", x264("interlaced=1", size=(96, 96))),
    "h264-interlaced-ts": Kind("a.ts", x264("interlaced=1", size=(96, 96))),
    "h264-ten-bits-mkv": Kind("a.mkv", {"pixel_format": "yuv420p10le"}),
    # H.264 and the ways in which a container is written.
    "h264-table-first-mp4": Kind("a.mp4", muxed({}, movflags="faststart")),
    "h264-no-edit-list-mp4": Kind("a.mp4", muxed({}, use_editlist="0")),
    "h264-negative-offsets-mp4": Kind("a.mp4", muxed({}, movflags="negative_cts_offsets")),
    "h264-fragments-mp4": Kind("a.mp4", muxed({}, **FRAGMENTS)),
    "h264-fragment-per-frame-mp4": Kind("a.mp4", muxed({}, movflags="frag_every_frame+empty_moov")),
    "h264-fragments-after-table-mp4": Kind("a.mp4", muxed({}, movflags="frag_keyframe")),
    "h264-fragments-indexed-mp4": Kind("a.mp4", muxed({}, movflags="frag_keyframe+empty_moov+dash+global_sidx")),
    "h264-hybrid-mp4": Kind("a.mp4", muxed({}, movflags="frag_keyframe+empty_moov+hybrid_fragmented")),
    "h264-live-mkv": Kind("a.mkv", muxed({}, live="1")),
    "h264-cues-first-mkv": Kind("a.mkv", muxed({}, cues_to_front="1")),
    "h264-no-cues-mkv": Kind("a.mkv", hide=bytes.fromhex("1c53bb6b")),
    "h264-small-clusters-mkv": Kind("a.mkv", muxed({}, cluster_time_limit="300")),
    "h264-m2ts": Kind("a.m2ts", muxed({}, mpegts_m2ts_mode="1")),
    "h264-no-index-avi": Kind("a.avi", hide=b"idx1"),
    "h264-flv": Kind("a.flv"),
    "h264-3gp": Kind("a.3gp"),
    "h264-m4v": Kind("a.m4v"),
    # Sound beside the pictures.
    "sound-mp4": Kind("a.mp4", {"sound": True}),
    "sound-fragments-mp4": Kind("a.mp4", muxed({"sound": True}, **FRAGMENTS)),
    "sound-mkv": Kind("a.mkv", {"sound": True}),
    "sound-ts": Kind("a.ts", {"sound": True}),
    "sound-avi": Kind("a.avi", {"sound": True, "b_frames": 0}),
    "sound-before-mp4": Kind("a.mp4", {"sound": True, "start": 2.5}),
    "sound-before-mkv": Kind("a.mkv", {"sound": True, "start": 2.5}),
    "sound-before-ts": Kind("a.ts", {"sound": True, "start": 2.5}),
    # HEVC.
    "hevc-closed-gop-mp4": Kind("a.mp4", x265("open-gop=0")),
    "hevc-open-gop-mp4": Kind("a.mp4", x265(OPEN_HEVC, gop=12)),
    "hevc-open-gop-mkv": Kind("a.mkv", x265(OPEN_HEVC, gop=12)),
    "hevc-open-gop-mov": Kind("a.mov", x265(OPEN_HEVC, gop=12)),
    "hevc-open-gop-ts": Kind("a.ts", x265(OPEN_HEVC, gop=12)),
    "hevc-open-gop-fragments-mp4": Kind("a.mp4", muxed(x265(OPEN_HEVC, gop=12), **FRAGMENTS)),
    "hevc-long-open-gop-mp4": Kind("a.mp4", x265(OPEN_HEVC, gop=40)),
    "hevc-ten-bits-mp4": Kind("a.mp4", x265(OPEN_HEVC, gop=12, pixel_format="yuv420p10le")),
    # VP8, VP9 and AV1.
    "vp8-webm": Kind("a.webm", {"codec": "libvpx", "options": {"deadline": "realtime", "cpu-used": "8"}}),
    "vp9-webm": Kind("a.webm", vp9()),
    "vp9-mp4": Kind("a.mp4", vp9()),
    "vp9-hidden-frames-webm": Kind("a.webm", vp9_hidden()),
    "vp9-hidden-frames-mp4": Kind("a.mp4", vp9_hidden()),
    "vp9-long-gop-mkv": Kind("a.mkv", vp9_hidden(gop=1000)),
    "av1-svt-mp4": Kind("a.mp4", svt()),
    "av1-svt-webm": Kind("a.webm", svt()),
    "av1-aom-mkv": Kind("a.mkv", aom()),
    "av1-aom-fragments-mp4": Kind("a.mp4", muxed(aom(), **FRAGMENTS)),
    # MPEG-4, MPEG-2, and codecs of key frames only.
    "mpeg4-mp4": Kind("a.mp4", {"codec": "mpeg4"}),
    "mpeg4-avi": Kind("a.avi", {"codec": "mpeg4"}),
    "mpeg4-no-b-avi": Kind("a.avi", {"codec": "mpeg4", "b_frames": 0}),
    "mpeg4-mkv": Kind("a.mkv", {"codec": "mpeg4"}),
    "mpeg4-mov": Kind("a.mov", {"codec": "mpeg4"}),
    "mpeg2-ts": Kind("a.ts", {"codec": "mpeg2video", "fps": 25}),
    "mpeg2-mpg": Kind("a.mpg", {"codec": "mpeg2video", "fps": 25}),
    "mpeg2-mkv": Kind("a.mkv", {"codec": "mpeg2video", "fps": 25}),
    "mjpeg-avi": Kind("a.avi", {"codec": "mjpeg", "pixel_format": "yuvj420p", "b_frames": 0}),
    "mjpeg-mov": Kind("a.mov", {"codec": "mjpeg", "pixel_format": "yuvj420p", "b_frames": 0}),
    # Variable frame rates, and those that no whole tick holds.
    "uneven-mp4": Kind("a.mp4", {"variable": True}),
    "uneven-b-pyramid-mp4": Kind("a.mp4", x264(PYRAMID, b_frames=3, variable=True)),
    "uneven-fragments-mp4": Kind("a.mp4", muxed({"variable": True}, **FRAGMENTS)),
    "uneven-mov": Kind("a.mov", {"variable": True}),
    "uneven-mkv": Kind("a.mkv", {"variable": True}),
    "uneven-ts": Kind("a.ts", {"variable": True}),
    "uneven-hevc-mp4": Kind("a.mp4", x265(OPEN_HEVC, gop=12, variable=True)),
    "uneven-vp9-webm": Kind("a.webm", vp9_hidden(variable=True)),
    "uneven-av1-mp4": Kind("a.mp4", svt(variable=True)),
    "ntsc-mp4": Kind("a.mp4", {"fps": 29.97}),
    "ntsc-mkv": Kind("a.mkv", {"fps": 29.97}),
    "ntsc-ts": Kind("a.ts", {"fps": 29.97}),
    "ntsc-avi": Kind("a.avi", {"fps": 29.97}),
    # Turned pictures.
    "turned-90-mp4": Kind("a.mp4", {"rotation": 90, "size": (120, 80)}),
    "turned-180-mp4": Kind("a.mp4", {"rotation": 180, "size": (120, 80)}),
    "turned-270-mov": Kind("a.mov", {"rotation": 270, "size": (120, 80)}),
    "turned-90-hevc-mov": Kind("a.mov", x265(OPEN_HEVC, gop=12, rotation=90, size=(120, 80))),
    # Edit lists.
    "edit-cut-start-mp4": Kind("a.mp4", edits=((2, 6),)),
    "edit-cut-inside-a-gop-mp4": Kind("a.mp4", edits=((3.1, 6),)),
    "edit-cut-both-ends-mov": Kind("a.mov", edits=((1.7, 4.4),)),
    "edit-cut-open-gop-hevc-mp4": Kind("a.mp4", x265(OPEN_HEVC, gop=12), edits=((1.7, 4.4),)),
    "edit-no-b-mp4": Kind("a.mp4", {"b_frames": 0}, edits=((3.1, 5),)),
    # More than one stretch. (Where the cut lies between reordered frames, FFmpeg shows the second one a frame late.)
    "edit-two-mp4": Kind("a.mp4", {"gop": 10}, edits=((1, 3), (4, 6))),
    "edit-two-no-b-mov": Kind("a.mov", {"b_frames": 0}, edits=((1, 2.5), (4, 5.5))),
    "edit-twice-the-same-mp4": Kind("a.mp4", edits=((1.5, 3), (1.5, 3))),
    # Times that do not start at 0.
    "late-mp4": Kind("a.mp4", {"start": 5}),
    "late-fragments-mp4": Kind("a.mp4", muxed({"start": 5}, **FRAGMENTS)),
    "late-mov": Kind("a.mov", {"start": 5}),
    "late-mkv": Kind("a.mkv", {"start": 5}),
    "late-webm": Kind("a.webm", vp9(start=3600)),
    "late-ts": Kind("a.ts", {"start": 3600}),
    "wrapping-ts": Kind("a.ts", {"start": 2**33 / 90000 - 5}),
    # Sizes that no block divides.
    "odd-vp9-webm": Kind("a.webm", vp9(size=(97, 75))),
    "odd-av1-mkv": Kind("a.mkv", aom(size=(97, 75))),
    "odd-mpeg4-avi": Kind("a.avi", {"codec": "mpeg4", "size": (101, 67)}),
    "odd-h264-mp4": Kind("a.mp4", {"pixel_format": "yuv444p", "size": (97, 75)}),
    "odd-h264-mkv": Kind("a.mkv", {"size": (130, 98)}),
    "odd-hevc-mp4": Kind("a.mp4", x265(size=(98, 74))),
    "narrow-h264-mp4": Kind("a.mp4", {"size": (320, 32)}),
}


@dataclass(frozen=True)
class Stamped:
    """A video and the truth about it.

    Args:
        path: The file.
        times: When each picture comes on screen, in seconds from the first one, rising.
        numbers: What each picture shows.
        size: Width and height as shown.
    """

    path: Path
    times: list[float]
    numbers: list[int]
    size: tuple[int, int]

    @property
    def seconds(self) -> float:
        """A moment that is surely still inside: halfway through the last picture or earlier."""
        return self.times[-1] + min(0.01, (self.times[-1] - self.times[-2]) / 2)

    def mistakes(self, asked: Iterable[float], frames: Iterable[Frame], slack: float = 0.0011) -> list[str]:
        """What is wrong with the frames that came back, in words; nothing for a frame that says it is not exact.

        Args:
            asked: The moments.
            frames: What was shown for them.
            slack: Seconds by which a container may round the times of its frames.
        """
        found = []
        for time, frame in zip(asked, frames, strict=True):
            if not frame.exact:
                continue
            # One picture, or two so close to a change that the container's ticks decide.
            first = max(0, bisect.bisect_right(self.times, time - slack) - 1)
            last = max(0, bisect.bisect_right(self.times, time + slack) - 1)
            right = [(self.numbers[place], self.times[place]) for place in range(first, last + 1)]
            shown = stamp(frame.image)
            if not any(shown == number and abs(frame.time - begin) <= slack for number, begin in right):
                found.append(f"at {time:.4f} s: picture {shown} of {frame.time:.4f} s instead of {right}")
        return found


def stamp(image: Image.Image) -> int | None:
    """The number that a picture shows, or None if it cannot be read."""
    try:
        return read_stamp(image)
    except ValueError:
        return None


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> Films:
    base = tmp_path_factory.getbasetemp()
    # All processes of one session write into one folder.
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    folder = shared / "stamped"
    folder.mkdir(exist_ok=True)
    return Films(folder)


class Films:
    """Writes each kind when it is first asked for.

    ::

        films["h264-b-pyramid-mp4"]
        films.write("long-mkv", "a.mkv", seconds=60)        # one that is not in the catalogue
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[str, Stamped] = {}

    def __getitem__(self, key: str) -> Stamped:
        return self._write(key, KINDS[key])

    def write(self, key: str, name: str, **settings: Any) -> Stamped:
        """A film of one test's own.

        Args:
            key: Its name in the cache; another film, another key.
            name: Its suffix chooses the container.
            settings: Of :func:`write_stamped_video`.
        """
        return self._write(key, Kind(name, settings))

    def _write(self, key: str, kind: Kind) -> Stamped:
        if key in self._made:
            return self._made[key]
        settings = {"seconds": SECONDS, "fps": FPS, "size": (80, 80), "gop": GOP} | kind.settings
        path = self._folder / f"{key}{Path(kind.name).suffix}"
        draft = path.with_name(f"{os.getpid()}-{path.name}")
        times = write_stamped_video(draft, **settings)
        if kind.hide:
            data = draft.read_bytes()
            at = data.rindex(kind.hide)
            draft.write_bytes(data[:at] + b"JUNK"[: len(kind.hide)] + data[at + len(kind.hide) :])
        numbers = list(range(len(times)))
        if kind.edits:
            set_edit_list(draft, kind.edits)
            times, numbers = edited(times, kind.edits)
        draft.replace(path)
        made = self._made[key] = Stamped(path, times, numbers, settings["size"])
        return made


def edited(times: list[float], edits: tuple[tuple[float, float], ...]) -> tuple[list[float], list[int]]:
    """The timetable that an edit list leaves; its cuts lie on changes of the picture."""
    shown: list[tuple[float, int]] = []
    offset = 0.0
    for start, end in edits:
        shown += [(offset + time - start, n) for n, time in enumerate(times) if start - 1e-6 <= time < end - 1e-6]
        offset += end - start
    return [time for time, _ in shown], [number for _, number in shown]


def set_edit_list(path: Path, edits: tuple[tuple[float, float], ...]) -> None:
    """Replaces or adds the edit list of the first track of an MP4 or MOV whose table stands last."""
    data = path.read_bytes()
    moov = next(box for box in boxes(data) if box.name == b"moov")
    assert moov.end == len(data), "samples behind the table would move"
    trak = next(box for box in boxes(data, moov.start + 8, moov.end) if box.name == b"trak")
    mvhd = next(box for box in boxes(data, moov.start + 8, moov.end) if box.name == b"mvhd")
    inner = list(boxes(data, trak.start + 8, trak.end))
    mdia = next(box for box in inner if box.name == b"mdia")
    mdhd = next(box for box in boxes(data, mdia.start + 8, mdia.end) if box.name == b"mdhd")
    (movie_scale,) = struct.unpack_from(">I", data, mvhd.start + 20)
    (media_scale,) = struct.unpack_from(">I", data, mdhd.start + 20)
    # Reordered frames are stored late: second 0 of the recording is where the old list began.
    old = next((box for box in inner if box.name == b"edts"), None)
    (delay,) = struct.unpack_from(">i", data, old.start + 8 + 20) if old is not None else (0,)
    entries = b"".join(
        struct.pack(">IiI", round((end - start) * movie_scale), delay + round(start * media_scale), 1 << 16)
        for start, end in edits
    )
    elst = struct.pack(">I4sII", 16 + len(entries), b"elst", 0, len(edits)) + entries
    edts = struct.pack(">I4s", 8 + len(elst), b"edts") + elst
    parts = [edts if box is old else data[box.start : box.end] for box in inner]
    if old is None:
        parts.insert(1, edts)
    track = b"".join(parts)
    track = struct.pack(">I4s", 8 + len(track), b"trak") + track
    body = data[moov.start + 8 : trak.start] + track + data[trak.end : moov.end]
    path.write_bytes(data[: moov.start] + struct.pack(">I4s", 8 + len(body), b"moov") + body)


@dataclass(frozen=True)
class Box:
    """A box of an MP4: where it starts (its length and name first) and ends."""

    name: bytes
    start: int
    end: int


def boxes(data: bytes, start: int = 0, end: int | None = None) -> list[Box]:
    """The boxes side by side in a stretch of bytes."""
    found, stop = [], len(data) if end is None else end
    while start + 8 <= stop:
        length, name = struct.unpack_from(">I4s", data, start)
        length = length or stop - start
        found.append(Box(name, start, start + length))
        start += length
    return found


@pytest.fixture(scope="session")
def structure() -> Callable[[Path], list[int]]:
    """``structure(path)`` gives the offsets of all bytes that belong to the container, not to a coded picture."""
    known: dict[Path, list[int]] = {}

    def structure(path: Path) -> list[int]:
        if path not in known:
            known[path] = _structure(path)
        return known[path]

    return structure


def _structure(path: Path) -> list[int]:
    import av

    data = path.read_bytes()
    if path.suffix == ".ts":
        # The head of each packet, and of the stream's own packet inside where one starts.
        return [at + byte for at in range(0, len(data), 188) for byte in range(20 if data[at + 1] & 0x40 else 5)]
    if path.suffix == ".mpg":
        heads = re.finditer(b"\0\0\1[\xb9-\xff]", data)
        return sorted({at for head in heads for at in range(head.start(), min(head.start() + 40, len(data)))})
    free = bytearray(b"\1" * len(data))
    with av.open(str(path)) as container:
        for packet in container.demux():
            if packet.size and packet.pos is not None:
                # Some containers give the place of a packet's own head.
                start = data.index(bytes(packet), packet.pos)
                free[start : start + packet.size] = bytes(packet.size)
    return [at for at, byte in enumerate(free) if byte]


class Examiner:
    """A process that looks at files for the tests (``examiner.py``), started anew when a file has ended it."""

    LIMIT = 60
    """Seconds within which the smallest of files must be done with."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def look(self, path: Path, times: Iterable[float]) -> dict[str, Any]:
        """What :class:`Video` gives for these moments, each asked for alone; fails on a crash, a hang or a bug."""
        return self._ask({"path": str(path), "times": list(times)})

    def decode_plainly(self, path: Path) -> dict[str, Any]:
        """What PyAV gives for the whole file, read from its first packet to its last."""
        return self._ask({"path": str(path), "plain": True})

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("examiner.py"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(question) + "\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], self.LIMIT)
        line = process.stdout.readline() if ready else ""
        if not line:
            self.close()
            fate = "hangs" if not ready else f"ended with {process.returncode}"
            pytest.fail(f"the process that read {question['path']} {fate}")
        answer: dict[str, Any] = json.loads(line)
        if "bug" in answer:
            pytest.fail(f"{question['path']}: {answer['bug']}")
        return answer


@pytest.fixture(scope="session")
def examiner() -> Iterator[Examiner]:
    examiner = Examiner()
    yield examiner
    examiner.close()


@pytest.fixture(scope="session", params=KINDS)
def stamped(request: pytest.FixtureRequest, films: Films) -> Stamped:
    return films[request.param]
