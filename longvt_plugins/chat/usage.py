"""What a client has used, what it may still spend, and whether its server is well.

::

    before = client.usage
    ...
    (client.usage - before).cost                 # US dollars of this step
    if client.health.down_seconds > 300: ...     # nothing but failures for five minutes

Tokens and dollars are those of replies; what a server bills for a request whose reply never arrived is not known
here. Where a server does not report tokens, they count as 0 and the cost is that of an estimate.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from longvt_plugins.chat.limits import Clock
from longvt_plugins.errors import BudgetExceededError, ConfigError


@dataclass(frozen=True)
class ChatUsage:
    """Running totals; the difference of two is what lies between them.

    Attributes:
        completions: Turns that were had.
        cached: Those of them for which nothing was sent.
        failures: Turns that were not had, after all tries.
        requests: What was sent, every try.
        retries: Tries after the first.
        rate_limited: Replies that said "too much" (429).
        prompt_tokens: Read by the server.
        completion_tokens: Written by it.
        seconds: Of the turns that were sent, added up; they overlap.
        cost: US dollars.
        cache_faults: Times that the cache could not be read or written; nothing is lost but money.
    """

    completions: int = 0
    cached: int = 0
    failures: int = 0
    requests: int = 0
    retries: int = 0
    rate_limited: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    cost: float = 0.0
    cache_faults: int = 0

    def __sub__(self, earlier: ChatUsage) -> ChatUsage:
        return ChatUsage(
            **{field.name: getattr(self, field.name) - getattr(earlier, field.name) for field in fields(self)}
        )

    def __add__(self, other: ChatUsage) -> ChatUsage:
        return ChatUsage(
            **{field.name: getattr(self, field.name) + getattr(other, field.name) for field in fields(self)}
        )


@dataclass(frozen=True)
class ChatHealth:
    """How a server has been doing, as one client saw it.

    A refusal of one request (400, 413, 422) says nothing about the server; a key or a model that it does not know
    (401, 403, 404) does.

    Attributes:
        consecutive_failures: Turns that were not had since the last that was.
        down_since: Moment of the first failed try since the last reply, in seconds since 1970; None when well.
        down_seconds: How long that is ago; 0.0 when well.
        last_error: The latest failure in one line, empty if there was none.
    """

    consecutive_failures: int = 0
    down_since: float | None = None
    down_seconds: float = 0.0
    last_error: str = ""


class Meter:
    """Counts for one client, from any thread.

    Args:
        clock: Time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._totals: dict[str, Any] = asdict(ChatUsage())
        self._health = ChatHealth()
        self._down_from: float | None = None

    @property
    def usage(self) -> ChatUsage:
        """So far."""
        with self._lock:
            return ChatUsage(**self._totals)

    @property
    def health(self) -> ChatHealth:
        """Now."""
        with self._lock:
            if self._down_from is None:
                return self._health
            return replace(self._health, down_seconds=self._clock.now() - self._down_from)

    def count(self, **more: Any) -> None:
        """Adds to the totals.

        Args:
            more: Names of :class:`ChatUsage` and what to add.
        """
        with self._lock:
            for name, number in more.items():
                self._totals[name] += number

    def well(self) -> None:
        """The server gave a turn."""
        with self._lock:
            self._down_from = None
            self._health = ChatHealth(last_error=self._health.last_error)

    def failed_try(self, reason: str) -> None:
        """A try failed for a reason that is the server's."""
        with self._lock:
            if self._down_from is None:
                self._down_from = self._clock.now()
                self._health = replace(self._health, down_since=self._clock.wall())
            self._health = replace(self._health, last_error=reason)

    def failed_turn(self) -> None:
        """No turn was had after all tries."""
        with self._lock:
            self._health = replace(self._health, consecutive_failures=self._health.consecutive_failures + 1)


class CostBudget:
    """Money that several clients may share.

    Args:
        max_cost: US dollars; None for no limit.
        spent: Already, by an earlier run that this one continues.

    Raises:
        ConfigError: A negative amount.
    """

    def __init__(self, max_cost: float | None, *, spent: float = 0.0) -> None:
        if (max_cost is not None and not max_cost > 0) or not spent >= 0:
            raise ConfigError(f"a budget needs dollars above 0 and nothing negative spent, not {max_cost}, {spent}")
        self.max_cost = max_cost
        self._spent = spent
        self._expected = 0.0
        self._lock = threading.Lock()

    @property
    def spent(self) -> float:
        """US dollars so far, without requests on their way."""
        with self._lock:
            return self._spent

    @property
    def committed(self) -> float:
        """US dollars so far, with what requests on their way are expected to cost."""
        with self._lock:
            return self._spent + self._expected

    @contextmanager
    def reserve(self, dollars: float) -> Iterator[None]:
        """Sets money aside while a request is in flight.

        Args:
            dollars: What it is expected to cost.

        Raises:
            BudgetExceededError: It would cost more than is left.
        """
        with self._lock:
            if self.max_cost is not None and self._spent + self._expected + dollars > self.max_cost:
                raise BudgetExceededError(
                    f"the budget of ${self.max_cost:g} does not allow another request: ${self._spent:.4f} is spent, "
                    f"${self._expected:.4f} expected for requests under way, ${dollars:.4f} for this one"
                )
            self._expected += dollars
        try:
            yield
        finally:
            with self._lock:
                self._expected -= dollars

    def pay(self, dollars: float) -> None:
        """Counts what was really spent."""
        with self._lock:
            self._spent += dollars
