r"""Asks a model for JSON of a certain type, and asks again, a bounded number of times, where the reply is none.

::

    @dataclass(frozen=True)
    class Score:
        relevance: float
        reason: str

    score = await ask(chat, messages, Score, max_tokens=256)        # a Score, or ChatReplyError after the last try

The type's JSON Schema goes along as ``response_schema``; since servers may ignore it, the text is read as if nobody
had promised anything: a thought before it, a fence around it and words beside it are allowed for, a second object is
not. A reply that does not fit is shown to the model together with its faults. Nothing of it is evaluated, repaired
or guessed.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from datapipe.checking import faults_of, type_adapter
from longvt_plugins.errors import ChatReplyError
from longvt_plugins.types import Message, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from longvt_plugins.chat import Completion

T = TypeVar("T")

REASKS = 3
"""Times that a reply is asked for again: of a server that spoils every third reply, one record in 80 then fails."""

LONGEST_REPLY = 200_000
"""Characters that are read."""

_MOST_OBJECTS = 16
_QUOTED = 4_000
_FAULTS = 1_000


class SchemaChat(Protocol):
    """A chat backend that can be asked for a schema."""

    async def complete(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] = (),
        *,
        max_tokens: int,
        temperature: float = 0.0,
        response_schema: Mapping[str, Any] | None = None,
    ) -> Completion:
        """Writes the next turn, see :class:`~longvt_plugins.chat.ChatClient`."""
        ...


async def ask(
    chat: SchemaChat,
    messages: Sequence[Message],
    reply_type: type[T],
    *,
    max_tokens: int = 1024,
    temperature: float = 0.0,
    reasks: int = REASKS,
) -> T:
    """A reply of a type.

    Args:
        chat: Who is asked.
        messages: The conversation, which ends with the question.
        reply_type: A dataclass or pydantic model.
        max_tokens: Longest reply.
        temperature: 0 takes the likeliest token.
        reasks: How often it is asked again.

    Raises:
        ChatReplyError: No reply fitted; the message tells the last one's faults.
        ChatError: As the backend raises it.
    """
    schema = _schema(cast(Any, reply_type))
    asked = list(messages)
    fault = ""
    for number in range(1, reasks + 2):
        completion = await chat.complete(asked, max_tokens=max_tokens, temperature=temperature, response_schema=schema)
        text = text_of(completion.message)
        try:
            if completion.stop_reason == "length":
                raise ValueError(f"it was cut off at {max_tokens} tokens; write less")
            return read_reply(text, reply_type)
        except ValueError as error:
            fault = str(error)
        asked = [*messages, *_complaint(text, fault, number, reasks + 1)]
    raise ChatReplyError(f"no reply of {reasks + 1} was a {reply_type.__name__}; the last: {fault}")


@functools.lru_cache(maxsize=256)
def _schema(reply_type: Any) -> dict[str, Any]:
    return type_adapter(reply_type).json_schema()


def read_reply(text: str, reply_type: type[T]) -> T:
    """A model's text as a type.

    Args:
        text: All of it, its thought included.
        reply_type: A dataclass or pydantic model.

    Raises:
        ValueError: It is none, in one line that the model may read.
    """
    from pydantic import ValidationError

    if len(text) > LONGEST_REPLY:
        raise ValueError(f"it is longer than {LONGEST_REPLY} characters")
    found = list(_objects(_spoken(text)))
    if not found:
        raise ValueError("it holds no JSON object")
    if any(other != found[0] for other in found):
        raise ValueError("it holds more than one JSON object")
    try:
        # Strictly, in JSON's own sense: whole numbers may stand for others, and lists for tuples.
        return cast(T, type_adapter(reply_type).validate_json(json.dumps(found[0]), strict=True))
    except ValidationError as error:
        raise ValueError(faults_of(error)[:_FAULTS]) from None


def _complaint(text: str, fault: str, number: int, most: int) -> list[Message]:
    """Only the last reply is shown again, so that the conversation does not grow with every try.

    The tries are counted, since an equal request would get the equal reply, from the model or from the cache.
    """
    return [
        {"role": "assistant", "content": text[:_QUOTED] or "(nothing)"},
        {
            "role": "user",
            "content": f"Try {number} of {most} cannot be used: {fault}. Reply with the JSON object alone.",
        },
    ]


def _spoken(text: str) -> str:
    _, end, after = text.rpartition("</think>")
    return after if end else text


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """The outermost JSON objects of a text, which may stand between words.

    What begins like an object and is none raises: inside of half an object stand whole ones, which nobody meant.
    """
    place = text.find("{")
    for _ in range(_MOST_OBJECTS):
        if place < 0:
            return
        try:
            value, end = _DECODER.raw_decode(text, place)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
        except json.JSONDecodeError as error:
            raise ValueError(f"it is not JSON: {error.msg} at character {error.pos}") from None
        yield value
        place = text.find("{", end)


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse)
