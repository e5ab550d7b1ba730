"""What is trained on: rows and their videos, or files of conversations and their pictures.

::

    findings, longest = check_rows(recipe, sample=20)
    check_conversations(recipe, loaded, sample=20)

Every file is looked for; of those that are there a sample is opened, spread over the data.
"""

from __future__ import annotations

import glob
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from longvt_plugins.errors import ConfigError, VideoError
from longvt_plugins.finding import Finding, blocker, ok, warning
from longvt_plugins.plugins import create_plugin_manager
from longvt_plugins.types import TimeSpan
from longvt_plugins.video.library import VideoLibrary
from trl_ext.dataset.check import check_file
from trl_ext.dataset.files import local
from trl_ext.dataset.mixture import read_mixture
from trl_ext.dataset.questions import read_questions
from trl_ext.doctor.model import Loaded
from trl_ext.doctor.recipe import Recipe
from trl_ext.reward_choice import choose_rewards
from trl_ext.scoring import function_name

if TYPE_CHECKING:
    from trl_ext.sft import SftArguments

T = TypeVar("T")

_LOCAL = {"parquet", "json", "csv"}
"""Builders of ``datasets`` that read local files."""


def check_rows(recipe: Recipe, sample: int) -> tuple[list[Finding], float | None]:
    """Reads the rows, looks for all videos, opens some and decodes two frames of each.

    Args:
        recipe: Of a training with ``longvt grpo``.
        sample: Videos to open.

    Returns:
        Findings, and the seconds of the longest video that was opened.
    """
    assert recipe.arguments is not None
    arguments, found = recipe.arguments, []
    try:
        rows = read_questions(arguments.rows or "")
    except ConfigError as error:
        return [blocker("rows", str(error), "docs/contracts.md tells what a row is")], None
    if not rows:
        return [blocker("rows", f"{arguments.rows} holds no rows", "make some, or name another file")], None
    if len(rows) < 2:
        found.append(warning("rows", "one row: every step trains on the same question", "more rows"))
    if recipe.training.eval_strategy != "no" and arguments.eval_rows is not None:
        try:
            read_questions(arguments.eval_rows)
        except ConfigError as error:
            found.append(blocker("rows", f"eval_rows: {error}", "docs/contracts.md tells what a row is"))
    windows = sum(row["video_segment"] is not None for row in rows)
    functions, _ = choose_rewards(arguments.reward_funcs, arguments.reward_preset)
    if not windows and any(function_name(function).startswith("time_") for function in functions):
        found.append(
            warning(
                "rows",
                "no row has a video_segment: time rewards abstain or are 0 on all of them",
                "reward_preset: longvt_no_time",
            )
        )
    files = sorted({file for row in rows for file in row["videos"].values()})
    missing = [file for file in files if not Path(file).is_file()]
    if missing:
        found.append(
            blocker(
                "videos",
                f"{len(missing)} of {len(files)} videos are not there, such as {missing[0]}",
                "relative files are looked for beside the rows file",
            )
        )
    there = [file for file in files if file not in set(missing)]
    opened, longest = _open_videos(recipe, _spread(there, sample))
    return [*found, *opened, ok("rows", f"{len(rows)} rows, {windows} with a window, {len(files)} videos")], longest


def _open_videos(recipe: Recipe, files: Sequence[str]) -> tuple[list[Finding], float | None]:
    broken, lengths = [], []
    with VideoLibrary(recipe.environment.video, create_plugin_manager()) as library:
        for file in files:
            try:
                with library.open(file) as video:
                    lengths.append(video.duration)
                    times = [0.0, video.duration / 2]
                    list(video.frames(times, recipe.environment.overview))
                    if recipe.environment.sampling_mode == "qwen":
                        recipe.environment.crop.count(TimeSpan(0, video.duration), video=video)
            except (VideoError, ConfigError) as error:
                broken.append(str(error))
    cure = "`longvt video probe FILE` tells more; encode it again, or leave its rows out"
    if broken and len(broken) == len(files):
        return [blocker("videos", f"none of {len(files)} videos can be read: {broken[0]}", cure)], None
    found = []
    if broken:
        found.append(
            warning(
                "videos",
                f"{len(broken)} of {len(files)} cannot be read, their rollouts get no score: {broken[0]}",
                cure,
            )
        )
    elif files:
        found.append(ok("videos", f"{len(files)} opened, up to {max(lengths):,.0f} s"))
    return found, max(lengths, default=None)


def check_conversations(recipe: Recipe, loaded: Loaded | None, sample: int) -> Iterator[Finding]:
    """Looks at the files of an SFT recipe as TRL reads them.

    Args:
        recipe: Of a training with ``trl sft``.
        loaded: Counts tokens; None leaves them uncounted.
        sample: Conversations to look into, of each file.
    """
    if recipe.lazy is not None and recipe.lazy.mixture is not None:
        yield from _check_mixture(recipe.lazy)
        return
    for entry in (recipe.data.datasets or ()) if recipe.data is not None else ():
        if entry.path not in _LOCAL:
            yield warning("data", f"{entry.path} is not looked into: it is no local file", "")
            continue
        told = entry.data_files if isinstance(entry.data_files, list) else [entry.data_files]
        patterns = [local(str(pattern)) for pattern in told]
        files = sorted(file for pattern in patterns for file in glob.glob(pattern))  # noqa: PTH207 - absolute too
        if not files:
            yield blocker(
                "data",
                f"no file {', '.join(patterns)}",
                "`longvt data materialize`, or `longvt rollouts select-rft`, writes it",
            )
        for file in files:
            yield from _check_file(file, loaded, sample) if entry.path == "parquet" else ()


def _check_mixture(lazy: SftArguments) -> Iterator[Finding]:
    """Reads all sources as ``longvt data check`` does; no video is opened."""
    try:
        mixture = read_mixture(lazy.mixture or "")
        reports = [
            check_file(mixture.file(source), mixture.media(source), replay=source.replay) for source in mixture.sources
        ]
    except ConfigError as error:
        yield blocker("data", str(error), "docs/data.md tells what a mixture is")
        return
    for report in reports:
        if report.ok:
            yield ok("data", f"{report.path}: {report.rows} conversations over {report.videos} videos")
            continue
        told = ", ".join(f"{found.count} {kind}" for kind, found in report.faults.items()) or "nothing in it"
        cure = report.download or f"`longvt data check {report.path}` names them; skip_faulty leaves them out"
        level = warning if lazy.skip_faulty and report.rows else blocker
        yield level("data", f"{report.path}: of {report.rows} conversations {told}", cure)


def _check_file(file: str, loaded: Loaded | None, sample: int) -> Iterator[Finding]:
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file)
    except (OSError, ValueError) as error:
        yield blocker("data", f"{file} cannot be read: {error}", "write it again")
        return
    missing = [name for name in ("messages", "images") if name not in table.schema_arrow.names]
    if missing:
        yield blocker(
            "data",
            f"{file} has no column {missing[0]}",
            "`longvt data materialize` writes both: without images TRL takes the data for text",
        )
        return
    found, longest = 0, 0
    for number, value in _sampled(table, sample):
        messages = json.loads(value) if isinstance(value, str) else value
        images = [
            block["image"]
            for message in messages
            if isinstance(message["content"], list)
            for block in message["content"]
            if block["type"] == "image"
        ]
        lost = [image for image in images if isinstance(image, str) and not Path(image).is_file()]
        if lost:
            yield blocker(
                "data",
                f"{file}, row {number}: no picture {lost[0]}",
                "move the frames back, or write the file again: it holds absolute paths",
            )
            return
        if loaded is not None:
            longest = max(longest, _tokens(loaded, messages, images))
        found += 1
    if not found:
        yield blocker("data", f"{file} holds no conversation", "name another file")
        return
    if loaded is not None and loaded.positions is not None and longest > loaded.positions:
        yield blocker(
            "context",
            f"{file}: a conversation of {longest:,} tokens, the model takes {loaded.positions:,}",
            "leave long rows out: `longvt data check` counts all",
        )
    yield ok("data", f"{file}: {found} of {table.metadata.num_rows} looked into, up to {longest:,} tokens")


def _sampled(table: Any, sample: int) -> Iterator[tuple[int, Any]]:
    wanted = set(_spread(range(table.metadata.num_rows), sample))
    number = 0
    for batch in table.iter_batches(batch_size=64, columns=["messages"]):
        for value in batch.column(0).to_pylist():
            if number in wanted:
                yield number, value
            number += 1


def _tokens(loaded: Loaded, messages: Any, images: Sequence[Any]) -> int:
    from PIL import Image

    from longvt_plugins.ledger import Ledger

    text = loaded.processor.apply_chat_template(messages, tokenize=False)
    tokens = len(loaded.processor.tokenizer(text, add_special_tokens=False)["input_ids"])
    ledger = Ledger(loaded.processor, 0, 0)
    for image in images:
        if isinstance(image, str):
            with Image.open(image) as opened:
                size = opened.size
            tokens += ledger.image_tokens(*size) - 1
    return tokens


def _spread(items: Sequence[T], count: int) -> list[T]:
    """So many of them, evenly from the first to the last."""
    if count >= len(items):
        return list(items)
    return [items[number * len(items) // count] for number in range(count)]
