"""How well does the data pipeline use a slow server, and how much memory does it hold?

::

    python benchmarks/datapipe.py --json datapipe.json       # with an hour of film for segmenting
    python benchmarks/datapipe.py --only throughput memory   # some minutes
    python benchmarks/datapipe.py --quick                    # that it runs

1. Throughput: 1,000 records, one request each, against a server that answers after 200 ms, 64 requests in flight at
   most. Ideal is 1,000 / 64 x 0.2 s; the share is ideal through measured, from the step's first record to its last
   result on disk. Each reply is cached, each result saved. Server and run are processes of their own.
2. Memory: a million small records through a step that only computes; the process is looked at all along.
3. Segmenting: what ``segmenting.py`` beside this file measures, ``segment_*``.

Every figure of a run is that of its own process, interpreter and libraries included.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from answering import serve

# This file has the name of the package: its folder must not be searched first.
sys.path = [place for place in sys.path if Path(place).resolve() != Path(__file__).resolve().parent]

from datapipe import ContextStep, Kept, Outcome, Step, StepContext  # noqa: E402
from longvt_plugins.hookspecs import hookimpl  # noqa: E402

RECORDS, CONCURRENCY, DELAY_SECONDS = 1_000, 64, 0.2
MILLION = 1_000_000
QUICK_RECORDS, QUICK_MILLION = 200, 20_000

SHARE_WANTED, MEGABYTES_WANTED = 0.9, 300
"""What the pipeline is held to."""

SAMPLE_SECONDS = 0.25
PARTS = ("throughput", "memory", "segment")

_REPLY = json.dumps(
    {
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": '{"number": 1}'}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10},
    }
).encode()


@dataclass(frozen=True)
class Number:
    """A small record."""

    id: str
    number: int


@dataclass(frozen=True)
class Answer:
    """What the server says."""

    number: int


@dataclass(frozen=True)
class AskNumber(ContextStep[Number, Number]):
    """Asks once."""

    name, version, uses_chat = "ask_number", 1, True

    async def work(self, record: Number, context: StepContext) -> Outcome[Number]:
        """One request."""
        answer = await context.ask([{"role": "user", "content": f"A number for {record.number}?"}], Answer)
        return Kept(Number(record.id, answer.number))


@dataclass(frozen=True)
class CountUp(Step[Number, Number]):
    """Adds one."""

    name, version = "count_up", 1

    def process(self, record: Number) -> Outcome[Number]:
        """One sum."""
        return Kept(Number(record.id, record.number + 1))


class Steps:
    """Brings the steps of this benchmark."""

    @hookimpl
    def register_steps(self, register: Callable[[type], None]) -> None:
        """Gives both."""
        register(AskNumber)
        register(CountUp)


async def answer_all() -> None:
    """A server that takes its time; prints its port."""
    server = await serve(lambda body: _REPLY, DELAY_SECONDS)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def write_input(path: Path, count: int) -> Path:
    """Records, one a line."""
    with path.open("w") as file:
        file.writelines(f'{{"id": "n{number:07}", "number": {number}}}\n' for number in range(count))
    return path


class Watch:
    """Looks at this process's memory all along.

    Attributes:
        samples: Seconds since the start, records done, megabytes.
    """

    def __init__(self) -> None:
        self.samples: list[tuple[float, int, float]] = []
        self.done = 0
        self._end = threading.Event()
        self._start = time.monotonic()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._end.wait(SAMPLE_SECONDS):
            self.samples.append((time.monotonic() - self._start, self.done, resident_megabytes()))

    def stop(self) -> None:
        """No more samples."""
        self._end.set()
        self._thread.join()


class Timer:
    """Times a step; counts its records for a watch."""

    def __init__(self, watch: Watch | None = None) -> None:
        self.seconds = 0.0
        self._watch = watch

    def step_started(self, name: str, units: int) -> None:
        """The clock starts."""
        self.seconds = -time.monotonic()

    def unit_done(self, name: str, result: object, spent: float) -> None:
        """One more."""
        if self._watch is not None:
            self._watch.done += 1

    def step_ended(self, name: str) -> None:
        """The clock stops."""
        self.seconds += time.monotonic()

    def note(self, text: str) -> None:
        """Nothing."""


def resident_megabytes() -> float:
    """Of this process, now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def peak_megabytes() -> float:
    """Of this process, at most so far."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6


def run_throughput(base_url: str, records: int, folder: Path) -> dict[str, float]:
    """In a process of its own: the step that asks."""
    from datapipe.recipe import read_recipe
    from datapipe.run import run_recipe
    from longvt_plugins.testing import plugin_manager

    model = {"base_url": base_url, "model": "m", "concurrency": CONCURRENCY, "prices": {"input": 1.0, "output": 1.0}}
    steps = plugin_manager(Steps()).steps

    def run(count: int, name: str) -> tuple[float, float]:
        source = write_input(folder / f"{name}.jsonl", count)
        recipe = read_recipe({"input": str(source), "models": {"default": model}, "steps": ["ask_number"]}, {})
        timer = Timer()
        cpu = time.process_time()
        result = run_recipe(recipe, folder / name, view=timer, steps=steps)
        assert result.stopped is None, result.message
        assert result.worked == {"ask_number": count}
        return timer.seconds, time.process_time() - cpu

    # Libraries are imported at the first request, which takes seconds of which a long run sees nothing.
    cold, _ = run(CONCURRENCY, "warm_up")
    gc.collect()  # what importing left behind
    seconds, cpu = run(records, "measured")
    return {"seconds": seconds, "cpu_seconds": cpu, "warm_up_seconds": cold, "peak_mb": peak_megabytes()}


def run_memory(records: int, folder: Path) -> dict[str, Any]:
    """In a process of its own: the step that only computes."""
    from datapipe.recipe import read_recipe
    from datapipe.run import run_recipe
    from longvt_plugins.testing import plugin_manager

    source = write_input(folder / "in.jsonl", records)
    recipe = read_recipe({"input": str(source), "steps": ["count_up"]}, {})
    steps = plugin_manager(Steps()).steps
    watch = Watch()
    timer = Timer(watch)
    result = run_recipe(recipe, folder / "work", view=timer, steps=steps)
    watch.stop()
    assert result.worked == {"count_up": records}
    early = [mb for _, done, mb in watch.samples if 0 < done <= records / 10] or [watch.samples[0][2]]
    late = [mb for _, done, mb in watch.samples if done >= records * 9 / 10] or [watch.samples[-1][2]]
    every = max(1, len(watch.samples) // 20)
    return {
        "seconds": timer.seconds,
        "store_mb": sum(file.stat().st_size for file in (folder / "work").rglob("*") if file.is_file()) / 1e6,
        "peak_mb": peak_megabytes(),
        "early_mb": max(early),
        "late_mb": max(late),
        "growth_mb": max(late) - max(early),
        "samples": watch.samples[::every],
    }


def in_own_process(*arguments: str) -> dict[str, Any]:
    """Runs this file again, for one measurement."""
    done = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure_throughput(records: int, repeats: int) -> dict[str, Any]:
    """The best of several runs: neighbours on the machine only ever make it slower."""
    ideal = records / CONCURRENCY * DELAY_SECONDS
    runs = []
    server = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}/v1"
        for _ in range(repeats):
            with tempfile.TemporaryDirectory() as folder:
                runs.append(in_own_process("--child", "throughput", url, str(records), folder))
    finally:
        server.terminate()
        server.wait()
    best = min(runs, key=lambda run: run["seconds"])
    # A run that shares its core with others is slowed by them: CPU seconds tell what it needs for itself.
    return {
        "throughput_share": ideal / best["seconds"],
        "throughput_shares": [ideal / run["seconds"] for run in runs],
        "throughput_seconds": best["seconds"],
        "throughput_cpu_seconds": best["cpu_seconds"],
        "throughput_warm_up_seconds": best["warm_up_seconds"],
        "ideal_seconds": ideal,
        "records": records,
        "peak_mb": max(run["peak_mb"] for run in runs),
    }


def measure_memory(records: int) -> dict[str, Any]:
    """A million records, or as many as are wanted."""
    with tempfile.TemporaryDirectory() as folder:
        found = in_own_process("--child", "memory", str(records), folder)
    return {
        "million_records": records,
        **{f"million_{name}": value for name, value in found.items()},
        "million_per_second": records / found["seconds"],
    }


def measure_segmenting(quick: bool) -> dict[str, Any]:
    """``segment_x_longvt``, ``segment_recall`` and ``segment_recall_longvt``, of the script beside this one."""
    beside = Path(__file__).with_name("segmenting.py")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "segmenting.json"
        command = [sys.executable, str(beside), "--json", str(out), *(["--quick"] if quick else [])]
        subprocess.run(command, check=True)
        found = json.loads(out.read_text())
    return {name: value for name, value in found.items() if name.startswith("segment_")}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description="What the data pipeline costs.")
    parser.add_argument("--quick", action="store_true", help="little of everything: proves nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every figure")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--repeats", type=int, default=3, help="runs against the server (default %(default)s)")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        asyncio.run(answer_all())
        return
    if args.child:
        what, *given = args.child
        if what == "throughput":
            print(json.dumps(run_throughput(given[0], int(given[1]), Path(given[2]))))
        else:
            print(json.dumps(run_memory(int(given[0]), Path(given[1]))))
        return
    report: dict[str, Any] = {"quick": args.quick}
    if "throughput" in args.only:
        report |= measure_throughput(QUICK_RECORDS if args.quick else RECORDS, 1 if args.quick else args.repeats)
        print(
            f"throughput: {report['throughput_share']:.1%} of ideal ({report['throughput_seconds']:.2f} s for"
            f" {report['records']} records, ideal {report['ideal_seconds']:.2f} s; wanted {SHARE_WANTED:.0%}),"
            f" peak {report['peak_mb']:.0f} MB (wanted below {MEGABYTES_WANTED})"
        )
    if "memory" in args.only:
        report |= measure_memory(QUICK_MILLION if args.quick else MILLION)
        print(
            f"memory: {report['million_records']:,} records, {report['million_per_second']:,.0f} a second,"
            f" {report['million_early_mb']:.0f} MB in the first tenth, {report['million_late_mb']:.0f} MB in the last"
        )
    if "segment" in args.only:
        report |= measure_segmenting(args.quick)
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
