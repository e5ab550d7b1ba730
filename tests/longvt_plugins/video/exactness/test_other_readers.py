"""decord and torchcodec on the whole catalogue: the frame returned is the right one, or the file is refused."""

from __future__ import annotations

import random

import pytest

from longvt_plugins import FrameSampling, Video
from longvt_plugins.errors import VideoError

INSTALL = "pip install 'longvt-plugins[readers]'"

NO_TABLE = {
    "h264-b-pyramid-ts",
    "h264-open-gop-ts",
    "h264-refresh-ts",
    "h264-interlaced-ts",
    "h264-m2ts",
    "sound-ts",
    "sound-before-ts",
    "hevc-open-gop-ts",
    "mpeg2-ts",
    "mpeg2-mpg",
    "uneven-ts",
    "ntsc-ts",
    "late-ts",
    "wrapping-ts",
}
UNTIMED = {
    "h264-b-pyramid-avi",
    "h264-no-index-avi",
    "sound-avi",
    "mpeg4-avi",
    "ntsc-avi",
    "odd-mpeg4-avi",
}
OPEN_GROUPS = {
    "h264-open-gop-mp4",
    "h264-open-gop-mkv",
    "hevc-open-gop-mp4",
    "hevc-open-gop-mkv",
    "hevc-open-gop-mov",
    "hevc-open-gop-fragments-mp4",
    "hevc-long-open-gop-mp4",
    "hevc-ten-bits-mp4",
    "uneven-hevc-mp4",
    "turned-90-hevc-mov",
    "edit-cut-open-gop-hevc-mp4",
    "mpeg4-mp4",
    "mpeg4-mkv",
    "mpeg4-mov",
    "mpeg2-mkv",
}
AV1 = {"av1-svt-mp4", "av1-svt-webm", "av1-aom-mkv", "av1-aom-fragments-mp4", "uneven-av1-mp4", "odd-av1-mkv"}
EDITED = {
    "edit-cut-start-mp4",
    "edit-cut-inside-a-gop-mp4",
    "edit-cut-both-ends-mov",
    "edit-no-b-mp4",
    "edit-two-mp4",
    "edit-two-no-b-mov",
    "edit-twice-the-same-mp4",
}

REFUSED = {
    "decord": NO_TABLE | UNTIMED | OPEN_GROUPS | AV1 | EDITED | {"h264-refresh-mp4", "h264-live-mkv"},
    "torchcodec": NO_TABLE | UNTIMED | {"h264-refresh-mp4"},
}


@pytest.fixture(params=REFUSED)
def reader(request):
    pytest.importorskip(request.param, reason=INSTALL, exc_type=ImportError)
    return request.param


@pytest.fixture
def reader_class(reader):
    if reader == "decord":
        from longvt_plugins.video.readers.decord import DecordReader

        return DecordReader
    from longvt_plugins.video.readers.torchcodec import TorchcodecReader

    return TorchcodecReader


def test_every_picture_is_the_right_one_or_the_file_is_refused(stamped, reader, reader_class):
    kind = stamped.path.stem
    chance = random.Random(kind)
    anywhere = [chance.uniform(0, stamped.seconds) for _ in range(8)]
    edges = [stamped.times[-1], 0.0, stamped.times[len(stamped.times) // 2], *chance.sample(stamped.times, 8)]
    width, height = stamped.size
    wrong = []

    try:
        with Video.open(stamped.path, reader=reader_class) as video:
            asked = anywhere + edges
            wrong += stamped.mistakes(asked, [video.frame_at(time) for time in asked])
            wrong += stamped.mistakes(stamped.times, video.frames(stamped.times))
            for scaling in ("fast", "exact"):
                sampling = FrameSampling(fps=5, min_pixels=28 * 28, max_pixels=2 * width * height, scaling=scaling)
                half = video.frames(stamped.times[::3], sampling)
                wrong += stamped.mistakes(stamped.times[::3], half)
                assert {frame.image.size for frame in half} == {sampling.size(width, height)}
            assert (video.width, video.height) == stamped.size
            assert stamped.times[-1] < video.duration < stamped.times[-1] + 1
    except VideoError as error:
        assert kind in REFUSED[reader], str(error)
        assert str(error).startswith(f"{stamped.path}: ")
        assert reader in str(error)
        assert str(error).endswith("use the reader 'pyav'")
    else:
        assert kind not in REFUSED[reader]
    assert not wrong
