"""Is it the record, or is the server down? Told apart by whether others are answered meanwhile.

::

    trouble = Trouble(answered)
    trouble.met(answered)             # its requests failed once more; so many of all were answered by now
    trouble.is_its_own                # others were answered, more than once in a row

    probe = Probe()
    with probe.unit() as unit: ...    # every unit that is worked on
    await probe.ask(model)            # asks the server something small where nobody else asks it anything

A run's last record has no others beside it: then a small question stands for them. It is not asked while more than a
few units are in trouble, since a server that answers small questions may still be unable to answer real ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from longvt_plugins.errors import ChatError

if TYPE_CHECKING:
    from datapipe.toolbox import Model
    from longvt_plugins.types import Message

LONE_TRIES = 2
"""How often in a row the requests of one record may fail while those of others are answered: then it is its own fault.
Once may be the beginning of an outage."""

LONE_UNITS = 3
"""With more units in trouble at once it is not asked whether the fault is theirs."""

_QUESTION: list[Message] = [{"role": "user", "content": "Reply with ok."}]
_ANSWER_TOKENS = 16


@dataclass
class Trouble:
    """How often a record could not be asked about, and whether others could meanwhile.

    Attributes:
        answered: Requests that had been answered when that was last met.
        tries: How often it was met.
        lone: How often in a row others were answered meanwhile.
    """

    answered: int
    tries: int = 0
    lone: int = 0

    @property
    def is_its_own(self) -> bool:
        """Whether the fault is the record's."""
        return self.lone >= LONE_TRIES

    def met(self, answered: int) -> None:
        """Once more; so many requests have been answered by now."""
        self.tries += 1
        self.lone = self.lone + 1 if answered > self.answered else 0
        self.answered = answered


@dataclass
class Probe:
    """Knows how many units are worked on, and asks for them where all of them are in trouble."""

    _working: int = 0
    _troubled: int = 0
    _is_asking: bool = field(default=False)

    @contextmanager
    def unit(self) -> Iterator[None]:
        """While a unit is worked on."""
        self._working += 1
        try:
            yield
        finally:
            self._working -= 1

    @contextmanager
    def trouble(self) -> Iterator[None]:
        """While it is in trouble."""
        self._troubled += 1
        try:
            yield
        finally:
            self._troubled -= 1

    async def ask(self, model: Model) -> None:
        """Asks, if that tells something: an answer counts among those that the model's client has had."""
        if self._is_asking or self._troubled < self._working or self._troubled > LONE_UNITS:
            return
        self._is_asking = True
        try:
            # Warm and without a seed: a reply from the cache would say nothing of the server.
            await model.client.complete(_QUESTION, max_tokens=_ANSWER_TOKENS, temperature=1.0)
        except ChatError:
            return  # it is the server, then
        finally:
            self._is_asking = False
