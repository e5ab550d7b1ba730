"""Writes that are gathered: together, in order, each waited for; what fails fails for all of them."""

from __future__ import annotations

import asyncio

import pytest

from longvt_plugins.chat.cache import ResponseCache
from longvt_plugins.chat.gathered import GatheredWrites


def test_what_comes_at_the_same_time_is_one_write_and_what_comes_later_another():
    written: list[list[int]] = []

    async def main():
        writes = GatheredWrites(lambda items: written.append(list(items)), seconds=0.01)
        await asyncio.gather(*(writes.add(number) for number in range(5)))
        assert written == [[0, 1, 2, 3, 4]]
        await writes.add(5)
        await writes.drain()

    asyncio.run(main())
    assert written == [[0, 1, 2, 3, 4], [5]]


def test_a_write_that_fails_is_told_to_everybody_who_waits_and_the_next_one_is_tried():
    calls = []

    def write(items):
        calls.append(list(items))
        if len(calls) == 1:
            raise OSError("full")

    async def main():
        writes = GatheredWrites(write, seconds=0.01)
        faults = await asyncio.gather(writes.add(1), writes.add(2), return_exceptions=True)
        assert [str(fault) for fault in faults] == ["full", "full"]
        await writes.add(3)

    asyncio.run(main())
    assert calls == [[1, 2], [3]]


def test_a_write_that_fails_in_an_unforeseen_way_leaves_nobody_waiting():
    def write(items):
        raise TypeError("no text")

    async def main():
        writes = GatheredWrites(write, seconds=0.01)
        return await asyncio.wait_for(asyncio.gather(writes.add(1), writes.add(2), return_exceptions=True), 10)

    assert [str(fault) for fault in asyncio.run(main())] == ["no text", "no text"]


def test_a_cache_knows_at_once_what_it_surely_has_not_and_waits_for_nobody(tmp_path):
    cache = ResponseCache(tmp_path, max_bytes=1_000_000)
    assert cache.has_none(b"a")
    cache.put_all([(b"a", {"x": 1}), (b"b", {"x": 2})])
    assert (cache.has_none(b"a"), cache.has_none(b"c")) == (False, True)
    assert (cache.get(b"a"), cache.get(b"b")) == ({"x": 1}, {"x": 2})
    with cache._lock:
        assert not cache.has_none(b"c"), "not known at once is not none"
    cache.close()
    assert not cache.has_none(b"c")


def test_replies_are_kept_together_or_not_at_all(tmp_path):
    cache = ResponseCache(tmp_path, max_bytes=1_000_000)
    with pytest.raises(TypeError):
        cache.put_all([(b"a", {"x": 1}), (b"b", {"x": object()})])
    assert cache.get(b"a") is None
