"""What our models make of a task of lmms-eval: its form, the row that is scored, and what the model is shown of it.

::

    kind = task_kind("lvbench_tool", request.metadata)
    row, shown = rows_of(request, doc, kind)        # shown["question"] is the whole prompt, options and all

Tasks are ours, and say so in their metadata, or those that lmms-eval has of VideoSIAH-Eval (``longvt`` and its
family), which it scores itself. Other tasks are refused: ours ask about the same documents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eval_ext.task_index import OURS, SCORER_VARIABLE
from eval_ext.tasks.benchmark_task import VIDEO_NAME
from eval_ext.tasks.catalogue import BUILT_IN_LONGVT, entries
from eval_ext.tasks.questions_task import BLIND_KEY, PROMPT_KEY
from longvt_plugins.conversation import Form
from longvt_plugins.errors import ConfigError
from longvt_plugins.rollouts import Rollout
from longvt_plugins.rows import Row, parse_row
from longvt_plugins.types import text_of


@dataclass(frozen=True)
class TaskKind:
    """What the model has to know of a task.

    Attributes:
        form: Whether it calls tools, only thinks, or answers at once.
        oracle: The right window is looked at before the first turn.
        prompted: The text of the task's messages is the whole prompt.
        blind: No video is shown.
        built_in: lmms-eval's own, which scores the model's text.
    """

    form: Form
    oracle: bool = False
    prompted: bool = False
    blind: bool = False
    built_in: bool = False


def task_kind(task: str, metadata: Mapping[str, Any]) -> TaskKind:
    """What a task is.

    Args:
        task: Its name.
        metadata: Of one of its requests.

    Raises:
        ConfigError: It is neither ours nor of VideoSIAH-Eval.
    """
    form = metadata.get("longvt_form")
    if form is not None:
        flags = [bool(metadata.get(key)) for key in ("longvt_oracle", PROMPT_KEY, BLIND_KEY)]
        return TaskKind(form, *flags)
    if task in BUILT_IN_LONGVT:
        entry = entries()[BUILT_IN_LONGVT[task]]
        assert entry.form is not None, "a task has one form"
        return TaskKind(entry.form, prompted=True, blind=entry.control == "no_visual", built_in=True)
    near = [name for name in entries() if name.startswith(task)][:4]
    hint = f"; of the same documents there are {', '.join(near)}" if near else ""
    raise ConfigError(
        f"task {task!r} is not one of longvt-plugins (its metadata has no longvt_form){hint}; "
        "longvt eval list names those that the models longvt and longvt_hf answer"
    )


def scorer_line(task: str) -> str:
    """Says who scores one of lmms-eval's own tasks, and how to have it scored by us."""
    return (
        f"{task}: scored by lmms-eval's own task, not by ours: it takes the format away before it scores it, and "
        "counts questions that failed as wrong; "
        f"{SCORER_VARIABLE}={OURS} scores it as {BUILT_IN_LONGVT[task]}"
    )


def rows_of(request: Any, doc: Mapping[str, Any], kind: TaskKind) -> tuple[Row, Row]:
    """The row that is scored, and what the model is shown of it.

    Args:
        request: From lmms-eval.
        doc: Its document.
        kind: Of its task.

    Raises:
        ConfigError: The document is no row.
    """
    where = f"{request.task_name}, document {request.doc_id}"
    prompt, videos = _message(request.arguments[1](doc)) if kind.prompted else ("", {})
    if kind.built_in:
        # The control without pictures has no video in its messages, and yet is a question about one.
        files = videos or {VIDEO_NAME: doc["video_path"]}
        named = {"id": str(request.doc_id), "videos": files, "question": doc["question"], "answer": doc["answer"]}
        row = parse_row({**named, "source": request.task_name}, where=where)
    else:
        row = parse_row(doc, where=where)
    shown = row.copy()
    if kind.prompted:
        shown |= {"question": prompt, "options": None}
    if kind.blind:
        shown["videos"] = {}
    return row, shown


def last_words(rollout: Rollout) -> str:
    """What the model wrote last, for a scorer that reads text; empty if it failed.

    Earlier turns are left out: lmms-eval's scorer takes the first answer that it finds.
    """
    if rollout.stop_reason == "error" or not rollout.messages or rollout.messages[-1]["role"] != "assistant":
        return ""
    return text_of(rollout.messages[-1])


def _message(messages: list[dict[str, Any]]) -> tuple[str, dict[str, str]]:
    """The text and the videos of the user's message."""
    blocks = [block for message in messages if message["role"] == "user" for block in message["content"]]
    text = "\n".join(block["text"] for block in blocks if block["type"] == "text")
    files = [block["url"] for block in blocks if block["type"] == "video"]
    return text, {f"video_{number}.mp4": file for number, file in enumerate(files, start=1)}
