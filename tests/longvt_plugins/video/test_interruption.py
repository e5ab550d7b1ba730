"""A read that nobody waits for any more ends between two packets, and leaves everything as it was."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import pytest

from longvt_plugins import TimeSpan, Video, VideoConfig, VideoLibrary, hookimpl
from longvt_plugins.errors import VideoInterruptedError
from longvt_plugins.testing import plugin_manager, read_stamp, write_stamped_video
from longvt_plugins.video.interruption import interruptible
from longvt_plugins.video.readers.pyav import PyavReader

SECONDS = range(0, 60, 5)


@pytest.fixture(scope="module")
def stamped(tmp_path_factory):
    path = tmp_path_factory.mktemp("videos") / "stamped.mp4"
    write_stamped_video(path, 64, size=(128, 96))
    return path


def after(looks):
    """Says that a read should end once it was asked so often."""
    asked = itertools.count()
    return lambda: next(asked) >= looks


def stamps(video):
    return [read_stamp(frame.image) for frame in video.frames(SECONDS)]


RIGHT = [4 * second for second in SECONDS]


@pytest.mark.parametrize("looks", [0, 1, 7, 40, 100])
def test_it_ends_wherever_it_is_and_the_same_video_is_read_right_afterwards(stamped, looks):
    with Video.open(stamped) as video:
        with (
            interruptible(after(looks)),
            pytest.raises(VideoInterruptedError, match=r"stamped\.mp4: reading was given"),
        ):
            stamps(video)
        assert stamps(video) == RIGHT


def test_opening_ends_too(stamped):
    with interruptible(lambda: True), pytest.raises(VideoInterruptedError):
        Video.open(stamped)


def test_a_library_keeps_nothing_of_it_and_goes_on(stamped, tmp_path):
    with VideoLibrary(VideoConfig(cache_dir=str(tmp_path))) as library, library.open(stamped) as video:
        with interruptible(after(30)), pytest.raises(VideoInterruptedError):
            stamps(video)
        assert library.stats().misses == 0
        assert stamps(video) == RIGHT


def test_a_read_that_is_wanted_to_its_end_is_not_touched(stamped):
    with interruptible(lambda: False), Video.open(stamped) as video:
        assert stamps(video) == RIGHT


class Held(PyavReader):
    """Waits before its second frame until it is let go on."""

    waiting: ClassVar = threading.Event()
    go_on: ClassVar = threading.Event()

    def frames(self, times):
        for number, frame in enumerate(super().frames(times)):
            if number == 1:
                self.waiting.set()
                self.go_on.wait(20)
            yield frame


class HeldPlugin:
    @hookimpl
    def register_video_readers(self, register):
        register("held", Held)


def test_of_two_who_want_the_same_frames_the_one_who_stays_gets_them(stamped):
    """The first decodes and is given up; the second, who waited for its frames, decodes them itself."""
    given_up = threading.Event()

    def read(library, stop):
        with interruptible(stop), library.open(stamped) as video:
            return stamps(video)

    with (
        VideoLibrary(VideoConfig(reader="held"), plugin_manager(HeldPlugin())) as library,
        ThreadPoolExecutor(3) as threads,
    ):
        first = threads.submit(read, library, given_up.is_set)
        assert Held.waiting.wait(20)
        second = threads.submit(read, library, lambda: False)
        third = threads.submit(read, library, lambda: True)
        with pytest.raises(VideoInterruptedError):
            third.result(20)  # It had nothing to decode: it gives up while it waits for the first.
        given_up.set()
        Held.go_on.set()
        with pytest.raises(VideoInterruptedError):
            first.result(20)
        assert second.result(20) == RIGHT


def test_the_sound_of_a_video_too(tmp_path):
    from longvt_plugins.sound import read_sound

    path = tmp_path / "silent.mp4"
    write_stamped_video(path, 5, sound=True)
    with interruptible(after(3)), pytest.raises(VideoInterruptedError):
        read_sound(path, TimeSpan(0, 5))
