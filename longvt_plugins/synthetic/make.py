"""A folder of synthetic videos with rows for training, development and test.

::

    DIR/world.json                 preset, seed, families, counts
    DIR/train.parquet dev.parquet test.parquet
    DIR/videos/train/00000.mp4 ... one file a question
    DIR/scripts/train/00000.json   what happens in it: the truth, for tests and for people

Splits share no seed. Videos that exist are kept, so that a stopped run goes on where it was.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from longvt_plugins.errors import ConfigError
from longvt_plugins.rows import Row, write_rows
from longvt_plugins.synthetic.questions import FAMILIES, SEEN, ask, check_families, draw_flashes
from longvt_plugins.synthetic.world import Preset, Script, derive_seed, draw_script

VIDEO_NAME = "video_1.mp4"
"""What a model calls the video of a row."""

SOURCE = "longvt_synthetic"

VERSION = 1
"""Of the worlds that this code draws: an older folder is another world, since its answers would not fit."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Item:
    """One video and its questions, before anything is written."""

    split: str
    number: int
    script: Script
    rows: tuple[Row, ...]


def plan_split(preset: Preset, split: str, videos: int, seed: int, families: tuple[str, ...] = FAMILIES) -> list[Item]:
    """Draws the scripts and rows of a split; writes nothing.

    Args:
        preset: Kind of the videos.
        split: Name; it is part of every seed, so that splits share none.
        videos: How many.
        seed: Of the whole world.
        families: Videos cycle through them.

    Returns:
        One item a video; a row's videos are paths relative to the world's folder.
    """
    import numpy as np

    check_families(families)
    # Answers take turns; the turns are shuffled, or the number in a row's id would tell its answer.
    turns = {
        family: np.random.default_rng(derive_seed(preset.name, seed, split, family)).permutation(
            -(-videos // len(families)) * preset.events
        )
        for family in families
    }
    items = []
    for number in range(videos):
        family, turn = families[number % len(families)], number // len(families)
        own = derive_seed(preset.name, seed, split, number)
        rng = np.random.default_rng([own, 2])
        mine = turns[family][turn * preset.events : (turn + 1) * preset.events]
        flashes = tuple(draw_flashes(family, int(place), rng) for place in mine)
        script = draw_script(preset, own, flashes, SEEN[family])
        rows = tuple(
            _row(preset, split, number, seed, family, script, place, rng) for place in range(len(script.events))
        )
        items.append(Item(split, number, script, rows))
    return items


def make_world(
    folder: str | Path,
    preset: Preset,
    splits: Mapping[str, int],
    seed: int,
    families: tuple[str, ...] = FAMILIES,
    *,
    processes: int = 2,
    progress: Progress | None = None,
) -> None:
    """Writes videos, scripts and rows.

    Args:
        folder: Where to.
        preset: Kind of the videos.
        splits: Name to number of videos.
        seed: Another seed is another world.
        families: Question families.
        processes: How many render at once.
        progress: Told after each video how many are done, and of how many.

    Raises:
        ConfigError: The folder holds another world.
    """
    folder = Path(folder)
    _claim(folder, preset, splits, seed, families)
    planned = {split: plan_split(preset, split, count, seed, families) for split, count in splits.items()}
    items = [item for split in planned.values() for item in split]
    waiting = [item for item in items if not _video_path(folder, item.split, item.number).is_file()]
    done = len(items) - len(waiting)
    for _ in _render_all(folder, waiting, processes):
        done += 1
        if progress is not None:
            progress(done, len(items))
    for split, drawn in planned.items():
        rows = [_placed(row, folder) for item in drawn for row in item.rows]
        write_rows(rows, folder / f"{split}.parquet")


def count_missing(
    folder: str | Path, preset: Preset, splits: Mapping[str, int], seed: int, families: tuple[str, ...] = FAMILIES
) -> int:
    """How many videos :func:`make_world` would still have to write into a folder, which is this world's from now on.

    Raises:
        ConfigError: The folder holds another world.
    """
    folder = Path(folder)
    _claim(folder, preset, splits, seed, families)
    files = (_video_path(folder, split, number) for split, count in splits.items() for number in range(count))
    return sum(not file.is_file() for file in files)


def estimate(preset: Preset, videos: int, processes: int = 2) -> tuple[float, float]:
    """What a world will cost, measured by rendering a few seconds of one video.

    Returns:
        Seconds of work and bytes on disk, both roughly.
    """
    import tempfile
    from dataclasses import replace

    import av  # noqa: F401  # what is loaded once is not counted for every video

    from longvt_plugins.synthetic.render import write_video

    script = draw_script(preset, 0, (("red",),) * preset.events)
    sample = replace(script, duration=min(script.duration, 200 / preset.fps), cuts=(0.0,))
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        write_video(sample, Path(folder, "sample.mp4"))
        seconds = time.perf_counter() - start
        size = Path(folder, "sample.mp4").stat().st_size
    mean = sum(preset.durations) / len(preset.durations)
    share = videos * mean / sample.duration
    return seconds * share / max(1, min(processes, os.cpu_count() or 1)), size * share


def _row(
    preset: Preset,
    split: str,
    number: int,
    seed: int,
    family: str,
    script: Script,
    place: int,
    rng: Any,
) -> Row:
    event = script.events[place]
    question = ask(family, event, rng)
    suffix = f"-{event.shape}" if len(script.events) > 1 else ""
    return {
        "id": f"{preset.name}-{seed}-{split}-{number:05d}-{family}{suffix}",
        "videos": {VIDEO_NAME: str(_video_path(Path(), split, number))},
        "kind": question.kind,
        "question": question.text,
        "answer": question.answer,
        "video_segment": [event.hint.start, event.hint.end],
        "options": list(question.options) if question.options else None,
        "source": f"{SOURCE}/{family}",
    }


def _placed(row: Row, folder: Path) -> Row:
    return {**row, "videos": {name: str(folder.absolute() / file) for name, file in row["videos"].items()}}


def _video_path(folder: Path, split: str, number: int) -> Path:
    return folder / "videos" / split / f"{number:05d}.mp4"


def _claim(folder: Path, preset: Preset, splits: Mapping[str, int], seed: int, families: tuple[str, ...]) -> None:
    """A folder holds one world: a second one must not mix its videos into it."""
    drawn = {"preset": preset.name, "seed": seed, "families": list(families), "splits": dict(splits)}
    world = {"version": VERSION, **drawn}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be a folder: {error.strerror}") from error
    manifest = folder / "world.json"
    if manifest.is_file():
        try:
            found = json.loads(manifest.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ConfigError(f"{manifest} is not JSON ({error}); choose another folder") from None
        if found != world:
            raise ConfigError(f"{folder} holds another world ({json.dumps(found)}); choose another folder")
    else:
        _write_text(manifest, json.dumps(world))
    # A run that was killed leaves the file that it was writing.
    for unfinished in folder.glob("videos/*/.*.mp4"):
        unfinished.unlink()


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


def _render(folder: Path, item: Item) -> None:
    from longvt_plugins.synthetic.render import write_video

    truth = folder / "scripts" / item.split / f"{item.number:05d}.json"
    _write_text(truth, json.dumps(asdict(item.script)))
    write_video(item.script, _video_path(folder, item.split, item.number))


def _render_all(folder: Path, items: list[Item], processes: int) -> Iterable[None]:
    if processes <= 1 or len(items) < 2 * processes:
        for item in items:
            _render(folder, item)
            yield
        return
    # Spawned, not forked: a parent that has started threads (torch has) cannot be forked safely.
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(_render, [folder] * len(items), items, chunksize=4)
