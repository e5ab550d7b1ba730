"""The client of one model on one OpenAI-compatible server.

::

    client = ChatClient.from_config(ChatConfig(base_url="http://localhost:8000/v1", model="judge"))
    completion = await client.complete(messages, max_tokens=256, response_schema={"type": "object", ...})
    await client.aclose()

A request goes through the cache, waits for its place (:mod:`~longvt_plugins.chat.limits`), is sent, and sent again
where that can help; every way to fail is a :class:`~longvt_plugins.errors.ChatError`. A client may be used from
several event loops, one after another or at once. It asks for one choice; :meth:`ChatClient.stream` tells a turn
while it is written.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import random
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from longvt_plugins.chat.backend import Completion
from longvt_plugins.chat.cache import FORMAT, ResponseCache
from longvt_plugins.chat.config import ChatConfig
from longvt_plugins.chat.dialect import Dialect, response_format
from longvt_plugins.chat.images import ImageUrls
from longvt_plugins.chat.limits import SYSTEM_CLOCK, Clock, Place, limits_of
from longvt_plugins.chat.stream import Hear
from longvt_plugins.chat.transport import OVERLOADED, Connection, TryFailed, preload
from longvt_plugins.chat.usage import ChatHealth, ChatUsage, CostBudget, Meter
from longvt_plugins.chat.wire import (
    Reply,
    UnreadableReply,
    estimate_tokens,
    fingerprint,
    has_images,
    read_reply,
    to_wire,
)
from longvt_plugins.errors import (
    ChatError,
    ChatReplyError,
    ChatRequestError,
    ConfigError,
)
from longvt_plugins.types import Message, text_of

logger = logging.getLogger(__name__)

Gate = Callable[[], contextlib.AbstractAsyncContextManager[Any]]
"""Makes what is entered for a request."""

LONGEST_BACKOFF_SECONDS = 60.0
"""No pause between two tries grows longer, unless the server asks for it."""

_TELL_WAITS_FROM_SECONDS = 30.0
"""Shorter waits belong to the day's work, and are told to who asks for them."""

_FIRST_EXPECTED_TOKENS = 256.0
_NEWS_SHARE = 0.1


@dataclass(eq=False)
class _Flight:
    """A request on its way, and how many wait for it."""

    task: asyncio.Task[Completion]
    waiting: int = 0


@dataclass(eq=False)
class _Loop:
    """What belongs to one event loop."""

    server: Connection
    flights: dict[bytes, _Flight] = field(default_factory=dict)


class ChatClient:
    """A :class:`~longvt_plugins.chat.ChatBackend` over HTTP.

    Args:
        base_url: Address of the API, ending in ``/v1`` for most servers.
        model: The name that the server knows it by.
        settings: The other fields of :class:`~longvt_plugins.chat.ChatConfig`.

    Attributes:
        config: The settings.
        budget: What may be spent.

    Raises:
        ConfigError: A setting that makes no sense, named; a cache that cannot be opened.
    """

    def __init__(self, base_url: str, model: str, **settings: Any) -> None:
        self._set_up(ChatConfig(base_url=base_url, model=model, **settings), None, contextlib.nullcontext, SYSTEM_CLOCK)

    @classmethod
    def from_config(
        cls,
        config: ChatConfig,
        *,
        budget: CostBudget | None = None,
        gate: Gate = contextlib.nullcontext,
        clock: Clock = SYSTEM_CLOCK,
    ) -> ChatClient:
        """A client with these settings.

        Args:
            config: The settings.
            budget: Shared with other clients; by default one of its own, of ``config.max_cost`` dollars.
            gate: Entered for each request, with all its tries, and left when its reply is kept: what is in it is what
                a kill can make somebody pay for again.
            clock: Time, for tests.

        Raises:
            ConfigError: A cache that cannot be opened, or a budget without prices.
        """
        client = cls.__new__(cls)
        client._set_up(config, budget, gate, clock)
        return client

    def _set_up(self, config: ChatConfig, budget: CostBudget | None, gate: Gate, clock: Clock) -> None:
        if budget is not None and budget.max_cost is not None and config.prices is None:
            raise ConfigError(f"a budget for model {config.model!r} needs prices: {{input: ..., output: ...}}")
        self.config = config
        self.budget = budget or CostBudget(config.max_cost)
        self._gate = gate
        self._clock = clock
        self._limits = limits_of(config.server, clock)
        self._member = self._limits.join(
            concurrency=config.concurrency,
            requests_per_minute=config.requests_per_minute,
            tokens_per_minute=config.tokens_per_minute,
        )
        self._cache = ResponseCache(config.cache_dir, int(config.cache_gb * 1e9)) if config.cache_dir else None
        self._image_urls = ImageUrls(config.image_format)
        self._meter = Meter(clock)
        self._dialect = Dialect(f"chat server {config.server}, model {config.model!r}")
        self._loops: dict[asyncio.AbstractEventLoop, _Loop] = {}
        self._loops_lock = threading.Lock()
        self._jitter = random.Random()
        self._expected_tokens = _FIRST_EXPECTED_TOKENS

    def __repr__(self) -> str:
        return f"ChatClient({self.config!r})"

    @property
    def usage(self) -> ChatUsage:
        """What was used so far."""
        return self._meter.usage

    @property
    def health(self) -> ChatHealth:
        """How the server is doing."""
        return self._meter.health

    async def complete(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] = (),
        *,
        max_tokens: int,
        temperature: float = 0.0,
        response_schema: Mapping[str, Any] | None = None,
        seed: int | None = None,
    ) -> Completion:
        """Asks the server, again if that may help, or the cache.

        Args:
            messages: The whole conversation, images in memory.
            tools: OpenAI function schemas.
            max_tokens: Longest turn.
            temperature: 0 takes the likeliest token.
            response_schema: JSON Schema of an object that the turn is to be. A server that refuses it is asked
                without: look at ``Completion.structured``, and trust neither answer.
            seed: For sampling that can be repeated, where the server has it.

        Raises:
            BudgetExceededError: The request might cost more than is left; nothing was sent.
            ChatRequestError: The server refuses the request.
            ChatReplyError: What it sent is no turn, after all tries.
            ChatUnavailableError: It is down, too slow or overloaded, after all tries.
        """
        request = self._request(tools, max_tokens, temperature)
        if seed is not None:
            request["seed"] = seed
        if response_schema is not None:
            request["response_format"] = response_format(response_schema)
        request |= self.config.extra_body or {}
        if self._cache is None or not (temperature == 0 or seed is not None or self.config.cache == "always"):
            async with self._gate():
                return await self._ask(messages, request)
        key = await _in_thread_if(has_images(messages), self._key, messages, request)
        return await self._ask_once(key, lambda: self._ask_or_remember(key, messages, request))

    async def stream(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] = (),
        *,
        max_tokens: int,
        temperature: float = 0.0,
        hear: Hear,
    ) -> Completion:
        """Asks as :meth:`complete` does, and tells the turn while it is written.

        Args:
            messages: The whole conversation, images in memory.
            tools: OpenAI function schemas.
            max_tokens: Longest turn.
            temperature: 0 takes the likeliest token.
            hear: Told each piece of text; all of it at once by a server that does not stream, and by the cache.

        Raises:
            ChatError: As :meth:`complete`.
        """
        request = self._request(tools, max_tokens, temperature) | dict(self.config.extra_body or {})
        heard = False

        def told(piece: str | None) -> None:
            nonlocal heard
            # Whoever heard nothing yet needs no word of another try.
            if piece is not None or heard:
                heard = piece is not None
                hear(piece)

        if self._cache is None or not (temperature == 0 or self.config.cache == "always"):
            async with self._gate():
                completion = await self._ask(messages, request, told)
        else:
            key = await _in_thread_if(has_images(messages), self._key, messages, request)
            completion = await self._ask_or_remember(key, messages, request, told)
        if not heard and (text := text_of(completion.message)):
            hear(text)
        return completion

    def _request(self, tools: Sequence[Mapping[str, Any]], max_tokens: int, temperature: float) -> dict[str, Any]:
        request: dict[str, Any] = {"model": self.config.model, "max_tokens": max_tokens, "temperature": temperature}
        if tools:
            request["tools"] = list(tools)
        return request

    @staticmethod
    def preload() -> None:
        """Imports what the first request would import, so that its time is that of a request."""
        preload()

    async def aclose(self) -> None:
        """Closes the connections of this event loop, and the cache; both open again when they are needed."""
        with self._loops_lock:
            own = self._loops.pop(asyncio.get_running_loop(), None)
        if own is not None:
            await own.server.close()
        if self._cache is not None:
            self._cache.close()

    def _key(self, messages: Sequence[Message], request: Mapping[str, Any]) -> bytes:
        where = (f"format {FORMAT}", self.config.cache_name or self.config.server, self.config.image_format)
        return fingerprint(messages, self.config.tool_images, request, where)

    async def _ask_once(self, key: bytes, ask: Callable[[], Coroutine[Any, Any, Completion]]) -> Completion:
        """Equal requests on their way at the same time are one."""
        flights = self._own_loop().flights
        flight = flights.get(key)
        is_first = flight is None
        if flight is None:
            flight = flights[key] = _Flight(asyncio.create_task(ask()))
        flight.waiting += 1
        try:
            completion = await asyncio.shield(flight.task)
        except asyncio.CancelledError:
            if flight.waiting == 1:
                flight.task.cancel()
            raise
        except ChatError:
            if not is_first:
                self._meter.count(failures=1)
            raise
        finally:
            flight.waiting -= 1
            # At once: nobody may join a request that has ended, or that was given up.
            if (flight.task.done() or not flight.waiting) and flights.get(key) is flight:
                del flights[key]
        if is_first:
            return completion
        self._meter.count(completions=1, cached=1)
        return replace(completion, cached=True, cost=0.0, retries=0)

    async def _ask_or_remember(
        self, key: bytes, messages: Sequence[Message], request: Mapping[str, Any], hear: Hear | None = None
    ) -> Completion:
        assert self._cache is not None
        # The look into the cache, too: whoever was asked for before a kill is not overtaken by others after it.
        async with self._gate():
            start = self._clock.now()
            try:
                # Most replies are new: to learn that by way of a thread would cost as much as the request.
                kept = None if self._cache.has_none(key) else await asyncio.to_thread(self._cache.get, key)
            except OSError as error:
                kept = None
                self._cache_failed(error)
            completion = None if kept is None else _from_cache(kept, self._clock.now() - start)
            if completion is not None:
                self._meter.count(completions=1, cached=1)
                return completion
            completion = await self._ask(messages, request, hear)
            try:
                # A thread for each short reply would take as long as the request did.
                if not self._cache.put_at_once(key, reply := _to_cache(completion)):
                    await asyncio.to_thread(self._cache.put, key, reply)
            except OSError as error:
                self._cache_failed(error)  # the reply is paid for: it is not thrown away
            return completion

    def _cache_failed(self, error: OSError) -> None:
        if not self.usage.cache_faults:
            logger.warning("the response cache fails, so replies are asked for again: %s", error)
        self._meter.count(cache_faults=1)

    async def _ask(
        self, messages: Sequence[Message], request: Mapping[str, Any], hear: Hear | None = None
    ) -> Completion:
        is_large = has_images(messages)
        prompt_tokens = estimate_tokens(messages, request.get("tools", ()))
        try:
            # Encoding hundreds of frames takes a while: the other conversations go on meanwhile.
            wire = await _in_thread_if(is_large, self._encode, messages)
            asked = dict(request, messages=wire)
            if hear is not None:
                # Without the option a stream does not say how many tokens it took.
                asked |= {"stream": True, "stream_options": {"include_usage": True}}
            return await self._try_often(asked, prompt_tokens, is_large, hear)
        except ChatError:
            self._meter.count(failures=1)
            raise

    def _encode(self, messages: Sequence[Message]) -> list[dict[str, Any]]:
        return to_wire(messages, tool_images=self.config.tool_images, image_url=self._image_urls)

    async def _try_often(
        self, request: dict[str, Any], prompt_tokens: int, is_large: bool, hear: Hear | None
    ) -> Completion:
        tries = 0
        started: float | None = None
        while True:
            sent = self._dialect.spell(request)
            body = await _in_thread_if(is_large, _dump, sent)
            async with self._limits.place(self._member) as place:
                written = min(request["max_tokens"], self._expected_tokens)
                with self.budget.reserve(self.config.price(prompt_tokens, math.ceil(written))):
                    await self._limits.turn(place, prompt_tokens + written)
                    started = self._clock.now() if started is None else started
                    left = self.config.total_timeout - (self._clock.now() - started)
                    tries += 1
                    self._meter.count(requests=1, retries=int(tries > 1))
                    try:
                        reply = await self._try(body, left, place, hear)
                    except TryFailed as error:
                        failed = error
                    else:
                        self._dialect.accepted(sent)
                        return self._completion(reply, place, sent, tries, self._clock.now() - started, prompt_tokens)
            if failed.status is not None and self._dialect.learn(sent, failed.status, failed.detail):
                tries -= 1  # that was no failure, and it happens once for each habit
                continue
            await self._wait_or_give_up(failed, tries, started)
            if hear is not None:
                hear(None)

    async def _wait_or_give_up(self, failed: TryFailed, tries: int, started: float) -> None:
        if failed.is_servers:
            self._meter.failed_try(failed.reason)
        if failed.status == 429:
            self._meter.count(rate_limited=1)
        wait = failed.retry_after
        if wait is None:
            wait = min(self.config.backoff * 2 ** (tries - 1), LONGEST_BACKOFF_SECONDS) * (0.5 + self._jitter.random())
        left = self.config.total_timeout - (self._clock.now() - started)
        if failed.again and tries <= self.config.max_retries and wait < left:
            logger.info("%s; again in %.1f s", self._told(failed.reason, tries), wait)
            await self._clock.sleep(wait)
            return
        reason = failed.reason
        if failed.again and tries <= self.config.max_retries:
            reason += f"; to wait {wait:.0f} s more would pass total_timeout ({self.config.total_timeout:g} s)"
        if failed.is_servers:
            self._meter.failed_turn()
        message = self._told(reason, tries)
        raise failed.kind(message, failed.status) if failed.kind is ChatRequestError else failed.kind(message)

    async def _try(self, body: bytes, seconds_left: float, place: Place, hear: Hear | None) -> Reply:
        server = self._own_loop().server
        try:
            data = await server.post(body, seconds_left, hear)
        except TryFailed as error:
            if error.status in OVERLOADED and self._limits.overloaded(place, error.retry_after):
                self._tell_overload(error)
            raise
        try:
            reply = read_reply(data)
        except UnreadableReply as error:
            self._pay(*error.usage)
            reason = server.without_secrets(error.reason)
            raise TryFailed(reason, ChatReplyError, again=error.again, is_servers=error.again) from None
        self._limits.served()
        self._meter.well()
        return reply

    def _tell_overload(self, failed: TryFailed) -> None:
        wait = "" if failed.retry_after is None else f", after a wait of {failed.retry_after:.0f} s"
        logger.log(
            logging.WARNING if (failed.retry_after or 0.0) >= _TELL_WAITS_FROM_SECONDS else logging.INFO,
            "chat server %s is overloaded (HTTP %d): at most %d requests at once from now on%s",
            self.config.server,
            failed.status,
            self._limits.window,
            wait,
        )

    def _completion(
        self, reply: Reply, place: Place, sent: Mapping[str, Any], tries: int, seconds: float, prompt_tokens: int
    ) -> Completion:
        read, written = reply.prompt_tokens, reply.completion_tokens
        if read or written:
            place.settle(read + written)
            self._expected_tokens += _NEWS_SHARE * (written - self._expected_tokens)
            cost = self._pay(read, written)
        else:
            # The server does not count: what is paid is estimated, what is reported stays 0.
            cost = self._pay(prompt_tokens, estimate_tokens([reply.message], ()), is_estimate=True)
        self._meter.count(completions=1, seconds=seconds)
        return Completion(
            message=reply.message,
            stop_reason=reply.stop_reason,
            prompt_tokens=read,
            completion_tokens=written,
            seconds=seconds,
            cost=cost,
            retries=tries - 1,
            structured="response_format" in sent,
        )

    def _pay(self, prompt_tokens: int, completion_tokens: int, *, is_estimate: bool = False) -> float:
        cost = self.config.price(prompt_tokens, completion_tokens)
        self.budget.pay(cost)
        if is_estimate:
            self._meter.count(cost=cost)
        else:
            self._meter.count(prompt_tokens=prompt_tokens, completion_tokens=completion_tokens, cost=cost)
        return cost

    def _own_loop(self) -> _Loop:
        # Connections belong to the loop that made them, and lmms-eval may start one loop after another.
        loop = asyncio.get_running_loop()
        with self._loops_lock:
            own = self._loops.get(loop)
            if own is None:
                for closed in [earlier for earlier in self._loops if earlier.is_closed()]:
                    del self._loops[closed]
                own = self._loops[loop] = _Loop(Connection(self.config, self._clock))
            return own

    def _told(self, reason: str, tries: int) -> str:
        times = "1 try" if tries == 1 else f"{tries} tries"
        return f"chat server {self.config.server}, model {self.config.model!r}: {reason} ({times})"


async def _in_thread_if(is_large: bool, function: Callable[..., Any], *args: Any) -> Any:
    return await asyncio.to_thread(function, *args) if is_large else function(*args)


def _dump(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body).encode()


def _to_cache(completion: Completion) -> dict[str, Any]:
    return {name: getattr(completion, name) for name in _KEPT}


_KEPT = ("message", "stop_reason", "prompt_tokens", "completion_tokens", "structured")


def _from_cache(kept: Mapping[str, Any], seconds: float) -> Completion | None:
    """What was kept; None where it is not what this version writes."""
    if any(name not in kept for name in _KEPT) or not isinstance(kept["message"], dict):
        return None
    return Completion(**{name: kept[name] for name in _KEPT}, cached=True, seconds=seconds)
