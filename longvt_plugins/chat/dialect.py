"""What a server's dialect lacks, learnt from its refusals.

::

    dialect = Dialect("judge at localhost")
    body = dialect.spell(request)                       # the request as this server wants it
    if dialect.learn(body, 400, "... 'max_tokens' is not supported ... Use 'max_completion_tokens' ..."):
        body = dialect.spell(request)                   # ask again, once

Six things are learnt, each once for a client: to leave out ``response_format``, ``seed``, ``temperature``, ``stream``
or ``stream_options``, and to say ``max_completion_tokens`` for ``max_tokens``. Each is told once in the log. A
``response_format`` is left out for the schema that was refused; for every schema once a second one is, if the server
never took any. A refusal of anything else is the caller's to see. ``docs/servers.md`` says which servers refuse what.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from longvt_plugins.chat.wire import one_line

logger = logging.getLogger(__name__)

MAX_REFUSED_SCHEMAS = 64
"""With so many refused, a server is asked for none any more, even if it takes some."""

_SCHEMAS_OF_A_SERVER_WITHOUT = 2
_REFUSALS = (400, 404, 415, 422, 500, 501)
"""500: so do servers that share SGLang's scheduler answer when grammars are switched off."""


@dataclass(frozen=True)
class _Habit:
    """One thing that some servers refuse.

    Attributes:
        field: Of the request.
        refusal: How the refusals read.
        change: What is sent instead.
        told: For the log.
        level: Of the log; a warning where what comes may be other than what was asked for.
    """

    field: str
    refusal: re.Pattern[str]
    change: Callable[[dict[str, Any]], None]
    told: str
    level: int = logging.WARNING


_UNKNOWN = (
    r"(unsupported|not\s+support|unknown|unrecogni[sz]ed|unexpected"
    r"|not\s+permitted|cannot\s+find|extra\s+(input|field))"
)


def _named(field: str) -> str:
    return rf"(\b{field}\b[^.]{{0,120}}{_UNKNOWN}|{_UNKNOWN}[^.]{{0,120}}\b{field}\b)"


def _rename_max_tokens(body: dict[str, Any]) -> None:
    body["max_completion_tokens"] = body.pop("max_tokens")


def _drop_stream(body: dict[str, Any]) -> None:
    del body["stream"]
    body.pop("stream_options", None)


_HABITS = (
    _Habit(
        "response_format",
        re.compile(
            r"response_format|response_schema|json_schema|structured.?output|guided|grammar|additional_?properties",
            re.I,
        ),
        lambda body: body.pop("response_format"),
        "it is asked without, and its text is parsed",
    ),
    _Habit(
        "max_tokens",
        re.compile(r"max_completion_tokens", re.I),
        _rename_max_tokens,
        "it gets max_completion_tokens instead of max_tokens",
    ),
    _Habit(
        "temperature",
        re.compile(_named("temperature") + r"|temperature.{0,80}only the default", re.I | re.S),
        lambda body: body.pop("temperature"),
        "it samples at a temperature of its own",
    ),
    _Habit(
        "seed",
        re.compile(_named("seed"), re.I),
        lambda body: body.pop("seed"),
        "it is asked without a seed",
    ),
    _Habit(
        "stream_options",
        re.compile(_named("stream_options"), re.I),
        lambda body: body.pop("stream_options"),
        "its streams do not say how many tokens they took",
        logging.INFO,
    ),
    _Habit(
        "stream",
        re.compile(f"{_named('stream')}|{_named('streaming')}", re.I),
        _drop_stream,
        "its turns arrive in one piece",
        logging.INFO,
    ),
)


class Dialect:
    """What one server was found to lack.

    Args:
        server: For the log.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self._learnt: dict[str, _Habit] = {}
        self._refused_schemas: set[str] = set()
        self._takes_schemas = False
        self._lock = threading.Lock()

    def spell(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """A request as the server wants it."""
        body = dict(request)
        for name, habit in tuple(self._learnt.items()):
            if name in body:
                habit.change(body)
        if self._refused_schemas and "response_format" in body and _schema(body) in self._refused_schemas:
            del body["response_format"]
        return body

    def accepted(self, sent: Mapping[str, Any]) -> None:
        """Learns from a reply.

        Args:
            sent: The request that it answers.
        """
        if "response_format" in sent:
            self._takes_schemas = True

    def learn(self, sent: Mapping[str, Any], status: int, reason: str) -> bool:
        """Reads a refusal.

        Args:
            sent: The request that was refused, as it was spelt.
            status: Of the HTTP reply.
            reason: What the server said.

        Returns:
            Whether the request should be spelt anew and sent again.
        """
        if status not in _REFUSALS:
            return False
        for habit in _HABITS:
            if habit.field in sent and habit.refusal.search(reason):
                if self._note(habit, sent):
                    told = (self._server, habit.field, habit.told, one_line(reason))
                    logger.log(habit.level, "%s refuses %s, so %s: %s", *told)
                return True
        return False

    def _note(self, habit: _Habit, sent: Mapping[str, Any]) -> bool:
        """Keeps what was learnt, and says whether it is news."""
        with self._lock:
            if habit.field in self._learnt:
                return False
            if habit.field == "response_format":
                # A server that takes others may still be unable to follow this one.
                schema = _schema(sent)
                is_news = schema not in self._refused_schemas
                self._refused_schemas.add(schema)
                most = MAX_REFUSED_SCHEMAS if self._takes_schemas else _SCHEMAS_OF_A_SERVER_WITHOUT
                if len(self._refused_schemas) < most:
                    return is_news
            self._learnt[habit.field] = habit
            return True


def _schema(body: Mapping[str, Any]) -> str:
    return json.dumps(body["response_format"])


def response_format(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON Schema as OpenAI's API takes it.

    Args:
        schema: For an object. ``strict`` is asked for where the schema meets OpenAI's conditions for it: every
            object lists all its properties as required and allows no others.
    """
    return {
        "type": "json_schema",
        "json_schema": {"name": "reply", "schema": dict(schema), "strict": _is_strict(schema)},
    }


def _is_strict(schema: Any) -> bool:
    if isinstance(schema, list):
        return all(_is_strict(part) for part in schema)
    if not isinstance(schema, Mapping):
        return True
    if schema.get("type") == "object" or "properties" in schema:
        properties = schema.get("properties", {})
        if schema.get("additionalProperties") is not False or set(schema.get("required", ())) != set(properties):
            return False
    return all(_is_strict(part) for part in schema.values())
