"""How a chat server is asked: one dataclass for recipes, ``--model_args`` and pipeline files.

::

    chat:
      base_url: http://localhost:8000/v1
      model: judge
      requests_per_minute: 600
      cache_dir: runs/cache
      prices: {input: 0.15, output: 0.60}        # US dollars per million tokens
      max_cost: 20

>>> ChatConfig(base_url="http://localhost:8000/v1", model="judge", api_key="secret")
ChatConfig(base_url='http://localhost:8000/v1', model='judge', timeout=600.0, ...)

The key shows in no ``repr`` and in no :meth:`ChatConfig.record`. No price is built in, since prices change: a
price is what the user says. Nothing is read from the environment.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

from longvt_plugins.errors import ConfigError

ImageFormat = Literal["jpeg", "png"]
ToolImages = Literal["tool", "user"]
CachePolicy = Literal["deterministic", "always"]

NO_KEY = "EMPTY"
"""What local servers take as a key."""

_PRICES = ("input", "output")
_OWN_FIELDS = ("model", "messages", "tools", "max_tokens", "temperature", "seed", "response_format", "stream", "n")
"""What ``extra_body`` may not say: the client says it, or could not read the reply."""


@dataclass(frozen=True, kw_only=True)
class ChatConfig:
    """How a chat server is asked.

    Args:
        base_url: Address of the API, ending in ``/v1`` for most servers. It holds no key.
        model: The name that the server knows it by.
        api_key: Sent as a bearer token; local servers take any.
        timeout: Seconds until one try counts as failed.
        total_timeout: Seconds for all tries of one request and the waits between them, from the first try on.
        max_retries: Tries after the first, on 408, 409, 429, 5xx, broken connections and replies that hold no turn.
        backoff: Seconds before the first of them; doubled each time, with jitter. ``Retry-After`` comes first.
        concurrency: Requests of one client in flight at once. All clients of one server in this process together
            never have more in flight than the largest of them may.
        requests_per_minute: Of all clients of this server in this process, evenly spread. Where clients differ,
            the smallest holds.
        tokens_per_minute: Likewise, read and written tokens together: estimated before a request, corrected by
            what the server reports after it.
        cache_dir: Folder of the response cache, on a local disk; None keeps nothing.
        cache_gb: Size of the cache in gigabytes; what was not used for longest goes first.
        cache: Which replies are kept: ``"deterministic"``, those at temperature 0 or with a seed, or ``"always"``.
        cache_name: Stands for ``base_url`` in the cache, for one model behind addresses that change.
        prices: US dollars per million tokens, ``{"input": 0.15, "output": 0.60}``.
        max_cost: US dollars after which nothing more is sent; wants ``prices``.
        image_format: ``"jpeg"`` (quality 95, 4:4:4) or ``"png"``, which is lossless and larger.
        tool_images: ``"tool"`` leaves images in tool messages; ``"user"`` moves them to a user message
            after these, for servers that refuse images from tools.
        extra_body: Further fields of every request, such as ``{"skip_special_tokens": False}``. No place for
            secrets: it is part of :meth:`record`.

    Raises:
        ConfigError: A value that makes no sense, named.
    """

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid", "coerce_numbers_to_str": True}

    base_url: str
    model: str
    api_key: str = field(default=NO_KEY, repr=False)
    timeout: float = 600.0
    total_timeout: float = 1800.0
    max_retries: int = 5
    backoff: float = 1.0
    concurrency: int = 32
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    cache_dir: str | None = None
    cache_gb: float = 4.0
    cache: CachePolicy = "deterministic"
    cache_name: str | None = None
    prices: Mapping[str, float] | None = None
    max_cost: float | None = None
    image_format: ImageFormat = "jpeg"
    tool_images: ToolImages = "tool"
    extra_body: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        for name in ("prices", "extra_body"):  # a copy, which nobody changes afterwards
            if getattr(self, name) is not None:
                object.__setattr__(self, name, dict(getattr(self, name)))
        _check_address(self.base_url)
        if not self.model:
            raise ConfigError("model must be the name that the server knows the model by, not empty")
        if not (self.api_key.isascii() and self.api_key.isprintable() and self.api_key.strip()):
            raise ConfigError(f"api_key must be printable ASCII and not empty; without a key, leave it at {NO_KEY!r}")
        for name, known in (
            ("image_format", ("jpeg", "png")),
            ("tool_images", ("tool", "user")),
            ("cache", ("deterministic", "always")),
        ):
            if getattr(self, name) not in known:
                raise ConfigError(f"{name} must be {' or '.join(map(repr, known))}, not {getattr(self, name)!r}")
        for name in ("timeout", "total_timeout", "cache_gb", "requests_per_minute", "tokens_per_minute"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ConfigError(f"{name} must be a number above 0, not {value!r}")
        if self.concurrency < 1 or self.max_retries < 0 or not (math.isfinite(self.backoff) and self.backoff >= 0):
            raise ConfigError(
                "concurrency must be at least 1, max_retries and backoff not negative, not "
                f"{self.concurrency}, {self.max_retries}, {self.backoff}"
            )
        self._check_money()
        if own := sorted(set(self.extra_body or ()) & set(_OWN_FIELDS)):
            raise ConfigError(f"extra_body cannot set {', '.join(own)}: the client sets it")

    @property
    def server(self) -> str:
        """The address in its one spelling: clients with the same one share their limits."""
        return self.base_url.rstrip("/")

    def price(self, prompt_tokens: int, completion_tokens: int) -> float:
        """US dollars for a request; 0 without prices."""
        if self.prices is None:
            return 0.0
        return (prompt_tokens * self.prices["input"] + completion_tokens * self.prices["output"]) / 1e6

    def record(self) -> dict[str, Any]:
        """The settings as they may be written down beside results: all but the key."""
        settings = asdict(self)
        del settings["api_key"]
        return settings

    @classmethod
    def from_mapping(cls, given: Mapping[str, Any], where: str = "chat") -> ChatConfig:
        """Settings from a recipe, a pipeline file or a command line.

        Args:
            given: The fields; numbers may be text, as command lines have them.
            where: Begins the error.

        Raises:
            ConfigError: Every fault, in one line that never shows a value of ``api_key``.
        """
        from pydantic import TypeAdapter, ValidationError

        try:
            return TypeAdapter(cls).validate_python(dict(given))
        except ValidationError as error:
            faults = "; ".join(_fault(fault) for fault in error.errors(include_input=False, include_url=False))
            raise ConfigError(f"{where}: {faults}") from None
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None

    def _check_money(self) -> None:
        if self.prices is not None:
            if sorted(self.prices) != sorted(_PRICES):
                raise ConfigError(
                    "prices must be US dollars per million tokens as {input: ..., output: ...}, "
                    f"not the names {', '.join(map(repr, self.prices)) or 'of nothing'}"
                )
            for name, dollars in self.prices.items():
                if not (math.isfinite(dollars) and dollars >= 0):
                    raise ConfigError(f"prices: {name} must be a number that is not negative, not {dollars!r}")
        if self.max_cost is not None:
            if not (math.isfinite(self.max_cost) and self.max_cost > 0):
                raise ConfigError(f"max_cost must be US dollars above 0, not {self.max_cost!r}")
            if self.prices is None:
                raise ConfigError("max_cost needs prices: give prices={input: ..., output: ...}")


def _check_address(base_url: str) -> None:
    if not base_url.startswith(("http://", "https://")):
        raise ConfigError(f"base_url must start with http:// or https://, not {base_url[:8]!r}...")
    try:
        parts = urlsplit(base_url)
        hidden = parts.username or parts.password or parts.query or parts.fragment
        host = parts.hostname and (parts.port or True)
    except ValueError:
        host, hidden = None, None
    if not host:
        raise ConfigError("base_url must name a host, such as http://localhost:8000/v1")
    # Addresses stand in logs, errors and caches: the text is not repeated here either.
    if hidden:
        raise ConfigError("base_url must hold no user, password, query or fragment; a key goes into api_key")


def _fault(fault: Any) -> str:
    name = ".".join(str(part) for part in fault["loc"]) or "chat"
    if fault["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        known = [known.name for known in fields(ChatConfig)]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        return f"unknown setting {name} ({hint})"
    if fault["type"] in ("missing", "missing_argument", "missing_keyword_only_argument"):
        return f"{name} is missing"
    return f"{name}: {fault['msg'][0].lower()}{fault['msg'][1:]}"
