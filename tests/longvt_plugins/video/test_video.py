"""Video: what may be asked of it, in which order, and what it refuses."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from longvt_plugins import Frame, FrameSampling, TimeSpan, Video
from longvt_plugins.errors import (
    DamagedVideoError,
    OutsideVideoError,
    VideoError,
    VideoNotFoundError,
    VideoTimeoutError,
)
from longvt_plugins.testing import read_stamp, write_stamped_video


@pytest.fixture(scope="module")
def stamped(tmp_path_factory):
    path = tmp_path_factory.mktemp("videos") / "stamped.mp4"
    write_stamped_video(path, 64, size=(128, 96))
    return path


def stamps(frames):
    return [read_stamp(frame.image) for frame in frames]


def test_an_overview_samples_the_whole_video(stamped):
    with Video.open(stamped) as video:
        frames = video.overview()

    assert [frame.time for frame in frames] == list(range(64))
    assert stamps(frames) == [4 * second for second in range(64)]


def test_an_overview_takes_no_more_frames_than_allowed(stamped):
    with Video.open(stamped) as video:
        frames = video.overview(FrameSampling(max_frames=16))

    assert stamps(frames) == [16 * number for number in range(16)]


def test_a_clip_never_touches_its_end(stamped):
    with Video.open(stamped) as video:
        assert stamps(video.clip(TimeSpan(10, 13))) == [40, 44, 48]


def test_an_empty_clip_shows_the_moment_where_it_lies(stamped):
    with Video.open(stamped) as video:
        assert stamps(video.clip(TimeSpan(10, 10))) == [40]


def test_frames_come_in_the_order_asked_however_often(stamped):
    with Video.open(stamped) as video:
        assert stamps(video.frames([30, 5, 30, 0, 5.1, 63.99])) == [120, 20, 120, 0, 20, 255]
        assert video.frames([]) == []
        assert stamps(video.frames(second for second in (2, 1))) == [8, 4]


def test_each_moment_is_asked_of_the_reader_once_and_in_rising_order(stamped):
    asked = []

    class Reader:
        duration, width, height = 10.0, 8, 8

        def __init__(self, path):
            assert path == stamped

        def frames(self, times):
            from PIL import Image

            for time in times:
                asked.append(time)
                yield Frame(Image.new("RGB", (8, 8)), time)

        def close(self):
            pass

    with Video.open(stamped, reader=Reader) as video:
        frames = video.frames([3, 1, 3])

    assert asked == [1, 3]
    assert [frame.time for frame in frames] == [3, 1, 3]


def test_without_a_sampling_frames_are_as_large_as_the_video(stamped):
    with Video.open(stamped) as video:
        assert (video.width, video.height) == (128, 96)
        assert video.frame_at(1).image.size == (128, 96)
        assert video.frames([1])[0].image.mode == "RGB"


def test_a_sampling_sets_the_size_on_the_patch_grid(stamped):
    sampling = FrameSampling(min_pixels=28 * 28, max_pixels=112 * 84)
    with Video.open(stamped) as video:
        (frame,) = video.frames([1], sampling)

    assert frame.image.size == sampling.size(128, 96)
    assert frame.width * frame.height <= 112 * 84
    assert read_stamp(frame.image) == 4


def test_the_time_of_a_frame_leads_back_to_it(tmp_path):
    times = write_stamped_video(tmp_path / "uneven.mkv", 30, fps=29.97, variable=True)
    with Video.open(tmp_path / "uneven.mkv") as video:
        frames = video.frames(times)
        again = video.frames([frame.time for frame in frames])

    assert stamps(again) == stamps(frames) == list(range(len(times)))


@pytest.mark.parametrize("time", [-0.001, 64, 1e9, float("nan"), float("inf"), float("-inf")])
def test_a_time_outside_the_video_is_refused_in_one_line(stamped, time):
    with Video.open(stamped) as video, pytest.raises(OutsideVideoError, match="lasts from 0 to 64 s") as told:
        video.frame_at(time)
    assert "\n" not in str(told.value)
    assert told.value.duration == 64


def test_a_clip_that_leaves_the_video_is_refused(stamped):
    with Video.open(stamped) as video, pytest.raises(OutsideVideoError):
        video.clip(TimeSpan(60, 70))


def test_a_video_tells_its_codec_and_its_damage(stamped):
    with Video.open(stamped) as video:
        assert (video.codec, video.damage) == ("h264", ())


class Simple:
    """A third party's reader with no more than a reader must have."""

    duration, width, height = 10.0, 300, 200

    def __init__(self, path):
        pass

    def frames(self, times):
        from PIL import Image

        for time in times:
            yield Frame(Image.new("RGB", (300, 200)), time)

    def close(self):
        pass


def test_a_reader_that_cannot_scale_has_its_frames_resized(stamped, tmp_path):
    with Video.open(stamped, reader=Simple, index_dir=tmp_path, time_limit=1e6) as video:
        frames = video.frames([1, 2], FrameSampling(max_pixels=112 * 112))
        assert (video.codec, video.damage) == (None, ())

    assert {frame.image.size for frame in frames} == {(112, 84)}


def test_a_reader_that_scales_is_asked_to(stamped):
    asked = []

    class Scaling(Simple):
        def __init__(self, path, index_dir=None, time_limit=None):
            asked.append((index_dir, time_limit))

        def scaled_frames(self, times, size, scaling):
            from PIL import Image

            asked.append((list(times), size, scaling))
            return (Frame(Image.new("RGB", size), time) for time in times)

    with Video.open(stamped, reader=Scaling, index_dir="there", time_limit=60) as video:
        video.frames([2, 1], FrameSampling(max_pixels=112 * 112, scaling="exact"))
        video.frames([3])

    assert asked == [(Path("there"), 60), ([1, 2], (112, 84), "exact")]


@pytest.mark.parametrize("name", ["a.mp4", "a.avi"])
def test_reading_ends_when_its_time_is_over_and_can_go_on(tmp_path, monkeypatch, name):
    """The clock jumps in the middle of a request, in which the AVI is read packet by packet, the MP4 by groups."""
    from longvt_plugins.video import container

    write_stamped_video(tmp_path / name, 20)
    with Video.open(tmp_path / name, time_limit=3600) as video:
        with monkeypatch.context() as patch:
            ticks = iter([0.0, *[1.0] * 10])
            patch.setattr(container.time, "monotonic", lambda: next(ticks, 1e9))
            with pytest.raises(VideoTimeoutError, match="longer than 3600 s") as told:
                video.frames([0, 5, 15])
        assert told.value.seconds == 3600
        assert stamps(video.frames([0, 5, 15])) == [0, 20, 60]


def test_opening_ends_when_its_time_is_over(stamped):
    with pytest.raises(VideoTimeoutError, match="longer than"):
        Video.open(stamped, time_limit=1e-9)


def test_a_slow_reader_is_stopped_between_frames(stamped):
    with (
        Video.open(stamped, reader=Simple, time_limit=1e-9) as video,
        pytest.raises(VideoTimeoutError, match="longer than"),
    ):
        video.frames([1, 2, 3])


@pytest.mark.parametrize(
    "error",
    [
        DamagedVideoError("a.mp4: cut short", readable_until=12.5, damaged_packets=3),
        OutsideVideoError("a.mp4: 70 s is outside", duration=64.0),
        VideoTimeoutError("a.mp4: too long", seconds=5.0),
    ],
)
def test_what_an_error_carries_survives_the_way_from_another_process(error):
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), vars(copy)) == (str(error), vars(error))


def test_a_closed_video_says_so(stamped):
    video = Video.open(stamped)
    video.close()
    video.close()
    with pytest.raises(VideoError, match="closed"):
        video.frame_at(0)


def test_a_box_is_cut_out_of_a_frame(stamped):
    with Video.open(stamped) as video:
        frame = video.frame_at(10)

    part = frame.crop([10, 20.5, 40.2, 60])
    assert part.image.size == (31, 40)
    assert part.time == 10
    assert part.image.tobytes() == frame.image.crop((10, 20, 41, 60)).tobytes()
    assert frame.contains([0, 0, 128, 96])


@pytest.mark.parametrize(
    "box", [[0, 0, 129, 96], [-1, 0, 10, 10], [10, 10, 10, 20], [20, 20, 10, 30], [0, 0, 10], [0, 0, float("nan"), 5]]
)
def test_a_box_that_is_not_inside_the_frame_is_refused(stamped, box):
    with Video.open(stamped) as video:
        frame = video.frame_at(10)

    assert not frame.contains(box)
    with pytest.raises(OutsideVideoError, match="not inside the 128x96 frame"):
        frame.crop(box)


def test_threads_take_turns(stamped):
    with Video.open(stamped) as video, ThreadPoolExecutor(8) as threads:
        wanted = [(7 * number) % 64 for number in range(64)]
        found = list(threads.map(lambda second: read_stamp(video.frame_at(second).image), wanted))

    assert found == [4 * second for second in wanted]


def _read_elsewhere(video, answers):
    try:
        video.frame_at(0)
    except VideoError as error:
        answers.put(str(error))


def test_a_video_opened_before_a_fork_is_refused_after_it(stamped):
    """Two processes would share one position in the file, and each read what the other skipped to."""
    fork = multiprocessing.get_context("fork")
    answers = fork.Queue()
    with Video.open(stamped) as video:
        child = fork.Process(target=_read_elsewhere, args=(video, answers))
        child.start()
        assert "forked" in answers.get(timeout=60)
        child.join()


@pytest.mark.parametrize(
    "name", ["http://127.0.0.1/film.mp4", "concat:a.mp4|b.mp4", "file:stamped.mp4", "-", "a\0b", "x" * 5000]
)
def test_a_name_is_a_file_name_and_nothing_else(stamped, monkeypatch, name):
    monkeypatch.chdir(stamped.parent)
    with pytest.raises(VideoNotFoundError) as told:
        Video.open(name)
    assert "\n" not in str(told.value)


def test_a_relative_path_is_read(stamped, monkeypatch):
    monkeypatch.chdir(stamped.parent)
    with Video.open(stamped.name) as video:
        assert video.duration == 64


@pytest.mark.parametrize("name", ["100% %03d [x] ?#:&.mp4", "schön.mp4", "http:.mp4", b"\xff\xfe.mp4"])
def test_a_file_may_have_any_name(stamped, tmp_path, name):
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(stamped.read_bytes())
    with Video.open(path) as video:
        assert read_stamp(video.frame_at(1).image) == 4


def test_a_folder_a_pipe_and_a_device_are_no_video_files(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    # In a process of its own: to open a pipe that nobody writes to would wait for ever.
    script = "import sys; from longvt_plugins import Video; Video.open(sys.argv[1])"
    for path, said in [
        (tmp_path, "folder"),
        (tmp_path / "pipe.mp4", "not a regular file"),
        ("/dev/zero", "not a regular"),
    ]:
        done = subprocess.run(
            [sys.executable, "-c", script, str(path)], capture_output=True, text=True, timeout=60, check=False
        )
        assert "VideoNotFoundError" in done.stderr
        assert said in done.stderr


def test_opening_reads_nothing_from_other_threads_work(stamped):
    """Each Video has a reader of its own, so that many can be read at once."""
    results: dict[int, list[int]] = {}

    def work(number: int) -> None:
        with Video.open(stamped) as video:
            results[number] = stamps(video.frames([number, number + 30]))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {number: [4 * number, 4 * number + 120] for number in range(6)}
