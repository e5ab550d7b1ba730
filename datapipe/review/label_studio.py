"""Label Studio: questions as its tasks, and its annotations as decisions.

::

    write_tasks(entries, "tasks.json", url=lambda path: f"/data/local-files/?d={path}")
    decisions = read_annotations("export.json")         # as Label Studio exports: "JSON"

A project with :data:`LABELING` as its labelling interface shows the video, the question and the answer to be edited,
the window's start and end, and a choice. Nothing is uploaded here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from datapipe.review.decisions import Decision
from datapipe.review.entries import Entry
from longvt_plugins.errors import ConfigError

LABELING = """<View>
  <Header value="$video_id"/>
  <Video name="video" value="$video"/>
  <Text name="captions" value="$captions"/>
  <Text name="verdicts" value="$verdicts"/>
  <TextArea name="question" toName="video" rows="2" maxSubmissions="1" editable="true"/>
  <TextArea name="answer" toName="video" rows="1" maxSubmissions="1" editable="true"/>
  <Number name="start" toName="video" min="0" step="0.1"/>
  <Number name="end" toName="video" min="0" step="0.1"/>
  <Choices name="decision" toName="video" choice="single" required="true">
    <Choice value="accept"/>
    <Choice value="reject"/>
  </Choices>
  <TextArea name="note" toName="video" rows="1" maxSubmissions="1"/>
</View>
"""

_WINDOW_FIELDS = ("start", "end")


def write_tasks(entries: Sequence[Entry], path: str | Path, *, url: Callable[[str], str] = str) -> None:
    """Writes tasks, with what the pipeline made of them as predictions.

    Args:
        entries: What is reviewed.
        path: The JSON file to import.
        url: Where Label Studio finds a video, from its file.
    """
    tasks = [_task(entry, url) for entry in entries]
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(tasks, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_annotations(path: str | Path) -> list[Decision]:
    """Decisions from a file that Label Studio exported in its JSON format; of several annotations the last counts.

    Raises:
        ConfigError: It is none, or a task is not one of :func:`write_tasks`, or was not decided.
    """
    path = Path(path)
    try:
        tasks = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path} is not JSON: {error}") from None
    if not isinstance(tasks, list):
        raise ConfigError(f"{path} must be a list of tasks, as Label Studio exports them in its JSON format")
    decisions = []
    for number, task in enumerate(tasks, start=1):
        decision = _decision(task, f"{path}, task {number}")
        if decision is not None:
            decisions.append(decision)
    return decisions


def _task(entry: Entry, url: Callable[[str], str]) -> dict[str, Any]:
    values = {"question": entry.question, "answer": entry.answer, "start": entry.start, "end": entry.end}
    return {
        "data": {
            "video": url(entry.path),
            "id": entry.id,
            "video_id": entry.video,
            "duration": entry.duration,
            **values,
            "captions": "\n".join(f"{start:g}-{end:g} s: {text}" for start, end, text in entry.captions) or "-",
            "verdicts": "\n".join(
                f"{one.get('by')}: {'accepted' if one.get('accepted') else 'rejected'} {one.get('reason', '')}".strip()
                for one in entry.verdicts
            )
            or "-",
        },
        "predictions": [{"model_version": "datapipe", "result": [_result(*pair) for pair in values.items()]}],
    }


def _result(name: str, value: Any) -> dict[str, Any]:
    kind = "number" if name in _WINDOW_FIELDS else "textarea"
    told = {"number": value} if kind == "number" else {"text": [value]}
    return {"from_name": name, "to_name": "video", "type": kind, "value": told}


def _decision(task: Any, where: str) -> Decision | None:
    data = task.get("data") if isinstance(task, dict) else None
    if not (isinstance(data, dict) and isinstance(data.get("id"), str)):
        raise ConfigError(f"{where} has no data.id: it is no task that `datapipe review` wrote")
    annotations = [one for one in task.get("annotations") or () if not one.get("was_cancelled")]
    if not annotations:
        return None
    last = annotations[-1]
    values = _values(last.get("result") or ())
    choice = values.get("decision")
    if choice not in ("accept", "reject"):
        raise ConfigError(f"{where} ({data['id']}): its annotation neither accepts nor rejects")
    changed = {
        name: values[name]
        for name in ("question", "answer", *_WINDOW_FIELDS)
        if values.get(name) not in (None, "", data.get(name))
    }
    is_edit = choice == "accept" and bool(changed)
    return Decision(
        id=data["id"],
        decision="edit" if is_edit else cast(Any, choice),
        note=str(values.get("note") or ""),
        reviewer=_reviewer(last.get("completed_by")),
        seen_answer=data.get("answer"),
        **(changed if is_edit else {}),
    )


def _values(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for result in results:
        name, value = result.get("from_name"), result.get("value")
        if not isinstance(name, str) or not isinstance(value, dict):
            continue
        if value.get("text"):
            text = value["text"]
            found[name] = text[-1] if isinstance(text, list) else text
        elif value.get("choices"):
            found[name] = value["choices"][0]
        elif isinstance(value.get("number"), int | float):
            found[name] = float(value["number"])
    return found


def _reviewer(who: Any) -> str:
    if isinstance(who, dict):
        return str(who.get("email") or who.get("id") or "")
    return "" if who is None else str(who)
