"""How fast are frames read? Our reader, its peers and LongVT's way to crop, on one file, in one run.

::

    python benchmarks/video.py --json video.json --work-dir runs/video      # an hour of video, some hours of one core
    python benchmarks/video.py --quick                                      # two minutes of video: that it runs

The film is 640x360 H.264 at 25 fps with a key frame every 250 frames and B-frames, made by this script; every frame
carries its own number, so that each picture that comes back is checked. Each way to read runs in processes of its
own, all on one core, in turns that are repeated; the least CPU time over the repeats counts. Memory is the highest
above what the process held once its libraries were imported. What is not installed is named and left out.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from rich.console import Console
from video_peers.catalogue import EVERYTHING, Entry
from video_peers.figures import tables
from video_peers.film import FPS, HEIGHT, WIDTH, Film, Pyramid, film_facts, write_film
from video_peers.floor import count_non_reference
from video_peers.results import Results
from video_peers.turn import Turn

from longvt_plugins.progress import show_progress
from longvt_plugins.video import OVERVIEW

FULL_SECONDS, QUICK_SECONDS, WARM_UP_SECONDS = 3600, 120, 40

CROPS = {10: 3, 60: 3, 300: 1}
"""Seconds of a crop, and how many windows of that length are cropped."""

QUICK_CROPS = {60: 1}
TINY_CROPS = {10: 1}
"""Of a film that is not longer than a minute."""

JOBS = ("overview", "crops", "group")

TIMEOUT = 3600.0
"""Seconds that one process may take: decord is known to hang."""

TABLE_WIDTH = 120
"""Columns of the tables where they go to a file."""


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        film: On this file.
        warm_up: A short one, for what a library does only once.
        numbers: Frames of the overview.
        windows: Seconds of a crop to its spans.
        peer_python: The interpreter that has the peers.
        folder: For specifications and answers, and what peers keep.
    """

    film: Film
    warm_up: Film
    numbers: list[int]
    windows: dict[int, list[tuple[float, float]]]
    peer_python: str
    folder: Path

    def measure(self, turn: Turn) -> dict[str, Any]:
        """Runs one peer in a process of its own."""
        entry = turn.entry
        with tempfile.TemporaryDirectory(dir=self.folder) as kept:
            spec = Path(kept) / "spec.json"
            answer = Path(kept) / "answer.json"
            spec.write_text(json.dumps(self._specification(turn, kept)), encoding="utf-8")
            command = [sys.executable if entry.ours else self.peer_python, "-m", "video_peers.child", spec, answer]
            try:
                done = subprocess.run(
                    command, env=_environment(turn), timeout=TIMEOUT, capture_output=True, check=False
                )
            except subprocess.TimeoutExpired:
                return {"status": "failed", "why": f"no answer in {TIMEOUT:g} s"}
            if done.returncode or not answer.exists():
                # Groups of exceptions are framed by lines and dashes.
                said = [line.strip(" |+-") for line in done.stderr.decode(errors="replace").splitlines()]
                last = [line for line in said if line][-1:]
                return {"status": "failed", "why": " ".join(last) or f"exit code {done.returncode}"}
            found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
            return found

    def _specification(self, turn: Turn, kept: str) -> dict[str, Any]:
        entry = turn.entry
        return {
            "module": entry.module,
            "class": entry.made_by,
            "needs": list(entry.needs),
            "jobs": turn.jobs,
            "film": {**asdict(self.film), "path": str(self.film.path)},
            "warm_up": {**asdict(self.warm_up), "path": str(self.warm_up.path)} if not entry.servers else None,
            "servers": entry.servers,
            "numbers": self.numbers,
            "size": OVERVIEW.size(WIDTH, HEIGHT),
            "windows": self.windows,
            "threads": 1 if turn.one_core else 0,
            "one_core": turn.one_core,
            "folder": kept,
        }


def _environment(turn: Turn) -> dict[str, str]:
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    threads = {"OMP_NUM_THREADS": "1"} if turn.one_core else {}
    hidden = {"CUDA_VISIBLE_DEVICES": ""}
    return {**os.environ, **threads, **hidden, **turn.entry.environment, "PYTHONPATH": os.pathsep.join(paths)}


def overview_numbers(film: Film) -> list[int]:
    """The frames that qwen-vl-utils takes for an overview: one a second, 512 at most, in pairs, both ends included."""
    count = min(OVERVIEW.max_frames, film.seconds) // 2 * 2
    return [round(place * (film.frames - 1) / (count - 1)) for place in range(count)]


def crop_windows(film: Film, wanted: dict[int, int]) -> dict[int, list[tuple[float, float]]]:
    """Spans at tenths of a second, the same ones on every run; lengths that the film has no room for are left out."""
    draw = random.Random(film.seconds)
    windows = {}
    for seconds, count in wanted.items():
        if seconds < film.seconds:
            starts = [draw.randrange(10 * (film.seconds - seconds)) / 10 for _ in range(count)]
            windows[seconds] = [(start, start + seconds) for start in starts]
    return windows


def turns(entries: Sequence[Entry], jobs: Sequence[str], repeats: int, *, together: bool) -> Iterator[Turn]:
    """Every peer at every job, in turns, so that a busy moment of the machine does not fall on one of them alone.

    Args:
        entries: The peers.
        jobs: What is measured.
        repeats: How often.
        together: All jobs of a peer in one process, which saves time and blurs the memory of the later ones.
    """
    for _ in range(repeats):
        for group in [jobs] if together else [(job,) for job in jobs]:
            wanted = [Turn(entry, tuple(job for job in group if job in entry.jobs)) for entry in entries]
            yield from (turn for turn in wanted if turn.jobs)


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints the tables, writes the figures."""
    parser = _parser()
    args = parser.parse_args(argv)
    console = Console()
    if not console.is_terminal:
        console.width = TABLE_WIDTH
    seconds = args.seconds or (QUICK_SECONDS if args.quick else FULL_SECONDS)
    if seconds < WARM_UP_SECONDS:
        parser.error(f"--seconds must be {WARM_UP_SECONDS} or more: the rollouts' windows need room")
    repeats = args.repeats or (1 if args.quick else 3)
    work_dir = args.work_dir.absolute()
    with show_progress(console) as tell:
        name = f"film-{seconds}.mp4" if args.b_pyramid == "normal" else f"film-{seconds}-{args.b_pyramid}.mp4"
        film = write_film(
            work_dir / name, seconds, pyramid=args.b_pyramid, tell=lambda done, total: tell("film", done, total)
        )
        warm_up = write_film(work_dir / f"film-{WARM_UP_SECONDS}.mp4", WARM_UP_SECONDS)
    windows = crop_windows(film, CROPS if not args.quick else QUICK_CROPS if seconds > 60 else TINY_CROPS)
    entries = [entry for entry in EVERYTHING if not args.peers or entry.name in args.peers]
    facts = {**film_facts(film), "b_pyramid": args.b_pyramid, "non_reference_frames": count_non_reference(film)}
    results = Results(args.quick, facts, windows)
    with tempfile.TemporaryDirectory(dir=work_dir) as folder, show_progress(console) as tell:
        plan = Plan(film, warm_up, overview_numbers(film), windows, args.peer_python, Path(folder))
        todo = list(turns(entries, args.jobs, repeats, together=args.quick))
        if args.default_threads:
            todo += [Turn(entry, ("overview",), one_core=False) for entry in entries if "overview" in entry.jobs]
        for done, turn in enumerate(todo):
            tell("measuring", done, len(todo))
            # What is missing or failed once is not tried again.
            if results.is_worth_while(turn):
                results.take(turn, plan.measure(turn))
            if args.json is not None:
                # After each turn: of a run that is stopped, what it has measured is kept.
                args.json.parent.mkdir(parents=True, exist_ok=True)
                args.json.write_text(json.dumps(results.report(), indent=1), encoding="utf-8")
        tell("measuring", len(todo), len(todo))
    console.print(
        f"{film.seconds / 60:g} minutes of {WIDTH}x{HEIGHT} {facts['codec']} at {FPS} fps, "
        f"{facts['kbit_per_second']} kbit/s, {facts['key_frames']} key frames, "
        f"{facts['non_reference_frames'] / film.frames:.0%} of the frames referred to by none; "
        f"{len(plan.numbers)} frames of overview; one core, least of {repeats}"
    )
    summary = results.report()
    for table in tables(summary):
        console.print(table)
    for line in results.left_out():
        console.print(line, markup=False)
    return 0


def _parser() -> argparse.ArgumentParser:
    names = [entry.name for entry in EVERYTHING]
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="a short film, once: about a minute of CPU time")
    parser.add_argument("--seconds", type=int, help=f"length of the film; {FULL_SECONDS}, or {QUICK_SECONDS} if quick")
    parser.add_argument("--repeats", type=int, help="3, or 1 if quick")
    parser.add_argument("--work-dir", type=Path, default=Path("runs/video"), help="keeps the film")
    parser.add_argument("--b-pyramid", choices=get_args(Pyramid), default="normal", help="of the film's B-frames")
    parser.add_argument("--json", type=Path, help="file for every figure")
    parser.add_argument(
        "--peers", nargs="+", choices=names, metavar="NAME", help=f"measure these alone: {', '.join(names)}"
    )
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=JOBS, help="measure these alone")
    parser.add_argument("--peer-python", default=sys.executable, help="the interpreter that has the peers")
    parser.add_argument(
        "--default-threads",
        action="store_true",
        help="the overview once more, on all cores with each library's own number of threads",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
