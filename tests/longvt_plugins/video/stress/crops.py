"""Crops at random from many files, again and again, and tells what it holds in between::

    python crops.py '{"through": "open", "files": ["00.mp4"], "crops": 200}'
    {"wrong": [], "files_open": [5, 5], "megabytes": [61.2, 61.3]}

``through`` is ``open`` (each crop opens its file), ``kept`` (each file is open all the time) or ``library``.
The two numbers are taken after half of the crops and after all.
"""

from __future__ import annotations

import contextlib
import gc
import json
import random
import resource
import sys
from collections.abc import Callable
from pathlib import Path

from longvt_plugins import FrameSampling, TimeSpan, Video, VideoConfig, VideoLibrary
from longvt_plugins.testing import read_stamp

FPS, SECONDS = 5, 12


def crop(video: Video, chance: random.Random) -> list[str]:
    # Between two changes of the picture, so that rounding decides nothing.
    start = chance.randrange(SECONDS * FPS - 10) / FPS + 0.1
    sampling = FrameSampling(fps=chance.choice([1, 2.5]), max_pixels=chance.choice([56 * 56, 112 * 112]))
    span = TimeSpan(start, start + chance.uniform(0.5, SECONDS - start - 0.1))
    found = [read_stamp(frame.image) for frame in video.clip(span, sampling)]
    right = [int(time * FPS) for time in sampling.times(span)]
    return [] if found == right else [f"{video.path} {span}: {found} instead of {right}"]


def held() -> tuple[int, float]:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return len(list(Path("/proc/self/fd").iterdir())), pages * resource.getpagesize() / 2**20


def main() -> None:
    asked = json.loads(sys.argv[1])
    files, crops, chance = asked["files"], asked["crops"], random.Random(asked["crops"])
    wrong: list[str] = []
    measured = []
    with contextlib.ExitStack() as stack:
        opener: Callable[[str], contextlib.AbstractContextManager[Video]]
        if asked["through"] == "open":
            opener = Video.open
        elif asked["through"] == "kept":
            kept = {file: stack.enter_context(Video.open(file)) for file in files}
            opener = lambda file: contextlib.nullcontext(kept[file])  # noqa: E731
        else:
            config = VideoConfig(memory_mb=1, max_open_files=4, cache_dir=asked["cache"], disk_gb=0.001)
            library = stack.enter_context(VideoLibrary(config))
            opener = library.open
        for number in range(crops):
            if number == crops // 2:
                measured.append(held())
            # Every file in turn, so that all have been seen when it is first measured.
            with opener(files[number % len(files)]) as video:
                wrong += crop(video, chance)
        measured.append(held())
    descriptors, megabytes = zip(*measured, strict=True)
    print(json.dumps({"wrong": wrong, "files_open": descriptors, "megabytes": megabytes}))


if __name__ == "__main__":
    main()
