"""Forked, threaded, spawned, launched, scheduled: whoever reads sees the right frames, and all come to an end."""

from __future__ import annotations

import asyncio

import pytest

from longvt_plugins import TimeSpan, Video
from longvt_plugins.testing import read_stamp

FPS = 5


def test_20_forked_and_threaded_readers_finish(run, shelf):
    assert run("readers.py", files=shelf(7), forks=10, threads=2) == {"finished": 10, "wrong": []}


@pytest.mark.slow
def test_200_forked_and_threaded_readers_finish(run, shelf):
    assert run("readers.py", files=shelf(20), forks=100, threads=2) == {"finished": 100, "wrong": []}


def test_a_video_in_use_at_a_fork_is_refused_in_the_child(run, shelf):
    """Neither a wrong frame nor a wait for a thread that the child does not have."""
    told = run("inherited.py", file=shelf(1)[0])

    for refused in ("frame_at", "overview"):
        assert told[refused].startswith("VideoError: ")
        assert "forked" in told[refused]
    assert told["close"] == told["with"] == "nothing"
    assert told["parent"] == "2 frames"


def test_workers_of_a_data_loader_see_the_right_frames(run, shelf):
    pytest.importorskip("torch")
    told = run("loader.py", files=shelf(7))

    assert told["fork"] is True
    assert told["spawn"] is True
    assert told["opened before"].startswith("VideoError: ")
    assert "forked" in told["opened before"]


@pytest.mark.slow
def test_two_processes_of_accelerate_see_the_right_frames(run, shelf, monkeypatch):
    pytest.importorskip("accelerate")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    launcher = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--main_process_port", "0")

    told = run("ranks.py", launcher=launcher, files=shelf(7))

    assert told == {"processes": 2, "device": "cpu", "right": 24, "of": 24}


def test_an_event_loop_reads_in_threads(shelf):
    """Many at once, each its own video, and some of them one video that they share."""
    files = shelf(7)

    def look(number: int) -> list[int]:
        with Video.open(files[number % len(files)]) as video:
            return stamps(video, number)

    def stamps(video: Video, number: int) -> list[int]:
        start = number % 9 + 0.1
        return [read_stamp(frame.image) for frame in video.clip(TimeSpan(start, start + 2))]

    async def read(shared: Video) -> list[list[int]]:
        alone = [asyncio.to_thread(look, number) for number in range(30)]
        together = [asyncio.to_thread(stamps, shared, number) for number in range(30)]
        return await asyncio.gather(*alone, *together)

    with Video.open(files[0]) as shared:
        found = asyncio.run(read(shared))

    right = [[int((number % 9 + 0.1 + second) * FPS) for second in range(2)] for number in range(30)]
    assert found == [*right, *right]
