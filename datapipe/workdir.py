"""The folder of a run: one sub-folder for each share of the videos, and nothing that they share.

::

    runs/demo/shard-00000-of-00001/store.sqlite3        # results
                                   cache/               # replies of chat servers
                                   run.log              # what happened, without keys
                                   recipe.json          # what was run last, without keys
                                   lock                 # held while somebody works here

Shares are independent: they may be worked on by different machines at once, each with its own lock. A share that
somebody works on is refused to a second one.
"""

from __future__ import annotations

import difflib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from datapipe.source import Shard
from datapipe.store import Store
from longvt_plugins.errors import ConfigError

STORE = "store.sqlite3"
RECIPE = "recipe.json"
LOG = "run.log"

RESERVE_BYTES = 8 << 20
"""Set aside on the disk, and given up when it is full: what is in flight then can still be written."""


def shard_folder(work_dir: str | Path, shard: Shard) -> Path:
    """The folder of a share; other shares of the run must be of the same count.

    Raises:
        ConfigError: The run is split otherwise.
    """
    work_dir = Path(work_dir)
    others = {int(folder.name.rpartition("-")[2]) for folder in shard_folders(work_dir)}
    if others - {shard.count}:
        raise ConfigError(
            f"{work_dir} is split into {', '.join(map(str, sorted(others)))} shards, not {shard.count}:"
            " give the same --num-shards, or another work folder"
        )
    return work_dir / shard.name


def shard_folders(work_dir: str | Path) -> list[Path]:
    """Those that there are, in order."""
    return sorted(
        folder
        for folder in Path(work_dir).glob("shard-*-of-*")
        if folder.name.rpartition("-")[2].isdigit() and (folder / STORE).is_file()
    )


def open_stores(work_dir: str | Path) -> list[Store]:
    """The stores of all shares, to be read.

    Raises:
        ConfigError: There is none.
    """
    folders = shard_folders(work_dir)
    if not folders:
        raise ConfigError(f"{work_dir} is not the work folder of a run: no shard-*-of-* with {STORE} in it")
    return [Store(folder / STORE, read_only=True) for folder in folders]


def read_recipe_record(work_dir: str | Path) -> dict[str, object]:
    """What was run last in a work folder, without keys.

    Raises:
        ConfigError: Nothing was.
    """
    for folder in shard_folders(work_dir):
        with suppress(OSError, ValueError):
            found = json.loads((folder / RECIPE).read_text(encoding="utf-8"))
            if isinstance(found, dict):
                return found
    raise ConfigError(f"{work_dir} is not the work folder of a run: no {RECIPE} in it")


def planned_steps(work_dir: str | Path, stores: Sequence[Store]) -> list[str]:
    """Names of a run's steps in the order of its recipe, then those of earlier recipes."""
    found = read_recipe_record(work_dir).get("steps")
    planned = [str(step["name"]) for step in found] if isinstance(found, list) else []
    return list(dict.fromkeys([*planned, *(step for store in stores for step in store.steps())]))


def check_step(work_dir: str | Path, stores: Sequence[Store], step: str) -> None:
    """Whether a run has a step.

    Raises:
        ConfigError: It has not; the message names those that it has.
    """
    known = planned_steps(work_dir, stores)
    if step not in known:
        near = difflib.get_close_matches(step, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(known) or 'none'}"
        raise ConfigError(f"{work_dir} has no step {step!r}: {hint}")


def workers(work_dir: str | Path) -> list[str]:
    """Who works on a run at this moment, a line for each share."""
    found = []
    for folder in shard_folders(work_dir):
        with suppress(OSError), (folder / "lock").open("r", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                found.append(f"{folder.name}: {file.read().strip()}")
    return found


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds a share for this process; the lock goes with the process, however it ends.

    Args:
        folder: Of the share; made if need be.

    Raises:
        ConfigError: Somebody else works on it, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"work folder {folder} cannot be used: {error.strerror}") from error
    with file:
        _take(file, folder)
        yield


def _take(file: TextIO, folder: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        who = file.read().strip() or "another process"
        raise ConfigError(
            f"{folder} is being worked on by {who}: wait for it, stop it, or give another --work-dir or --shard-idx"
        ) from None
    except OSError as error:
        raise ConfigError(f"{folder} cannot be locked ({error.strerror}): choose a folder on another disk") from None
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}\n")
    file.flush()


class Reserve:
    """Room on the disk that is given up when it is full.

    Args:
        folder: Where it is.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "reserve"
        try:
            with self._path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, RESERVE_BYTES)
        except OSError:
            # Too little room for it already, or a file system that sets nothing aside: then there is none.
            self._path.unlink(missing_ok=True)

    def give_up(self) -> bool:
        """Frees the room; False if that was done before."""
        if not self._path.exists():
            return False
        self._path.unlink()
        return True
