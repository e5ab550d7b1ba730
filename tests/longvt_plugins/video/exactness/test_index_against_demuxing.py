"""What is learned of a file from its tables is what reading all of it shows, or nothing is learned from them.

Files are broken where their containers keep tables and headers, and read twice: by :class:`Video`, which seeks, and
from the first packet to the last by PyAV, which cannot go astray. A frame that is called exact is the same in both.
"""

from __future__ import annotations

import itertools
import random
import struct
from functools import partial

import pytest

from longvt_plugins.video.container import open_container, video_stream
from longvt_plugins.video.index import PacketIndex
from longvt_plugins.video.mp4_table import read_mp4_table

BROKEN = [
    "h264-b-pyramid-mp4",
    "h264-table-first-mp4",
    "h264-fragments-mp4",
    "h264-fragments-indexed-mp4",
    "uneven-b-pyramid-mp4",
    "edit-cut-both-ends-mov",
    "hevc-open-gop-mp4",
    "mpeg4-mp4",
    "av1-svt-mp4",
    "h264-b-pyramid-mkv",
    "sound-mkv",
    "vp9-hidden-frames-webm",
    "mpeg4-mkv",
    "h264-b-pyramid-ts",
    "sound-ts",
    "mpeg2-mpg",
    "h264-b-pyramid-avi",
    "mpeg4-no-b-avi",
    "h264-flv",
]


def broken(path, places, seed):
    """The file with a bit turned over, a number of four bytes replaced, or several of both, among its tables."""
    data, chance = bytearray(path.read_bytes()), random.Random(f"{path.name} {seed}")
    for _ in range(chance.choice([1, 1, 2, 5])):
        at = chance.choice(places)
        if chance.random() < 0.6:
            data[at] ^= 1 << chance.randrange(8)
        else:
            number = chance.choice([0, 1, 2, 255, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, chance.getrandbits(32)])
            data[at : at + 4] = struct.pack(">I", number)[: len(data) - at]
    return bytes(data)


def disagreements(film, asked, answer, plain, *, counted):
    """Where a frame that is called exact is not the one that plain reading has on screen; the fewest of some counts.

    Times count from the first frame shown: that is the first one decoded, or the first packet if damage took it.
    AVI and MPEG do not say when a frame is shown: there the n-th one decoded comes at the n-th time of the timetable.
    After an error plain reading misses frames that are there, so that the true timetable counts as well.
    """
    if "error" in answer or not plain["frames"]:
        return []
    frames = plain["frames"]
    if counted:
        frames = [(time, number) for time, (_, number) in zip(answer["timetable"], frames, strict=False)]
    starts = {0.0} if counted else {frames[0][0], min(pts for pts, _ in frames), min(plain["packets"])}
    truth = set(zip(film.numbers, (round(time, 2) for time in film.times), strict=True))
    shown = [
        (time, frame)
        for time, frame in zip(asked, answer["frames"], strict=True)
        if "error" not in frame and frame["exact"] and frame["number"] is not None
        if (frame["number"], round(frame["time"], 2)) not in truth
    ]
    return min(([one for one in shown if not is_right(*one, frames, start)] for start in starts), key=len)


def is_right(asked, frame, frames, start, slack=0.0011):
    """Whether a frame is the last one, of those decoded plainly, that is not later than the moment asked for."""
    timetable = [(pts - start, number) for pts, number in frames if pts >= start - slack]
    first = max([time for time, _ in timetable if time <= asked - slack], default=0.0)
    last = max([time for time, _ in timetable if time <= asked + slack], default=0.0)
    on_screen = [(time, number) for time, number in timetable if first - slack <= time <= last + slack]
    return any(number in (frame["number"], None) and abs(frame["time"] - time) < slack for time, number in on_screen)


@pytest.mark.parametrize("seed", [*range(2), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 100))])
@pytest.mark.parametrize("key", BROKEN)
def test_broken_tables_put_no_frame_in_the_place_of_another(tmp_path, examiner, films, structure, key, seed):
    film = films[key]
    path = tmp_path / film.path.name
    path.write_bytes(broken(film.path, structure(film.path), seed))

    plain = examiner.decode_plainly(path)
    zero = min([pts for pts, _ in plain["frames"]], default=0)
    told = sorted({pts - zero for pts, _ in plain["frames"]}) or film.times
    middles = [(earlier + later) / 2 for earlier, later in itertools.pairwise(told)]
    asked = [time for time in (*told[:80:2], *reversed(middles[:80:5])) if time >= 0]
    answer = examiner.look(path, asked)

    assert not disagreements(film, asked, answer, plain, counted=path.suffix in (".avi", ".mpg"))


def test_intact_tables_say_what_the_packets_say_or_nothing(stamped):
    indexes = []
    for read in (partial(read_mp4_table, stamped.path), PacketIndex.read):
        container = open_container(stamped.path)
        try:
            indexes.append(read(container, video_stream(container, stamped.path)))
        finally:
            container.close()
    table, packets = indexes

    assert table in (None, packets)
    if stamped.path.suffix not in (".mp4", ".mov", ".m4v", ".3gp"):
        assert table is None
