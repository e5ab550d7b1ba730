r"""The same recipe beyond one process: every share a rank of a datatrove executor (local, Slurm, Ray).

::

    datapipe run curate.yaml --work-dir runs/demo --num-shards 64 --executor local --workers 8
    datapipe run curate.yaml --work-dir /net/runs/demo --num-shards 512 --executor slurm --workers 64 \
        --executor-set partition=cpu --executor-set time=20:00:00 --executor-set cpus_per_task=8

A rank is a plain callable ``(data, rank, world_size)``, which is all that datatrove asks for. It runs its share in a
process of its own, ``datapipe run --shard-idx RANK``, and starts it again where it is killed (by the kernel, for
memory, most often): what was saved is not done twice. datatrove's own markers of completed ranks are not used, since
they would pass over new videos and changed prompts; a share that is done is passed over by its own store.
"""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datapipe.commands.shared import STOPPED, setting
from datapipe.workdir import workers
from longvt_plugins.errors import ConfigError, LongvtError, MissingExtraError

if TYPE_CHECKING:
    import argparse

RESTARTS = 2
"""How often a share that was killed is started again: whatever killed it three times will do so a fourth time."""

FINISH_SECONDS = 60.0
"""How long an executor that is stopped waits for its shares; a request takes seconds."""

EXECUTORS = {"local": "LocalPipelineExecutor", "slurm": "SlurmPipelineExecutor", "ray": "RayPipelineExecutor"}

_OWN_SETTINGS = ("pipeline", "tasks", "workers", "logging_dir", "skip_completed")
_PR_SET_PDEATHSIG = 1
"""From Linux's sys/prctl.h."""


class ShardError(LongvtError):
    """A share did not come to its end; run again, it goes on."""


@dataclass(frozen=True)
class RunShard:
    """One rank: runs its share in a process of its own.

    Attributes:
        arguments: Of ``datapipe run``, without those that name the share.
    """

    arguments: tuple[str, ...]

    def __call__(self, data: object, rank: int = 0, world_size: int = 1) -> Iterator[object]:
        """Runs the share; yields nothing, since results are in the work folder.

        Args:
            data: What came before in a datatrove pipeline; not used.
            rank: Which share.
            world_size: Of how many.

        Raises:
            ShardError: It stopped before the end, or was killed again and again.
        """
        command = [sys.executable, "-m", "datapipe.cli", "run", *self.arguments]
        command += ["--num-shards", str(world_size), "--shard-idx", str(rank)]
        for _ in range(RESTARTS + 1):
            done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=_die_with_parent)
            if done.returncode >= 0:
                break
        if done.returncode == STOPPED or done.returncode < 0 or done.returncode == 2:
            last = (done.stderr.strip().splitlines() or [f"killed by signal {-done.returncode}"])[-1]
            raise ShardError(f"shard {rank} of {world_size}: {last}")
        return iter(())


def _die_with_parent() -> None:
    # A pool that gives up kills its workers; their children would go on, and hold the locks of their shares.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def execute(args: argparse.Namespace) -> int:
    """Runs every share of ``datapipe run``'s flags on an executor.

    Args:
        args: As the command parsed them.

    Raises:
        ConfigError: Settings that the executor does not take, or shares named by hand.
        MissingExtraError: datatrove is not installed.
        ShardError: A share stopped before its end.
    """
    if args.shard_idx:
        raise ConfigError("--executor runs all shares: leave out --shard-idx")
    settings = dict(map(setting, args.executor_set))
    if own := sorted(set(settings) & set(_OWN_SETTINGS)):
        raise ConfigError(f"--executor-set cannot set {', '.join(own)}: --num-shards and --workers do, or nothing may")
    executor = make_executor(args.executor, RunShard(arguments_of(args)), args, settings)
    # Unasked, a SIGTERM would end this process alone, and leave its pool of workers behind.
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        if args.executor == "ray":
            _run_on_ray(executor, args)
        else:
            executor.run()
    except BaseException:
        _wait_for_shares(args.work_dir)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
    if args.executor != "slurm":
        print(f"all {args.num_shards} shards are done: `datapipe status {args.work_dir}`")  # noqa: T201 - a command
    return 0


def _run_on_ray(executor: Any, args: argparse.Namespace) -> None:
    """Runs the ranks; that executor tells in its log alone which of them came to no end.

    Raises:
        ShardError: Some did not.
    """
    markers = Path(args.work_dir) / "datatrove" / "completions"
    for marker in markers.glob("*"):
        marker.unlink()  # of an earlier run
    executor.run()
    done = {marker.name for marker in markers.glob("*")}
    if missing := [rank for rank in range(args.num_shards) if f"{rank:05d}" not in done]:
        logs = markers.parent / "logs"
        raise ShardError(f"shards without an end: {', '.join(map(str, missing))}; {logs}/task_*.log say why")


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _wait_for_shares(work_dir: str) -> None:
    """Waits, within reason, until what the shares have under way is saved: then the same can be run again at once."""
    until = time.monotonic() + FINISH_SECONDS
    while workers(work_dir) and time.monotonic() < until:
        time.sleep(0.1)


def arguments_of(args: argparse.Namespace) -> tuple[str, ...]:
    """The flags that every share gets; paths are absolute, since ranks may start elsewhere."""
    given = [str(Path(args.recipe).absolute()), "--work-dir", str(Path(args.work_dir).absolute())]
    if args.input is not None:
        given += ["--input", str(Path(args.input).absolute())]
    for flag in ("until", "max_cost", "concurrency", "seed"):
        if getattr(args, flag) is not None:
            given += [f"--{flag.replace('_', '-')}", str(getattr(args, flag))]
    return (*given, *(["--redo"] if args.redo else []))


def make_executor(kind: str, rank: Callable[..., Any], args: argparse.Namespace, settings: dict[str, Any]) -> Any:
    """A datatrove executor of this kind.

    Raises:
        ConfigError: Settings that it does not take.
        MissingExtraError: It is not installed.
    """
    import importlib

    try:
        module = importlib.import_module(f"datatrove.executor.{kind}")
        if kind == "ray":
            importlib.import_module("ray")
    except ImportError as error:
        extra = "ray" if kind == "ray" else "datatrove"
        raise MissingExtraError(error.name or extra, extra, f"to run on the executor {kind}") from error
    crowd = {} if args.workers is None else {"workers": args.workers}
    logs = Path(args.work_dir).absolute() / "datatrove"
    try:
        return getattr(module, EXECUTORS[kind])(
            [rank], tasks=args.num_shards, logging_dir=str(logs), skip_completed=False, **crowd, **settings
        )
    except TypeError as error:
        raise ConfigError(f"executor {kind}: {error}; give its settings as --executor-set KEY=VALUE") from None
