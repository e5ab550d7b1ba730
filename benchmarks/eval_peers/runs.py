"""A server in a process of its own, and evaluations against it.

::

    with serving(0.1) as server:
        told = evaluate("longvt", "longvt_synthetic_tool", f"base_url={server.base_url},model=m", data)
        told["seconds"], server.requests()
"""

from __future__ import annotations

import asyncio
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

from answering import serve

CHILD, CROP_SERVER = (Path(__file__).resolve().with_name(name) for name in ("child.py", "crop_server.py"))
PATIENCE_SECONDS = 3600

_VIDEO_FILE = re.compile(rb'video path: ([^\s"\\]+)')
_TOOLS, _LOOKED = re.compile(rb'"tools": ?\['), re.compile(rb'"role": ?"tool"')


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


def look_then_answer(body: bytes) -> bytes:
    """One look where there are tools, then the answer."""
    if not _TOOLS.search(body) or _LOOKED.search(body):
        return _reply("<think>I see it.</think><answer>red</answer>")
    found = _VIDEO_FILE.search(body)
    arguments = {"video_path": found[1].decode() if found else "video_1.mp4", "start_time": 8, "end_time": 12}
    function = {"name": "crop_video", "arguments": json.dumps(arguments)}
    return _reply("<think>There.</think>", tool_calls=[{"id": "c1", "type": "function", "function": function}])


def _reply(text: str, **calls: Any) -> bytes:
    message = {"role": "assistant", "content": text, **calls}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}
    whole = {"id": "c", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
    return json.dumps(whole).encode()


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
    asyncio.run(_answer(pipe, seconds))


async def _answer(pipe: Connection, seconds: float) -> None:
    asked = 0

    def answer(body: bytes) -> bytes:
        nonlocal asked
        asked += bool(body)
        return look_then_answer(body)

    server = await serve(answer, seconds)
    async with server:
        pipe.send(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
        while await asyncio.to_thread(pipe.recv):
            pipe.send(asked)
