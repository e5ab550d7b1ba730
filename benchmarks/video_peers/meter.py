"""What a piece of work costs: wall seconds, CPU seconds and memory, child processes included.

::

    base = resident_mb()
    with Meter(base) as meter:
        work()
    meter.cost        # Cost(wall=1.9, cpu=1.8, memory_mb=41.0)

CPU seconds are those of this process, of children that ended and of children that still live (a server). Memory is the
highest that this process held, above a base taken before the work, and all that a server held, since without the work
there would be none. Linux tells the highest mark anew for each piece of work; elsewhere it is that of the whole process
so far, and a server's is not seen.
"""

from __future__ import annotations

import os
import resource
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

_KB_PER_MB = 1024
_MAXRSS_PER_MB = 1024 if sys.platform != "darwin" else 1024 * 1024
"""Linux counts ``ru_maxrss`` in kilobytes, macOS in bytes."""

_LOOK_EVERY = 0.2
"""Seconds."""


@dataclass(frozen=True)
class Cost:
    """What one piece of work took.

    Attributes:
        wall: Seconds.
        cpu: Seconds of all processes.
        memory_mb: Highest memory above the base.
    """

    wall: float
    cpu: float
    memory_mb: float


def resident_mb() -> float:
    """Memory that this process holds now, before it is measured."""
    return _status_mb("VmRSS") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MAXRSS_PER_MB


class Meter:
    """Measures the body of a ``with`` statement.

    Args:
        base_mb: What :func:`resident_mb` said when the process was ready to work.
        servers: Whether the work is done by child processes, which are then looked at a few times a second.
    """

    def __init__(self, base_mb: float, *, servers: bool = False) -> None:
        self._base = base_mb
        self._done = threading.Event()
        self._servers_mb = 0.0
        self._watch = threading.Thread(target=self._watch_servers) if servers else None
        self.cost = Cost(0.0, 0.0, 0.0)

    def __enter__(self) -> Meter:
        _forget_highest()
        if self._watch is not None:
            self._watch.start()
        self._cpu, self._wall = _cpu_seconds(), time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        wall, cpu = time.perf_counter() - self._wall, _cpu_seconds() - self._cpu
        highest = _status_mb("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MAXRSS_PER_MB
        if self._watch is not None:
            self._done.set()
            self._watch.join()
        self.cost = Cost(wall, cpu, highest - self._base + self._servers_mb)

    def _watch_servers(self) -> None:
        # Not ru_maxrss of children: a child begins with what its parent held, before it becomes another program.
        while not self._done.wait(_LOOK_EVERY):
            self._servers_mb = max([self._servers_mb, *(_status_mb("VmHWM", child) or 0.0 for child in _children())])


def _forget_highest() -> None:
    mark = Path("/proc/self/clear_refs")
    if mark.exists():
        mark.write_text("5", encoding="ascii")  # Linux: sets VmHWM back to what is held now.


def _status_mb(key: str, process: str = "self") -> float | None:
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # No Linux, or the process has just ended.
        return None
    found = [line.split()[1] for line in lines if line.startswith(f"{key}:")]
    return int(found[0]) / _KB_PER_MB if found else None


def _children() -> list[str]:
    return [child for task in Path("/proc/self/task").glob("*/children") for child in task.read_text().split()]


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    living = 0
    for child in _children():
        # After the name in brackets, which may hold spaces: user and system ticks are fields 14 and 15.
        after_name = Path(f"/proc/{child}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        living += int(after_name[11]) + int(after_name[12])
    return sum(usage.ru_utime + usage.ru_stime for usage in used) + living / os.sysconf("SC_CLK_TCK")
