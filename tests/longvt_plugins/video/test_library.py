"""The library: what one asker had decoded the next one gets, the same pixels, and nobody disturbs another."""

from __future__ import annotations

import asyncio
import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image, ImageDraw

from longvt_plugins import Frame, FrameSampling, TimeSpan, Video, VideoConfig, VideoLibrary, hookimpl
from longvt_plugins.errors import (
    ConfigError,
    DamagedVideoError,
    UnknownNameError,
    VideoError,
    VideoNotFoundError,
    VideoReaderCrashError,
    VideoTimeoutError,
)
from longvt_plugins.testing import plugin_manager, read_stamp, write_stamped_video
from longvt_plugins.video.readers.pyav import PyavReader

SMALL = FrameSampling(max_frames=128, max_pixels=56 * 56)


@pytest.fixture(scope="module")
def stamped(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("videos") / "stamped.mp4"
    write_stamped_video(path, 64, size=(128, 96))
    return path


def library_with(reader: type, **config) -> VideoLibrary:
    class Plugin:
        @hookimpl
        def register_video_readers(self, register):
            register("given", reader)

    return VideoLibrary(VideoConfig(reader="given", **config), plugin_manager(Plugin()))


def clip(library: VideoLibrary, path: Path, start: float, end: float, sampling=SMALL) -> list[Frame]:
    with library.open(path) as video:
        return video.clip(TimeSpan(start, end), sampling)


def same(frames: list[Frame], others: list[Frame]) -> bool:
    return [(frame.time, frame.exact, frame.image.size, frame.image.tobytes()) for frame in frames] == [
        (frame.time, frame.exact, frame.image.size, frame.image.tobytes()) for frame in others
    ]


class Painted:
    """A reader of its own making: a gray for every second; it has nothing but what a reader must have."""

    duration, width, height = 20.0, 32, 24

    def __init__(self, path):
        self.path = path

    def frames(self, times):
        for time in times:
            yield Frame(Image.new("RGB", (32, 24), (10 * int(time),) * 3), float(int(time)))

    def close(self):
        pass


def test_a_video_of_a_library_is_the_video_itself(stamped):
    times = [3.0, 63.9, 0.0, 3.0]
    with Video.open(stamped) as alone, VideoLibrary() as library, library.open(stamped) as video:
        assert (video.path, video.duration, video.width, video.height) == (stamped, 64.0, 128, 96)
        assert (video.codec, video.damage) == (alone.codec, alone.damage)
        for _ in range(2):
            assert same(video.overview(), alone.overview())
            assert same(video.frames(times, SMALL), alone.frames(times, SMALL))
            assert same(video.frames(times), alone.frames(times))
            exact = FrameSampling(max_pixels=56 * 56, scaling="exact")
            assert same(video.frames(times, exact), alone.frames(times, exact))
            assert same([video.frame_at(1.3)], [alone.frame_at(1.3)])


def test_what_was_decoded_is_not_decoded_again_and_windows_that_overlap_share_frames(stamped):
    with VideoLibrary() as library:
        clip(library, stamped, 10, 20)
        assert library.stats().misses == 10
        frames = clip(library, stamped, 15, 25)
        assert [read_stamp(frame.image) for frame in frames] == list(range(60, 100, 4))
        stats = library.stats()
        assert (stats.misses, stats.memory_hits, stats.frames, stats.open_files) == (15, 5, 15, 1)
        clip(library, stamped, 10, 12, FrameSampling(max_pixels=28 * 28))
        assert library.stats().misses == 17, "another size is another picture"


def test_a_group_of_16_that_looks_at_the_same_windows_decodes_them_once(stamped):
    with VideoLibrary() as library:
        for _ in range(16):
            with library.open(stamped) as video:
                video.overview(SMALL)
                video.clip(TimeSpan(7.5, 17.5), SMALL)
        assert library.stats().misses == 64 + 10
        assert library.stats().memory_hits == 15 * 74


def test_who_draws_on_a_frame_draws_on_its_own(stamped):
    with VideoLibrary() as library:
        (first,) = clip(library, stamped, 10, 11)
        (second,) = clip(library, stamped, 10, 11)
        before = second.image.tobytes()
        ImageDraw.Draw(first.image).rectangle((0, 0, 20, 20), fill="red")
        first.image.paste((0, 255, 0), (20, 20, 30, 30))
        first.image.putpixel((1, 1), (0, 0, 255))
        assert first.image.getpixel((1, 1)) == (0, 0, 255)
        assert second.image.tobytes() == before
        assert clip(library, stamped, 10, 11)[0].image.tobytes() == before


def test_a_file_that_changes_is_read_afresh(tmp_path):
    path = tmp_path / "a.mp4"
    write_stamped_video(path, 8, size=(56, 56))
    with VideoLibrary(VideoConfig(cache_dir=str(tmp_path / "cache"))) as library:
        with library.open(path) as video:
            before = video.frame_at(1)
        write_stamped_video(path, 12, size=(84, 84))
        with library.open(path) as video:
            assert video.duration == 12.0
            assert video.frame_at(1).image.size == (84, 84) != before.image.size


def test_a_file_that_changes_while_it_is_open_is_an_error_not_a_mixture(tmp_path):
    path = tmp_path / "a.mp4"
    write_stamped_video(path, 8, size=(56, 56))
    with VideoLibrary(VideoConfig(max_open_files=1)) as library, library.open(path) as video:
        video.frame_at(1)
        (tmp_path / "b.mp4").write_bytes(path.read_bytes())
        library.open(tmp_path / "b.mp4").close()  # takes the only place
        write_stamped_video(path, 12, size=(84, 84))
        assert read_stamp(video.frame_at(1).image) == 4, "what is kept is still there"
        with pytest.raises(VideoError, match=r"a\.mp4: the file has changed since it was opened"):
            video.frame_at(2)


def test_memory_is_bounded(stamped):
    with VideoLibrary(VideoConfig(memory_mb=1)) as library:
        with library.open(stamped) as video:
            for second in range(64):
                video.frame_at(second)
        stats = library.stats()
        frame = 128 * 96 * 4
        assert stats.bytes <= 2**20 < stats.bytes + frame
        assert stats.frames == stats.bytes // frame
    with VideoLibrary(VideoConfig(memory_mb=0)) as library:
        assert same(clip(library, stamped, 1, 3), clip(library, stamped, 1, 3))
        assert (library.stats().frames, library.stats().misses) == (0, 4)


def test_the_video_used_longest_ago_is_closed_first(stamped, tmp_path):
    class Counting(PyavReader):
        now_open: ClassVar[list[str]] = []

        def __init__(self, path):
            super().__init__(path)
            self.now_open.append(path.name)
            self.file = path.name

        def close(self):
            super().close()
            if getattr(self, "file", None) in self.now_open:
                self.now_open.remove(self.file)

    for name in "abcd":
        (tmp_path / f"{name}.mp4").write_bytes(stamped.read_bytes())
    with library_with(Counting, max_open_files=2) as library:
        for second, name in enumerate("abacd"):
            clip(library, tmp_path / f"{name}.mp4", second, second + 1)
        assert sorted(Counting.now_open) == ["c.mp4", "d.mp4"]
        assert library.stats().open_files == 2
        clip(library, tmp_path / "a.mp4", 0, 1)
        assert sorted(Counting.now_open) == ["c.mp4", "d.mp4"], "what is kept needs no file"
    assert Counting.now_open == []


def test_a_closed_library_opens_nothing_and_can_be_closed_again(stamped):
    library = VideoLibrary()
    video = library.open(stamped)
    video.frame_at(1)
    library.close()
    library.close()
    with pytest.raises(VideoError, match="the library of videos is closed"):
        library.open(stamped)
    assert library.stats().open_files == 0


def test_what_is_no_video_is_said_as_video_says_it(tmp_path, stamped):
    (tmp_path / "notes.txt").write_text("not a video")
    with VideoLibrary() as library:
        with pytest.raises(VideoNotFoundError, match=r"gone\.mp4"):
            library.open(tmp_path / "gone.mp4")
        with pytest.raises(VideoNotFoundError, match="it is a folder"):
            library.open(tmp_path)
        for _ in range(2):
            with pytest.raises(VideoError, match=r"notes\.txt"):
                library.open(tmp_path / "notes.txt")
        assert library.stats().open_files == 0
        assert library.open(stamped).duration == 64.0
    with pytest.raises(UnknownNameError, match=r"No video reader named 'vhs'\. Installed: pyav"):
        VideoLibrary(VideoConfig(reader="vhs"))


def test_a_reader_with_nothing_but_frames_works_and_is_resized(stamped, tmp_path):
    with library_with(Painted, cache_dir=str(tmp_path)) as library, library.open(stamped) as video:
        small = FrameSampling(max_pixels=16 * 12, min_pixels=1, factor=4)
        for _ in range(2):
            (frame,) = video.clip(TimeSpan(3, 4), small)
            assert (frame.image.size, frame.image.getpixel((5, 5)), frame.time) == ((16, 12), (30, 30, 30), 3.0)
        assert video.frame_at(7.9).image.size == (32, 24)
        assert (video.codec, video.damage) == (None, ())
        assert library.stats().misses == 2


@pytest.mark.parametrize("config", [{}, {"cache_dir": "cache"}, {"memory_mb": 0}])
def test_pictures_of_other_kinds_become_rgb_however_they_are_kept(stamped, tmp_path, monkeypatch, config):
    monkeypatch.chdir(tmp_path)
    Image.new("L", (32, 24), 77).save("gray.png")

    class Gray(Painted):
        def frames(self, times):
            for time in times:
                yield Frame(Image.open("gray.png"), time)  # lazily: its pixels are read when they are needed

    with library_with(Gray, **config) as library:
        for _ in range(2):
            (frame,) = clip(library, stamped, 3, 4)
            assert (frame.image.mode, frame.image.getpixel((0, 0))) == ("RGB", (77, 77, 77))


def test_a_reader_that_is_slow_between_frames_is_stopped_at_the_limit(stamped):
    class Slow(Painted):
        def frames(self, times):
            for frame in super().frames(times):
                threading.Event().wait(0.2)
                yield frame

    with library_with(Slow, decode_timeout=0.5) as library:
        with pytest.raises(VideoTimeoutError, match=r"took longer than 0\.5 s") as raised:
            clip(library, stamped, 0, 20)
        assert raised.value.seconds == 0.5
        assert library.stats().open_files == 0, "nobody knows where such a reader stands"


def test_threads_that_ask_for_the_same_at_once_decode_it_once(stamped):
    with VideoLibrary() as library:
        together = threading.Barrier(16)

        def look(_):
            together.wait()
            return clip(library, stamped, 20, 40)

        with ThreadPoolExecutor(16) as threads:
            results = list(threads.map(look, range(16)))
        assert all(same(result, results[0]) for result in results)
        assert [read_stamp(frame.image) for frame in results[0]] == list(range(80, 160, 4))
        assert library.stats().misses == 20


def test_threads_that_ask_for_other_parts_of_a_video_do_not_wait_for_each_other(stamped):
    both_decode = threading.Barrier(2)

    class Meeting(Painted):
        def frames(self, times):
            both_decode.wait(timeout=60)  # breaks, and fails the test, if the other one has to wait for its turn
            return super().frames(times)

    with library_with(Meeting) as library, ThreadPoolExecutor(2) as threads:
        first, second = threads.map(lambda start: clip(library, stamped, start, start + 3), (0, 10))
        assert [frame.time for frame in first + second] == [0, 1, 2, 10, 11, 12]


def test_threads_share_the_frames_that_are_under_way_and_decode_only_the_others(stamped):
    started, go_on = threading.Event(), threading.Event()
    asked = []

    class Waiting(Painted):
        def frames(self, times):
            asked.append(list(times))
            started.set()
            if times[0] == 0:
                assert go_on.wait(60)
            return super().frames(times)

    with library_with(Waiting) as library, ThreadPoolExecutor(2) as threads:
        first = threads.submit(clip, library, stamped, 0, 4)
        assert started.wait(60)
        second = threads.submit(clip, library, stamped, 2, 6)
        while len(asked) < 2:
            pass
        go_on.set()
        assert [frame.time for frame in first.result()] == [0, 1, 2, 3]
        assert [frame.time for frame in second.result()] == [2, 3, 4, 5]
    assert asked == [[0, 1, 2, 3], [4, 5]]


class Failing(Painted):
    """Fails where second 0 is wanted, once somebody else waits for it."""

    error: Exception
    tries = 0

    def __init__(self, path):
        super().__init__(path)

    def frames(self, times):
        if 0 in times:
            type(self).tries += 1
            assert self.others_wait.wait(60)
            raise self.error
        return super().frames(times)


def ask_while_another_fails(stamped, error: Exception) -> tuple[type[Failing], list]:
    """Two threads want overlapping parts, one of them the part that fails; what each got."""
    started = threading.Event()

    class Broken(Failing):
        others_wait = threading.Event()

        def frames(self, times):
            started.set()
            if times == [4.0, 5.0]:
                self.others_wait.set()
            return super().frames(times)

    Broken.error = error

    def look(library, start, end):
        try:
            return [frame.time for frame in clip(library, stamped, start, end)]
        except VideoError as failure:
            return failure

    with library_with(Broken) as library, ThreadPoolExecutor(2) as threads:
        first = threads.submit(look, library, 0, 4)
        assert started.wait(60)
        second = threads.submit(look, library, 2, 6)
        return Broken, [first.result(), second.result()]


def test_what_fails_for_one_request_does_not_fail_another_that_waited_for_it(stamped):
    reader, (failed, whole) = ask_while_another_fails(stamped, DamagedVideoError("second 0 is lost"))
    assert str(failed) == "second 0 is lost"
    assert whole == [2, 3, 4, 5]
    assert reader.tries == 1


@pytest.mark.parametrize("error", [VideoTimeoutError("too slow", seconds=3.0), VideoReaderCrashError("gone")])
def test_a_decode_that_took_too_long_is_not_tried_again_by_those_who_waited(stamped, error):
    """Sixteen rollouts of a group would wait for the limit one after another."""
    reader, (failed, also_failed) = ask_while_another_fails(stamped, error)
    assert failed is error
    assert type(also_failed) is type(error) and str(also_failed) == str(error) and also_failed is not error
    assert vars(also_failed) == vars(error)
    assert reader.tries == 1


def test_ctrl_c_in_one_thread_leaves_nobody_waiting(stamped):
    class Interrupted(Painted):
        times_called = 0

        def frames(self, times):
            type(self).times_called += 1
            if self.times_called == 1:
                raise KeyboardInterrupt
            return super().frames(times)

    with library_with(Interrupted) as library:
        with pytest.raises(KeyboardInterrupt):
            clip(library, stamped, 0, 2)
        assert [frame.time for frame in clip(library, stamped, 0, 2)] == [0, 1]


class Damaged(Painted):
    """Second 3 is lost: what stands in for it is the frame that was asked for before."""

    damage = ()

    def frames(self, times):
        before = 0
        for time in times:
            shown, exact = (before, False) if int(time) == 3 else (int(time), True)
            if not exact:
                self.damage = ("1 packet is damaged at 3 s",)
            yield Frame(Image.new("RGB", (32, 24), (10 * shown,) * 3), float(shown), exact)
            before = shown


@pytest.mark.parametrize("disk", [True, False])
def test_a_frame_that_stands_in_is_the_same_whatever_was_asked_before(stamped, tmp_path, disk):
    config = {"cache_dir": str(tmp_path)} if disk else {}
    fresh = {}
    for start in (0, 1, 2, 3):
        with library_with(Damaged) as library:
            fresh[start] = clip(library, stamped, start, 6)
    with library_with(Damaged, **config) as library:
        clip(library, stamped, 2, 3)
        for _ in range(2):
            for start in (1, 0, 3, 2):
                assert same(clip(library, stamped, start, 6), fresh[start])
        before = library.stats().misses
        assert same(clip(library, stamped, 1, 6), fresh[1])
        assert library.stats().misses == before
        with library.open(stamped) as video:
            assert video.damage == ("1 packet is damaged at 3 s",)
    if disk:
        with library_with(Damaged, **config) as library, library.open(stamped) as video:
            assert video.damage == ("1 packet is damaged at 3 s",)
            assert same(video.clip(TimeSpan(1, 6), SMALL), fresh[1])
            assert library.stats().misses == 0


def test_an_event_loop_goes_on_while_many_rollouts_decode_in_threads(stamped):
    async def watch():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        with VideoLibrary(VideoConfig(max_open_files=2)) as library:
            looks = [asyncio.to_thread(clip, library, stamped, n % 8, n % 8 + 20) for n in range(32)]
            results = await asyncio.gather(*looks)
            ticking.cancel()
            return results, library.stats(), ticks

    results, stats, ticks = asyncio.run(watch())
    for number, frames in enumerate(results):
        assert [read_stamp(frame.image) for frame in frames] == [4 * s for s in range(number % 8, number % 8 + 20)]
    assert stats.misses == 27
    assert ticks > 1


FORK = """
import os, sys, threading
from concurrent.futures import ThreadPoolExecutor
from longvt_plugins import TimeSpan, VideoConfig, VideoLibrary, FrameSampling
from longvt_plugins.testing import read_stamp

path, cache = sys.argv[1:3]
library = VideoLibrary(VideoConfig(cache_dir=cache or None, memory_mb=1, max_open_files=3))

def look(start):
    with library.open(path) as video:
        return [read_stamp(f.image) for f in video.clip(TimeSpan(start, start + 5), FrameSampling(max_pixels=56 * 56))]

look(0)
stop = threading.Event()
def keep_decoding(start):
    while not stop.is_set():
        look(start)
        start = (start + 1) % 50
busy = [threading.Thread(target=keep_decoding, args=(n,)) for n in (5, 25)]
for thread in busy:
    thread.start()
children = []
for number in range(int(sys.argv[3])):
    child = os.fork()
    if child == 0:
        with ThreadPoolExecutor(4) as threads:
            right = all(
                stamps == list(range(4 * start, 4 * start + 20, 4))
                for start, stamps in zip((number % 50, 0, 30, 58), threads.map(look, (number % 50, 0, 30, 58)))
            )
        os._exit(0 if right else 1)
    children.append(child)
    if len(children) > 8:
        assert os.waitpid(children.pop(0), 0)[1] == 0
for child in children:
    assert os.waitpid(child, 0)[1] == 0
stop.set()
for thread in busy:
    thread.join()
assert look(7) == list(range(28, 48, 4))
print("done", library.stats().open_files)
"""


def fork(stamped: Path, cache: str, count: int) -> str:
    command = [sys.executable, "-W", "ignore", "-c", FORK, str(stamped), cache, str(count)]
    return subprocess.run(command, capture_output=True, text=True, timeout=250, check=True).stdout


@pytest.mark.parametrize("disk", [True, False])
def test_processes_forked_while_threads_decode_read_for_themselves(stamped, tmp_path, disk):
    assert fork(stamped, str(tmp_path / "cache") if disk else "", 6).startswith("done")


@pytest.mark.slow
def test_200_forked_processes_of_four_threads_each_finish(stamped, tmp_path):
    assert fork(stamped, str(tmp_path / "cache"), 200).startswith("done")


DATASET = """
from longvt_plugins import FrameSampling, TimeSpan
from longvt_plugins.testing import read_stamp


class Dataset:
    def __init__(self, library, path):
        self.library = library
        self.path = path

    def __len__(self):
        return 12

    def __getitem__(self, number):
        with self.library.open(self.path) as video:
            frames = video.clip(TimeSpan(number, number + 3), FrameSampling(max_pixels=56 * 56))
        return [read_stamp(frame.image) for frame in frames]
"""


def test_a_library_that_is_sent_to_another_process_arrives_empty_with_its_settings(stamped, tmp_path):
    config = VideoConfig(cache_dir=str(tmp_path / "cache"), memory_mb=7)
    with VideoLibrary(config) as library:
        frames = clip(library, stamped, 0, 2)
        with pickle.loads(pickle.dumps(library)) as arrived:
            assert (arrived.config, arrived.stats().frames, arrived.stats().open_files) == (config, 0, 0)
            assert same(clip(arrived, stamped, 0, 2), frames)
            assert arrived.stats().disk_hits == 2


@pytest.mark.parametrize("context", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_of_a_torch_data_loader_read_through_a_library_that_is_in_use(stamped, tmp_path, context, monkeypatch):
    """As of a training set that decodes while it is loaded."""
    data = pytest.importorskip("torch.utils.data")
    (tmp_path / "dataset_that_decodes.py").write_text(DATASET)
    monkeypatch.syspath_prepend(tmp_path)
    from dataset_that_decodes import Dataset

    with VideoLibrary(VideoConfig(cache_dir=str(tmp_path / "cache"))) as library:
        clip(library, stamped, 0, 2)
        loader = data.DataLoader(
            Dataset(library, stamped),
            batch_size=None,
            num_workers=2,
            multiprocessing_context=context,
            collate_fn=None,
            timeout=120,
        )
        assert list(loader) == [[4 * n, 4 * n + 4, 4 * n + 8] for n in range(12)]


GROUP = """
import sys, time
from pathlib import Path
from typing import ClassVar
from longvt_plugins import TimeSpan, VideoConfig, VideoLibrary, FrameSampling

path, cache, rank, processes = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
library = VideoLibrary(VideoConfig(cache_dir=cache))
Path(cache, f"ready-{rank}").touch()
while len(list(Path(cache).glob("ready-*"))) < processes:
    time.sleep(0.005)
with library.open(path) as video:
    for _ in range(8):
        video.overview(FrameSampling(max_pixels=56 * 56))
        video.clip(TimeSpan(7.5, 27.5), FrameSampling(max_pixels=56 * 56))
print(library.stats().misses)
library.close()
"""


def test_processes_that_share_a_folder_decode_once_in_all(stamped, tmp_path):
    """A group of 16 over two processes, which ask at the same moment."""
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "CACHEDIR.TAG").touch()
    command = [sys.executable, "-c", GROUP, str(stamped), str(cache)]
    group = [
        subprocess.Popen([*command, str(rank), "2"], stdout=subprocess.PIPE, text=True, cwd=tmp_path)
        for rank in range(2)
    ]
    decoded = [int(process.communicate(timeout=120)[0]) for process in group]
    assert sum(decoded) == 64 + 20
    assert [process.returncode for process in group] == [0, 0]


ACCELERATED = """
import sys
from accelerate import PartialState
from longvt_plugins import FrameSampling, TimeSpan, VideoConfig, VideoLibrary
from longvt_plugins.testing import read_stamp

state = PartialState(cpu=True)
with VideoLibrary(VideoConfig(cache_dir=sys.argv[2])) as library:
    state.wait_for_everyone()
    for turn in range(3):
        with library.open(sys.argv[1]) as video:
            frames = video.clip(TimeSpan(turn, turn + 20), FrameSampling(max_pixels=56 * 56))
        assert [read_stamp(f.image) for f in frames] == [4 * (turn + n) for n in range(20)]
        state.wait_for_everyone()
state.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_of_accelerate_read_together(stamped, tmp_path):
    pytest.importorskip("accelerate")
    (tmp_path / "train.py").write_text(ACCELERATED)
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"]
    command = [*launch, "--main_process_port", "0", str(tmp_path / "train.py"), str(stamped), str(tmp_path / "cache")]
    subprocess.run(command, check=True, timeout=280, cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"})


def test_a_timetable_is_asked_for_once_and_a_reader_without_one_says_so(stamped):
    class Timed(PyavReader):
        asked = 0

        @property
        def timetable(self):
            type(self).asked += 1
            return super().timetable

    qwen = FrameSampling(mode="qwen", max_pixels=56 * 56)
    pytest.importorskip("torch")
    with library_with(Timed) as library, Video.open(stamped) as alone:
        for _ in range(3):
            assert same(clip(library, stamped, 10, 20, qwen), alone.clip(TimeSpan(10, 20), qwen))
    assert Timed.asked == 1
    with library_with(Painted) as library, pytest.raises(ConfigError, match="the reader 'given' gives no timetable"):
        clip(library, stamped, 0, 2, qwen)


def memory_and_files() -> tuple[int, int]:
    """Kilobytes and open files of this process."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]), len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("crops", [200, pytest.param(2000, marks=pytest.mark.slow)])
def test_memory_and_open_files_do_not_grow_over_many_crops_from_50_files(stamped, tmp_path, crops):
    files = [tmp_path / f"{number}.mp4" for number in range(50)]
    for file in files:
        file.write_bytes(stamped.read_bytes())
    config = VideoConfig(memory_mb=1, max_open_files=8, cache_dir=str(tmp_path / "cache"), disk_gb=0.001)
    seen = []
    with VideoLibrary(config) as library:
        for number in range(crops):
            clip(library, files[number * 7 % 50], number % 60, number % 60 + 2)
            if number + 1 in (crops // 2, crops):
                seen.append(memory_and_files())
        stats = library.stats()
        assert stats.open_files == 8
        assert stats.bytes <= 2**20
        assert stats.misses > crops
    (half_memory, half_files), (memory, files_open) = seen
    assert files_open <= half_files
    assert memory < half_memory + 10_000


def test_frames_are_arrays_like_any_others(stamped):
    with VideoLibrary() as library, Video.open(stamped) as alone:
        kept = [clip(library, stamped, 5, 6)[0] for _ in range(2)]
        (fresh,) = alone.clip(TimeSpan(5, 6), SMALL)
        for frame in kept:
            assert np.array_equal(np.asarray(frame.image), np.asarray(fresh.image))
            assert np.array_equal(np.asarray(frame.image.resize((20, 20))), np.asarray(fresh.image.resize((20, 20))))
            assert frame.crop((0, 0, 10, 10)).image.tobytes() == fresh.crop((0, 0, 10, 10)).image.tobytes()
