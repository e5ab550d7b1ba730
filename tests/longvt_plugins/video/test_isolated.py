"""Readers in processes of their own: a decoder that hangs or crashes ends neither the program nor the next video."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from longvt_plugins import FrameSampling, TimeSpan, Video, VideoConfig, VideoLibrary, hookimpl
from longvt_plugins.errors import (
    ConfigError,
    DamagedVideoError,
    NotAVideoError,
    VideoInterruptedError,
    VideoReaderCrashError,
    VideoTimeoutError,
)
from longvt_plugins.testing import plugin_manager, read_stamp, write_stamped_video
from longvt_plugins.video.interruption import interruptible
from longvt_plugins.video.isolated import IDLE_WORKERS, IsolatedReader, Workers
from longvt_plugins.video.readers.pyav import PyavReader

READERS = """
import ctypes, os, threading
from PIL import Image
from longvt_plugins.errors import DamagedVideoError
from longvt_plugins.video.readers.pyav import PyavReader
from longvt_plugins.video.video import Frame


class Obedient:
    duration, width, height = 100.0, 32, 24

    def __init__(self, path):
        self.path = path

    def frames(self, times):
        for time in times:
            self.look_at(time)
            yield Frame(Image.new("RGB", (32, 24), tuple(os.getpid().to_bytes(3, "big"))), time)

    def look_at(self, time):
        pass

    def close(self):
        pass


class Hanging(Obedient):
    def look_at(self, time):
        if time >= 50:
            self.path.with_suffix(".hanging").touch()
            ctypes.PyDLL(None).sleep(1000)  # keeps the interpreter to itself: no other thread of the process runs


class HangingAtOnce(Obedient):
    def __init__(self, path):
        ctypes.PyDLL(None).sleep(1000)


class HangingAtTheEnd(Obedient):
    def close(self):
        ctypes.PyDLL(None).sleep(1000)


class Crashing(Obedient):
    def look_at(self, time):
        if time >= 50:
            ctypes.string_at(0)


class Leaving(Obedient):
    def look_at(self, time):
        if time >= 50:
            os._exit(3)


class Faulty(Obedient):
    def look_at(self, time):
        if time >= 70:
            1 / 0
        if time >= 50:
            raise DamagedVideoError("cut at 50 s", readable_until=50.0, damaged_packets=7)


class Wary(Obedient):
    isolate = True


class Chatty(Obedient):
    def look_at(self, time):
        os.write(1, b"decoder says hello" * 10_000)
"""


@pytest.fixture(scope="module")
def stamped(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("videos") / "stamped.mp4"
    write_stamped_video(path, 32, size=(128, 96))
    return path


@pytest.fixture
def library_of(tmp_path, monkeypatch):
    """Makes libraries of the readers above, which another process finds where this one does."""
    (tmp_path / "untrusted_readers.py").write_text(READERS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "untrusted_readers", raising=False)
    import untrusted_readers

    class Plugin:
        @hookimpl
        def register_video_readers(self, register):
            for name in dir(untrusted_readers):
                if hasattr(getattr(untrusted_readers, name), "frames"):
                    register(name, getattr(untrusted_readers, name))

    plugins = plugin_manager(Plugin())
    made = []

    def library_of(name: str, **config) -> VideoLibrary:
        made.append(
            VideoLibrary(VideoConfig(**{"reader": name, "isolate": True, "decode_timeout": 60, **config}), plugins)
        )
        return made[-1]

    yield library_of
    for library in made:
        library.close()


def decoded_by(frame) -> int:
    """The process that painted a frame."""
    return int.from_bytes(bytes(frame.image.getpixel((0, 0))), "big")


def children() -> set[int]:
    """Processes that decode for this one."""
    tasks = Path("/proc/self/task").glob("*/children")
    found = {int(number) for task in tasks for number in task.read_text().split()}
    return {child for child in found if b"isolated import serve" in Path(f"/proc/{child}/cmdline").read_bytes()}


def test_an_isolated_reader_gives_what_the_reader_gives(stamped, tmp_path):
    config = VideoConfig(isolate=True, cache_dir=str(tmp_path))
    with VideoLibrary(config) as library, library.open(stamped) as video, Video.open(stamped) as alone:
        assert (video.duration, video.width, video.height) == (alone.duration, alone.width, alone.height)
        assert (video.codec, video.damage) == (alone.codec, alone.damage)
        assert video.timetable == alone.timetable
        for sampling in (None, FrameSampling(max_pixels=56 * 56), FrameSampling(max_pixels=56 * 56, scaling="exact")):
            for frame, other in zip(video.frames([1, 7.3], sampling), alone.frames([1, 7.3], sampling), strict=True):
                assert (frame.time, frame.exact) == (other.time, other.exact)
                assert frame.image.tobytes() == other.image.tobytes()
    assert children() == set()


@pytest.mark.parametrize("reader", ["Hanging", "HangingAtOnce"])
def test_a_decoder_that_hangs_in_c_is_killed_and_the_program_goes_on(stamped, library_of, reader):
    library = library_of(reader, decode_timeout=5)
    with pytest.raises(
        VideoTimeoutError, match=r"stamped\.mp4: .* took too long; the decoding process was killed"
    ) as e:
        library.open(stamped).frames([1, 60])
    assert e.value.seconds == 5
    assert children() == set()
    if reader == "Hanging":
        with library.open(stamped) as video:
            assert [frame.time for frame in video.frames([1, 2])] == [1, 2]


def test_other_threads_decode_while_one_waits_for_a_decoder_that_hangs(stamped, library_of):
    stamped.with_suffix(".hanging").unlink(missing_ok=True)
    library = library_of("Hanging", decode_timeout=5)
    with library.open(stamped) as video, ThreadPoolExecutor(1) as thread:
        video.frame_at(0)
        hangs = thread.submit(library.open(stamped).frames, [60])
        while not stamped.with_suffix(".hanging").exists():
            time.sleep(0.01)
        assert library.open(stamped).frame_at(3).time == 3
        assert not hangs.done()
        with pytest.raises(VideoTimeoutError):
            hangs.result()


def test_a_read_that_is_given_up_ends_its_process_and_the_next_one_has_another(stamped):
    looks = itertools.count()
    with VideoLibrary(VideoConfig(isolate=True)) as library, library.open(stamped) as video:
        (before,) = children()
        with interruptible(lambda: next(looks) > 2), pytest.raises(VideoInterruptedError):
            video.frames([0, 1, 2, 3, 4])
        assert before not in children(), "it is not left to decode what nobody reads"
        assert [read_stamp(frame.image) for frame in video.frames([0, 4])] == [0, 16]


def test_a_decoder_that_hangs_when_it_is_closed_does_not_hold_up_the_next_video(
    stamped, tmp_path, library_of, monkeypatch
):
    monkeypatch.setattr("longvt_plugins.video.isolated._GRACE", 1.0)
    (tmp_path / "b.mp4").write_bytes(stamped.read_bytes())
    library = library_of("HangingAtTheEnd", max_open_files=1)
    library.open(stamped).frame_at(1)
    assert library.open(tmp_path / "b.mp4").frame_at(1).time == 1
    library.close()
    assert children() == set()


@pytest.mark.parametrize(
    ("reader", "how"), [("Crashing", "was ended by signal SIGSEGV"), ("Leaving", "ended with code 3")]
)
def test_a_crash_is_an_error_of_that_request_alone(stamped, library_of, reader, how):
    library = library_of(reader)
    with library.open(stamped) as video:
        for _ in range(2):
            with pytest.raises(
                VideoReaderCrashError, match=rf"stamped\.mp4: reading frames: the decoding process {how}"
            ):
                video.frames([1, 60])
        assert [frame.time for frame in video.frames([1, 2])] == [1, 2]


def test_what_a_reader_raises_arrives_whole(stamped, tmp_path, library_of):
    video = library_of("Faulty").open(stamped)
    with pytest.raises(DamagedVideoError, match=r"^cut at 50 s$") as raised:
        video.frame_at(60)
    assert (raised.value.readable_until, raised.value.damaged_packets) == (50.0, 7)
    with pytest.raises(RuntimeError, match="ZeroDivisionError") as raised:
        video.frame_at(80)
    assert "look_at" in str(raised.value), "with the traceback of the other process"
    (tmp_path / "notes.mp4").write_text("not a video")
    with pytest.raises(NotAVideoError, match=r"notes\.mp4"):
        library_of("pyav").open(tmp_path / "notes.mp4")


def test_a_reader_that_is_known_to_hang_is_isolated_unasked(stamped, library_of):
    assert decoded_by(library_of("Wary", isolate=False).open(stamped).frame_at(0)) in children()
    assert decoded_by(library_of("Obedient", isolate=False).open(stamped).frame_at(0)) == os.getpid()


def test_decord_is_isolated_unasked(stamped):
    pytest.importorskip("decord")
    with VideoLibrary(VideoConfig(reader="decord", decode_timeout=120), plugin_manager()) as library:
        with library.open(stamped) as video, Video.open(stamped) as alone:
            frames = video.clip(TimeSpan(3, 6))
            assert [frame.time for frame in frames] == [3, 4, 5]
            assert [read_stamp(frame.image) for frame in frames] == [12, 16, 20]
            assert (video.duration, video.codec) == (alone.duration, alone.codec)
        assert len(children()) == 1


def test_what_a_decoder_prints_reaches_nobody(stamped, library_of, capfd):
    assert library_of("Chatty").open(stamped).frame_at(3).time == 3
    assert "decoder says" not in capfd.readouterr().out


def test_processes_are_used_again_and_their_number_is_bounded(stamped, library_of):
    library = library_of("Obedient", max_open_files=4, memory_mb=0)
    together = threading.Barrier(4)

    def look(number: int) -> int:
        together.wait(60)
        return decoded_by(library.open(stamped).frame_at(number))

    with ThreadPoolExecutor(4) as threads:
        used = set(threads.map(look, range(8)))
    assert used <= children() and len(children()) <= 4
    before = children()
    assert decoded_by(library.open(stamped).frame_at(9)) in before
    assert children() == before
    library.close()
    assert children() == set()


def test_idle_processes_are_few(stamped):
    workers = Workers()
    readers = [IsolatedReader(stamped, PyavReader, workers=workers, timeout=60) for _ in range(4)]
    assert len(children()) == 4
    for reader in readers:
        reader.close()
        reader.close()
    assert len(children()) == IDLE_WORKERS
    with pytest.raises(VideoReaderCrashError, match="the decoding process is gone"):
        list(readers[0].frames([1]))
    workers.close()
    assert children() == set()


def test_a_class_that_no_other_process_can_import_is_refused(stamped):
    class Local(PyavReader):
        pass

    with pytest.raises(ConfigError, match=r"isolate needs a reader that another process can import; .*Local"):
        IsolatedReader(stamped, Local, workers=Workers(), timeout=60)


SCRIPT = """
import os, sys
from longvt_plugins import VideoConfig, VideoLibrary

print("started")
library = VideoLibrary(VideoConfig(isolate=True))
print(library.open(sys.argv[1]).frame_at(3).time, flush=True)
if sys.argv[2] == "killed":
    os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("end", ["returned", "killed"])
def test_a_script_without_a_main_guard_runs_once_and_leaves_no_process_behind(stamped, end):
    program = subprocess.Popen([sys.executable, "-c", SCRIPT, str(stamped), end], stdout=subprocess.PIPE, text=True)
    # The pipe ends when the last process that has it does; a worker does not have it.
    out, _ = program.communicate(timeout=120)
    assert out == "started\n3.0\n"
    until = time.monotonic() + 60
    while any(str(stamped) in _open_files(process) for process in Path("/proc").glob("[0-9]*")):
        assert time.monotonic() < until, "a decoding process outlived its parent"
        time.sleep(0.05)


def _open_files(process: Path) -> str:
    try:
        return " ".join(str(link.readlink()) for link in (process / "fd").iterdir())
    except OSError:
        return ""


DAEMON = """
import multiprocessing, sys
from longvt_plugins import VideoConfig, VideoLibrary

library = VideoLibrary(VideoConfig(isolate=True, memory_mb=0))

def look(path, answers):
    with library.open(path) as video:
        answers.put(video.frame_at(3).time)
    library.close()

library.open(sys.argv[1]).frame_at(2)
fork = multiprocessing.get_context("fork")
answers = fork.Queue()
workers = [fork.Process(target=look, args=(sys.argv[1], answers), daemon=True) for _ in "ab"]
for worker in workers:
    worker.start()
print([answers.get(timeout=100) for _ in workers])
print(library.open(sys.argv[1]).frame_at(4).time)
library.close()
"""


def test_forked_daemonic_workers_isolate_too_and_leave_their_parents_process_alone(stamped):
    """As those of a torch DataLoader, which multiprocessing allows no children."""
    done = subprocess.run(
        [sys.executable, "-c", DAEMON, str(stamped)], capture_output=True, text=True, timeout=200, check=True
    )
    assert done.stdout == "[3.0, 3.0]\n4.0\n"


def test_a_clip_through_a_process_is_kept_like_any_other(stamped):
    with VideoLibrary(VideoConfig(isolate=True)) as library:
        for _ in range(3):
            with library.open(stamped) as video:
                video.clip(TimeSpan(0, 5))
        assert library.stats().misses == 5
