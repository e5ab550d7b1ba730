"""The tables of an MP4 file say what reading its packets says, or they are not taken."""

from __future__ import annotations

import random
import struct

import pytest

from longvt_plugins import Video
from longvt_plugins.errors import VideoError
from longvt_plugins.testing import read_stamp, write_stamped_video
from longvt_plugins.video import packets
from longvt_plugins.video.container import open_container, video_stream
from longvt_plugins.video.index import PacketIndex
from longvt_plugins.video.mp4_table import read_mp4_table

X264, X265 = "libx264", "libx265"
QUIET = {"x265-params": "log-level=none:open-gop=1:bframes=3"}

PLAIN = {
    "table last": {},
    "table first": {"container_options": {"movflags": "faststart"}},
    "B-pyramid": {"options": {"x264-params": "b-pyramid=normal:bframes=5:b-adapt=0"}, "b_frames": 5},
    "no B-frames": {"b_frames": 0},
    "only key frames": {"gop": 1},
    "one key frame": {"gop": 1000},
    "open groups of pictures": {"options": {"x264-params": "open-gop=1:bframes=3:b-adapt=0"}},
    "HEVC, open groups of pictures": {"codec": X265, "options": QUIET},
    "MPEG-4": {"codec": "mpeg4"},
    "uneven frames": {"variable": True},
    "uneven frames, no B-frames": {"variable": True, "b_frames": 0},
    "29.97 frames a second": {"fps": 29.97},
    "with sound": {"sound": True},
    "starts late": {"start": 3.5},
    "negative offsets": {"container_options": {"movflags": "negative_cts_offsets"}},
    "turned": {"rotation": 90},
}


def both(path):
    """What the tables say, and what the packets say."""
    indexes = []
    for read in (lambda container, stream: read_mp4_table(path, container, stream), PacketIndex.read):
        container = open_container(path)
        try:
            indexes.append(read(container, video_stream(container, path)))
        finally:
            container.close()
    return indexes


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
@pytest.mark.parametrize("case", PLAIN)
def test_plain_tables_say_what_the_packets_say(tmp_path, case, suffix):
    path = tmp_path / f"a.{suffix}"
    write_stamped_video(path, **{"seconds": 20, "fps": 4, **PLAIN[case]})

    table, read = both(path)

    assert table == read


FRAGMENTS = {"movflags": "frag_keyframe+empty_moov"}


@pytest.mark.parametrize("case", ["fragments", "cut short", "cut by an edit list", "cut at its start", "Matroska"])
def test_other_tables_are_not_taken(tmp_path, case):
    path = tmp_path / ("a.mkv" if case == "Matroska" else "a.mp4")
    first = {"movflags": "faststart"}
    write_stamped_video(path, 20, container_options={"fragments": FRAGMENTS, "cut short": first}.get(case))
    data = bytearray(path.read_bytes())
    if case == "cut short":
        del data[len(data) * 3 // 4 :]
    elif case.startswith("cut"):
        at = data.rfind(b"elst") + 12
        _, start = struct.unpack_from(">Ii", data, at)
        frame = 4096  # ticks of 1/16384 s
        struct.pack_into(">Ii", data, at, 10_000, start + (10 * frame if "start" in case else 0))
    path.write_bytes(data)

    table, read = both(path)

    assert table is None
    assert read is not None


@pytest.mark.parametrize("seed", range(150))
def test_broken_tables_say_what_the_packets_say_or_nothing(tmp_path, seed):
    chance = random.Random(seed)
    path = tmp_path / "a.mp4"
    write_stamped_video(path, 6, size=(64, 64), gop=8, sound=seed % 2 == 0)
    data = bytearray(path.read_bytes())
    tables = [data.rfind(name) for name in (b"stts", b"ctts", b"stss", b"stsz", b"stsc", b"stco", b"elst", b"mdhd")]
    for _ in range(chance.choice([1, 1, 2, 4])):
        at = chance.choice(tables) + 4 + chance.randrange(60)
        if chance.random() < 0.5:
            data[at] ^= 1 << chance.randrange(8)
        else:
            struct.pack_into(">I", data, at, chance.choice([0, 1, 2, 255, 2**31 - 1, 2**31, 2**32 - 1]))
    path.write_bytes(data)
    try:
        table, read = both(path)
    except VideoError:
        return  # Not a video any more.

    if table is not None:
        # FFmpeg looks into the packets too, and may find key frames that the table does not have.
        assert set(table.key_ordinals) <= set(read.key_ordinals)
        for name in ("times", "ordinals", "end", "packets", "damaged", "counted"):
            assert getattr(table, name) == getattr(read, name), name


def test_a_large_file_is_opened_by_its_tables(tmp_path, monkeypatch):
    path = tmp_path / "a.mp4"
    write_stamped_video(path, 20)
    monkeypatch.setattr(packets, "_WORTH_A_TABLE", 1)
    with monkeypatch.context() as patch:
        patch.delattr(PacketIndex, "read")
        with Video.open(path) as video:
            assert [read_stamp(frame.image) for frame in video.frames([0, 7.5, 19.75])] == [0, 30, 79]

    data = bytearray(path.read_bytes())
    at = data.rfind(b"elst") + 12
    struct.pack_into(">I", data, at, 10_000)
    path.write_bytes(data)
    with Video.open(path) as video:
        assert video.duration == 10
        assert [read_stamp(frame.image) for frame in video.frames([0, 7.5])] == [0, 30]
