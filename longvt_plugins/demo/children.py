"""Runs the real programs and follows their progress.

>>> run_child(["trl", "sft", "--config", "sft.yaml"], log=Path("sft.log"), progress=print)

A program that fails raises with the last lines it wrote; the whole of it is in the log.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from longvt_plugins.errors import ConfigError, LongvtError

# tqdm's "12/240 [00:11<02:01": the square bracket keeps "3/4 of" in other lines out.
_STEPS = re.compile(r"(\d+)/(\d+) \[")


class ChildFailedError(LongvtError):
    """A program ended with an error."""


def program(name: str) -> str:
    """The program of this name that was installed beside our interpreter.

    Raises:
        ConfigError: It is not there.
    """
    path = Path(sys.executable).parent / name
    if not path.is_file():
        raise ConfigError(f"no program {name!r} beside {sys.executable}: pip install 'longvt-plugins[train,eval]'")
    return str(path)


def run_child(
    command: Sequence[str],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Runs a program to its end.

    Args:
        command: Program and arguments.
        log: Gets everything that it writes.
        env: Variables besides our own.
        progress: Told how many of how many steps are done, as the program's own progress bars say.

    Raises:
        ChildFailedError: It ended with an error; its last lines are in the message.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    tail = b""
    with log.open("wb") as written:
        child = subprocess.Popen(
            list(command), env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        assert child.stdout is not None
        try:
            while block := child.stdout.read1(1 << 16):  # type: ignore[attr-defined]
                written.write(block)
                written.flush()
                tail = (tail + block)[-4000:]
                found = _STEPS.findall(block.decode(errors="replace"))
                if progress is not None and found:
                    progress(int(found[-1][0]), int(found[-1][1]))
            code = child.wait()
        except BaseException:
            _end(child)
            raise
    if code != 0:
        lines = [line for line in tail.decode(errors="replace").replace("\r", "\n").splitlines() if line.strip()]
        raise ChildFailedError(f"{Path(command[0]).name} ended with {code}, see {log}: {' | '.join(lines[-3:])}")


def _end(child: subprocess.Popen[bytes]) -> None:
    """Ends a program and the processes that it started, which are in a group of their own."""
    import contextlib
    import signal

    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):  # it ended by itself meanwhile
            os.killpg(child.pid, sign)
        try:
            child.wait(timeout=5)
            return
        except subprocess.TimeoutExpired:
            continue
