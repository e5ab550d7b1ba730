"""What a training was: its settings, versions, code and data, kept beside each of its checkpoints.

::

    record = run_record({"rows": "rl.parquet", ...}, rows="rl.parquet")
    write_record(record, "rl")                       # rl/longvt_run.json, and later rl/checkpoint-20/longvt_run.json
    differences(read_record("rl/checkpoint-20"), record)     # ["rows: 1,667 other rows (sha256 ...)"]

Settings are those that the training ran with, defaults included, and secrets are left out. Data are known by their
content (rows) and by their names and sizes (videos: reading them all would take longer than training).
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import longvt_plugins
from longvt_plugins.errors import ConfigError
from longvt_plugins.rollouts import versions
from trl_ext.dataset.questions import read_questions

RECORD = "longvt_run.json"

MOST_VIDEOS = 100_000
"""Files whose size is looked up; of more than that the first are."""

_SECRET = ("api_key", "authorization", "hub_token", "password", "secret")
_PACKAGES = ("accelerate", "peft", "datasets", "torchvision", "deepspeed", "liger-kernel", "av", "decord", "torchcodec")
_GIT_SECONDS = 10.0
_WITHOUT_MEANING = {"resume_from_checkpoint", "output_dir", "rollouts_dir", "logging_dir", "run_name", "deepspeed"}
"""Settings that may differ between a run and the one that goes on with it."""


def run_record(
    settings: Mapping[str, Any],
    *,
    rows: str | Path | None = None,
    data: Mapping[str, Any] | None = None,
    processes: int = 1,
) -> dict[str, Any]:
    """Describes the training that is about to start.

    Args:
        settings: All keys and values, defaults among them.
        rows: The file of questions that it trains on.
        data: In its place, what other data are known by, see :func:`fingerprint`.
        processes: Of the training.

    Returns:
        Plain data for JSON.

    Raises:
        ConfigError: The rows cannot be read.
    """
    return {
        "settings": {name: plain(name, value) for name, value in sorted(settings.items())},
        "processes": processes,
        "versions": {**_installed(), **versions()},
        "git": {"here": git_state(Path.cwd()), "longvt_plugins": git_state(Path(longvt_plugins.__file__).parent)},
        "data": dict(data) if data is not None else data_fingerprint(rows or ""),
    }


def _installed() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def plain(name: str, value: Any) -> Any:
    """A setting as JSON has it; what looks like a secret is left out by its name."""
    if value is not None and any(word in name.lower() for word in _SECRET) and isinstance(value, str):
        return "(left out)"
    if isinstance(value, Mapping):
        return {str(key): plain(str(key), held) for key, held in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(name, held) for held in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit and changed files of the repository that a folder lies in; None where there is none, or no git."""

    def ask(*command: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(folder), *command], capture_output=True, text=True, check=True, timeout=_GIT_SECONDS
        )
        return done.stdout

    try:
        commit = ask("rev-parse", "HEAD").strip()
        changed = ask("status", "--porcelain", "--untracked-files=no").splitlines()
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "changed": [line[3:] for line in changed]}


def data_fingerprint(rows: str | Path) -> dict[str, Any]:
    """What the data are known by.

    Raises:
        ConfigError: The rows cannot be read.
    """
    read = read_questions(rows)
    return fingerprint([Path(rows)], len(read), {file for row in read for file in row["videos"].values()})


def fingerprint(files: Sequence[Path], count: int | None, videos: Iterable[str]) -> dict[str, Any]:
    """What data are known by.

    Args:
        files: That hold it, known by their content.
        count: Rows; None where nobody knows.
        videos: Known by their names and sizes.
    """
    named = sorted(videos)
    known = hashlib.sha256()
    total = missing = 0
    for file in named[:MOST_VIDEOS]:
        size = Path(file).stat().st_size if Path(file).is_file() else None
        known.update(f"{Path(file).name}\n{size}\n".encode(errors="surrogateescape"))
        total += size or 0
        missing += size is None
    digests = [_digest(path) for path in files]
    content = digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()
    return {
        "rows": ", ".join(map(str, files)),
        "count": count,
        "sha256": content,
        "videos": {
            "count": len(named), "sized": min(len(named), MOST_VIDEOS), "missing": missing, "bytes": total,
            "sha256": known.hexdigest(),
        },
    }  # fmt: skip


def _digest(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def write_record(record: Mapping[str, Any], folder: str | Path) -> Path:
    """Writes the record into a folder; one that stands there is replaced at once, never half."""
    path = Path(folder) / RECORD
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{RECORD}")
    unfinished.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    unfinished.replace(path)
    return path


def read_record(folder: str | Path) -> dict[str, Any] | None:
    """The record of a checkpoint; None where there is none.

    Raises:
        ConfigError: It cannot be read.
    """
    path = Path(folder) / RECORD
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    if not isinstance(record, dict):
        raise ConfigError(f"{path} is no record of a run")
    return record


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What is not as it was when a checkpoint was written, a line each; nothing where the run goes on as it began."""
    found = []
    old, new = before.get("data") or {}, now["data"]
    if old.get("sha256") != new["sha256"]:
        found.append(f"rows: {old.get('rows')} had {old.get('count')} rows, {new['rows']} has {new['count']} others")
    if (old.get("videos") or {}).get("sha256") != new["videos"]["sha256"]:
        found.append("videos: other files, or files of another size")
    if before.get("processes") != now["processes"]:
        found.append(f"processes: {before.get('processes')}, now {now['processes']}")
    for part in ("settings", "versions"):
        held = before.get(part) or {}
        for name in sorted({*held, *now[part]} - _WITHOUT_MEANING):
            if held.get(name) != now[part].get(name):
                found.append(f"{name}: {held.get(name)}, now {now[part].get(name)}")
    return found
