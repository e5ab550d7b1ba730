"""Evaluation beside lmms-eval's built-in model: samples for each second, and what is not the server's time.

::

    python benchmarks/eval.py --json eval.json
    python benchmarks/eval.py --part overhead                # or throughput: half of it
    python benchmarks/eval.py --quick                        # shows that it runs; proves nothing

Throughput: a server that takes 100 ms a turn whatever comes, 32 samples at once, 16 overview frames; with tools (one
look, then the answer) and without. ``async_openai`` gets the tool over MCP, its only way, from a server that reads with
our own reader, and starts it anew for each list of tools and each call. Overhead: a server that takes 2 s a turn, 64
overview frames kept in the cache of frames, one look, then the answer; the share of a sample's time in which the server
was not the one who worked, over five samples for each place: in the first wave all places open their videos at once.
The server runs in a process of its own; start and scoring of lmms-eval are not counted.
On a machine with other work the CPU seconds say more than the others.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval_peers.data import make_rows
from eval_peers.runs import CROP_SERVER, evaluate, serving
from rich.console import Console
from rich.table import Table

AT_ONCE = 32
FAST_SECONDS, SLOW_SECONDS = 0.1, 2.0
FAST_FRAMES, SLOW_FRAMES = 16, 64
PIXELS = 224 * 224
TARGET_TIMES, TARGET_SHARE = 20.0, 0.10

WAVES = 5
"""Samples for each place of the overhead's runs; an evaluation has hundreds of questions."""

TOOL, NO_TOOL = "longvt_synthetic_tool", "longvt_synthetic_non_think"
SAMPLES = {
    ("longvt", TOOL): (32, 320),
    ("longvt", NO_TOOL): (32, 320),
    ("async_openai", TOOL): (8, 32),
    ("async_openai", NO_TOOL): (32, 96),
}
"""A slow one is given fewer; the first number is that of ``--quick``."""


def ours(base_url: str, frames: int, at_once: int, more: str = "") -> str:
    """Arguments of ``longvt``."""
    return (
        f"base_url={base_url},model=m,overview_max_frames={frames},overview_fps=1,max_pixels={PIXELS},"
        f"concurrency={at_once},max_retries=0{more}"
    )


def built_in(base_url: str, *, tools: bool) -> str:
    """Arguments of ``async_openai``, for the same frames."""
    mcp = f",mcp_server_path={CROP_SERVER}" if tools else ""
    return (
        f"base_url={base_url},model_version=m,nframes={FAST_FRAMES},max_frames={FAST_FRAMES},max_pixels={PIXELS},"
        f"num_cpus={AT_ONCE},max_retries=1{mcp}"
    )


def throughput(folder: Path, *, quick: bool) -> dict[str, Any]:
    """Samples for each second of both models, with tools and without."""
    figures: dict[str, Any] = {}
    for task, name in ((TOOL, "tools"), (NO_TOOL, "no_tools")):
        for model in ("longvt", "async_openai"):
            few, many = SAMPLES[model, task]
            samples = few if quick else many
            data = make_rows(folder / f"films-{samples}", questions=samples, films=min(samples, 8), seconds=64)
            with serving(FAST_SECONDS) as server:
                is_ours = model == "longvt"
                tools = task == TOOL
                arguments = (
                    ours(server.base_url, FAST_FRAMES, AT_ONCE) if is_ours else built_in(server.base_url, tools=tools)
                )
                told = evaluate(model, task, arguments, data)
                turns = server.requests() / samples
            right = sum(sample["accuracy"] == 1.0 for sample in told["samples"])
            figures[f"{name}/{model}"] = {
                "samples": samples,
                "samples_per_second": samples / told["seconds"],
                "cpu_seconds_per_sample": told["cpu_seconds"] / samples,
                "right": right,
                "turns": turns,
                "limit": AT_ONCE / (FAST_SECONDS * turns),
            }
    return figures


def overhead(folder: Path, at_once: int, *, quick: bool) -> dict[str, float]:
    """What is not the server's, of the time of samples whose frames were decoded before."""
    samples = at_once * (1 if quick else WAVES)
    data = make_rows(folder / f"films-{samples}", questions=samples, films=min(samples, 8), seconds=64)
    cache = f",video_cache_dir={folder / 'frames'}"
    with serving(0.0) as server:
        evaluate("longvt", TOOL, ours(server.base_url, SLOW_FRAMES, at_once, cache), data)
    with serving(SLOW_SECONDS) as server:
        told = evaluate("longvt", TOOL, ours(server.base_url, SLOW_FRAMES, at_once, cache), data)
    seconds = sum(sample["seconds"] for sample in told["samples"])
    turns = sum(sample["turns"] for sample in told["samples"])
    return {
        "samples": samples,
        "seconds_per_sample": seconds / samples,
        "servers_seconds_per_sample": SLOW_SECONDS * turns / samples,
        "overhead_share": 1 - SLOW_SECONDS * turns / seconds,
        "cpu_seconds_per_sample": told["cpu_seconds"] / samples,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="few samples")
    parser.add_argument("--part", choices=["throughput", "overhead"], help="one half alone")
    parser.add_argument("--json", type=Path, help="file for every figure")
    args = parser.parse_args(argv)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        if args.part != "overhead":
            speed = throughput(Path(folder), quick=args.quick)
            times = {
                name: speed[f"{name}/longvt"]["samples_per_second"]
                / speed[f"{name}/async_openai"]["samples_per_second"]
                for name in ("tools", "no_tools")
            }
            _print_speed(speed, times)
            figures |= {
                "samples_x_async_openai": times["tools"],
                "samples_x_async_openai_no_tools": times["no_tools"],
                "throughput": speed,
            }
        if args.part != "throughput":
            shares = {at_once: overhead(Path(folder), at_once, quick=args.quick) for at_once in (1, 8, AT_ONCE)}
            _print_overhead(shares)
            figures |= {
                "overhead_share": shares[AT_ONCE]["overhead_share"],
                "overhead": {str(at_once): share for at_once, share in shares.items()},
            }
    if args.json is not None:
        args.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    return 0


def _print_speed(speed: dict[str, Any], times: dict[str, float]) -> None:
    console = Console()
    table = Table(
        f"{FAST_SECONDS:g} s a turn, {AT_ONCE} at once", "samples/s", "the server's limit", "CPU s a sample", "right"
    )
    for name, each in speed.items():
        table.add_row(
            name,
            f"{each['samples_per_second']:.2f}",
            f"{each['limit']:.0f}",
            f"{each['cpu_seconds_per_sample']:.3f}",
            f"{each['right']} of {each['samples']}",
        )
    console.print(table)
    console.print(
        f"longvt is {times['tools']:.1f}x as fast with tools (goal: {TARGET_TIMES:g}x), "
        f"{times['no_tools']:.1f}x without"
    )


def _print_overhead(shares: dict[int, dict[str, float]]) -> None:
    table = Table(
        f"{SLOW_SECONDS:g} s a turn, {SLOW_FRAMES} frames, cached", "s a sample", "not the server's", "CPU s a sample"
    )
    for at_once, each in shares.items():
        table.add_row(
            f"{at_once} at once",
            f"{each['seconds_per_sample']:.2f}",
            f"{each['overhead_share']:.1%} (goal: below {TARGET_SHARE:.0%})",
            f"{each['cpu_seconds_per_sample']:.3f}",
        )
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
