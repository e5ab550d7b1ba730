"""The built-in reader shows the right frame: every container and codec, uneven frame rates, turned and cut videos."""

from __future__ import annotations

import itertools
import struct
import weakref
from pathlib import Path

import pytest

from longvt_plugins import FrameSampling, TimeSpan, Video
from longvt_plugins.testing import read_stamp, write_stamped_video
from longvt_plugins.video.readers.pyav import PyavReader

OPEN_GOP = {"x264-params": "open-gop=1:bframes=3:b-adapt=0:scenecut=0"}
REFRESH = {"x264-params": "intra-refresh=1:bframes=0:keyint=20"}

FILES = {
    "H.264 in MP4": ("a.mp4", "libx264", {}),
    "H.264 in MOV": ("a.mov", "libx264", {}),
    "H.264 in Matroska": ("a.mkv", "libx264", {}),
    "H.264 in a transport stream, which starts late": ("a.ts", "libx264", {}),
    "H.264 in AVI, which knows no order of presentation": ("a.avi", "libx264", {}),
    "H.264 in Flash video": ("a.flv", "libx264", {}),
    "only key frames": ("a.mp4", "libx264", {"gop": 1}),
    "one key frame": ("a.mp4", "libx264", {"gop": 1000}),
    "no B-frames": ("a.mp4", "libx264", {"b_frames": 0}),
    "open groups of pictures in MP4": ("a.mp4", "libx264", {"options": OPEN_GOP}),
    "open groups of pictures in a transport stream": ("a.ts", "libx264", {"options": OPEN_GOP}),
    "gradual refresh instead of key frames": ("a.ts", "libx264", {"options": REFRESH}),
    "uneven frames in MP4": ("a.mp4", "libx264", {"variable": True}),
    "uneven frames in Matroska": ("a.mkv", "libx264", {"variable": True}),
    "uneven frames in a transport stream": ("a.ts", "libx264", {"variable": True}),
    "29.97 frames a second, odd size": ("a.mp4", "libx264", {"fps": 29.97, "size": (130, 98)}),
    "29.97 frames a second in milliseconds": ("a.mkv", "libx264", {"fps": 29.97}),
    "HEVC": ("a.mp4", "libx265", {"options": {"x265-params": "log-level=none"}}),
    "MPEG-4 in MP4": ("a.mp4", "mpeg4", {}),
    "MPEG-4 in AVI": ("a.avi", "mpeg4", {}),
    "MPEG-4 in AVI without B-frames": ("a.avi", "mpeg4", {"b_frames": 0}),
    "MPEG-2 in a program stream, with wrong times": ("a.mpg", "mpeg2video", {"fps": 25}),
    "VP8": ("a.webm", "libvpx", {"options": {"deadline": "realtime", "cpu-used": "8"}}),
    "VP9": ("a.webm", "libvpx-vp9", {"options": {"deadline": "realtime", "cpu-used": "8"}}),
}


@pytest.mark.parametrize("case", FILES)
def test_every_moment_shows_the_last_frame_that_is_not_later(tmp_path, case):
    name, codec, settings = FILES[case]
    times = write_stamped_video(tmp_path / name, 20, codec=codec, **settings)
    middles = [(earlier + later) / 2 for earlier, later in itertools.pairwise(times)]
    asked = [*times, *middles]
    expected = [*range(len(times)), *range(len(middles))]

    with Video.open(tmp_path / name) as video:
        frames = video.frames(asked)
        duration = video.duration

    assert [read_stamp(frame.image) for frame in frames] == expected
    assert [frame.time for frame in frames] == pytest.approx([times[number] for number in expected], abs=0.001)
    assert all(frame.exact for frame in frames)
    assert times[-1] < duration < times[-1] + 1


@pytest.mark.parametrize("case", FILES)
def test_moments_far_apart_are_found_by_seeking(tmp_path, case):
    name, codec, settings = FILES[case]
    times = write_stamped_video(tmp_path / name, 20, codec=codec, **settings)
    numbers = [0, 1, len(times) // 2 - 1, len(times) // 2, len(times) - 1, 2, len(times) - 2]

    with Video.open(tmp_path / name) as video:
        found = [read_stamp(video.frame_at(times[number]).image) for number in numbers]

    assert found == numbers


@pytest.mark.parametrize("name", ["turned.mp4", "turned.mov"])
@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_turned_video_stands_upright(tmp_path, name, rotation):
    write_stamped_video(tmp_path / name, 3, size=(160, 96), rotation=rotation)

    with Video.open(tmp_path / name) as video:
        assert (video.width, video.height) == (160, 96)
        frame = video.frame_at(1)

    assert frame.image.size == (160, 96)
    assert read_stamp(frame.image) == 4


def test_a_mirrored_video_is_mirrored_back(tmp_path):
    from PIL import ImageOps

    path = tmp_path / "mirrored.mp4"
    write_stamped_video(path, 3, rotation=180)
    data = bytearray(path.read_bytes())
    struct.pack_into(">9i", data, data.rfind(b"tkhd") + 44, -(1 << 16), 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(data)

    with Video.open(path) as video:
        frame = video.frame_at(1)

    # Stored upside down and back to front; the mirror undoes one of the two.
    assert read_stamp(ImageOps.flip(frame.image)) == 4


def test_frames_cut_away_by_an_edit_list_are_not_shown(tmp_path):
    path = tmp_path / "cut.mp4"
    write_stamped_video(path, 20)
    data = bytearray(path.read_bytes())
    at = data.rfind(b"elst") + 12
    _, media_start = struct.unpack_from(">Ii", data, at)
    frame = 4096  # ticks of 1/16384 s
    struct.pack_into(">Ii", data, at, 10_000, media_start + 10 * frame)
    path.write_bytes(data)

    with Video.open(path) as video:
        assert video.duration == pytest.approx(10)
        frames = video.frames([0, 0.25, 5, 9.75])

    assert [(frame.time, read_stamp(frame.image)) for frame in frames] == [(0, 10), (0.25, 11), (5, 30), (9.75, 49)]


@pytest.mark.parametrize(
    ("codec", "settings"), [("libx264", {}), ("libx264", {"options": OPEN_GOP}), ("mpeg2video", {"fps": 24})]
)
def test_times_count_from_the_first_frame_that_can_be_shown(tmp_path, codec, settings):
    """A recording that starts in the middle of a group of pictures has packets that nothing can be made of."""
    whole, tail = tmp_path / "whole.ts", tmp_path / "tail.ts"
    times = write_stamped_video(whole, 20, codec=codec, gop=24, **settings)
    fps = len(times) // 20
    packet = 188
    data = whole.read_bytes()
    tail.write_bytes(data[len(data) // 3 // packet * packet :])

    with Video.open(tail) as video:
        frames = video.frames([0, 1, 2])
        last = video.frame_at(video.duration - 0.01)

    first = read_stamp(frames[0].image)
    assert first > 0
    assert [frame.time for frame in frames] == pytest.approx([0, 1, 2])
    assert [read_stamp(frame.image) for frame in frames] == [first, first + fps, first + 2 * fps]
    assert all(frame.exact for frame in frames)
    assert read_stamp(last.image) == len(times) - 1


def test_a_picture_that_stands_still_for_long_is_no_damage(tmp_path):
    import av

    path = tmp_path / "slides.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 96, "yuv420p"
        for shade, second in enumerate([0, 0.04, 0.08, 30, 30.04, 60]):
            frame = av.VideoFrame(96, 96, "gray")
            for plane in frame.planes:
                plane.update(bytes([40 * shade]) * plane.buffer_size)
            frame.pts = round(second * 25)
            container.mux(stream.encode(frame.reformat(format="yuv420p")))
        container.mux(stream.encode(None))

    with Video.open(path) as video:
        frames = video.frames([15, 29, 45])

    assert [frame.time for frame in frames] == pytest.approx([0.08, 0.08, 30.04], abs=0.001)
    assert all(frame.exact for frame in frames)


@pytest.mark.parametrize(("matrix", "full_range"), [("bt709", False), ("bt709", True), ("smpte170m", False)])
def test_colours_are_those_that_were_encoded(tmp_path, matrix, full_range):
    """Each matrix gives another RGB for one stored colour; taking all for BT.601 is off by up to 15."""
    import av
    import numpy as np

    red, green, blue = 200, 60, 40
    kr, kb = {"bt709": (0.2126, 0.0722), "smpte170m": (0.299, 0.114)}[matrix]
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    cb, cr = (blue - luma) / (2 * (1 - kb)), (red - luma) / (2 * (1 - kr))
    stored = (luma, 128 + cb, 128 + cr)
    if not full_range:
        stored = (16 + luma * 219 / 255, 128 + cb * 224 / 255, 128 + cr * 224 / 255)
    planes = [np.full(size, round(value)) for size, value in zip((96 * 96, 48 * 48, 48 * 48), stored, strict=True)]
    picture = np.concatenate(planes).astype(np.uint8).reshape(144, 96)
    path = tmp_path / "colour.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=4, options={"qp": "0", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 96, 96, "yuv420p"
        stream.codec_context.colorspace = {"bt709": 1, "smpte170m": 5}[matrix]
        stream.codec_context.color_range = 2 if full_range else 1
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="yuv420p")))
        container.mux(stream.encode(None))

    with Video.open(path) as video:
        shown = video.frame_at(0).image.getpixel((48, 48))

    assert shown == pytest.approx((red, green, blue), abs=3)


def test_a_video_of_one_frame_can_be_read(tmp_path):
    write_stamped_video(tmp_path / "one.mp4", 0.25)

    with Video.open(tmp_path / "one.mp4") as video:
        assert video.duration == pytest.approx(0.25)
        assert [read_stamp(frame.image) for frame in video.overview()] == [0]


def watch_packets(reader, see):
    """Calls ``see`` with the number of each packet that a reader reads."""
    read = reader._source.next
    numbers = itertools.count()

    def watched():
        see(next(numbers))
        return read()

    reader._source.next = watched


def test_only_the_groups_of_pictures_that_are_needed_are_read(tmp_path):
    write_stamped_video(tmp_path / "long.mp4", 120, gop=24)
    reader = PyavReader(tmp_path / "long.mp4")
    numbers = []
    watch_packets(reader, numbers.append)
    try:
        found = [read_stamp(frame.image) for frame in reader.frames([10, 11, 100])]
    finally:
        reader.close()

    assert found == [40, 44, 400]
    assert len(numbers) < 3 * 24


def test_opening_and_closing_leaves_no_file_open(tmp_path):
    write_stamped_video(tmp_path / "a.mp4", 5)
    (tmp_path / "cut.mp4").write_bytes((tmp_path / "a.mp4").read_bytes()[:2000])

    def use() -> None:
        with Video.open(tmp_path / "a.mp4") as video:
            video.overview()
            video.frame_at(0)
        with pytest.raises(Exception, match="damaged"):
            Video.open(tmp_path / "cut.mp4")

    use()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        use()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize("name", ["a.mp4", "a.avi"])
@pytest.mark.parametrize("number", [0, 1, 10, 40])
def test_a_reader_that_was_interrupted_still_shows_the_right_frame(tmp_path, name, number):
    """The AVI is read packet by packet, the MP4 by groups of pictures."""
    write_stamped_video(tmp_path / name, 20, gop=1000)
    reader = PyavReader(tmp_path / name)

    def stop(read):
        if read == number:
            raise KeyboardInterrupt

    try:
        assert [read_stamp(frame.image) for frame in reader.frames([1])] == [4]
        watch_packets(reader, stop)
        with pytest.raises(KeyboardInterrupt):
            list(reader.frames([0, 15]))
        assert [read_stamp(frame.image) for frame in reader.frames([10, 12])] == [40, 48]
    finally:
        reader.close()


@pytest.mark.parametrize("name", ["a.mp4", "a.avi"])
def test_two_requests_may_be_read_in_turns(tmp_path, name):
    write_stamped_video(tmp_path / name, 40, gop=24)
    reader = PyavReader(tmp_path / name)
    try:
        one, two = reader.frames(range(0, 40, 2)), reader.frames(range(1, 40, 3))
        found = [(read_stamp(a.image), read_stamp(b.image)) for a, b in zip(one, two, strict=False)]
        two.close()
        rest = [read_stamp(frame.image) for frame in one]
    finally:
        reader.close()

    assert [a for a, _ in found] + rest == [4 * second for second in range(0, 40, 2) if second != 2 * len(found)]
    assert [b for _, b in found] == [4 * second for second in range(1, 40, 3)]


@pytest.mark.parametrize("name", ["a.mp4", "a.ts", "a.avi"])
def test_moments_in_any_order_are_found(tmp_path, name):
    write_stamped_video(tmp_path / name, 40, gop=24)
    asked = [30, 5, 30, 30.1, 0, 6, 7, 39.9, 8, 8]
    reader = PyavReader(tmp_path / name)
    try:
        found = [read_stamp(frame.image) for frame in reader.frames(asked)]
    finally:
        reader.close()

    assert found == [int(4 * second) for second in asked]


def test_frames_of_a_long_overview_are_not_all_alive_at_full_size(tmp_path):
    """Full-size frames are handed out one by one, so that memory does not grow with their number."""
    write_stamped_video(tmp_path / "a.mp4", 20, size=(320, 240))
    images = []
    alive = []

    with Video.open(tmp_path / "a.mp4") as video:
        made = video._reader._pictures.full

        def watched(frame):
            alive.append(sum(image() is not None for image in images))
            image = made(frame)
            images.append(weakref.ref(image))
            return image

        video._reader._pictures.full = watched
        frames = video.clip(TimeSpan(0, 20), FrameSampling(fps=4, max_pixels=64 * 64, scaling="exact"))

    assert len(frames) == len(images) == 80
    assert {frame.image.size for frame in frames} == {(56, 28)}
    assert max(alive) <= 1
