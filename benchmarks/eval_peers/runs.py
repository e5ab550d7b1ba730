"""A scripted server in a process of its own, and evaluations against it.

::

    with serving(answer_red, 0.1) as server:
        told = evaluate("longvt", "longvt_synthetic_tool", f"base_url={server.base_url},model=m", data)
        told["seconds"], server.requests()
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from longvt_plugins.testing_server import Reply, ScriptedChatServer, asked_text, assistant, slow

CHILD, CROP_SERVER = (Path(__file__).resolve().with_name(name) for name in ("child.py", "crop_server.py"))
PATIENCE_SECONDS = 3600

_VIDEO_FILE = re.compile(r"video path: (\S+)")


@dataclass
class Server:
    """A server under way.

    Attributes:
        base_url: Its address.
    """

    base_url: str
    _pipe: Connection

    def requests(self) -> int:
        """How often it was asked."""
        self._pipe.send(True)
        count: int = self._pipe.recv()
        return count


@contextlib.contextmanager
def serving(seconds: float) -> Iterator[Server]:
    """Serves :func:`look_then_answer`, each turn after so many seconds."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, seconds), daemon=True)
    process.start()
    try:
        yield Server(here.recv(), here)
    finally:
        here.send(False)
        process.join()


def look_then_answer(request: dict[str, Any]) -> Reply:
    """One look where there are tools, then the answer."""
    if "tools" not in request or any(message["role"] == "tool" for message in request["messages"]):
        return assistant("<think>I see it.</think><answer>red</answer>")
    found = _VIDEO_FILE.search(asked_text(request))
    arguments = {"video_path": found[1] if found else "video_1.mp4", "start_time": 8, "end_time": 12}
    return assistant("<think>There.</think>", [("c1", "crop_video", arguments)])


def evaluate(model: str, task: str, model_args: str, data: Path, *, cache: str = "") -> dict[str, Any]:
    """Evaluates in a process of its own; what :mod:`eval_peers.child` tells."""
    done = subprocess.run(
        [sys.executable, str(CHILD), model, task, model_args, cache],
        env=environment(data),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{model} on {task} ended with {done.returncode}: {done.stderr[-2000:]}")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def environment(data: Path) -> dict[str, str]:
    """Variables of an evaluation: its questions, its server's key, one thread, and our interpreter as ``python``."""
    return {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": "",
        "HF_HUB_OFFLINE": "1",
        "LONGVT_DATA": str(data),
        "OMP_NUM_THREADS": "1",
        "OPENAI_API_KEY": "none",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
    }


def _serve(pipe: Connection, seconds: float) -> None:
    count = 0

    def script(request: dict[str, Any]) -> Reply:
        nonlocal count
        count += 1
        # Bodies are megabytes, and the server would keep them all.
        server.requests.clear()
        return slow(look_then_answer(request), seconds)

    with ScriptedChatServer(script) as server:
        pipe.send(server.base_url)
        while pipe.recv():
            pipe.send(count)
