"""Where a record comes from, and digests that are the same on every machine and in every process.

>>> digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})
True
>>> content_digest(caption) == content_digest(replace(caption, path="/moved/01.mp4", provenance=None))
True

Python's own ``hash`` is salted anew in every process: nothing here uses it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

DIGEST_BYTES = 16
"""128 bits: among a billion records two with one digest are a matter of 1 in 10^20."""

NOT_CONTENT = ("path", "subtitles_path", "provenance")
"""What a record may change without being another: where its files lie today, and how it was made."""


@dataclass(frozen=True)
class Provenance:
    """How a record was made.

    Attributes:
        step: Name of the step in its pipeline.
        version: Of the step.
        fingerprint: Of everything that decides what the step makes: configuration, version, prompts, model, seed.
        model: Who was asked; None for a step that asks nobody.
        prompts: Name of each prompt to the digest of its text.
        seed: Sent with the requests for this record.
        cost: US dollars that its replies were worth, whether they were paid in this run or kept from an earlier one;
            where several records were made together, an equal share.
        seconds: That the step spent on it, waits for the server included; a share likewise.
        requests: Replies that it took; a share likewise.
        prompt_tokens: Read by the model; a share likewise.
        completion_tokens: Written by it; a share likewise.
        made: When, in ISO 8601, UTC.
        parents: Ids of the records that it was made from.
    """

    step: str
    version: int
    fingerprint: str = ""
    model: str | None = None
    prompts: Mapping[str, str] = field(default_factory=dict)
    seed: int | None = None
    cost: float = 0.0
    seconds: float = 0.0
    requests: float = 0.0
    prompt_tokens: float = 0.0
    completion_tokens: float = 0.0
    made: str = ""
    parents: tuple[str, ...] = ()


def digest(value: object) -> str:
    """32 hexadecimal digits that tell JSON values apart, whatever the order of their keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).hexdigest()


def content_digest(record: object) -> str:
    """The digest of a record, or of its JSON, without what is not its content (:data:`NOT_CONTENT`)."""
    from pydantic_core import to_jsonable_python

    value = to_jsonable_python(record)
    if isinstance(value, dict):
        value = {name: part for name, part in value.items() if name not in NOT_CONTENT}
    return digest(value)


def stable_number(*parts: object, below: int) -> int:
    """A number from 0 that is drawn from the text of its arguments, the same everywhere and always.

    Args:
        parts: What it depends on.
        below: One more than the largest.
    """
    return int(digest([str(part) for part in parts]), 16) % below
