"""Runs one peer at one or more jobs in a process of its own: ``python -m video_peers.child SPEC.json ANSWER.json``.

The specification names the module and class of the peer, the modules that it needs and the task; the answer is what
was measured, or which module is missing. Anything else that goes wrong ends the process with its traceback.
"""

from __future__ import annotations

import gc
import importlib
import importlib.metadata
import json
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from video_peers.film import FPS, Film, read_number
from video_peers.meter import Meter, resident_mb
from video_peers.task import Answer, Peer, Task, as_array

Span = tuple[float, float]


def main() -> None:
    """Reads the specification, measures, writes the answer."""
    spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    if spec["one_core"] and hasattr(os, "sched_setaffinity"):
        # Also what libraries ask that choose their threads themselves.
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    Path(sys.argv[2]).write_text(json.dumps(_answer(spec)), encoding="utf-8")


def _answer(spec: dict[str, Any]) -> dict[str, Any]:
    try:
        for module in spec["needs"]:
            importlib.import_module(module)
        made = getattr(importlib.import_module(f"video_peers.{spec['module']}"), spec["class"])
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module not in spec["needs"]:
            raise
        return {"status": "missing", "module": module}
    if spec["warm_up"]:
        # What a library does once, at its first use, is no reading: modules, thread pools, tables.
        _work(made(_task(spec, spec["warm_up"], [0, FPS - 1])), spec["jobs"], {"1": [(0.0, 1.0)]})
    peer = made(_task(spec, spec["film"], spec["numbers"]))
    measured = _work(peer, spec["jobs"], spec["windows"], servers=spec["servers"])
    return {"status": "measured", "jobs": measured, "versions": _versions(spec["needs"])}


def _task(spec: dict[str, Any], film: dict[str, Any], numbers: list[int]) -> Task:
    folder = tempfile.mkdtemp(dir=spec["folder"])
    return Task(Film(**{**film, "path": Path(film["path"])}), numbers, tuple(spec["size"]), spec["threads"], folder)


def _work(peer: Peer, jobs: list[str], windows: dict[str, list[Span]], *, servers: bool = False) -> dict[str, Any]:
    try:
        return {job: _crops(peer, windows, servers) if job == "crops" else _once(getattr(peer, job)) for job in jobs}
    finally:
        peer.close()


def _once(work: Callable[[], Answer]) -> dict[str, Any]:
    gc.collect()
    with Meter(resident_mb()) as meter:
        answer = work()
    return {**asdict(meter.cost), **_check(answer)}


def _crops(peer: Peer, windows: dict[str, list[Span]], servers: bool) -> dict[str, Any]:
    """Shorter windows first: memory that a longer one left with the process would be counted as the base."""
    gc.collect()
    base = resident_mb()
    found: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for seconds, spans in windows.items():
        for way in peer.ways:
            for start, end in spans:
                with Meter(base, servers=servers) as meter:
                    answer = peer.crop(start, end, way)
                found[seconds][way].append({**asdict(meter.cost), **_check(answer)})
                del answer
    return {"crops": found}


def _check(answer: Answer) -> dict[str, Any]:
    """How many pictures show what they should, and how large they are."""
    if len(answer.pictures) != len(answer.numbers):
        raise RuntimeError(f"{len(answer.pictures)} pictures for {len(answer.numbers)} frames")
    arrays = [as_array(picture) for picture in answer.pictures]
    right = sum(read_number(array) == number for array, number in zip(arrays, answer.numbers, strict=True))
    size = list(arrays[0].shape[1::-1]) if arrays else None
    return {"frames": len(arrays), "right": right, "size": size}


def _versions(modules: list[str]) -> dict[str, str]:
    """Of the libraries that this process used."""
    found = {}
    for module in sorted({*modules, *({"av", "numpy", "PIL", "torch"} & sys.modules.keys())}):
        try:
            found[module] = importlib.metadata.version("pillow" if module == "PIL" else module.replace("_", "-"))
        except importlib.metadata.PackageNotFoundError:
            found[module] = getattr(sys.modules[module], "__version__", "not told")
    return found


if __name__ == "__main__":
    main()
