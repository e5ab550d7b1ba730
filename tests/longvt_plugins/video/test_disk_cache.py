"""Frames on disk: the same pixels for every process, within a bound, whatever happens to the folder."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from longvt_plugins import Frame, FrameSampling, TimeSpan, VideoConfig, VideoLibrary
from longvt_plugins.errors import ConfigError
from longvt_plugins.testing import read_stamp, write_stamped_video
from longvt_plugins.video.disk_cache import DiskFrames, cache_stats, clear_cache

SMALL = FrameSampling(max_pixels=56 * 56)


@pytest.fixture(scope="module")
def stamped(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("videos") / "stamped.mp4"
    write_stamped_video(path, 32, size=(128, 96), grain=20)
    return path


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache"


def look(cache: Path, path: Path, start: float, end: float, **config):
    """What a new process would see, and what it had to decode."""
    with VideoLibrary(VideoConfig(cache_dir=str(cache), **config)) as library:
        with library.open(path) as video:
            frames = video.clip(TimeSpan(start, end), SMALL)
        return [(frame.time, frame.exact, frame.image.tobytes()) for frame in frames], library.stats()


def packs(cache: Path) -> list[Path]:
    return sorted(cache.glob("frames/*/*/*/*.zip"))


def test_another_process_gets_the_same_bits_without_opening_the_video(stamped, cache, tmp_path):
    alone, _ = look(tmp_path / "other", stamped, 3, 13)
    fresh, first = look(cache, stamped, 3, 13)
    kept, second = look(cache, stamped, 3, 13)
    assert fresh == kept == alone
    assert (first.misses, first.disk_hits) == (10, 0)
    assert (second.misses, second.disk_hits, second.open_files) == (0, 10, 0)


def test_requests_that_overlap_share_frames_and_write_only_what_is_new(stamped, cache):
    look(cache, stamped, 3, 13)
    frames, stats = look(cache, stamped, 8, 18)
    assert [shown for shown, *_ in frames] == list(range(8, 18))
    assert (stats.misses, stats.disk_hits) == (5, 5)
    assert sorted(len(zipfile.ZipFile(pack).namelist()) - 1 for pack in packs(cache)) == [5, 10]


def test_a_person_can_look_at_what_is_kept(stamped, cache):
    look(cache, stamped, 3, 5)
    (pack,) = packs(cache)
    with zipfile.ZipFile(pack) as archive:
        names = [name for name in archive.namelist() if name.endswith(".ppm")]
        assert names == ["0000_3.000s.ppm", "0001_4.000s.ppm"]
        assert read_stamp(Image.open(archive.open(names[1]))) == 16
    assert pack.parent.name == "pyav_56x28_fast_lossless"
    assert str(stamped) in (pack.parent.parent / "video.json").read_text()


def test_through_jpeg_a_fresh_frame_is_the_one_that_is_kept(stamped, cache, tmp_path):
    lossless, _ = look(tmp_path / "other", stamped, 3, 13)
    fresh, _ = look(cache, stamped, 3, 13, cache_format="jpeg")
    kept, stats = look(cache, stamped, 3, 13, cache_format="jpeg")
    assert fresh == kept != lossless
    assert stats.misses == 0
    assert cache_stats(cache).bytes < cache_stats(tmp_path / "other").bytes / 2
    assert look(cache, stamped, 3, 13)[0] == lossless, "the two formats do not mix in one folder"


def test_the_bound_holds_and_what_was_used_longest_ago_goes_first(stamped, cache):
    window = 56 * 28 * 3
    gigabytes = 20 * window / 2**30
    for start in range(0, 28, 2):
        look(cache, stamped, start, start + 2, disk_gb=gigabytes)
        now = time.time_ns() + start
        for pack in packs(cache):  # Each second of use an hour apart, as clocks of file systems are coarse.
            age = pack.stat().st_mtime_ns - (3600 * 10**9 if pack.stat().st_mtime_ns < now else 0)
            os.utime(pack, ns=(age, age))
    assert 0 < cache_stats(cache).bytes <= gigabytes * 2**30
    assert look(cache, stamped, 26, 28, disk_gb=gigabytes)[1].misses == 0
    assert look(cache, stamped, 0, 2, disk_gb=gigabytes)[1].misses == 2


def test_a_video_whose_frames_are_all_gone_leaves_nothing_behind(stamped, cache):
    look(cache, stamped, 0, 2)
    disk = DiskFrames(cache, max_bytes=1, format="lossless")
    disk.sweep()
    assert [path for path in (cache / "frames").rglob("*") if path.is_file()] == []
    assert cache_stats(cache).videos == 0
    assert look(cache, stamped, 0, 2)[1].misses == 2


def test_what_a_killed_process_left_half_written_is_removed_later(stamped, cache):
    look(cache, stamped, 0, 2)
    (pack,) = packs(cache)
    old, young = pack.with_name(".a-1.tmp"), pack.with_name(".b-2.tmp")
    for path, age in ((old, 7200), (young, 60)):
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age,) * 2)
    DiskFrames(cache, max_bytes=2**30, format="lossless").sweep()
    assert (old.exists(), young.exists(), pack.exists()) == (False, True, True)


@pytest.mark.parametrize("damage", ["cut", "empty", "garbage", "flipped"])
def test_a_damaged_pack_is_decoded_again_and_never_shown(stamped, cache, damage, caplog):
    whole, _ = look(cache, stamped, 3, 13)
    (pack,) = packs(cache)
    data = bytearray(pack.read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 1
    pack.write_bytes(
        {"cut": data[: len(data) // 2], "empty": b"", "garbage": b"x" * len(data), "flipped": data}[damage]
    )
    with caplog.at_level(logging.WARNING):
        again, stats = look(cache, stamped, 3, 13)
    assert again == whole
    assert stats.misses == 10
    assert "is damaged" in caplog.text
    assert look(cache, stamped, 3, 13)[1].misses == 0


def test_a_folder_that_is_cleared_while_it_is_used_fills_again(stamped, cache):
    with VideoLibrary(VideoConfig(cache_dir=str(cache), memory_mb=0)) as library, library.open(stamped) as video:
        before = video.clip(TimeSpan(0, 4), SMALL)
        assert clear_cache(cache) > 0
        assert packs(cache) == []
        for _ in range(2):
            assert [frame.image.tobytes() for frame in video.clip(TimeSpan(0, 4), SMALL)] == [
                frame.image.tobytes() for frame in before
            ]
        assert library.stats().misses == 8
        shutil.rmtree(cache)
        assert len(video.clip(TimeSpan(4, 8), SMALL)) == 4


def test_a_disk_that_takes_nothing_is_said_and_the_frames_come_all_the_same(stamped, cache, caplog):
    plain, _ = look(cache, stamped, 0, 4, cache_format="jpeg")
    (folder,) = {pack.parent.parent for pack in packs(cache)}
    shutil.rmtree(folder)
    folder.write_text("where the folder should be")
    with caplog.at_level(logging.WARNING):
        frames, _ = look(cache, stamped, 0, 4, cache_format="jpeg")
    assert frames == plain, "through JPEG even where it cannot be kept"
    assert "cannot be kept" in caplog.text


def test_a_folder_that_cannot_be_used_is_refused_at_once(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"cache_dir .*file cannot be written to \(.*\): name another folder"):
        VideoLibrary(VideoConfig(cache_dir=str(tmp_path / "file")))


def test_hits_and_sizes_can_be_read_from_the_folder(stamped, cache):
    assert cache_stats(cache).packs == 0
    with VideoLibrary(VideoConfig(cache_dir=str(cache))) as library:
        for _ in range(3):
            with library.open(stamped) as video:
                video.clip(TimeSpan(0, 4), SMALL)
    look(cache, stamped, 0, 4)
    stats = cache_stats(cache)
    assert (stats.videos, stats.packs, stats.bytes) == (1, 1, packs(cache)[0].stat().st_size)
    assert (stats.memory_hits, stats.disk_hits, stats.misses) == (8, 4, 4)
    freed = clear_cache(cache)
    assert freed >= stats.bytes
    empty = cache_stats(cache)
    assert (empty.videos, empty.packs, empty.bytes, empty.misses) == (0, 0, 0, 0)


def test_no_other_folder_is_touched(tmp_path):
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "thesis.txt").touch()
    for function in (clear_cache, cache_stats):
        with pytest.raises(ConfigError, match=r"is no folder of cached videos: it has no CACHEDIR\.TAG"):
            function(tmp_path)
    assert (tmp_path / "frames" / "thesis.txt").exists()
    assert cache_stats(tmp_path / "gone").bytes == 0
    assert clear_cache(tmp_path / "gone") == 0
    assert not (tmp_path / "gone").exists()


def test_a_lock_is_waited_for_no_longer_than_allowed(cache):
    disk = DiskFrames(cache, max_bytes=2**20, format="lossless")
    with disk.lock("a", seconds=60) as waited:
        assert not waited
        with disk.lock("a", seconds=0.05) as waited_too:
            assert waited_too
    with disk.lock("a", seconds=60) as waited:
        assert not waited


def test_a_lock_is_free_when_its_holder_let_go_though_a_child_was_forked_meanwhile(cache):
    disk = DiskFrames(cache, max_bytes=2**20, format="lossless")
    reading, writing = os.pipe()
    with disk.lock("a", seconds=60):
        child = os.fork()
        if child == 0:
            os.close(writing)
            os.read(reading, 1)  # lives on, with a copy of the descriptor, until the parent closes the pipe
            os._exit(0)
    with disk.lock("a", seconds=60) as waited:
        assert not waited
    os.close(writing)
    os.waitpid(child, 0)
    os.close(reading)


STORM = """
import random, sys
from longvt_plugins import FrameSampling, TimeSpan, VideoConfig, VideoLibrary
from longvt_plugins.testing import read_stamp

path, cache, seed = sys.argv[1:]
draw = random.Random(seed)
config = VideoConfig(cache_dir=cache, memory_mb=0, disk_gb=25 * 56 * 28 * 3 / 2**30)
for _ in range(12):
    with VideoLibrary(config) as library, library.open(path) as video:
        for _ in range(8):
            start = draw.randrange(26)
            end = start + draw.randrange(1, 6)
            frames = video.clip(TimeSpan(start, end), FrameSampling(max_pixels=56 * 56))
            assert [read_stamp(frame.image) for frame in frames] == list(range(4 * start, 4 * end, 4)), (start, end)
"""


def test_processes_that_read_write_and_delete_at_once_always_get_the_right_frames(tmp_path):
    path, cache = tmp_path / "a.mp4", tmp_path / "cache"
    write_stamped_video(path, 32, size=(56, 56))
    storm = [
        subprocess.Popen(
            [sys.executable, "-c", STORM, str(path), str(cache), str(seed)], stderr=subprocess.PIPE, text=True
        )
        for seed in range(3)
    ]
    for process in storm:
        _, errors = process.communicate(timeout=250)
        assert process.returncode == 0, errors
        assert "is damaged" not in errors


def test_threads_of_one_process_may_store_and_load_at_once(cache):
    disk = DiskFrames(cache, max_bytes=2**24, format="lossless")
    faults = []

    def work(number: int) -> None:
        try:
            for turn in range(20):
                time_asked = float(number * 100 + turn)
                disk.store("ab", "v", {time_asked: Frame(Image.new("RGB", (8, 8), (number, turn, 0)), time_asked)}, "r")
                found = disk.load("ab", "v", [time_asked], "r")
                assert found[time_asked].image.getpixel((0, 0)) == (number, turn, 0)
        except Exception as error:  # noqa: BLE001 - told by the main thread
            faults.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
