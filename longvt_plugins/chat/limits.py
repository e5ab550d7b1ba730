"""How fast one server may be asked: by every client of this process together, whatever event loop they run in.

::

    limits = limits_of("http://localhost:8000/v1", SYSTEM_CLOCK)
    member = limits.join(concurrency=32, requests_per_minute=600, tokens_per_minute=None)
    async with limits.place(member) as place:           # waits until one more may be in flight
        await limits.turn(place, tokens=1500)           # waits for its minute
        ...                                             # the request
        place.settle(used_tokens)                       # what it really was
        limits.overloaded(place, retry_after=2.0)       # after a 429

Requests and tokens a minute are spread evenly: of a limit of 60 requests one starts every second, so that no
minute has more. Tokens are paid for in advance as an estimate; what the server reports afterwards moves the next
start, so that the average holds however wrong the estimates are, and one minute may hold one request too many.

After a 429 or 503 the crowd is halved, once for all the requests that were on their way, and grows by one place
with each crowd that is served well. A ``Retry-After`` holds every client back. Processes do not know of each
other: give each of N processes an Nth.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
import weakref
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field

LONGEST_PAUSE_SECONDS = 600.0
"""Nobody else is held back for longer because one reply asked for it."""

MAX_IDLE_SERVERS = 256
"""Servers that no client uses any more are remembered up to this many."""


@dataclass(frozen=True)
class Clock:
    """Time as the client knows it; tests bring their own.

    Args:
        now: Seconds that never go back.
        wall: Seconds since 1970, for dates.
        sleep: Waits, in seconds.
    """

    now: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep


SYSTEM_CLOCK = Clock()


@dataclass(eq=False)
class Member:
    """What one client asks of the limits; gone when the client is."""

    concurrency: int
    requests_per_minute: float | None
    tokens_per_minute: float | None
    in_flight: int = 0
    waiting: deque[_Waiter] = field(default_factory=deque)


@dataclass(eq=False)
class Place:
    """The right to have one request in flight."""

    member: Member
    loop: asyncio.AbstractEventLoop
    tokens: float = 0.0
    cuts: int = 0
    settled: float | None = None

    def settle(self, tokens: float) -> None:
        """Says how many tokens it really took.

        Args:
            tokens: Read and written ones.
        """
        self.settled = tokens


@dataclass(eq=False)
class _Waiter:
    place: Place
    future: asyncio.Future[None]
    ticket: int


class ServerLimits:
    """The limits of one server. Every method may be called from any thread.

    Args:
        clock: Time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._members: list[weakref.ref[Member]] = []
        self._places: set[Place] = set()
        self._tickets = 0
        self._window = math.inf
        self._cuts = 0
        self._paused_until = -math.inf
        self._requests_free_at = -math.inf
        self._tokens_free_at = -math.inf

    @property
    def is_unused(self) -> bool:
        """No client is left, and nothing is still to be waited for."""
        with self._lock:
            now = self._clock.now()
            times = (self._paused_until, self._requests_free_at, self._tokens_free_at)
            return not self._alive() and all(until <= now for until in times)

    @property
    def in_flight(self) -> int:
        """Requests on their way."""
        with self._lock:
            return len(self._places)

    @property
    def window(self) -> float:
        """How many may be on their way at once; infinite while the server has not complained."""
        with self._lock:
            return self._window

    def join(
        self,
        *,
        concurrency: int,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
    ) -> Member:
        """Adds a client, for as long as it keeps what is returned."""
        member = Member(concurrency, requests_per_minute, tokens_per_minute)
        with self._lock:
            self._members = [weakref.ref(one) for one in (*self._alive(), member)]
        return member

    def place(self, member: Member) -> AbstractAsyncContextManager[Place]:
        """Waits until one more request may be in flight, in the order of arrival.

        Args:
            member: Who asks.
        """
        return _Entrance(self, Place(member, asyncio.get_running_loop()))

    async def turn(self, place: Place, tokens: float) -> None:
        """Waits until the limits by the minute allow the request.

        Args:
            place: In flight.
            tokens: How many the request is expected to take. One that is given up while it waits takes none.
        """
        with self._lock:
            start = self._clock.now()
            if (rate := self._smallest("requests_per_minute")) is not None:
                start = max(start, self._requests_free_at)
                self._requests_free_at = start + 60 / rate
            if (rate := self._smallest("tokens_per_minute")) is not None:
                start = max(start, self._tokens_free_at)
                self._tokens_free_at = start + tokens * 60 / rate
                place.tokens = tokens
            until = max(start, self._paused_until)
        place.settled = 0.0
        while (wait := until - self._clock.now()) > 0:
            await self._clock.sleep(wait)
            with self._lock:  # while this one waited, another may have been told to stay away
                until = max(start, self._paused_until)
        place.settled = None
        with self._lock:
            place.cuts = self._cuts

    def overloaded(self, place: Place, retry_after: float | None) -> bool:
        """The server had too much: fewer at once from now on.

        Args:
            place: Of the request that it turned down.
            retry_after: Seconds that the server asks to wait, if it says so.

        Returns:
            Whether that was news: requests that were sent before the last cut tell of the same overload again.
        """
        with self._lock:
            now = self._clock.now()
            if retry_after is not None:
                self._paused_until = max(self._paused_until, now + min(retry_after, LONGEST_PAUSE_SECONDS))
            is_news = place.cuts == self._cuts
            if is_news:
                self._window = max(1.0, min(self._window, len(self._places)) / 2)
                self._cuts += 1
            return is_news

    def served(self) -> None:
        """The server took a request well: a little more at once from now on."""
        with self._lock:
            if self._window < self._ceiling():
                self._window += 1 / self._window
            else:
                self._window = math.inf
            woken = self._grant()
        _wake(woken)

    def _alive(self) -> list[Member]:
        return [member for known in self._members if (member := known()) is not None]

    def _ceiling(self) -> int:
        return max((member.concurrency for member in self._alive()), default=1)

    async def _enter(self, place: Place) -> None:
        with self._lock:
            if self._has_room(place.member) and not any(member.waiting for member in self._alive()):
                self._take(place)
                return
            self._tickets += 1
            waiter = _Waiter(place, place.loop.create_future(), self._tickets)
            place.member.waiting.append(waiter)
            woken = self._grant()
        _wake(woken)
        try:
            await waiter.future
        except asyncio.CancelledError:
            with self._lock:
                if waiter in place.member.waiting:
                    place.member.waiting.remove(waiter)
            self._leave(place)  # it may have been given its place in the same moment
            raise

    def _leave(self, place: Place) -> None:
        with self._lock:
            if place in self._places:
                self._places.discard(place)
                place.member.in_flight -= 1
                rate = self._smallest("tokens_per_minute")
                if rate is not None and place.settled is not None:
                    self._tokens_free_at += (place.settled - place.tokens) * 60 / rate
            woken = self._grant()
        _wake(woken)

    def _smallest(self, name: str) -> float | None:
        stated = [rate for member in self._alive() if (rate := getattr(member, name)) is not None]
        return min(stated, default=None)

    def _has_room(self, member: Member) -> bool:
        limit = min(self._ceiling(), self._window)
        return member.in_flight < member.concurrency and len(self._places) + 1 <= max(limit, 1)

    def _take(self, place: Place) -> None:
        self._places.add(place)
        place.member.in_flight += 1

    def _grant(self) -> list[_Waiter]:
        """Gives free places to those who wait longest."""
        woken: list[_Waiter] = []
        if not any(member.waiting for member in self._alive()):
            return woken
        self._forget_closed_loops()
        while True:
            first = [member.waiting[0] for member in self._alive() if member.waiting and self._has_room(member)]
            if not first:
                return woken
            waiter = min(first, key=lambda one: one.ticket)
            waiter.place.member.waiting.popleft()
            if not waiter.place.loop.is_closed():
                self._take(waiter.place)
                woken.append(waiter)

    def _forget_closed_loops(self) -> None:
        # A loop that was stopped in the middle never gives its places back.
        for place in [place for place in self._places if place.loop.is_closed()]:
            self._places.discard(place)
            place.member.in_flight -= 1


class _Entrance(AbstractAsyncContextManager[Place]):
    """A place for as long as the block runs; a class, since a generator takes three times as long."""

    def __init__(self, limits: ServerLimits, place: Place) -> None:
        self._limits = limits
        self._place = place

    async def __aenter__(self) -> Place:
        await self._limits._enter(self._place)
        return self._place

    async def __aexit__(self, *fault: object) -> None:
        self._limits._leave(self._place)


def _wake(woken: list[_Waiter]) -> None:
    for waiter in woken:
        # A loop may close in this very moment: its places are taken back before the next one is given away.
        with suppress(RuntimeError):
            waiter.place.loop.call_soon_threadsafe(_set, waiter.future)


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


_servers: dict[tuple[str, Clock], ServerLimits] = {}
_servers_lock = threading.Lock()


def limits_of(server: str, clock: Clock = SYSTEM_CLOCK) -> ServerLimits:
    """The limits that all clients of a server share in this process.

    Args:
        server: Its address.
        clock: Time; clients with clocks of their own share nothing with others.
    """
    with _servers_lock:
        if (server, clock) not in _servers and len(_servers) >= MAX_IDLE_SERVERS:
            for key in [key for key, limits in _servers.items() if limits.is_unused]:
                del _servers[key]
        return _servers.setdefault((server, clock), ServerLimits(clock))
