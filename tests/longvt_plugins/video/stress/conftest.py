"""A shelf of small films of many kinds, and programs that read them hard, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from longvt_plugins.testing import write_stamped_video

KINDS = [
    ("mp4", {}),
    ("mkv", {"sound": True}),
    ("ts", {}),
    ("mp4", {"codec": "libx265", "options": {"preset": "ultrafast", "x265-params": "log-level=none:pools=none"}}),
    ("avi", {"codec": "mpeg4"}),
    ("webm", {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}}),
    ("mp4", {"container_options": {"movflags": "frag_keyframe+empty_moov"}}),
]


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], list[Path]]:
    """Files of 12 seconds at 5 frames a second; ``shelf(10)`` are the first ten."""
    folder = tmp_path_factory.mktemp("shelf")
    written: list[Path] = []

    def shelf(count: int) -> list[Path]:
        while len(written) < count:
            suffix, settings = KINDS[len(written) % len(KINDS)]
            path = folder / f"{len(written):02d}.{suffix}"
            write_stamped_video(path, 12, fps=5, size=(80, 80), gop=15, **settings)
            written.append(path)
        return written[:count]

    return shelf


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Runs ``run("crops.py", crops=200, files=[...])``: a program beside this file, and gives what it prints."""

    def run(program: str, *, launcher: tuple[str, ...] = (), limit: float = 250, **arguments: Any) -> dict[str, Any]:
        given = json.dumps(arguments, default=str)
        # What is freed goes back to the system, so that what is held can be told from what is merely kept for later.
        freeing = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
        command = [sys.executable, *launcher, str(Path(__file__).with_name(program)), given]
        # Not here: the programs' imports must not depend on what lies in the working folder.
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=limit, check=False, cwd=tmp_path, env=os.environ | freeing
        )
        assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer

    return run
