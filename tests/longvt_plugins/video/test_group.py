"""Frames decoded by groups of pictures are those that decoding everything gives, bit for bit, at less cost."""

from __future__ import annotations

import itertools

import pytest

from longvt_plugins import Video
from longvt_plugins.testing import read_stamp, write_stamped_video
from longvt_plugins.video.non_reference import non_reference_test
from longvt_plugins.video.readers.pyav import PyavReader

QUIET = "log-level=none:bframes=4"

FILES = {
    "H.264": ("a.mp4", "libx264", {"b_frames": 3}),
    "H.264 with start codes": ("a.ts", "libx264", {"b_frames": 3}),
    "H.264 with a pyramid of B-frames": (
        "a.mkv",
        "libx264",
        {"options": {"x264-params": "b-pyramid=normal:bframes=5:b-adapt=0"}},
    ),
    "H.264 with open groups": ("a.mp4", "libx264", {"options": {"x264-params": "open-gop=1:bframes=3:b-adapt=0"}}),
    "HEVC": ("a.mp4", "libx265", {"options": {"x265-params": QUIET}}),
    "HEVC with start codes": ("a.ts", "libx265", {"options": {"x265-params": QUIET}}),
    "HEVC with temporal layers": ("a.mkv", "libx265", {"options": {"x265-params": f"{QUIET}:temporal-layers=3"}}),
    "HEVC with open groups": ("a.mp4", "libx265", {"options": {"x265-params": f"{QUIET}:open-gop=1"}}),
    "MPEG-2": ("a.ts", "mpeg2video", {"fps": 24}),
    "MPEG-4": ("a.mkv", "mpeg4", {}),
    "VP9": ("a.webm", "libvpx-vp9", {"options": {"deadline": "realtime", "cpu-used": "8"}}),
}

SKIPPABLE = set(FILES) - {"VP9"}


def decode_all(path):
    """Every frame of a file, from its first packet to its last, by its time in ticks."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        start, found = None, {}
        for frame in container.decode(stream):
            start = frame.pts if start is None else start
            found[round(float((frame.pts - start) * stream.time_base), 4)] = frame.to_image().tobytes()
        return found


@pytest.mark.parametrize("case", FILES)
def test_every_frame_alone_is_what_decoding_everything_gives(tmp_path, case):
    name, codec, settings = FILES[case]
    path = tmp_path / name
    times = write_stamped_video(path, **{"seconds": 12, "fps": 5, "codec": codec, "gop": 20, "grain": 20, **settings})
    decoded = decode_all(path)
    reader = PyavReader(path)
    try:
        for time in times:
            (frame,) = reader.frames([time])
            assert frame.exact
            assert frame.image.tobytes() == decoded[min(decoded, key=lambda known: abs(known - time))]
        assert reader._groups.usable
        assert reader._groups._surprises == 0
    finally:
        reader.close()


@pytest.mark.parametrize("case", sorted(SKIPPABLE))
def test_packets_that_no_other_needs_are_not_decoded(tmp_path, case):
    name, codec, settings = FILES[case]
    path = tmp_path / name
    write_stamped_video(path, **{"seconds": 16, "fps": 5, "codec": codec, "gop": 40, "grain": 20, **settings})
    reader = PyavReader(path)
    spared = []
    is_spare = reader._groups._is_non_reference

    def watched(data):
        spared.append(is_spare(data))
        return spared[-1]

    reader._groups._is_non_reference = watched
    fps = settings.get("fps", 5)
    try:
        frames = list(reader.frames([7.5, 15.5]))
    finally:
        reader.close()

    assert [read_stamp(frame.image) for frame in frames] == [int(7.5 * fps), int(15.5 * fps)]
    assert sum(spared) >= 0.2 * len(spared)


@pytest.mark.parametrize("case", sorted(SKIPPABLE))
def test_what_is_called_spare_can_be_left_out(tmp_path, case):
    """All other frames are the same to the last bit when the decoder never sees those packets."""
    import av

    name, codec, settings = FILES[case]
    path = tmp_path / name
    write_stamped_video(path, **{"seconds": 12, "fps": 5, "codec": codec, "gop": 20, "grain": 20, **settings})
    outcomes = []
    for leave_out in (False, True):
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            context = stream.codec_context
            is_spare = non_reference_test(context.codec.canonical_name, context.extradata)
            found, spare = {}, set()
            for packet in container.demux(stream):
                if packet.size and is_spare(memoryview(packet)):
                    spare.add(packet.pts)
                    if leave_out:
                        continue
                found |= {frame.pts: frame.to_image().tobytes() for frame in context.decode(packet)}
            outcomes.append((found, spare))
    (whole, spare), (rest, _) = outcomes

    assert spare
    assert rest == {pts: image for pts, image in whole.items() if pts not in spare}


def test_of_codecs_that_do_not_tell_nothing_is_left_out():
    assert non_reference_test("vp9", b"") is None
    assert non_reference_test("av1", None) is None


@pytest.mark.parametrize("codec", ["h264", "hevc", "mpeg2video", "mpeg4"])
@pytest.mark.parametrize(
    "extradata", [b"", b"\1", b"\1" * 30, b"\1" + b"\xff" * 60, b"\0\0\0\1\x40\1\x0c\1" + b"\xff" * 20]
)
def test_data_that_is_none_is_never_left_out_nor_breaks_the_test(codec, extradata):
    is_spare = non_reference_test(codec, extradata)

    for data in (b"", b"\0", b"\0\0\1", b"\0" * 50, b"\xff" * 50, b"\0\0\0\2\x67\x42" + b"\0\0\xff\xff\1"):
        assert not is_spare(memoryview(data))


def test_damage_on_the_way_to_a_frame_is_seen(tmp_path):
    """A group of pictures that does not decode as a whole is read again with care: what it depends on is marked."""
    path = tmp_path / "a.mp4"
    times = write_stamped_video(path, 40)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 500] = bytes(500)
    path.write_bytes(data)

    with Video.open(path) as video:
        frames = video.frames(times)
        damage = video.damage

    assert {read_stamp(frame.image) == number for number, frame in enumerate(frames) if frame.exact} == {True}
    marked = [number for number, frame in enumerate(frames) if not frame.exact]
    assert 1 <= len(marked) <= 24
    assert marked == list(range(marked[0], marked[-1] + 1))
    assert len(damage) == 1
    assert damage[0].endswith("skipped")


def test_a_still_picture_is_believed_when_the_next_frame_comes(tmp_path):
    """A second with one frame amid seconds with many: nothing is missing, and it is not read with care."""
    import av

    path = tmp_path / "a.mp4"
    seconds = [*(n / 25 for n in range(25)), *(20 + n / 25 for n in range(25))]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 96, "yuv420p"
        for shade, second in enumerate(seconds):
            frame = av.VideoFrame(96, 96, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([4 * shade + 20]) * plane.buffer_size)
            frame.pts = round(second * 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))

    with Video.open(path) as video:
        frames = video.frames([10, 15, 19.9, 20])
        user = video._reader._source.user

    assert [frame.time for frame in frames] == pytest.approx([0.96, 0.96, 0.96, 20], abs=0.001)
    assert all(frame.exact for frame in frames)
    assert user is video._reader._groups


def test_dense_and_sparse_moments_give_the_same_frames(tmp_path):
    path = tmp_path / "a.mkv"
    times = write_stamped_video(path, 30, fps=8, gop=30, b_frames=3)
    with Video.open(path) as video:
        dense = {frame.time: frame.image.tobytes() for frame in video.frames(times)}
        for step, first in itertools.product((3, 7, 50), (0, 2)):
            for frame in video.frames(times[first::step]):
                assert frame.image.tobytes() == dense[frame.time]
