"""The client of one model on one OpenAI-compatible server.

::

    client = ChatClient.from_config(ChatConfig(base_url="http://localhost:8000/v1", model="judge"))
    completion = await client.complete(messages, max_tokens=256, response_schema={"type": "object", ...})
    await client.aclose()

A request goes through the cache, waits for its place (:mod:`~longvt_plugins.chat.limits`), is sent, and sent again
where that can help; every way to fail is a :class:`~longvt_plugins.errors.ChatError`. A client may be used from
several event loops, one after another or at once. It streams nothing, and asks for one choice.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import random
import threading
import weakref
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from longvt_plugins.chat.backend import Completion
from longvt_plugins.chat.cache import FORMAT, ResponseCache
from longvt_plugins.chat.config import NO_KEY, ChatConfig
from longvt_plugins.chat.dialect import Dialect, response_format
from longvt_plugins.chat.limits import SYSTEM_CLOCK, Clock, Place, limits_of
from longvt_plugins.chat.usage import ChatHealth, ChatUsage, CostBudget, Meter
from longvt_plugins.chat.wire import (
    Reply,
    UnreadableReply,
    error_body,
    error_text,
    estimate_tokens,
    fingerprint,
    has_images,
    one_line,
    read_reply,
    to_wire,
)
from longvt_plugins.errors import (
    ChatError,
    ChatReplyError,
    ChatRequestError,
    ChatUnavailableError,
    ConfigError,
)
from longvt_plugins.types import Message

if TYPE_CHECKING:
    from httpx2 import AsyncClient, Response

logger = logging.getLogger(__name__)

LONGEST_BACKOFF_SECONDS = 60.0
"""No pause between two tries grows longer, unless the server asks for it."""

MAX_REPLY_BYTES = 16 << 20
"""The largest reply that is read; a turn of 32,000 tokens has about 150 KB."""

_FIRST_EXPECTED_TOKENS = 256.0
_NEWS_SHARE = 0.1
_OWN_FAULTS = (400, 413, 422)
"""Refusals of one request, which say nothing about the server."""


class _TryFailed(Exception):
    """One try brought nothing."""

    def __init__(
        self,
        reason: str,
        kind: type[ChatError] = ChatUnavailableError,
        *,
        again: bool = True,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.kind = kind
        self.again = again
        self.status = status
        self.retry_after = retry_after

    @property
    def is_servers(self) -> bool:
        return self.status not in _OWN_FAULTS


@dataclass(eq=False)
class _Flight:
    """A request on its way, and how many wait for it."""

    task: asyncio.Task[Completion]
    waiting: int = 0


@dataclass(eq=False)
class _Loop:
    """What belongs to one event loop."""

    http: AsyncClient
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
        self._set_up(ChatConfig(base_url=base_url, model=model, **settings), None, SYSTEM_CLOCK)

    @classmethod
    def from_config(
        cls, config: ChatConfig, *, budget: CostBudget | None = None, clock: Clock = SYSTEM_CLOCK
    ) -> ChatClient:
        """A client with these settings.

        Args:
            config: The settings.
            budget: Shared with other clients; by default one of its own, of ``config.max_cost`` dollars.
            clock: Time, for tests.

        Raises:
            ConfigError: A cache that cannot be opened, or a budget without prices.
        """
        client = cls.__new__(cls)
        client._set_up(config, budget, clock)
        return client

    def _set_up(self, config: ChatConfig, budget: CostBudget | None, clock: Clock) -> None:
        if budget is not None and budget.max_cost is not None and config.prices is None:
            raise ConfigError(f"a budget for model {config.model!r} needs prices: {{input: ..., output: ...}}")
        self.config = config
        self.budget = budget or CostBudget(config.max_cost)
        self._clock = clock
        self._limits = limits_of(config.server, clock)
        self._member = self._limits.join(
            concurrency=config.concurrency,
            requests_per_minute=config.requests_per_minute,
            tokens_per_minute=config.tokens_per_minute,
        )
        self._cache = ResponseCache(config.cache_dir, int(config.cache_gb * 1e9)) if config.cache_dir else None
        self._meter = Meter(clock)
        self._dialect = Dialect(f"chat server {config.server}, model {config.model!r}")
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Loop] = weakref.WeakKeyDictionary()
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
        request: dict[str, Any] = {"model": self.config.model, "max_tokens": max_tokens, "temperature": temperature}
        if tools:
            request["tools"] = list(tools)
        if seed is not None:
            request["seed"] = seed
        if response_schema is not None:
            request["response_format"] = response_format(response_schema)
        request |= self.config.extra_body or {}
        if self._cache is None or not (temperature == 0 or seed is not None or self.config.cache == "always"):
            return await self._ask(messages, request)
        key = await _in_thread_if(has_images(messages), self._key, messages, request)
        return await self._ask_once(key, lambda: self._ask_or_remember(key, messages, request))

    async def aclose(self) -> None:
        """Closes the connections of this event loop, and the cache; both open again when they are needed."""
        with self._loops_lock:
            own = self._loops.pop(asyncio.get_running_loop(), None)
        if own is not None:
            await own.http.aclose()
        if self._cache is not None:
            self._cache.close()

    def _key(self, messages: Sequence[Message], request: Mapping[str, Any]) -> bytes:
        where = (f"format {FORMAT}", self.config.cache_name or self.config.server, self.config.image_format)
        return fingerprint(messages, self.config.tool_images, request, where)

    async def _ask_once(self, key: bytes, ask: Callable[[], Awaitable[Completion]]) -> Completion:
        """Equal requests on their way at the same time are one."""
        flights = self._own_loop().flights
        flight = flights.get(key)
        is_first = flight is None
        if flight is None:
            flight = flights[key] = _Flight(asyncio.ensure_future(ask()))
            flight.task.add_done_callback(lambda task: flights.pop(key, None))
        flight.waiting += 1
        try:
            completion = await asyncio.shield(flight.task)
        except asyncio.CancelledError:
            if flight.waiting == 1:
                flight.task.cancel()
            raise
        finally:
            flight.waiting -= 1
        if is_first:
            return completion
        self._meter.count(completions=1, cached=1)
        return replace(completion, cached=True, cost=0.0, retries=0)

    async def _ask_or_remember(self, key: bytes, messages: Sequence[Message], request: Mapping[str, Any]) -> Completion:
        assert self._cache is not None
        start = self._clock.now()
        try:
            kept = await asyncio.to_thread(self._cache.get, key)
        except OSError as error:
            kept = None
            self._cache_failed(error)
        completion = None if kept is None else _from_cache(kept, self._clock.now() - start)
        if completion is not None:
            self._meter.count(completions=1, cached=1)
            return completion
        completion = await self._ask(messages, request)
        try:
            await asyncio.to_thread(self._cache.put, key, _to_cache(completion))
        except OSError as error:
            self._cache_failed(error)  # the reply is paid for: it is not thrown away
        return completion

    def _cache_failed(self, error: OSError) -> None:
        if not self.usage.cache_faults:
            logger.warning("the response cache fails, so replies are asked for again: %s", error)
        self._meter.count(cache_faults=1)

    async def _ask(self, messages: Sequence[Message], request: Mapping[str, Any]) -> Completion:
        prompt_tokens = estimate_tokens(messages, request.get("tools", ()))
        written = min(request["max_tokens"], self._expected_tokens)
        expected_cost = self.config.price(prompt_tokens, math.ceil(written))
        self.budget.reserve(expected_cost)
        try:
            # Encoding hundreds of frames takes a while: the other conversations go on meanwhile.
            wire = await _in_thread_if(has_images(messages), self._encode, messages)
            return await self._try_often(dict(request, messages=wire), prompt_tokens, written, has_images(messages))
        except ChatError:
            self._meter.count(failures=1)
            raise
        finally:
            self.budget.release(expected_cost)

    def _encode(self, messages: Sequence[Message]) -> list[dict[str, Any]]:
        return to_wire(messages, image_format=self.config.image_format, tool_images=self.config.tool_images)

    async def _try_often(
        self, request: dict[str, Any], prompt_tokens: int, written: float, is_large: bool
    ) -> Completion:
        tries = 0
        started: float | None = None
        while True:
            sent = self._dialect.spell(request)
            body = await _in_thread_if(is_large, _dump, sent)
            async with self._limits.place(self._member, prompt_tokens + written) as place:
                started = self._clock.now() if started is None else started
                left = self.config.total_timeout - (self._clock.now() - started)
                tries += 1
                self._meter.count(requests=1, retries=int(tries > 1))
                try:
                    reply = await self._try(body, min(self.config.timeout, max(left, 0.001)), place)
                except _TryFailed as error:
                    failed = error
                else:
                    return self._completion(reply, place, sent, tries, self._clock.now() - started, prompt_tokens)
            if failed.status is not None and self._dialect.learn(sent, failed.status, failed.reason):
                tries -= 1  # that was no failure, and it happens once for each habit
                continue
            await self._wait_or_give_up(failed, tries, started)

    async def _wait_or_give_up(self, failed: _TryFailed, tries: int, started: float) -> None:
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

    async def _try(self, body: bytes, timeout: float, place: Place) -> Reply:
        import httpx2

        http = self._own_loop().http
        url = f"{self.config.server}/chat/completions"
        try:
            async with asyncio.timeout(timeout), http.stream("POST", url, content=body) as response:
                data = await _read(response)
        except (TimeoutError, httpx2.TimeoutException):
            raise _TryFailed(f"no reply within {timeout:g} s") from None
        except (httpx2.TransportError, httpx2.StreamError) as error:
            raise _TryFailed(f"no connection: {self._hidden(str(error) or type(error).__name__)}") from None
        if not response.is_success:
            raise self._refusal(response, data, place)
        try:
            reply = read_reply(data)
        except UnreadableReply as error:
            self._pay(*error.usage)
            raise _TryFailed(self._hidden(error.reason), ChatReplyError, again=error.again) from None
        self._limits.served()
        self._meter.well()
        return reply

    def _refusal(self, response: Response, data: bytes, place: Place) -> _TryFailed:
        status = response.status_code
        reason = f"HTTP {status}: {self._hidden(error_text(data))}"
        retry_after = _retry_after(response.headers, data, self._clock)
        if status in (429, 503):
            self._limits.overloaded(place, retry_after)
        # Waiting does not fill an empty account.
        again = status in (408, 409, 429) or status >= 500
        if error_body(data).get("code") == "insufficient_quota":
            again = False
        kind = ChatUnavailableError if status in (408, 409, 429) or status >= 500 else ChatRequestError
        return _TryFailed(reason, kind, again=again, status=status, retry_after=retry_after)

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
                import httpx2

                own = self._loops[loop] = _Loop(
                    httpx2.AsyncClient(
                        headers={
                            "authorization": f"Bearer {self.config.api_key}",
                            "content-type": "application/json",
                            # A packed reply could unpack to any size.
                            "accept-encoding": "identity",
                        },
                        timeout=None,
                        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=self.config.concurrency),
                    )
                )
            return own

    def _hidden(self, text: str) -> str:
        """One line of a text from outside, without the key that some servers repeat."""
        if self.config.api_key != NO_KEY:
            text = text.replace(self.config.api_key, "[api_key]")
        return one_line(text)

    def _told(self, reason: str, tries: int) -> str:
        times = "1 try" if tries == 1 else f"{tries} tries"
        return f"chat server {self.config.server}, model {self.config.model!r}: {reason} ({times})"


async def _in_thread_if(is_large: bool, function: Callable[..., Any], *args: Any) -> Any:
    return await asyncio.to_thread(function, *args) if is_large else function(*args)


def _dump(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body).encode()


async def _read(response: Response) -> bytes:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise _TryFailed("unreadable reply: packed, though that was not asked for", ChatReplyError, again=False)
    data = bytearray()
    async for chunk in response.aiter_raw():
        data += chunk
        if len(data) > MAX_REPLY_BYTES:
            raise _TryFailed(f"unreadable reply: longer than {MAX_REPLY_BYTES} bytes", ChatReplyError, again=False)
    return bytes(data)


def _to_cache(completion: Completion) -> dict[str, Any]:
    kept = asdict(completion)
    return {name: kept[name] for name in _KEPT}


_KEPT = ("message", "stop_reason", "prompt_tokens", "completion_tokens", "structured")


def _from_cache(kept: Mapping[str, Any], seconds: float) -> Completion | None:
    """What was kept; None where it is not what this version writes."""
    if any(name not in kept for name in _KEPT) or not isinstance(kept["message"], dict):
        return None
    return Completion(**{name: kept[name] for name in _KEPT}, cached=True, seconds=seconds)


def _retry_after(headers: Mapping[str, str], data: bytes, clock: Clock) -> float | None:
    """Seconds that a server asks to wait: OpenAI in milliseconds, most in seconds or as a date, Gemini in the body."""
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        return milliseconds / 1000
    if header := headers.get("retry-after"):
        if (seconds := _number(header)) is not None:
            return seconds
        try:
            return max(parsedate_to_datetime(header).timestamp() - clock.wall(), 0.0)
        except (ValueError, OverflowError):
            return None
    for detail in error_body(data).get("details") or ():
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None
        if isinstance(delay, str) and delay.endswith("s"):
            return _number(delay[:-1])
    return None


def _number(text: str | None) -> float | None:
    try:
        seconds = float(text or "")
    except ValueError:
        return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None
