"""Limits hold for all clients of a server together; time is virtual, so that nobody waits."""

import asyncio
import gc
import math
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longvt_plugins.chat import limits as limits_module
from longvt_plugins.chat.limits import LONGEST_PAUSE_SECONDS, SYSTEM_CLOCK, Clock, ServerLimits, limits_of

SERVER = "http://localhost:1/v1"


async def send(limits, member, clock, log, tokens=0.0, seconds=0.0, used=None):
    async with limits.place(member) as place:
        await limits.turn(place, tokens)
        log.append(clock.now())
        await clock.sleep(seconds)
        if used is not None:
            place.settle(used)


def starts(virtual, count, *members, **request):
    """When requests started that were all asked for at once, shared out among clients with these limits."""

    async def work(clock):
        limits = ServerLimits(clock)
        joined = [limits.join(**{"concurrency": 100, **member}) for member in members]
        log = []
        tasks = [send(limits, joined[n % len(joined)], clock, log, **request) for n in range(count)]
        await asyncio.gather(*tasks)
        return log

    return virtual(work)


def busiest_minute(log):
    return max(sum(start <= one < start + 60 for one in log) for start in log)


def test_requests_are_spread_evenly_over_the_minute(virtual):
    assert starts(virtual, 5, {"requests_per_minute": 60}) == pytest.approx([0, 1, 2, 3, 4])


@settings(max_examples=30, deadline=None)
@given(rate=st.integers(1, 120), count=st.integers(1, 300))
def test_no_minute_has_more_requests_than_the_limit(rate, count):
    now = 0.0

    async def sleep(seconds):
        nonlocal now
        now += seconds

    async def work():
        clock = Clock(now=lambda: now, wall=lambda: now, sleep=sleep)
        limits = ServerLimits(clock)
        member = limits.join(concurrency=1, requests_per_minute=rate)
        log = []
        for _ in range(count):
            await send(limits, member, clock, log)
        return log

    log = asyncio.run(work())
    # A hair's breadth: moments are floating-point numbers.
    assert max(sum(start <= one < start + 60 - 1e-6 for one in log) for start in log) <= rate


def test_clients_of_one_server_share_the_smallest_limit(virtual):
    log = starts(virtual, 150, {"requests_per_minute": 60}, {"requests_per_minute": 600}, {})
    assert busiest_minute(log) == 60


def test_an_idle_minute_is_not_saved_up(virtual):
    async def work(clock):
        limits = ServerLimits(clock)
        member = limits.join(concurrency=10, requests_per_minute=60)
        log = []
        await send(limits, member, clock, log)
        await clock.sleep(600)
        await asyncio.gather(*(send(limits, member, clock, log) for _ in range(3)))
        return log

    assert virtual(work) == pytest.approx([0, 600, 601, 602])


def test_tokens_are_paid_for_in_advance(virtual):
    assert starts(virtual, 3, {"tokens_per_minute": 600}, tokens=100) == pytest.approx([0, 10, 20])


def test_what_the_server_reports_corrects_the_estimate(virtual):
    log = starts(virtual, 4, {"tokens_per_minute": 600, "concurrency": 1}, tokens=100, used=400)
    assert log == pytest.approx([0, 40, 80, 120])
    log = starts(virtual, 4, {"tokens_per_minute": 600, "concurrency": 1}, tokens=400, used=100)
    assert log == pytest.approx([0, 10, 20, 30])


def test_a_request_larger_than_the_limit_passes_alone(virtual):
    assert starts(virtual, 2, {"tokens_per_minute": 600}, tokens=6000) == pytest.approx([0, 600])


def test_a_request_given_up_while_it_waits_takes_no_tokens(virtual):
    async def work(clock):
        limits = ServerLimits(clock)
        member = limits.join(concurrency=10, tokens_per_minute=600)
        log = []
        await send(limits, member, clock, log, tokens=100)
        impatient = asyncio.create_task(send(limits, member, clock, log, tokens=6000))
        await asyncio.sleep(1)
        impatient.cancel()
        await asyncio.gather(impatient, return_exceptions=True)
        await send(limits, member, clock, log, tokens=100)
        return log, limits.in_flight

    log, in_flight = virtual(work)
    assert log == pytest.approx([0, 10])
    assert in_flight == 0


def crowds(virtual, members, requests=40):
    """The most requests in flight, of each client and of all."""

    async def work(clock):
        limits = ServerLimits(clock)
        joined = [limits.join(concurrency=size) for size in members]
        now, most, most_together = [0] * len(joined), [0] * len(joined), 0

        async def one(n):
            nonlocal most_together
            async with limits.place(joined[n]):
                now[n] += 1
                most[n] = max(most[n], now[n])
                most_together = max(most_together, sum(now))
                await clock.sleep(1)
                now[n] -= 1

        await asyncio.gather(*(one(n % len(joined)) for n in range(requests)))
        return most, most_together

    return virtual(work)


def test_no_more_are_in_flight_than_each_client_and_the_largest_of_them_may_have(virtual):
    assert crowds(virtual, [3]) == ([3], 3)
    assert crowds(virtual, [8, 8]) == ([4, 4], 8)
    most, together = crowds(virtual, [2, 8])
    assert most[0] == 2
    assert together == 8


def test_places_are_given_in_the_order_of_arrival(virtual):
    async def work(clock):
        limits = ServerLimits(clock)
        member = limits.join(concurrency=1)
        order = []

        async def one(n):
            async with limits.place(member):
                order.append(n)
                await clock.sleep(1)

        await asyncio.gather(*(one(n) for n in range(20)))
        return order

    assert virtual(work) == list(range(20))


def test_one_who_leaves_the_queue_does_not_keep_the_place(virtual):
    async def work(clock):
        limits = ServerLimits(clock)
        member = limits.join(concurrency=1)
        log = []
        first = asyncio.create_task(send(limits, member, clock, log, seconds=10))
        await asyncio.sleep(0)
        second, third = (asyncio.create_task(send(limits, member, clock, log)) for _ in range(2))
        await asyncio.sleep(1)
        second.cancel()
        await asyncio.gather(first, second, third, return_exceptions=True)
        return log, limits.in_flight

    assert virtual(work) == ([0, 10], 0)


def test_one_who_leaves_in_the_moment_of_being_served_gives_the_place_on(virtual):
    async def work(clock):
        limits = ServerLimits(clock)
        member = limits.join(concurrency=1)
        log = []
        async with limits.place(member):
            waiting = asyncio.create_task(send(limits, member, clock, log))
            await asyncio.sleep(0)
        waiting.cancel()  # the place is its own already, and it does not know yet
        await asyncio.gather(waiting, return_exceptions=True)
        await send(limits, member, clock, log)
        return len(log), limits.in_flight

    assert virtual(work) == (1, 0)


def test_an_overload_halves_the_crowd_once_for_all_that_were_on_their_way(virtual):
    async def work(clock):
        limits = ServerLimits(clock)
        member = limits.join(concurrency=32)
        windows = []

        async def one():
            async with limits.place(member) as place:
                await limits.turn(place, 0)
                await clock.sleep(1)
                limits.overloaded(place, None)
                windows.append(limits.window)

        await asyncio.gather(*(one() for _ in range(32)))
        await one()
        return windows

    windows = virtual(work)
    assert set(windows[:32]) == {16.0}
    assert windows[32] == 1.0  # a single request was too much: half of one is one


def test_the_crowd_grows_again_by_one_with_each_crowd_that_is_served_well(virtual):
    async def work(clock):
        limits = ServerLimits(clock)
        member = limits.join(concurrency=8)
        sizes = []

        async def one(is_well):
            async with limits.place(member) as place:
                await limits.turn(place, 0)
                sizes.append(limits.in_flight)
                await clock.sleep(1)
                if is_well:
                    limits.served()
                else:
                    limits.overloaded(place, None)

        await asyncio.gather(*(one(False) for _ in range(8)))
        halved = limits.window
        sizes.clear()
        await asyncio.gather(*(one(True) for _ in range(60)))
        return halved, max(sizes[:4]), max(sizes), limits.window

    halved, at_first, at_last, window = virtual(work)
    assert (halved, at_first, at_last) == (4.0, 4, 8)
    assert window == math.inf


def test_a_stated_wait_holds_everybody_back_even_those_already_waiting(virtual):
    async def work(clock):
        limits = ServerLimits(clock)
        one, other = limits.join(concurrency=4, requests_per_minute=60), limits.join(concurrency=4)
        log = []
        async with limits.place(one) as place:
            await limits.turn(place, 0)
            waiting = asyncio.create_task(send(limits, other, clock, log))  # would start after a second
            await asyncio.sleep(0.5)
            limits.overloaded(place, 30.0)
        await asyncio.gather(waiting, send(limits, other, clock, log))
        return log

    assert min(virtual(work)) >= 30.5


def test_no_server_can_hold_the_others_back_for_ever(virtual):
    async def work(clock):
        limits = ServerLimits(clock)
        member = limits.join(concurrency=4)
        log = []
        async with limits.place(member) as place:
            await limits.turn(place, 0)
            limits.overloaded(place, 1e9)
        await send(limits, member, clock, log)
        return log

    assert virtual(work) == pytest.approx([LONGEST_PAUSE_SECONDS])


def test_one_limit_holds_across_event_loops_in_several_threads():
    limits = ServerLimits(SYSTEM_CLOCK)
    members = [limits.join(concurrency=2) for _ in range(4)]
    most, lock = 0, threading.Lock()

    async def one(member):
        nonlocal most
        async with limits.place(member):
            with lock:
                most = max(most, limits.in_flight)
            await asyncio.sleep(0.002)

    def loop(member):
        async def crowd():
            await asyncio.gather(*(one(member) for _ in range(20)))

        asyncio.run(crowd())

    threads = [threading.Thread(target=loop, args=(member,)) for member in members]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert most == 2
    assert limits.in_flight == 0


def test_a_loop_that_was_stopped_in_the_middle_gives_its_places_back():
    limits = ServerLimits(SYSTEM_CLOCK)
    member = limits.join(concurrency=1)
    loop = asyncio.new_event_loop()
    stopped = loop.create_task(send(limits, member, Clock(sleep=asyncio.sleep), [], seconds=3600))
    loop.call_later(0.01, loop.stop)
    loop.run_forever()
    loop.close()
    log = []
    asyncio.run(asyncio.wait_for(send(limits, member, SYSTEM_CLOCK, log), 10))
    assert len(log) == 1
    stopped.get_coro().close()


def test_limits_are_those_of_the_server_and_of_the_clients_that_still_are():
    assert limits_of(SERVER) is limits_of(SERVER)
    assert limits_of(SERVER) is not limits_of("http://localhost:2/v1")
    limits = ServerLimits(SYSTEM_CLOCK)
    strict = limits.join(concurrency=1, requests_per_minute=1)
    limits.join(concurrency=1)
    assert limits._smallest("requests_per_minute") == 1
    del strict
    gc.collect()
    assert limits._smallest("requests_per_minute") is None


def test_servers_that_nobody_uses_are_forgotten_in_the_end(monkeypatch):
    monkeypatch.setattr(limits_module, "_servers", {})
    monkeypatch.setattr(limits_module, "MAX_IDLE_SERVERS", 3)
    used = limits_of("http://used")
    member = used.join(concurrency=1)
    for n in range(10):
        limits_of(f"http://{n}")
    assert len(limits_module._servers) <= 4
    assert limits_of("http://used") is used
    assert member.in_flight == 0
