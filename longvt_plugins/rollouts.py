"""Rollouts on disk: who was asked what, what the model did, and how it was scored. Evaluation traces are rollouts too.

::

    rollout = Rollout.from_messages(row, messages, run="demo", step=12, stop_reason="answered",
                                    rewards={"answer_reward": 1.0, "time_iou_reward": None})
    write_rollouts([rollout], shard_path("runs/demo", step=12))     # runs/demo/rollouts-00000012.parquet
    read_rollouts("runs/demo")                                      # of all steps

Where rollouts are written one by one, as evaluations do, a shard is ``rollouts-*.jsonl``: a line each
(:func:`rollout_line`), which may say more than is read; of one id the last line counts, and a last line that was cut
short does not.

Images are not stored: a block says instead which frame of which video it was. What the model answered and
looked at is read from the messages, by :mod:`longvt_plugins.transcript`. It selects none of them: see
:mod:`longvt_plugins.selection`.
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
import math
import os
import platform
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from longvt_plugins import temporal
from longvt_plugins.errors import ConfigError
from longvt_plugins.rows import Row
from longvt_plugins.transcript import parse_transcript
from longvt_plugins.types import Message, TimeSpan

if TYPE_CHECKING:
    import pyarrow

StopReason = Literal["answered", "no_answer", "max_turns", "length", "error"]

NAMED_VERSIONS = ("longvt-plugins", "transformers", "trl", "torch", "vllm", "lmms-eval")
"""Distributions that change what a rollout looks like."""

_JSON_COLUMNS = ("row", "messages", "rewards", "versions")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that had a part, as far as they are installed."""
    return dict(_versions())


@dataclass(frozen=True)
class Rollout:
    """One answered question.

    Attributes:
        id: Unique among the rollouts of a run.
        run: Name of the training run or evaluation.
        step: Training step, 0 in an evaluation.
        row_id: The row's ``id``.
        group: Names the rollouts that were compared with each other, one question asked several times.
        row: The row itself.
        messages: The whole conversation; in memory images may be PIL images, read from disk they are references.
        windows: ``[start, end]`` in seconds of every executed ``crop_video`` call, in order.
        reference: The row's ``video_segment``.
        answer: The last one, None without one.
        rewards: By name; None where a reward did not apply, also where not-a-number was given, as TRL has it.
        tokens: Tokens that the model generated.
        frames: Frames that the model was shown, the overview's among them.
        seconds: How long the rollout took.
        stop_reason: Why it ended.
        model: Who answered.
        versions: What it ran on.
        error: Why it could not be finished, where ``stop_reason`` is ``"error"``; it is then not to be scored.
    """

    id: str
    run: str
    step: int
    row_id: str
    group: str
    row: Row
    messages: list[Message]
    windows: list[list[float]]
    reference: list[float] | None
    answer: str | None
    rewards: dict[str, float | None]
    tokens: int
    frames: int
    seconds: float
    stop_reason: StopReason
    model: str
    versions: dict[str, str] = field(default_factory=versions)
    error: str | None = None

    def __post_init__(self) -> None:
        scores = {name: None if score is None or math.isnan(score) else score for name, score in self.rewards.items()}
        object.__setattr__(self, "rewards", scores)

    @classmethod
    def from_messages(
        cls,
        row: Row,
        messages: Sequence[Message],
        *,
        run: str,
        stop_reason: StopReason,
        step: int = 0,
        index: int = 0,
        rewards: Mapping[str, float | None] | None = None,
        tokens: int = 0,
        seconds: float = 0.0,
        model: str = "",
    ) -> Rollout:
        """Makes a rollout from its conversation; answer, windows and frames are read from it.

        Args:
            row: The question.
            messages: The conversation; its images become references.
            run: Name of the training run or evaluation.
            stop_reason: Why it ended.
            step: Training step.
            index: Tells the rollouts of one question at one step apart.
            rewards: By name.
            tokens: Tokens that the model generated.
            seconds: How long it took.
            model: Who answered.
        """
        transcript = parse_transcript(messages)
        group = f"{run}/{step}/{row['id']}"
        return cls(
            id=f"{group}/{index}",
            run=run,
            step=step,
            row_id=row["id"],
            group=group,
            row=row,
            messages=to_references(messages),
            windows=[[window.start, window.end] for window in transcript.windows],
            reference=row["video_segment"],
            answer=transcript.answer,
            rewards=dict(rewards or {}),
            tokens=tokens,
            frames=_count_images(messages),
            seconds=seconds,
            stop_reason=stop_reason,
            model=model,
        )

    @property
    def last_iou(self) -> float | None:
        """IoU of the last window with the reference, 0 without a window; None without a reference."""
        if self.reference is None:
            return None
        return temporal.iou(TimeSpan(*self.windows[-1]), TimeSpan(*self.reference)) if self.windows else 0.0


def to_references(messages: Sequence[Message]) -> list[Message]:
    """The messages as they are stored: images become ``{video, time, width, height}``; nothing else is changed.

    Video and time are null for an image that no tool said them of. Arguments of a tool call that JSON cannot
    write, such as NaN, become text.

    Raises:
        TypeError: A block's image is neither a PIL image nor a reference.
    """
    return [_stored_message(message) for message in messages]


def shard_path(folder: str | Path, step: int, *, rank: int = 0) -> Path:
    """The file in a run's folder for the rollouts of one step; each process of a distributed run has its own."""
    return Path(folder) / f"rollouts-{step:08d}{f'-{rank}' if rank else ''}.parquet"


def write_rollouts(rollouts: Iterable[Rollout], path: str | Path) -> None:
    """Writes a parquet file, whole or not at all: a file of this name is replaced only once the new one is complete.

    Args:
        rollouts: May be none.
        path: A ``.parquet`` file; :func:`shard_path` names one in a run's folder.

    Raises:
        ConfigError: Another format.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(path)
    if path.suffix != ".parquet":
        raise ConfigError(f"rollouts are written as .parquet, not {path.name}")
    table = pa.Table.from_pylist([_record(rollout) for rollout in rollouts], schema=_schema())
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, since moving between disks is not atomic; the dot keeps read_rollouts from finding it.
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        pq.write_table(table, unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def rollout_line(rollout: Rollout, **more: Any) -> str:
    """A rollout as one line of JSON, without the line break.

    Args:
        rollout: Images become references.
        more: What is written beside its columns; JSON.
    """
    record = {column.name: getattr(rollout, column.name) for column in fields(Rollout)}
    # ASCII: half of a surrogate pair, which a model may write, stays escaped.
    return json.dumps({**record, "messages": to_references(rollout.messages), **more})


def read_rollouts(path: str | Path) -> list[Rollout]:
    """Reads a file, or every shard of a folder in order of steps.

    Raises:
        ConfigError: Nothing there, or not rollouts.
    """
    path = Path(path)
    if path.is_dir():
        shards = sorted([*path.glob("rollouts-*.parquet"), *path.glob("rollouts-*.jsonl")])
        if not shards:
            raise ConfigError(f"no rollouts-*.parquet in {path}, and no rollouts-*.jsonl")
        return [rollout for shard in shards for rollout in read_rollouts(shard)]
    if not path.is_file():
        raise ConfigError(f"no rollouts at {path}")
    if path.suffix == ".jsonl":
        return _read_lines(path)
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise ConfigError(f"{path} is not a parquet file: {error}") from error
    if missing := [name for name in _schema().names if name not in table.column_names]:
        raise ConfigError(f"{path} does not hold rollouts: it has no column {', '.join(missing)}")
    return [_rollout(record) for record in table.select(_schema().names).to_pylist()]


def _read_lines(path: Path) -> list[Rollout]:
    names = [column.name for column in fields(Rollout)]
    found: dict[str, Rollout] = {}
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            if number == len(lines) and not line.endswith("\n"):
                continue  # its writer was stopped; what it was about is asked again
            raise ConfigError(f"{path}, line {number} is not JSON: {error}") from None
        missing = [name for name in names if name not in record] if isinstance(record, dict) else names
        if missing:
            raise ConfigError(f"{path}, line {number} is no rollout: it has no {', '.join(missing)}")
        rollout = Rollout(**{name: record[name] for name in names})
        found[rollout.id] = rollout
    return list(found.values())


@functools.cache
def _versions() -> tuple[tuple[str, str], ...]:
    found = [("python", platform.python_version())]
    for name in NAMED_VERSIONS:
        try:
            found.append((name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            continue
    return tuple(found)


def _stored_message(message: Message) -> Message:
    stored: dict[str, Any] = dict(message)
    if isinstance(content := stored.get("content"), list):
        stored["content"] = [_stored_block(block) for block in content]
    if stored.get("tool_calls"):
        stored["tool_calls"] = [_stored_call(call) for call in stored["tool_calls"]]
    return cast(Message, stored)


def _stored_block(block: Mapping[str, Any]) -> dict[str, Any]:
    image = block.get("image")
    if block.get("type") != "image" or isinstance(image, Mapping):
        return dict(block)
    try:
        width, height = image.size  # type: ignore[union-attr]
    except (AttributeError, TypeError):
        raise TypeError(f"an image block holds a PIL image or a reference, not {type(image).__name__}") from None
    reference = {"video": block.get("video"), "time": block.get("time"), "width": width, "height": height}
    if "region" in block:
        reference["region"] = block["region"]
    return {**block, "image": reference}


def _stored_call(call: Any) -> Any:
    try:
        json.dumps(call, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        # A host may read a model's JSON less strictly than JSON is defined.
        return {"type": "function", "function": {"name": "", "arguments": reprlib.repr(call)}}
    return call


def _count_images(messages: Sequence[Message]) -> int:
    contents = (content for message in messages if isinstance(content := message.get("content"), list))
    return sum(block.get("type") == "image" for content in contents for block in content)


def _schema() -> pyarrow.Schema:
    import pyarrow as pa

    text, span = pa.string(), pa.list_(pa.float64())
    types = {
        "step": pa.int64(),
        "windows": pa.list_(span),
        "reference": span,
        "tokens": pa.int64(),
        "frames": pa.int64(),
        "seconds": pa.float64(),
    }
    return pa.schema([(column.name, types.get(column.name, text)) for column in fields(Rollout)])


def _record(rollout: Rollout) -> dict[str, Any]:
    record = {column.name: getattr(rollout, column.name) for column in fields(Rollout)}
    record["messages"] = to_references(rollout.messages)
    for name in _JSON_COLUMNS:
        record[name] = json.dumps(record[name])
    for name, value in record.items():
        if isinstance(value, str):
            # Half of a surrogate pair, which a model may write, has no bytes in UTF-8; JSON has escaped its own.
            record[name] = value.encode("utf-8", "replace").decode()
    return record


def _rollout(record: Mapping[str, Any]) -> Rollout:
    return Rollout(**{**record, **{name: json.loads(record[name]) for name in _JSON_COLUMNS}})
