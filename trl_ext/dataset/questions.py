"""Questions for RL, ours or as LongVT published them for verl, as rows.

::

    read_questions("longvt_rl_selfqa_1k6.parquet", MediaFolder("videos/selfqa"))[0]
    {"id": "longvt_rl_selfqa_1k6-7", "videos": {"video_1.mp4": "/data/videos/selfqa/12.mp4"}, "kind": "open",
     "question": "Who wins?", "answer": "the red car", "video_segment": [48.6, 79.1], "source": "selfqa", ...}

Of a verl row the question, the answer and the window are taken; its prompt is not, since the environment asks. It
opens no video.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from longvt_plugins.errors import ConfigError
from longvt_plugins.rows import Row, parse_row, read_rows
from trl_ext.dataset.faults import DataFault
from trl_ext.dataset.files import columns_of, parse_json, read_records
from trl_ext.dataset.media import MediaFolder, MediaNotFoundError
from trl_ext.dataset.published import source_of, videos_line, without_instructions

_VERL = {"prompt", "reward_model"}


def read_questions(path: str | Path, media: MediaFolder | None = None) -> list[Row]:
    """Every question of a file.

    Args:
        path: ``.parquet`` or ``.jsonl``: rows of ours, or verl's.
        media: Where videos are; beside the file by default.

    Raises:
        ConfigError: No such file, other columns, a faulty row, or two rows of one id.
    """
    path = Path(path)
    if source_of(path) is None and not path.is_file():
        return read_rows(path)  # which tells that it is not there
    if media is None and not set(columns_of(path)) >= _VERL:
        return read_rows(path)
    rows: dict[str, Row] = {}
    for row in iterate_questions(path, media):
        if isinstance(row, DataFault):
            raise with_download_line(row, path, media)
        if row["id"] in rows:
            raise ConfigError(f"{path}: two rows have the id {row['id']!r}")
        rows[row["id"]] = row
    return list(rows.values())


def iterate_questions(path: str | Path, media: MediaFolder | None = None) -> Iterator[Row | DataFault]:
    """Every question, or what is wrong with it.

    Raises:
        ConfigError: No such file, or columns that are not those of questions.
    """
    path = Path(path)
    columns = set(columns_of(path))
    verl = columns >= _VERL
    if not verl and not {"question", "videos"} <= columns:
        raise ConfigError(f"{path} holds no questions: its columns are {', '.join(sorted(columns))}")
    media = media if media is not None else MediaFolder(path.parent)
    seen: set[str] = set()
    for number, (where, record) in enumerate(read_records(path), start=1):
        if isinstance(record, DataFault):
            yield record
            continue
        try:
            values = _of_verl(record, path, number, seen, where) if verl else record
            row = _parsed(values, where)
            yield {**row, "videos": {name: _found(media, file, where) for name, file in row["videos"].items()}}
        except DataFault as fault:
            yield fault


def with_download_line(fault: DataFault, path: Path, media: MediaFolder | None) -> DataFault:
    """The fault, which tells where missing media can be had if they were published."""
    line = videos_line(path, media.root if media is not None else path.parent.absolute())
    if line is None or fault.kind not in ("missing video", "missing image"):
        return fault
    return DataFault(fault.kind, fault.where, f"{fault.what}; published in archives: {line}")


def is_questions(path: str | Path) -> bool:
    """Whether a file holds questions, not conversations.

    Raises:
        ConfigError: No such file, or a format that is not read.
    """
    columns = set(columns_of(path))
    return columns >= _VERL or ("messages" not in columns and "question" in columns)


def _of_verl(record: Mapping[str, Any], path: Path, number: int, seen: set[str], where: str) -> dict[str, Any]:
    extra = parse_json(record.get("extra_info"), "extra_info", where) or {}
    reward = parse_json(record.get("reward_model"), "reward_model", where) or {}
    if not isinstance(extra, dict) or not isinstance(reward, dict):
        raise DataFault("schema", where, "extra_info and reward_model must be objects")
    index = extra.get("index")
    name = str(extra.get("id") or f"{path.stem}-{number if index is None else index}")
    if name in seen:
        name = f"{name}-row{number}"
    seen.add(name)
    truth: Any = reward.get("ground_truth", extra.get("answer"))
    interval = isinstance(truth, list | tuple) and len(truth) == 2
    options = extra.get("options") or None
    return {
        "id": name,
        "videos": _videos(record, where),
        "kind": "grounding" if interval else "choice" if options else "open",
        "question": extra.get("question") or _asked(record, where),
        "answer": f"[{truth[0]}, {truth[1]}]" if interval else truth,
        "video_segment": extra.get("video_segment") or (list(truth) if interval else None),
        "options": options,
        "source": source_of(path) or record.get("data_source") or path.stem,
    }


def _videos(record: Mapping[str, Any], where: str) -> dict[str, str]:
    videos = parse_json(record.get("videos"), "videos", where) or []
    if isinstance(videos, str | dict):
        videos = [videos]
    paths: list[Any] = [item.get("video") if isinstance(item, dict) else item for item in videos]
    if not paths or not all(isinstance(path, str) and path for path in paths):
        raise DataFault("schema", where, "videos must name at least one file")
    return {f"video_{number}.mp4": path for number, path in enumerate(paths, start=1)}


def _asked(record: Mapping[str, Any], where: str) -> str:
    """The question inside the prompt, where the row does not tell it by itself."""
    prompt = parse_json(record.get("prompt"), "prompt", where)
    for message in prompt if isinstance(prompt, list) else ():
        if isinstance(message, dict) and message.get("role") == "user" and isinstance(message.get("content"), str):
            return without_instructions(message["content"])
    raise DataFault("schema", where, "no question in extra_info, and none that the prompt's user asks as text")


def _parsed(values: Mapping[str, Any], where: str) -> Row:
    try:
        return parse_row(values, where=where)
    except ConfigError as error:
        raise DataFault("schema", where, str(error).removeprefix(f"{where}: ")) from None


def _found(media: MediaFolder, file: str, where: str) -> str:
    try:
        return media.find(file)
    except MediaNotFoundError as error:
        raise DataFault("missing video", where, str(error)) from None
