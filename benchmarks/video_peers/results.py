"""What was measured so far, and the report made of it."""

from __future__ import annotations

import os
import platform
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from video_peers.catalogue import EVERYTHING
from video_peers.figures import Measured, summarise
from video_peers.turn import Turn


@dataclass
class Results:
    """Answers of peers, by job and name.

    Attributes:
        quick: Whether this was a quick run, which proves nothing.
        film: Facts of the file.
        windows: Spans that were cropped, by their length.
    """

    quick: bool
    film: dict[str, Any]
    windows: dict[int, list[tuple[float, float]]]
    _measured: Measured = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    _default_threads: dict[str, dict[str, Any]] = field(default_factory=dict)
    _versions: dict[str, str] = field(default_factory=dict)

    def is_worth_while(self, turn: Turn) -> bool:
        """Whether the peer has not failed so far."""
        earlier = [answer for job in turn.jobs for answer in self._measured[job][turn.entry.name]]
        return all(answer["status"] == "measured" for answer in earlier)

    def take(self, turn: Turn, answer: dict[str, Any]) -> None:
        """Adds the answer of a process."""
        self._versions |= answer.get("versions", {})
        for job in turn.jobs:
            found = {"status": "measured", **answer["jobs"][job]} if "jobs" in answer else answer
            if turn.one_core:
                self._measured[job][turn.entry.name].append(found)
            else:
                self._default_threads[turn.entry.name] = found

    def report(self) -> dict[str, Any]:
        """Figures, costs, and all that is needed to judge them."""
        return {
            **summarise(self._measured),
            "quick": self.quick,
            "unit": "CPU seconds of one core, least over the repeats",
            "default_threads": self._default_threads,
            "film": self.film,
            "windows": self.windows,
            "machine": _machine_facts(),
            "versions": dict(sorted(self._versions.items())),
        }

    def left_out(self) -> Iterator[str]:
        """Why a row has no figures, and what would give it some."""
        missing: set[str] = set()
        entries = {entry.name: entry for entry in EVERYTHING}
        for job, found in self._measured.items():
            for name, answers in found.items():
                entry, answer = entries[name], answers[-1]
                if answer["status"] == "failed":
                    yield f"{entry.title}, {job}: failed: {answer['why']}"
                elif answer["status"] == "missing" and answer["module"] not in missing:
                    missing.add(answer["module"])
                    yield f"{answer['module']} is not installed: python -m pip install {entry.needs[answer['module']]}"


def _machine_facts() -> dict[str, Any]:
    """Where it was measured."""
    cpu = Path("/proc/cpuinfo")
    models = [line for line in cpu.read_text().splitlines() if line.startswith("model name")] if cpu.exists() else []
    return {
        "cpu": models[0].partition(":")[2].strip() if models else platform.processor(),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }
