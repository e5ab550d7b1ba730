"""Uses a video in a process forked while a thread was reading from it, in every way, and tells what came of it::

    python inherited.py '{"file": "00.mp4"}'
    {"frame_at": "VideoError: ...", "close": "nothing", "parent": "2 frames"}

A child that hangs is killed after some seconds: ``"hangs"``.
"""

from __future__ import annotations

import json
import os
import select
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from longvt_plugins import Video
from longvt_plugins.video.readers.pyav import PyavReader

PATIENCE = 10


class Waiting(PyavReader):
    """Stops in the middle of a call until it may go on."""

    reached, go_on = threading.Event(), threading.Event()

    def frames(self, times: Any) -> Any:
        for number, frame in enumerate(super().frames(times)):
            if number == 2:
                self.reached.set()
                self.go_on.wait()
            yield frame


def in_child(act: Callable[[], object]) -> str:
    """What an act in a forked process comes to."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            act()
            told = "nothing"
        except BaseException as error:  # noqa: BLE001 - it is told
            told = f"{type(error).__name__}: {error}"
        os.write(send, told.encode())
        os._exit(0)
    os.close(send)
    ready, _, _ = select.select([receive], [], [], PATIENCE)
    told = os.read(receive, 10_000).decode() if ready else "hangs"
    if not ready:
        os.kill(child, 9)
    os.close(receive)
    os.waitpid(child, 0)
    return told or "crashes"


def main() -> None:
    video = Video.open(Path(json.loads(sys.argv[1])["file"]), reader=Waiting)
    thread = threading.Thread(target=video.frames, args=([0, 1, 2, 3],))
    thread.start()
    Waiting.reached.wait()

    def leave() -> None:
        with video:
            pass

    acts: dict[str, Callable[[], object]] = {
        "frame_at": lambda: video.frame_at(0),
        "overview": video.overview,
        "close": video.close,
        "with": leave,
    }
    told = {name: in_child(act) for name, act in acts.items()}
    Waiting.go_on.set()
    thread.join()
    told["parent"] = f"{len(video.frames([0, 5]))} frames"
    print(json.dumps(told))


if __name__ == "__main__":
    main()
