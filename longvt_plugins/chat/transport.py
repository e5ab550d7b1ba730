"""One request to a chat server, sent once: its reply's bytes, or why there are none.

::

    server = Connection(config, clock)
    data = await server.post(body, seconds_left=60.0)         # raises TryFailed
    await server.close()

The OpenAI library carries the requests. What it would do besides is done elsewhere: trying again and waiting by
:mod:`~longvt_plugins.chat.client`, reading what came by :mod:`~longvt_plugins.chat.wire`.
"""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies

from longvt_plugins.chat.config import NO_KEY, ChatConfig
from longvt_plugins.chat.limits import Clock
from longvt_plugins.chat.stream import Hear, ReplyStream, listening, tap_reply
from longvt_plugins.chat.wire import UnreadableReply, error_body, error_text, one_line
from longvt_plugins.errors import ChatError, ChatReplyError, ChatRequestError, ChatUnavailableError

if TYPE_CHECKING:
    from ssl import SSLContext

    from httpx2 import AsyncClient, Response
    from openai import AsyncOpenAI

OVERLOADED = (429, 503)
"""Statuses by which a server asks for fewer requests."""

_PASSING = (408, 409, 429)
"""Refusals below 500 that another try may not meet."""

_OWN_FAULTS = (400, 413, 422)
"""Refusals of one request, which say nothing about the server."""

_JSON: Any = {"headers": {"content-type": "application/json"}}


class TryFailed(Exception):
    """One try brought nothing.

    Args:
        reason: One line, without secrets.
        kind: What the caller is told if no other try is made.
        again: Whether another try may help.
        is_servers: Whether it says that the server is not well.
        status: Of the HTTP reply, if there was one.
        retry_after: Seconds that the server asks to wait.
        detail: What the server said, at length.
    """

    def __init__(
        self,
        reason: str,
        kind: type[ChatError] = ChatUnavailableError,
        *,
        again: bool = True,
        is_servers: bool = True,
        status: int | None = None,
        retry_after: float | None = None,
        detail: str = "",
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.kind = kind
        self.again = again
        self.is_servers = is_servers
        self.status = status
        self.retry_after = retry_after
        self.detail = detail


class Connection:
    """What sends requests to one server, within one event loop.

    Args:
        config: Which server, the key, the limits in seconds.
        clock: To read dates by.
    """

    def __init__(self, config: ChatConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._api: AsyncOpenAI | None = None
        # Whole: the library takes an address apart and together again for every request otherwise.
        self._address = f"{config.server}/chat/completions"

    async def close(self) -> None:
        """Closes the connections."""
        if self._api is not None:
            await self._api.close()

    async def post(self, body: bytes, seconds_left: float, hear: Hear | None = None) -> bytes:
        """Sends a request.

        Args:
            body: As it travels.
            seconds_left: Of the time for the turn with all its tries.
            hear: Told the pieces of a reply that is streamed.

        Raises:
            TryFailed: There is no reply, or it is a refusal.
        """
        import httpx2
        from openai import APIConnectionError, APIStatusError

        heard = None if hear is None else ReplyStream(hear)
        try:
            if self._api is None:
                self._api = self._connect()
            async with asyncio.timeout(min(self._config.timeout, max(seconds_left, 0.001))):
                # The body is written before, in a thread; the library would write it in the event loop.
                with listening(heard):
                    response = await self._api.post(self._address, cast_to=httpx2.Response, content=body, options=_JSON)
            return heard.body() if heard is not None and heard.has_begun else response.content
        except TimeoutError:
            whole = self._config.timeout <= seconds_left
            limit = f"{self._config.timeout:g} s" if whole else f"total_timeout ({self._config.total_timeout:g} s)"
            raise TryFailed(f"no reply within {limit}") from None
        except APIStatusError as error:
            raise self._refusal(error.response) from None
        except (APIConnectionError, httpx2.TransportError) as error:
            cause = error.__cause__ or error
            raise TryFailed(f"no connection: {self.without_secrets(str(cause) or type(cause).__name__)}") from None
        except httpx2.InvalidURL as error:
            raise TryFailed(f"no address: {self.without_secrets(str(error))}", ChatRequestError, again=False) from None
        except UnreadableReply as error:
            raise TryFailed(self.without_secrets(error.reason), ChatReplyError, again=error.again) from None

    def without_secrets(self, text: str) -> str:
        """One line of a text from outside, without the key, which some servers repeat."""
        return one_line(self._without_key(text))

    def _without_key(self, text: str) -> str:
        key = self._config.api_key
        return text if key == NO_KEY else text.replace(key, "[api_key]")

    def _refusal(self, response: Response) -> TryFailed:
        status, data = response.status_code, response.content
        said = "it redirects, which is not followed" if response.is_redirect else error_text(data)
        passes = status in _PASSING or status >= 500
        return TryFailed(
            f"HTTP {status}: {self.without_secrets(said)}",
            ChatUnavailableError if passes else ChatRequestError,
            # Waiting does not fill an empty account.
            again=passes and error_body(data).get("code") != "insufficient_quota",
            is_servers=status not in _OWN_FAULTS,
            status=status,
            retry_after=_retry_after(response.headers, data, self._clock),
            detail=self._without_key(said),
        )

    def _connect(self) -> AsyncOpenAI:
        """The library's client, which neither repeats a request nor waits by itself: that is done here."""
        from openai import AsyncOpenAI

        return AsyncOpenAI(
            base_url=self._config.server,
            api_key=self._config.api_key,
            max_retries=0,
            timeout=None,
            # A packed reply could unpack to any size.
            default_headers={"accept-encoding": "identity"},
            http_client=self._http(),
        )

    def _http(self) -> AsyncClient:
        import httpx2

        from longvt_plugins.chat.bounded import bound_reply
        from longvt_plugins.chat.carrier import Carrier, LeanClient

        hooks = [bound_reply, tap_reply]
        if not getproxies():
            return LeanClient(Carrier(self._config.concurrency, _tls()), hooks)
        # The library's own way knows the proxies of the environment.
        kept = httpx2.Limits(max_connections=None, max_keepalive_connections=self._config.concurrency)
        return httpx2.AsyncClient(timeout=None, verify=_tls(), limits=kept, event_hooks={"response": hooks})


def preload() -> None:
    """Imports what carries requests: a second or two, for which the first of them would wait otherwise."""
    import openai  # noqa: F401

    import longvt_plugins.chat.carrier  # noqa: F401

    _tls()


@functools.cache
def _tls() -> SSLContext:
    """Which certificates are trusted: read once, since that takes as long as hundreds of requests."""
    import httpx2

    return httpx2.create_ssl_context()


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
    details = error_body(data).get("details")
    for detail in details if isinstance(details, list) else ():
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
