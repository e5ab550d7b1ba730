"""Forks readers, each of some threads, while threads of its own read; tells which of them saw a wrong frame::

python readers.py '{"files": ["00.mp4"], "forks": 10, "threads": 2}'
{"finished": 10, "wrong": []}
"""

from __future__ import annotations

import itertools
import json
import os
import random
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from longvt_plugins import TimeSpan, Video
from longvt_plugins.testing import read_stamp

FPS, SECONDS, AT_ONCE = 5, 12, 4


def look(path: str, seed: int) -> bool:
    chance = random.Random(seed)
    with Video.open(path) as video:
        for _ in range(3):
            start = chance.randrange(SECONDS * FPS - 20) / FPS + 0.1
            frames = video.clip(TimeSpan(start, start + 3.5))
            if [read_stamp(frame.image) for frame in frames] != [int((start + n) * FPS) for n in range(len(frames))]:
                return False
    return True


def read(files: list[str], seed: int, threads: int) -> bool:
    with ThreadPoolExecutor(threads) as pool:
        return all(pool.map(look, itertools.islice(itertools.cycle(files), seed, None), range(seed, seed + threads)))


def main() -> None:
    asked = json.loads(sys.argv[1])
    files, stop = asked["files"], threading.Event()
    wrong: list[str] = []

    def keep_reading(seed: int) -> None:
        while not stop.is_set():
            if not look(files[seed % len(files)], seed):
                wrong.append(f"thread of the parent, {seed}")
            seed += 1

    # Python cannot be forked while a thread imports something for the first time, whatever it is.
    look(files[0], 0)
    busy = [threading.Thread(target=keep_reading, args=(seed,)) for seed in range(2)]
    for thread in busy:
        thread.start()
    running: dict[int, int] = {}
    finished = 0
    for number in range(asked["forks"] + AT_ONCE):
        if number < asked["forks"]:
            child = os.fork()
            if child == 0:
                os._exit(0 if read(files, number, asked["threads"]) else 1)
            running[child] = number
        if running and (len(running) >= AT_ONCE or number >= asked["forks"]):
            child, status = os.wait()
            if status:
                wrong.append(f"child {running[child]} ended with {status}")
            del running[child]
            finished += 1
    stop.set()
    for thread in busy:
        thread.join()
    print(json.dumps({"finished": finished, "wrong": wrong}))


if __name__ == "__main__":
    main()
