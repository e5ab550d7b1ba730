"""A mixture as SFT files with their frames beside them, which the stock ``trl sft`` reads.

::

    out/sft-00000.parquet sft-00001.parquet ...     256 conversations each
    out/left_out-00001.jsonl                        those of a file that could not be shown, and why
    out/frames/4f1c....jpg                          every frame once, whoever shows it
    out/made_from.json                              the mixture and the settings; another one is refused

A stopped run goes on with the first file that is missing. Frames are JPEG, quality 95, full colour.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import multiprocessing
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from longvt_plugins.errors import ConfigError, VideoError
from longvt_plugins.plugins import create_plugin_manager
from longvt_plugins.types import Message
from trl_ext.dataset.blocks import image_blocks
from trl_ext.dataset.conversations import Conversation
from trl_ext.dataset.faults import DataFault
from trl_ext.dataset.measure import Measure
from trl_ext.dataset.mixture import Mixture
from trl_ext.dataset.replay import Replayer
from trl_ext.dataset.sft_file import SftExample, write_sft
from trl_ext.environment import EnvironmentConfig
from trl_ext.model_setup import load_processor

PER_FILE = 256
"""Conversations of one file: what a stopped run may have to do again."""

BYTES_PER_PIXEL = 0.75
"""Of a JPEG as written here; frames of a film (Big Buck Bunny at 280x168) took 0.70."""

RESERVE = 2**30
"""Bytes that are left free on the disk."""

_MOST_KNOWN = 5_000_000
"""Messages whose frames are remembered while disk is estimated; later ones are counted as if they were all new."""


@dataclass
class Estimate:
    """What a mixture takes.

    Attributes:
        conversations: Those that can be shown.
        frames: Pictures to write, those that several conversations show counted once.
        bytes: About what they take.
        left_out: Conversations that cannot be used, by kind of fault.
        examples: A fault of each kind.
    """

    conversations: int = 0
    frames: int = 0
    bytes: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def leave_out(self, kind: str, fault: str) -> None:
        """Counts a conversation that cannot be used."""
        self.left_out[kind] += 1
        self.examples.setdefault(kind, fault)


def estimate(
    mixture: Mixture,
    blank: Replayer,
    *,
    measure: Measure | None = None,
    max_length: int | None = None,
    tell: Callable[[int], None] | None = None,
) -> Estimate:
    """What a mixture takes, without decoding a frame.

    Args:
        mixture: What is to be written.
        blank: Its library gives blank pictures, see :class:`~trl_ext.dataset.measure.BlankLibrary`.
        measure: Counts tokens; needed with ``max_length``.
        max_length: Longer conversations are left out.
        tell: Told how many conversations are done.
    """
    found = Estimate()
    known: set[int] = set()
    for number, item in enumerate(mixture.conversations(), start=1):
        if isinstance(item, DataFault):
            found.leave_out(item.kind, str(item))
            continue
        try:
            messages = blank.messages(item)
            _check_length(item, messages, measure, max_length)
        except DataFault as fault:
            found.leave_out(fault.kind, str(fault))
        except VideoError as error:
            found.leave_out("unreadable video", f"{item.id}: {error}")
        else:
            found.conversations += 1
            _add_frames(found, item, messages, known)
        if tell is not None:
            tell(number)
    return found


def materialize(
    mixture: Mixture,
    out: str | Path,
    config: EnvironmentConfig,
    *,
    model: str | None = None,
    max_length: int | None = None,
    processes: int = 1,
    tell: Callable[[int], None] | None = None,
) -> dict[str, int]:
    """Writes a mixture, or what is missing of it.

    Args:
        mixture: What is to be written.
        out: Folder.
        config: How videos are shown.
        model: Checkpoint whose processor counts tokens, for the column ``length``; None writes no such column.
        max_length: Longer conversations are left out; needs ``model``.
        processes: How many decode at once.
        tell: Told how many conversations are done.

    Returns:
        How many conversations were ``written``, in this run or an earlier one, and how many ``left out``.

    Raises:
        ConfigError: The folder was made from something else, or the disk is full.
    """
    out = Path(out).absolute()
    _claim(out, mixture, config, model, max_length)
    counts = {"written": 0, "left out": 0}
    done = 0
    for finished in _run(_jobs(mixture, out, config, model, max_length), processes):
        counts["written"] += finished["written"]
        counts["left out"] += finished["left out"]
        done += finished["written"] + finished["left out"]
        if tell is not None:
            tell(done)
        if (free := shutil.disk_usage(out).free) < RESERVE:
            raise ConfigError(f"{out}: only {free / 1e9:.1f} GB are left on the disk; make room and run again to go on")
    return counts


@dataclass(frozen=True)
class _Job:
    """One file to write."""

    path: Path
    conversations: list[str]
    config: EnvironmentConfig
    model: str | None
    max_length: int | None

    @property
    def left_out(self) -> Path:
        return self.path.with_name(f"{self.path.stem.replace('sft', 'left_out')}.jsonl")


def _jobs(
    mixture: Mixture, out: Path, config: EnvironmentConfig, model: str | None, max_length: int | None
) -> Iterator[_Job]:
    batch: list[str] = []
    number = 0

    def job() -> _Job:
        return _Job(out / f"sft-{number:05d}.parquet", batch, config, model, max_length)

    for item in mixture.conversations():
        if isinstance(item, DataFault):
            continue
        batch.append(item.to_json())
        if len(batch) == PER_FILE:
            yield job()
            batch, number = [], number + 1
    if batch:
        yield job()


def _run(jobs: Iterator[_Job], processes: int) -> Iterator[dict[str, int]]:
    if processes == 1:
        worker = _Worker()
        try:
            yield from map(worker.write, jobs)
        finally:
            worker.close()
        return
    # Spawned, not forked: a parent that has started threads cannot be forked safely.
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        running: set[Future[dict[str, int]]] = set()
        for job in jobs:
            running.add(pool.submit(_write, job))
            # A few files' conversations wait in memory, not all.
            while len(running) >= 2 * processes:
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in finished)
        yield from (future.result() for future in running)


class _Worker:
    """What a process keeps from one file to the next: open videos and a processor."""

    def __init__(self) -> None:
        self._replayer: Replayer | None = None
        self._measure: Measure | None = None

    def write(self, job: _Job) -> dict[str, int]:
        if job.path.is_file():
            return _counts(job)
        if self._replayer is None:
            self._replayer = Replayer(job.config, create_plugin_manager())
            self._measure = Measure(load_processor(job.model)) if job.model is not None else None
        examples = self._examples(job, self._replayer)
        write_sft(job.path, examples, lengths=self._measure is not None, images=job.path.parent / "frames")
        return _counts(job)

    def close(self) -> None:
        if self._replayer is not None:
            self._replayer.close()

    def _examples(self, job: _Job, replayer: Replayer) -> Iterator[SftExample]:
        left_out: list[dict[str, str]] = []
        for text in job.conversations:
            conversation = Conversation.from_json(text)
            try:
                messages = replayer.messages(conversation)
                length = _check_length(conversation, messages, self._measure, job.max_length)
            except (DataFault, VideoError) as error:
                kind = error.kind if isinstance(error, DataFault) else "unreadable video"
                left_out.append({"id": conversation.id, "kind": kind, "reason": str(error)})
                continue
            example: SftExample = {"id": conversation.id, "source": conversation.source, "messages": messages}
            if length is not None:
                example["length"] = length
            yield example
        # Before the file itself appears, so that one that is there always tells what it lacks.
        job.left_out.write_text("".join(json.dumps(line) + "\n" for line in left_out), encoding="utf-8")


_WORKER = _Worker()


def _write(job: _Job) -> dict[str, int]:
    """In a process of the pool."""
    return _WORKER.write(job)


def _counts(job: _Job) -> dict[str, int]:
    left_out = len(job.left_out.read_text(encoding="utf-8").splitlines())
    return {"written": len(job.conversations) - left_out, "left out": left_out}


def _check_length(
    conversation: Conversation, messages: list[Message], measure: Measure | None, max_length: int | None
) -> int | None:
    if measure is None:
        return None
    tokens = measure.of(messages).tokens
    if max_length is not None and tokens > max_length:
        raise DataFault("over-long", conversation.id, f"{tokens} tokens, more than {max_length}")
    return tokens


def _add_frames(found: Estimate, conversation: Conversation, messages: list[Message], known: set[int]) -> None:
    for message in messages:
        blocks = [block for block in image_blocks([message]) if not isinstance(block["image"], str)]
        if not blocks:
            continue
        shown = (
            conversation.videos.get(blocks[0].get("video", "")),
            len(blocks),
            blocks[0].get("time"),
            blocks[-1].get("time"),
        )
        key = hash((shown, blocks[0]["image"].size))
        if key in known:
            continue
        if len(known) < _MOST_KNOWN:
            known.add(key)
        found.frames += len(blocks)
        found.bytes += int(sum(block["image"].width * block["image"].height for block in blocks) * BYTES_PER_PIXEL)


def _ids(mixture: Mixture) -> str:
    known = hashlib.sha256()
    for item in mixture.conversations():
        if isinstance(item, Conversation):
            known.update(f"{item.id}\n".encode(errors="surrogateescape"))
    return known.hexdigest()


def _claim(out: Path, mixture: Mixture, config: EnvironmentConfig, model: str | None, max_length: int | None) -> None:
    files = [mixture.file(source) for source in mixture.sources]
    made_from: dict[str, Any] = {
        "mixture": dataclasses.asdict(mixture),
        "files of the mixture": {str(file): [file.stat().st_size, file.stat().st_mtime_ns] for file in files},
        "way to show videos": {
            name: value for name, value in dataclasses.asdict(config).items() if not name.startswith("video_")
        },
        "model": model,
        "max_length": max_length,
        # Files that were missing may be there now: what is written already would be other conversations.
        "choice of conversations": _ids(mixture),
    }
    out.mkdir(parents=True, exist_ok=True)
    path = out / "made_from.json"
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
        if differ := [key for key, value in json.loads(json.dumps(made_from)).items() if found.get(key) != value]:
            raise ConfigError(f"{out} was made with another {', another '.join(differ)}: choose another folder")
    else:
        unwritten = path.with_name(f".{path.name}")
        unwritten.write_text(json.dumps(made_from, indent=1), encoding="utf-8")
        unwritten.replace(path)
    for unfinished in out.glob(".sft-*.parquet.*"):  # of a run that was killed
        unfinished.unlink()
