"""``probe`` tells what a file is, and what is wrong with it."""

from __future__ import annotations

import dataclasses

import pytest

from longvt_plugins.errors import NotAVideoError, VideoNotFoundError, VideoTimeoutError
from longvt_plugins.testing import write_stamped_video
from longvt_plugins.video.probe import VideoInfo, probe


def test_a_whole_file_is_described(tmp_path):
    path = tmp_path / "a.mp4"
    write_stamped_video(path, 20, fps=4, gop=24, sound=True, size=(160, 96))

    info = probe(path)

    assert info == VideoInfo(
        duration=20,
        width=160,
        height=96,
        rotation=0,
        codec="h264",
        container="mp4",
        average_fps=4,
        nominal_fps=4,
        variable=False,
        frames=80,
        key_frames=4,
        gop_min=8,
        gop_median=24,
        gop_max=24,
        size=path.stat().st_size,
        bit_rate=8 * path.stat().st_size / 20,
        damage=(),
        has_audio=True,
        has_subtitles=False,
    )


@pytest.mark.parametrize(
    ("name", "codec", "settings", "expected"),
    [
        (
            "a.mkv",
            "libx265",
            {"options": {"x265-params": "log-level=none"}},
            {"codec": "hevc", "container": "matroska"},
        ),
        ("a.webm", "libvpx-vp9", {"options": {"deadline": "realtime"}}, {"codec": "vp9", "container": "webm"}),
        ("a.avi", "mpeg4", {}, {"codec": "mpeg4", "container": "avi", "frames": 40}),
        ("a.ts", "libx264", {"gop": 1}, {"container": "mpegts", "key_frames": 40, "gop_min": 1, "gop_max": 1}),
        ("a.mov", "libx264", {"rotation": 90}, {"container": "mov", "rotation": 90, "width": 96, "height": 160}),
        ("a.mp4", "libx264", {"rotation": 270}, {"rotation": 270, "width": 96, "height": 160}),
        ("a.mp4", "libx264", {"variable": True}, {"variable": True, "frames": 40}),
        ("a.mkv", "libx264", {"fps": 29.97}, {"variable": False}),
    ],
)
def test_each_kind_of_file_is_told_apart(tmp_path, name, codec, settings, expected):
    size = (96, 160) if "rotation" in settings else (96, 96)
    write_stamped_video(tmp_path / name, 10, codec=codec, size=size, **settings)

    info = dataclasses.asdict(probe(tmp_path / name))

    assert {key: info[key] for key in expected} == expected
    assert info["damage"] == ()


def test_a_file_cut_short_says_where_it_ends(tmp_path):
    path = tmp_path / "a.mp4"
    write_stamped_video(path, 40, container_options={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    info = probe(path)

    assert info.duration == 40
    assert info.damage[0].startswith("truncated: nothing after ")
    assert info.damage[0].endswith(" of 40 s")
    assert 10 < float(info.damage[0].split()[3]) < 30
    # The packet that the cut went through.
    assert info.damage[1:] == ("1 packet marked as damaged by the container",)


def test_damage_inside_of_packets_is_found_by_decoding(tmp_path):
    path = tmp_path / "a.mp4"
    write_stamped_video(path, 40)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 1500] = bytes(1500)
    path.write_bytes(data)

    assert probe(path).damage == ()
    (finding,) = probe(path, decode=True).damage
    assert finding.endswith("damaged packets skipped")
    assert 1 < int(finding.split()[0]) < 30


def test_frames_that_vanished_are_found(tmp_path):
    path = tmp_path / "a.mkv"
    write_stamped_video(path, 120)
    data = bytearray(path.read_bytes())
    del data[len(data) // 2 : len(data) // 2 + 3000]
    path.write_bytes(data)

    (finding,) = probe(path).damage

    assert finding.startswith("frames seem to be missing from ")


def test_what_is_no_video_is_refused(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(NotAVideoError):
        probe(tmp_path / "a.mp4")
    with pytest.raises(VideoNotFoundError):
        probe(tmp_path)


def test_a_probe_ends_when_its_time_is_over(tmp_path):
    write_stamped_video(tmp_path / "a.mkv", 40)
    with pytest.raises(VideoTimeoutError, match="took longer than"):
        probe(tmp_path / "a.mkv", time_limit=1e-9)
