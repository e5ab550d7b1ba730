"""Packet indexes on disk: found again, never trusted blindly, bounded, and safe between processes."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import random
import subprocess
import sys
import zlib
from array import array

import pytest

from longvt_plugins import Video
from longvt_plugins.errors import DamagedVideoError
from longvt_plugins.testing import read_stamp, write_stamped_video
from longvt_plugins.video.index import PacketIndex
from longvt_plugins.video.index_store import IndexStore, KeptIndex, identify
from longvt_plugins.video.readers.pyav import PyavReader

FILES = ["a.mp4", "a.mkv", "a.ts", "a.avi"]


def an_index(frames=100):
    return PacketIndex(
        times=array("q", range(0, 40 * frames, 40)),
        ordinals=array("q", range(frames)),
        key_times=array("q", [0, 800]),
        key_dts=array("q", [-80, 720]),
        key_ordinals=array("q", [0, 20]),
        end=40 * frames,
        damaged=array("q", []),
        packets=frames,
        delay=1,
        counted=False,
    )


@pytest.fixture
def store(tmp_path):
    return IndexStore(tmp_path / "index")


@pytest.fixture
def film(tmp_path):
    path = tmp_path / "film.mp4"
    path.write_bytes(b"film")
    return path


def entry_of(store):
    (entry,) = store.folder.glob("*.index")
    return entry


@pytest.mark.parametrize("name", FILES)
def test_a_file_opened_again_is_not_read_through(tmp_path, monkeypatch, name):
    path = tmp_path / name
    times = write_stamped_video(path, 20)
    with Video.open(path, index_dir=tmp_path / "index") as video:
        first = video.duration, video.width, video.height, [frame.time for frame in video.frames(times)]

    with monkeypatch.context() as patch:
        patch.delattr(PacketIndex, "read")
        with Video.open(path, index_dir=tmp_path / "index") as video:
            frames = video.frames(times)
            assert (video.duration, video.width, video.height, [frame.time for frame in frames]) == first
    assert [read_stamp(frame.image) for frame in frames] == list(range(len(times)))


def test_what_was_saved_is_loaded(store, film):
    kept = KeptIndex(an_index(), 640, 360)
    assert store.load(identify(film)) is None

    assert store.save(identify(film), kept)

    assert store.load(identify(film)) == kept
    assert store.size() == (1, entry_of(store).stat().st_size)


def test_an_hour_of_video_takes_little_room(store, film):
    assert store.save(identify(film), KeptIndex(an_index(90_000), 640, 360))
    assert entry_of(store).stat().st_size < 20_000


def test_a_file_that_changed_is_another_file(store, film, tmp_path):
    store.save(identify(film), KeptIndex(an_index(), 640, 360))
    found = film.stat()

    os.utime(film, ns=(found.st_atime_ns, found.st_mtime_ns + 1))
    assert store.load(identify(film)) is None
    film.write_bytes(b"another film")
    os.utime(film, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert store.load(identify(film)) is None
    other = tmp_path / "other.mp4"
    other.write_bytes(b"film")
    os.utime(other, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert store.load(identify(other)) is None


def test_a_video_that_is_replaced_while_its_index_lies_there_shows_the_new_frames(tmp_path):
    path = tmp_path / "a.mp4"
    write_stamped_video(path, 20)
    Video.open(path, index_dir=tmp_path / "index").close()
    write_stamped_video(path, 10, fps=8)

    with Video.open(path, index_dir=tmp_path / "index") as video:
        assert video.duration == 10
        assert read_stamp(video.frame_at(5).image) == 40


def test_a_file_that_is_replaced_while_it_is_read_gets_no_index(store, film):
    before = identify(film)
    film.write_bytes(b"another film, longer")
    store.save(before, KeptIndex(an_index(), 640, 360))

    assert store.load(identify(film)) is None


def rewritten(entry, change):
    """An entry with another header, under a digest that fits."""
    magic, rest = entry.read_bytes().split(b"\n", 1)
    line, packed = rest[32:].split(b"\n", 1)
    header = json.loads(line)
    header, packed = change(header, packed)
    body = json.dumps(header).encode() + b"\n" + packed
    return magic + b"\n" + hashlib.sha256(body).digest() + body


CHANGES = {
    "another file": lambda header, packed: (header | {"identity": {}}, packed),
    "no length": lambda header, packed: (header | {"lengths": None}, packed),
    "too few lengths": lambda header, packed: (header | {"lengths": header["lengths"][:-1]}, packed),
    "lengths that do not fit": lambda header, packed: (header | {"lengths": [5, 5, 5, 5, 5, 5]}, packed),
    "a negative length": lambda header, packed: (header | {"lengths": [-1, *header["lengths"][1:]]}, packed),
    "a huge length": lambda header, packed: (header | {"lengths": [10**12, *header["lengths"][1:]]}, packed),
    "times that fall": lambda header, packed: (header, zlib.compress(bytes(8 * sum(header["lengths"])))),
    "an end before the last frame": lambda header, packed: (header | {"end": 3}, packed),
    "fewer packets than frames": lambda header, packed: (header | {"packets": 3}, packed),
    "no width": lambda header, packed: (header | {"width": 0}, packed),
    "a height that is text": lambda header, packed: (header | {"height": "360"}, packed),
    "a flag that is a number": lambda header, packed: (header | {"counted": 1}, packed),
    "no header": lambda header, packed: ([], packed),
    "no columns": lambda header, packed: (header, b""),
    "a flood of zeros": lambda header, packed: (header, zlib.compress(bytes(2**26))),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_entry_that_makes_no_sense_is_ignored(store, film, change):
    store.save(identify(film), KeptIndex(an_index(), 640, 360))
    entry = entry_of(store)
    entry.write_bytes(rewritten(entry, CHANGES[change]))

    assert store.load(identify(film)) is None


def test_an_entry_with_a_fitting_digest_is_taken(store, film):
    """The changes above are refused for what they change, not for how they are made."""
    store.save(identify(film), KeptIndex(an_index(), 640, 360))
    entry = entry_of(store)
    entry.write_bytes(rewritten(entry, lambda header, packed: (header, packed)))

    assert store.load(identify(film)) == KeptIndex(an_index(), 640, 360)


def test_damaged_and_foreign_entries_are_ignored_and_written_anew(tmp_path):
    path, folder = tmp_path / "a.mp4", tmp_path / "index"
    times = write_stamped_video(path, 10)
    Video.open(path, index_dir=folder).close()
    entry = entry_of(IndexStore(folder))
    good = entry.read_bytes()
    chance = random.Random(1)
    bad = [b"", b"hello", good[:-1], good[: len(good) // 2], good + b"\0", pickle.dumps({"times": [1]}), bytes(5000)]
    for _ in range(20):
        at = chance.randrange(len(good))
        bad.append(good[:at] + bytes([good[at] ^ 1 << chance.randrange(8)]) + good[at + 1 :])
    for data in bad:
        entry.write_bytes(data)
        with Video.open(path, index_dir=folder) as video:
            assert [read_stamp(frame.image) for frame in video.frames(times[::7])] == list(range(0, len(times), 7))
        assert entry.read_bytes() == good


def test_nothing_is_kept_of_a_damaged_file(tmp_path):
    path = tmp_path / "a.mp4"
    write_stamped_video(path, 40, container_options={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    for _ in range(2):
        with Video.open(path, index_dir=tmp_path / "index") as video, pytest.raises(DamagedVideoError):
            video.frame_at(39)
    assert IndexStore(tmp_path / "index").size() == (0, 0)


def test_those_used_longest_ago_leave_when_the_folder_is_full(tmp_path):
    films = [tmp_path / f"{number}.mp4" for number in range(6)]
    kept = KeptIndex(an_index(), 640, 360)
    for number, film in enumerate(films):
        film.write_bytes(bytes(number))
    store = IndexStore(tmp_path / "index")
    for number, film in enumerate(films[:5]):
        before = set(store.folder.glob("*"))
        store.save(identify(film), kept)
        (newest,) = set(store.folder.iterdir()) - before
        os.utime(newest, (number, number))
    assert store.load(identify(films[0])) == kept  # Used just now.

    bound = store.size()[1]
    IndexStore(tmp_path / "index", max_bytes=bound).save(identify(films[5]), kept)

    assert store.size()[1] <= bound
    assert store.load(identify(films[1])) is None
    assert store.load(identify(films[0])) == store.load(identify(films[5])) == kept


def test_an_index_larger_than_the_bound_is_not_kept(tmp_path, film):
    store = IndexStore(tmp_path / "index", max_bytes=10)
    assert not store.save(identify(film), KeptIndex(an_index(), 640, 360))
    assert store.size() == (0, 0)


def test_what_a_dead_process_left_counts_and_leaves(tmp_path, film):
    folder = tmp_path / "index"
    folder.mkdir()
    (folder / "left.part").write_bytes(bytes(10_000))
    os.utime(folder / "left.part", (1, 1))
    (folder / "notes.txt").write_text("mine")

    assert IndexStore(folder, max_bytes=5000).save(identify(film), KeptIndex(an_index(), 640, 360))

    assert sorted(path.suffix for path in folder.iterdir()) == [".index", ".txt"]
    IndexStore(folder).clear()
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_a_folder_that_cannot_be_written_stops_nobody(tmp_path):
    path = tmp_path / "a.mp4"
    write_stamped_video(path, 5)
    (tmp_path / "index").write_text("not a folder")

    with Video.open(path, index_dir=tmp_path / "index") as video:
        assert read_stamp(video.frame_at(1).image) == 4


OPEN_OFTEN = """
import sys
from pathlib import Path
from longvt_plugins import Video
from longvt_plugins.testing import read_stamp

path, folder = map(Path, sys.argv[1:])
for second in range(8):
    with Video.open(path, index_dir=folder) as video:
        assert read_stamp(video.frame_at(second).image) == 4 * second
    if second % 3 == 0:
        for entry in folder.glob("*.index"):
            entry.unlink(missing_ok=True)
"""


def test_many_processes_may_share_the_folder(tmp_path):
    path, folder = tmp_path / "a.mp4", tmp_path / "index"
    write_stamped_video(path, 8)
    command = [sys.executable, "-c", OPEN_OFTEN, str(path), str(folder)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]

    told = [process.communicate(timeout=120)[1] for process in processes]

    assert [process.returncode for process in processes] == [0] * 4, told
    assert {entry.suffix for entry in folder.iterdir()} <= {".index"}


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    write_stamped_video(tmp_path / "a.mp4", 5)
    PyavReader(tmp_path / "a.mp4").close()

    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
