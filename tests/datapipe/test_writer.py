"""Results are gathered for a moment and written together; none is lost on the way, and no fault."""

from __future__ import annotations

import asyncio

import pytest

from datapipe import writer
from datapipe.writer import Gathered


class Disk:
    """Keeps what is saved, once it may."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.saved: list[list[str]] = []
        self.fault = fault
        self.is_busy = False
        self.free = asyncio.Event()
        self.free.set()

    async def save(self, results):
        assert not self.is_busy, "never twice at once"
        self.is_busy = True
        await self.free.wait()
        self.is_busy = False
        if self.fault is not None:
            raise self.fault
        self.saved.append(list(results))


def test_what_comes_within_a_moment_is_written_together_and_the_rest_after_it():
    async def main():
        disk = Disk()
        gathered = Gathered(disk.save)
        for name in ("a", "b"):
            await gathered.add(name)
        assert disk.saved == []
        await gathered.drain()
        await gathered.add("c")
        await gathered.drain()
        await gathered.drain()
        return disk.saved

    assert asyncio.run(main()) == [["a", "b"], ["c"]]


def test_many_that_add_at_once_never_save_twice_at_once():
    async def main():
        disk = Disk()
        gathered = Gathered(disk.save)

        async def work(name):
            for number in range(20):
                await gathered.add(f"{name}{number}")
                await asyncio.sleep(0.004)

        await asyncio.gather(*(work(name) for name in "abcdef"))
        await gathered.drain()
        return disk.saved

    saved = asyncio.run(main())
    assert sorted(name for batch in saved for name in batch) == sorted(f"{n}{m}" for n in "abcdef" for m in range(20))
    assert len(saved) < 60


def test_a_disk_that_is_slow_holds_up_who_adds_more_than_may_wait(monkeypatch):
    monkeypatch.setattr(writer, "MOST_GATHERED", 3)

    async def main():
        disk = Disk()
        disk.free.clear()
        gathered = Gathered(disk.save)
        for number in range(3):
            await gathered.add(number)
        fourth = asyncio.create_task(gathered.add(3))
        await asyncio.sleep(0.1)
        assert not fourth.done()
        disk.free.set()
        await fourth
        await gathered.drain()
        return disk.saved

    assert asyncio.run(main()) == [[0, 1, 2], [3]]


def test_a_fault_is_raised_to_who_adds_next_or_waits_for_the_end():
    async def main():
        gathered = Gathered(Disk(TypeError("no text")).save)
        await gathered.add("a")
        with pytest.raises(TypeError, match="no text"):
            await gathered.drain()
        await asyncio.sleep(0.05)
        with pytest.raises(TypeError, match="no text"):
            await gathered.add("b")

    asyncio.run(main())


def test_who_stops_waiting_does_not_stop_the_saving():
    async def main():
        disk = Disk()
        gathered = Gathered(disk.save)
        await gathered.add("a")
        waiting = asyncio.create_task(gathered.drain())
        await asyncio.sleep(0)
        waiting.cancel()
        await gathered.drain()
        return disk.saved

    assert asyncio.run(main()) == [["a"]]
