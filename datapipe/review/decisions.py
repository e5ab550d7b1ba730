"""What reviewers decided, as a file with a JSON object a line.

::

    {"id": "talk-7f88.qapair-3d63", "decision": "reject", "note": "one cannot see the sign"}
    {"id": "talk-7f88.qapair-91aa", "decision": "edit", "seen_answer": "red", "answer": "dark red", "end": 21.5}

The page writes it, importers of annotation tools write it, and the step ``apply_review`` reads it. Of two decisions
about one record the later counts, as a reviewer may think again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from datapipe.checking import check
from longvt_plugins.errors import ConfigError

MOST_BYTES = 256 << 20
"""Of a file; a decision has about 300."""


@dataclass(frozen=True)
class Decision:
    """What a reviewer decided about one record.

    Attributes:
        id: Of the record.
        decision: ``"edit"`` accepts it with the fields below in place of its own.
        question: Instead of the record's.
        answer: Likewise.
        start: Likewise, in seconds.
        end: Likewise.
        note: Why.
        reviewer: Who.
        seen_answer: The answer that the reviewer was shown: a record that says something else by now was not reviewed.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid", "allow_inf_nan": False}

    id: str
    decision: Literal["accept", "reject", "edit"]
    question: str | None = None
    answer: str | None = None
    start: float | None = None
    end: float | None = None
    note: str = ""
    reviewer: str = ""
    seen_answer: str | None = None


def read_decisions(path: str | Path) -> dict[str, Decision]:
    """The decisions of a file by record.

    Raises:
        ConfigError: It cannot be read, or a line is no decision, by its number.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ConfigError(f"decisions {path}: more than {MOST_BYTES >> 20} MiB are not read")
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise ConfigError(f"decisions {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"decisions {path} are not UTF-8 text: {error}") from None
    found: dict[str, Decision] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"decisions {path}, line {number}"
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise ConfigError(f"{where} is not JSON: {error}") from None
        decision: Decision = check(Decision, value, where)
        found[decision.id] = decision
    return found


def write_decisions(decisions: Iterable[Decision], path: str | Path) -> int:
    """Writes a file of decisions.

    Returns:
        How many.
    """
    lines = [json.dumps(_shortened(asdict(decision)), ensure_ascii=False) + "\n" for decision in decisions]
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines), encoding="utf-8")
    return len(lines)


def _shortened(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in (None, "")}
